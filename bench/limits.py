"""The CPU time that the limits cost a call, on a real Redis and a real PostgreSQL, together with the check of its credential.

The figures are medians of batches, in microseconds of this process's CPU time; the time of Redis and of PostgreSQL is
apart. The limits are the defaults, with room for the calls of the bench.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from uuid_utils.compat import uuid7

from bench.report import Line
from responsa_local.embedded import EmbeddedPostgres, EmbeddedRedis, LocalLayout, purge
from responsa_server.app.process import run
from responsa_server.domain.limits import MINUTE, Room, Scope
from responsa_server.domain.people import Role
from responsa_server.identity.limits import LimitBook, Limiter
from responsa_server.identity.service import Credential
from responsa_server.identity.settings import (
    AddressLimitSettings,
    LimitSettings,
    TenantLimitSettings,
    UserLimitSettings,
)
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.migrate import migrate
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.rates import LocalRates, RedisHolds, RedisMessages, RedisRates, Reserved
from tests.people import people_of

TITLE: Final = "CPU of checking the limits of a call, on a real Redis"
BATCHES: Final = 20
BATCH: Final = 200
ADDRESS: Final = "203.0.113.9"
ROOM: Final = 3_000
"""The default of a user's calls a minute, which decides how many calls are reserved at once. Each batch has another
user, address and tenant."""


def measure(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures on a throw-away database and a throw-away Redis."""
    say("limits: starting PostgreSQL and Redis")
    with tempfile.TemporaryDirectory(prefix="rsp-limits-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        layout = LocalLayout.of(folder / "home").prepare()
        postgres, redis = EmbeddedPostgres(layout), EmbeddedRedis(layout)
        postgres.start()
        redis.start()
        try:
            times = run(_measured(postgres, redis, 1 if quick else BATCHES))
        finally:
            redis.stop()
            postgres.stop()
            purge(layout)
    return [
        Line.alone(TITLE, what, "µs", values, measured=len(values) * BATCH) for what, values in times.items()
    ]


async def _times(work: Callable[[int], Awaitable[object]], batches: int) -> Sequence[float]:
    """The CPU time of a call in each batch, in microseconds."""
    times: list[float] = []
    for batch in range(batches):
        begin = time.process_time()
        for _ in range(BATCH):
            await work(batch)
        times.append((time.process_time() - begin) / BATCH * 1e6)
    return times


async def _measured(
    postgres: EmbeddedPostgres, redis: EmbeddedRedis, batches: int
) -> Mapping[str, Sequence[float]]:
    """The times of each kind of check."""
    await migrate(postgres.dsn("owner"))
    async with AsyncExitStack() as stack:
        database = Database(postgres.dsn("app"), postgres.dsn("log"), size=2)
        await database.open()
        stack.push_async_callback(database.close)
        people = people_of(database)
        settings = LimitSettings(
            user=UserLimitSettings(calls_per_minute=ROOM, messages_per_minute=10_000),
            tenant=TenantLimitSettings(calls_per_minute=ROOM * BATCHES),
            address=AddressLimitSettings(calls_per_minute=ROOM),
        )
        store = PostgresLimits(database)
        rates, holds, messages = RedisRates(redis.url), RedisHolds(redis.url), RedisMessages(redis.url)
        for part in (rates, holds, messages):
            stack.push_async_callback(part.close)
        book = LimitBook(settings, store, PostgresUsers(database))
        limiter = Limiter(settings, book, store, Reserved(rates), Reserved(LocalRates()), holds, messages)
        stack.push_async_callback(limiter.close)
        await people.identity.create_tenant("acme", "Acme")
        callers: list[Credential] = []
        for _ in range(batches):
            user = await people.identity.create_user("acme", "Ann", "", Role.USER)
            _, secret = await people.identity.create_key("acme", user.id, "bench")
            callers.append(Credential("api_key", secret))

        async def check(batch: int) -> None:
            await people.identity.authenticate(callers[batch])

        async def call(batch: int) -> None:
            await limiter.address_calls(f"{ADDRESS}:{batch}")
            await limiter.calls(await people.identity.authenticate(callers[batch]))

        async def stream(batch: int) -> None:
            await call(batch)
            who = await people.identity.authenticate(callers[batch])
            (await limiter.stream(who, f"{ADDRESS}:{batch}", uuid7().hex)).release()

        async def message(batch: int) -> None:
            await limiter.admit(await people.identity.authenticate(callers[batch]), uuid7())

        async def unreserved(batch: int) -> None:
            for scope in Scope:
                await rates.take(Room(f"bench:{scope}:{batch}", "calls_per_minute", scope, ROOM), MINUTE, 1)

        works = {
            "the credential, if it was checked less than a second ago": check,
            "the credential and the limits of a call": call,
            "the credential and the limits of a call that opens a stream": stream,
            "the credential and the limits of a message": message,
            "the limits of a call for which nothing was reserved": unreserved,
        }
        return {what: await _times(work, batches) for what, work in works.items()}
