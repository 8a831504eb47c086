"""`python -m bench.tokens`: the CPU time that the check of a credential costs a call, on a real PostgreSQL.

The first check of a token checks its signature and its session. Later ones check nothing if the session was checked less than a second ago, or else the session, with a query. While three or more callers are active, one query confirms all their
sessions every 0.7 s, or every 0.4 s from 16 callers on; the cost of a call is its share of that, for callers that call once a second. The figures are medians of batches, in microseconds of this process's CPU time; PostgreSQL's own time is apart.

Last, it measures the check of many open streams and WebSockets, each of another user, which share one query.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import psutil
import psycopg

from responsa_server.app.process import run
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
OPEN: Final = (1_000, 5_000)
"""The numbers of open streams and WebSockets."""
CHECKS: Final = 40


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
            rows[f"check of {count} sessions with one query"] = together
            rows[f"call by one of {count} callers that each call once a second"] = (
                together / confirm_seconds(count) / count + rows["checked less than a second ago"]
            )
        for name, figure in rows.items():
            print(f"{name}: {figure:.0f} µs")
        print(
            f"The aim: checking the credential and the limits of a call takes at most {AIM_US} µs together."
        )
        await _measure_open(postgres, database)
    finally:
        await database.close()


async def _measure_open(postgres: EmbeddedPostgres, database: Database) -> None:
    """Print what a check of all open streams and WebSockets costs this process and PostgreSQL."""
    people = people_of(database)
    with psycopg.connect(postgres.dsn("superuser"), autocommit=True) as connection:
        rows = connection.execute(
            """WITH made AS (
                INSERT INTO responsa.app_user (id, tenant_id, display_name, email, role)
                SELECT gen_random_uuid(), 'acme', '', '', 'user' FROM generate_series(1, %s) RETURNING id)
            INSERT INTO responsa.api_key (id, tenant_id, user_id, display_name, prefix, secret_sha256)
            SELECT gen_random_uuid(), 'acme', id, '', 'rsp_xxxx', sha256(id::text::bytea) FROM made RETURNING user_id, id""",
            [max(OPEN)],
        ).fetchall()
        connection.execute("ANALYZE")
        data = connection.execute("SHOW data_directory").fetchone()
    assert data is not None
    server = psutil.Process(int((Path(data[0]) / "postmaster.pid").read_text().split()[0]))
    for count in OPEN:
        callers = [Principal("acme", user, Role.USER, "api_key", key) for user, key in rows[:count]]
        assert not any(await people.identity.ended(callers))
        begin, begin_there = time.process_time(), _seconds_of_children(server)
        for _ in range(CHECKS):
            await people.identity.ended(callers)
        here, there = time.process_time() - begin, _seconds_of_children(server) - begin_there
        print(
            f"{count:,} open streams and sockets, one check: {here / CHECKS * 1e3:.1f} ms, PostgreSQL {there / CHECKS * 1e3:.1f} ms"
        )


def _seconds_of_children(process: psutil.Process) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in process.children())


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
            run(measure(postgres))
        finally:
            postgres.stop()
            purge(layout)


if __name__ == "__main__":
    main()
