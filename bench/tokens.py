"""`python -m bench.tokens`: the CPU time that the check of a credential costs a call, on a real PostgreSQL.

The first check of a token checks its signature and its session. Later ones check nothing if the session was checked less than a second ago, or else the session, with a query. While three or more callers are active, one query confirms all their
sessions every 0.7 s, or every 0.4 s from 16 callers on; the cost of a call is its share of that, for callers that call once a second. The figures are medians of batches, in microseconds of this process's CPU time; PostgreSQL's own time is apart.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from responsa_server.domain.people import Origin, Principal, Role
from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import Credential, confirm_seconds
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.migrate import migrate
from tests.people import GOOD, people_of

AIM_US: Final = 180
BATCHES: Final = 20
BATCH: Final = 200
CALLERS: Final = (3, 4, 50)
"""The numbers of callers whose sessions are confirmed together."""


async def _median(work: Callable[[], Awaitable[object]]) -> float:
    found: list[float] = []
    for _ in range(BATCHES):
        begin = time.process_time()
        for _ in range(BATCH):
            await work()
        found.append((time.process_time() - begin) / BATCH * 1e6)
    return statistics.median(found)


async def measure(postgres: EmbeddedPostgres) -> None:
    """Print the figures."""
    await migrate(postgres.dsn("owner"))
    database = Database(postgres.dsn("app"), postgres.dsn("log"), size=2)
    await database.open()
    try:
        cached, uncached = people_of(database), people_of(database, cache=_Forgetful())
        await cached.identity.create_tenant("acme", "Acme")
        user = await cached.identity.create_user("acme", "Ann", "ann@example.org", Role.USER)
        admin = Principal("acme", user.id, Role.ADMIN, "api_key")
        code, _ = await cached.accounts.create_reset_code(admin, user.id)
        await cached.accounts.reset_password(code, GOOD)
        signed, _ = await cached.accounts.login("acme", "ann@example.org", GOOD, Origin())
        credential = Credential("token", signed.access_token)
        claims = await cached.tokens.verify(signed.access_token)
        now = datetime.now(UTC)
        # Each check of a signature gets another token, because the result is kept.
        tokens = [
            (await cached.tokens.sign(replace(claims, session_id=uuid4()), now))[0]
            for _ in range(BATCHES * BATCH)
        ]
        rows = {
            "checked less than a second ago": await _median(lambda: cached.identity.authenticate(credential)),
            "signature": await _median(lambda: cached.tokens.verify(tokens.pop())),
            "session, with its query": await _median(lambda: uncached.identity.authenticate(credential)),
            "signing": await _median(lambda: cached.tokens.sign(claims, now)),
        }
        for count in CALLERS:
            # The clock stands still, because sign-ins take so long that the first credential would not be known at the last one.
            people = people_of(database, cache=CredentialCache(lambda: 0.0))
            for _ in range(count):
                one, _ = await people.accounts.login("acme", "ann@example.org", GOOD, Origin())
                await people.identity.authenticate(Credential("token", one.access_token))
            assert await people.identity.confirm()
            together = await _median(people.identity.confirm)
            rows[f"{count} sessions, with one query"] = together
            rows[f"call of one of {count} callers, each once a second"] = (
                together / confirm_seconds(count) / count + rows["checked less than a second ago"]
            )
    finally:
        await database.close()
    for name, figure in rows.items():
        print(f"{name}: {figure:.0f} µs")
    print(f"The aim for the check and the limits of a call together is {AIM_US} µs.")


class _Forgetful(CredentialCache):
    """Keeps nothing."""

    def find(self, digest: bytes) -> Principal | None:
        """Find nothing."""
        return None


def main() -> None:
    """Measure on a throw-away database."""
    with tempfile.TemporaryDirectory(prefix="rsp-tokens-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        layout = Layout.of(folder / "home").prepare()
        postgres = EmbeddedPostgres(layout)
        postgres.start()
        try:
            asyncio.run(measure(postgres))
        finally:
            postgres.stop()
            purge(layout)


if __name__ == "__main__":
    main()
