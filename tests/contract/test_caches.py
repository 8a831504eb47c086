"""The caches in Redis. Two servers share them, and a change at one server counts at the next call of the other (ADR 0076)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import (
    Chunking,
    CollectionFields,
    CollectionReader,
    DocumentChanges,
    SearchMode,
)
from responsa_server.domain.people import Principal
from responsa_server.search.embedder import QuestionEmbedder
from responsa_server.search.retrieve import Retrieval, RetrievalQuery, Retriever
from responsa_server.stores import redis
from responsa_server.stores.cached import (
    MOST_BYTES,
    RAW,
    Entry,
    SharedCache,
    Value,
    plain,
)
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.redis import RedisCache
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import lexical_of
from tests.contract.library_harness import Harness
from tests.contract.test_access import ELBE, RHINE, put, share


class Counted(SharedCache[Value]):
    """A cache that remembers what became of its last lookups: hits and misses."""

    last = (0, 0)

    def count(self, hits: int, misses: int) -> None:
        super().count(hits, misses)
        self.last = hits, misses


@dataclass
class Servers:
    """Makes the caches of as many servers as a test needs, over one Redis."""

    redis: RedisCache

    def cache(
        self, kind: str, codec: Any = RAW, seconds: int = 60, secret: bytes = b"secret"
    ) -> Counted[Any]:
        return Counted(self.redis, kind, seconds, codec, secret)

    async def keys(self) -> list[str]:
        return [key.decode() async for key in self.redis._client.scan_iter("caches-test:*")]


@pytest.fixture
async def servers(
    database_urls: DatabaseUrls, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Servers]:
    del database_urls  # PostgreSQL starts before Redis, because it brings the passwords of both
    # On a busy machine, Redis may answer later than the cache waits, and entries would then seem to be missing.
    monkeypatch.setattr(redis, "PATIENCE", 30.0)
    cache = RedisCache(redis_url, "caches-test:")
    yield Servers(cache)
    await cache.forget("")
    await cache.close()


def searching(harness: Harness, results: SharedCache[Retrieval]) -> Retriever:
    """The search of a server."""
    return Retriever(lexical_of(harness.database), harness.embedders, cached_results=results)


def described(result: Retrieval) -> bytes:
    """What a result contains; a result from the cache has lists in place of tuples."""
    return plain(Retrieval).encode(result)


async def test_an_entry_that_is_not_what_was_stored_is_a_miss(servers: Servers) -> None:
    here = servers.cache("kind")
    await here.put("acme", {"a": Entry(b"1", b"value"), "large": Entry(b"", bytes(MOST_BYTES + 1))})
    (name,) = await servers.keys()
    assert await servers.cache("kind").get("acme", ["a", "large"]) == {"a": Entry(b"1", b"value")}
    # Neither another tenant, nor another kind, nor a server with another secret finds it.
    assert await here.get("rival", ["a"]) == {}
    assert await servers.cache("other").get("acme", ["a"]) == {}
    assert await servers.cache("kind", secret=b"another").get("acme", ["a"]) == {}
    name = name.removeprefix("caches-test:")
    (stored,) = (await servers.redis.get([name])).values()
    await servers.redis.put({name.replace("acme", "rival"): stored}, 60)
    assert await here.get("rival", ["a"]) == {}
    for poison in (b"", b"\xff", stored[:-1], stored + b"x", bytes(len(stored))):
        await servers.redis.put({name: poison}, 60)
        assert await here.get("acme", ["a"]) == {}
    number = servers.cache("kind", plain(ByteRange))
    await here.put("acme", {"a": Entry(b"", b"no msgpack")})
    assert await number.get("acme", ["a"]) == {}


async def test_with_a_ttl_of_0_no_key_is_written(harness: Harness, servers: Servers) -> None:
    off = {kind: servers.cache(kind, seconds=0) for kind in ("vectors", "searches")}
    await QuestionEmbedder(harness.embedder, off["vectors"]).embed("acme", ["Elbe"])
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    await put(harness, harness.ann, ELBE)
    index = lexical_of(harness.database)
    found = await Retriever(index, harness.embedders, off["vectors"], off["searches"]).retrieve(
        RetrievalQuery(harness.ann, ["Elbe"])
    )
    assert found.passages
    assert await servers.keys() == []


async def test_a_cached_search_ends_with_every_change_at_another_server(
    harness: Harness, servers: Servers
) -> None:
    library, ann, bob = harness.library, harness.ann, harness.bob
    here, there = servers.cache("searches", plain(Retrieval)), servers.cache("searches", plain(Retrieval))
    first, second = searching(harness, here), searching(harness, there)

    asked: list[Principal] = []

    async def documents_found(*, hit: bool, caller: Principal = bob) -> set[UUID]:
        """What the second server finds: the same as a search without a cache, and from the cache only if `hit`."""
        if caller not in asked:
            # A server caches what it is asked for again.
            for server in (first, second):
                await server.retrieve(
                    RetrievalQuery(caller, ["How long is the river?"], mode=SearchMode.TEXT)
                )
            asked.append(caller)
        result = await second.retrieve(
            RetrievalQuery(caller, ["How long is the river?"], mode=SearchMode.TEXT)
        )
        assert there.last == (int(hit), int(not hit))
        uncached = await searching(harness, servers.cache("searches", seconds=0)).retrieve(
            RetrievalQuery(caller, ["How long is the river?"], mode=SearchMode.TEXT)
        )
        assert described(result) == described(uncached)
        # Then both servers have it in the cache.
        await first.retrieve(RetrievalQuery(caller, ["How long is the river?"], mode=SearchMode.TEXT))
        assert here.last == (1, 0)
        return {one.found.passage.document_id for one in result.passages}

    await library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    elbe = await put(harness, ann, ELBE)
    await share(harness, ann, CollectionReader(user_id=bob.user_id))
    assert await documents_found(hit=False) == await documents_found(hit=True) == {elbe}
    # Nobody gets what was cached for another reader.
    assert await documents_found(hit=False, caller=ann) == {elbe}
    assert await documents_found(hit=False, caller=harness.eve) == set()

    rhine = await put(harness, ann, RHINE, "b.md")
    assert await documents_found(hit=False) == await documents_found(hit=True) == {elbe, rhine}
    await library.update_document(ann, rhine, DocumentChanges(title="Of the Rhine"))
    await harness.finish_jobs()
    assert await documents_found(hit=False) == await documents_found(hit=True) == {elbe, rhine}
    await library.update_collection(ann, "rivers", CollectionFields(synonyms="river, stream"))
    assert await documents_found(hit=False) == {elbe, rhine}
    harness.ask("UPDATE responsa.app_user SET subject = 'bob' WHERE id = %s", bob.user_id)
    assert await documents_found(hit=False) == {elbe, rhine}
    await share(harness, ann)
    assert await documents_found(hit=False) == set()
    await share(harness, ann, CollectionReader(user_id=bob.user_id))
    assert await documents_found(hit=False) == {elbe, rhine}
    await library.delete_document(ann, rhine)
    assert await documents_found(hit=False) == {elbe}
    # What was cached before the end of a membership is not what a search finds when it begins again.
    groups = PostgresGroups(harness.database, uuid7)
    group = (await groups.create(ann, {"display_name": "Sales"})).id
    await share(harness, ann, CollectionReader(group_id=group))
    for _ in range(2):
        await groups.add(ann, group, [bob.user_id])
        assert await documents_found(hit=False) == await documents_found(hit=True) == {elbe}
        await groups.remove(ann, group, [bob.user_id])
        assert await documents_found(hit=False) == set()
    await groups.add(ann, group, [bob.user_id])
    assert await documents_found(hit=False) == {elbe}
    await library.delete_collection(ann, "rivers", force=True)
    assert await documents_found(hit=False) == set()


async def test_a_search_by_names_of_collections_is_not_ended_by_others(
    harness: Harness, servers: Servers
) -> None:
    cache = servers.cache("searches", plain(Retrieval))
    search = searching(harness, cache)
    for name in ("rivers", "lakes"):
        await harness.library.create_collection(harness.ann, name, CollectionFields(name), Chunking())
    await put(harness, harness.ann, ELBE)

    async def cached() -> bool:
        await search.retrieve(RetrievalQuery(harness.ann, ["Elbe"], ["rivers"], mode=SearchMode.TEXT))
        return cache.last == (1, 0)

    assert not await cached()
    assert not await cached()
    await put(harness, harness.ann, RHINE, "b.md", "lakes")
    assert await cached()
    await put(harness, harness.ann, RHINE, "b.md")
    assert not await cached()
