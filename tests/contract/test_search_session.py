"""The reads of one search share a connection."""

from __future__ import annotations

import asyncio
from typing import Any, Final, LiteralString

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.passages import VECTORS_PART
from responsa_server.domain.people import Server
from responsa_server.stores.postgres.database import Database
from tests.conftest import DatabaseUrls
from tests.raising import raises

_WHERE: Final = "SELECT pg_backend_pid(), now(), current_setting('responsa.tenant_id')"
_LOCK: Final = "SELECT pg_advisory_xact_lock(4711)"


async def read(database: Database, tenant_id: str, query: LiteralString = _WHERE) -> tuple[Any, ...]:
    [[row]] = await database.search(Server(tenant_id), VECTORS_PART, [(query, {})], 4.0)
    return row


async def test_the_searches_of_a_session_are_one_transaction_of_its_tenant(database: Database) -> None:
    async with database.search_session(Server("acme")):
        first = await read(database, "acme")
        assert await read(database, "acme") == first
        assert (await read(database, "other"))[2] == "other"
    assert first[2] == "acme"
    assert (await read(database, "acme"))[1] > first[1]


async def test_a_search_that_fails_does_not_fail_those_after_it(database: Database) -> None:
    async with database.search_session(Server("acme")):
        first = await read(database, "acme")
        caught = await raises(Unavailable, read(database, "acme", "SELECT 1 / 0"))
        assert caught.metadata["part"] == VECTORS_PART
        after = await read(database, "acme")
        assert after[1] > first[1]
        assert after[2] == "acme"


async def test_a_session_whose_caller_is_cancelled_gives_its_connection_back(
    database: Database, database_urls: DatabaseUrls
) -> None:
    small = Database(database_urls.app, database_urls.log, size=1)
    await small.open()

    async def search() -> None:
        async with small.search_session(Server("acme")):
            await small.background.run(read(small, "acme", _LOCK))

    try:
        async with database.tenant("acme") as connection:
            await connection.execute(_LOCK)
            searching = asyncio.create_task(search())
            while True:
                waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                cursor = await connection.execute(waits)
                if (await cursor.fetchone()) == (1,):
                    break
            searching.cancel()
            await raises(asyncio.CancelledError, searching)
        async with asyncio.timeout(20):
            assert (await read(small, "other"))[2] == "other"
    finally:
        await small.close()
