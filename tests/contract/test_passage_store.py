"""The passage store with concurrent sessions: the cache of vectors, long statements, and callers that disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, LiteralString

import numpy as np
import psycopg
from uuid_utils.compat import uuid7

from responsa_server.domain.people import Server
from responsa_server.search.retrieve import RetrievalQuery, Retriever
from responsa_server.stores.postgres.database import Connection
from responsa_server.stores.postgres.passages import PassageTable
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import IndexWriter, unit_vectors
from tests.contract.test_passages import BAKERY, HARBOUR, LIBRARY, texts
from tests.raising import raises


async def test_the_cache_returns_what_the_index_would_store(
    index_writer: IndexWriter, table: PassageTable
) -> None:
    vectors = unit_vectors(4, 2)
    known = {bytes([place]) * 32: vector.tobytes() for place, vector in enumerate(vectors)}
    async with index_writer.database.tenant("acme") as connection:
        await table.cache_vectors(connection, "acme", "model", known)
        await table.cache_vectors(connection, "acme", "model", known)
        found = await table.find_cached(connection, "acme", "model", [*known, b"\xff" * 32])
        assert found.keys() == known.keys()
        for place, digest in enumerate(known):
            assert np.abs(np.frombuffer(found[digest], "<f4") - vectors[place]).max() < 1e-3
        assert await table.find_cached(connection, "acme", "other", list(known)) == {}
    async with index_writer.database.tenant("rival") as connection:
        assert await table.find_cached(connection, "rival", "model", list(known)) == {}


def aged(urls: DatabaseUrls, tenant: str, days: int) -> None:
    urls.ask(
        "UPDATE responsa.embedding_cache SET use_time = now() - %s * interval '1 day' WHERE tenant_id = %s",
        days,
        tenant,
    )


def digests(number: int) -> list[bytes]:
    return [place.to_bytes(32, "big") for place in range(number)]


async def cached(index_writer: IndexWriter) -> int:
    async with index_writer.database.tenant(index_writer.tenant) as connection:
        cursor = await connection.execute("SELECT count(*) FROM responsa.embedding_cache")
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])


async def test_the_cache_forgets_what_nothing_asked_for_as_new_vectors_come(
    index_writer: IndexWriter, rival: IndexWriter, table: PassageTable, database_urls: DatabaseUrls
) -> None:
    vector = bytes(unit_vectors(4, 1)[0].tobytes())
    old = digests(600)
    for one in (index_writer, rival):
        async with one.database.tenant(one.tenant) as connection:
            await table.cache_vectors(connection, one.tenant, "model", dict.fromkeys(old, vector))
        aged(database_urls, one.tenant, 40)
    async with index_writer.database.tenant("acme") as connection:
        assert len(await table.find_cached(connection, "acme", "model", old[:10])) == 10
        await table.cache_vectors(connection, "acme", "model", {b"\xff" * 32: vector})
    assert await cached(index_writer) == 601 - 257
    async with index_writer.database.tenant("acme") as connection:
        for place in range(3):
            await table.cache_vectors(connection, "acme", "other", {bytes([place]) * 32: vector})
        left = await table.find_cached(connection, "acme", "model", [*old, b"\xff" * 32])
    assert left.keys() == {*old[:10], b"\xff" * 32}
    assert await cached(rival) == 600


async def test_workers_that_need_the_same_vectors_do_not_wait_for_each_other(
    index_writer: IndexWriter, table: PassageTable, database_urls: DatabaseUrls
) -> None:
    vector = bytes(unit_vectors(4, 1)[0].tobytes())
    known = digests(50)
    async with index_writer.database.tenant("acme") as connection:
        await table.cache_vectors(connection, "acme", "model", dict.fromkeys(known, vector))
    aged(database_urls, "acme", 2)
    async with index_writer.database.tenant("acme") as first, index_writer.database.tenant("acme") as second:
        for connection in (first, second):
            await connection.execute("SET LOCAL lock_timeout = '5s'")
        # Each session has locked the rows that the other session requests next.
        for connection, hashes in (
            (first, known[:30]),
            (second, known[20:]),
            (first, known),
            (second, known),
        ):
            assert len(await table.find_cached(connection, "acme", "model", hashes[::-1])) == len(hashes)
    old = "SELECT 1 FROM responsa.embedding_cache WHERE use_time < now() - interval '1 day'"
    assert database_urls.ask(old) == []


async def test_what_touches_a_whole_document_may_take_longer_than_other_statements(
    index_writer: IndexWriter, table: PassageTable
) -> None:
    document = uuid7()
    await index_writer.write(HARBOUR, document, 1)

    async def timeout(connection: Connection) -> str:
        row = await (await connection.execute("SHOW statement_timeout")).fetchone()
        assert row is not None
        return str(row[0])

    works: list[Callable[[Connection], Awaitable[None]]] = [
        lambda connection: table.discard(connection, "acme", document, 2),
        lambda connection: table.publish(connection, "acme", "default", document, 1),
        lambda connection: table.retire(connection, "acme", document, 1, []),
        lambda connection: table.delete(connection, "acme", "default", document),
        lambda connection: table.delete_collection(connection, "acme", "default"),
    ]
    for work in works:
        async with index_writer.database.tenant("acme") as connection:
            assert await timeout(connection) == "30s"
            await work(connection)
            assert await timeout(connection) == "10min"


BACKENDS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE usename = 'responsa_app' AND datname = current_database()"
)


def backends(urls: DatabaseUrls, condition: LiteralString = "") -> set[int]:
    """The database's backend processes that serve the app role's connections."""
    return {row[0] for row in urls.ask(BACKENDS + condition)}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other sessions send no signal
            await asyncio.sleep(0.02)


async def test_a_cancelled_search_ends_in_the_database_while_its_caller_is_free_at_once(
    index_writer: IndexWriter, retriever: Retriever, database_urls: DatabaseUrls
) -> None:
    await index_writer.put(HARBOUR)
    waiting: LiteralString = " AND wait_event_type = 'Lock'"
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("LOCK TABLE responsa.term_stat IN ACCESS EXCLUSIVE MODE")
        search = asyncio.create_task(retriever.retrieve(RetrievalQuery(Server("acme"), ["harbour"])))
        await until(lambda: len(backends(database_urls, waiting)) == 1)
        (backend,) = backends(database_urls, waiting)
        search.cancel()
        await raises(asyncio.CancelledError, search)
        assert backends(database_urls, waiting) == {backend}
    await until(lambda: backend in backends(database_urls, " AND state = 'idle'"))
    assert texts(await retriever.retrieve(RetrievalQuery(Server("acme"), ["harbour"]))) == [HARBOUR]


async def test_searches_cancelled_at_any_moment_leave_every_connection_as_it_was(
    index_writer: IndexWriter, retriever: Retriever, database_urls: DatabaseUrls
) -> None:
    for text in (HARBOUR, BAKERY, LIBRARY):
        await index_writer.put(text)
    started = asyncio.get_running_loop().time()
    found = await retriever.retrieve(RetrievalQuery(Server("acme"), ["harbour tide"]))
    took = asyncio.get_running_loop().time() - started
    await asyncio.gather(*(cached(index_writer) for _ in range(10)))
    before = backends(database_urls)
    random = np.random.default_rng(9)
    ended = 0
    for _ in range(25):
        searches = [
            asyncio.create_task(retriever.retrieve(RetrievalQuery(Server("acme"), ["harbour tide"])))
            for _ in range(4)
        ]
        for search, delay in zip(searches, random.uniform(0, 4 * took, len(searches)), strict=True):
            asyncio.get_running_loop().call_later(float(delay), search.cancel)
        ended += sum(
            isinstance(one, asyncio.CancelledError)
            for one in await asyncio.gather(*searches, return_exceptions=True)
        )
    assert ended
    await until(lambda: backends(database_urls, " AND state = 'idle'") >= before)
    again = await asyncio.gather(
        *(retriever.retrieve(RetrievalQuery(Server("acme"), ["harbour tide"])) for _ in range(20))
    )
    assert all(one.passages == found.passages for one in again)
    assert backends(database_urls) >= before
