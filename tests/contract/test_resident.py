"""Searches in memory: they find what the database finds, and end with every change, at the next search."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from bench.documentation import pages
from responsa_server.domain.knowledge import (
    Chunking,
    CollectionFields,
    CollectionReader,
    DocumentChanges,
    SearchMode,
)
from responsa_server.domain.passages import SearchScope
from responsa_server.domain.people import Principal
from responsa_server.search import resident
from responsa_server.search.resident import ResidentIndex, Residents
from responsa_server.search.retrieve import Retrieval, RetrievalQuery, Retriever
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.postgres.resident import CollectionStamp, ResidentStore
from tests.contract.index_writer import lexical_of
from tests.contract.library_harness import Harness
from tests.contract.test_access import ELBE, EVERYONE, RHINE, admin_of, put, share

QUESTION = "How long is the river?"
QUESTIONS = (
    "How do I back up an instance?",
    "Wie lange werden Fragen aufbewahrt?",
    "バックアップはどこにありますか Redis",
    "What happens to an answer when the server is killed?",
    "RESPONSA_LIMITS__WITHOUT_REDIS",
    "the of and",
)


class Counting(Residents):
    """Records whether the searches in memory held. before: is awaited between a search in memory and the statement that decides."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(ResidentStore(harness.database, search_seconds=4.0), 1 << 30)
        self.held: list[bool] = []
        self.before: Callable[[], Awaitable[object]] | None = None

    async def holds(
        self, scope: SearchScope, stamps: Sequence[CollectionStamp], ids: Collection[UUID]
    ) -> bool:
        if self.before is not None:
            await self.before()
        self.held.append(await super().holds(scope, stamps, ids))
        return self.held[-1]


@dataclass
class Searching:
    """A server that keeps collections in memory, and one that does not."""

    harness: Harness
    residents: Counting
    hot: Retriever
    cold: Retriever

    async def warm(self, caller: Principal, *names: str) -> ResidentIndex:
        """Wait until the collections are in memory."""
        scope = SearchScope(caller, names or None)
        while (index := self.residents.index(scope)) is None:
            await self.residents.background.drain()
        return index

    async def searched(self, caller: Principal, *, held: bool | None) -> set[UUID]:
        """What a search finds: the same as in the database. held: whether memory answers; None if it is not asked."""
        self.residents.held.clear()
        result = await self.hot.retrieve(RetrievalQuery(caller, [QUESTION]))
        # Where no collection is left, the search begins again without a model, and then holds.
        assert self.residents.held[:1] == ([] if held is None else [held])
        same(result, await self.cold.retrieve(RetrievalQuery(caller, [QUESTION])))
        return {one.found.passage.document_id for one in result.passages}


@pytest.fixture
async def searching(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Searching]:
    monkeypatch.setattr(resident, "_AGAIN_SECONDS", 0.0)
    index = lexical_of(harness.database)
    residents = Counting(harness)
    hot = Retriever(index, harness.embedders, residents=residents)
    yield Searching(harness, residents, hot, Retriever(index, harness.embedders))
    await residents.close()


def same(mine_all: Retrieval, other: Retrieval) -> None:
    """Both have the same passages in the same order, and the same of everything but the last digits of scores."""
    assert [each.found.passage for each in mine_all.passages] == [
        each.found.passage for each in other.passages
    ]
    for mine, theirs in zip(mine_all.passages, other.passages, strict=True):
        assert mine.score.total == pytest.approx(theirs.score.total, abs=2e-4)
        assert mine.score.bm25 == pytest.approx(theirs.score.bm25)
        assert [(piece.kind, piece.source) for piece in mine.found.pieces] == [
            (piece.kind, piece.source) for piece in theirs.found.pieces
        ]
        assert [piece.cosine for piece in mine.found.pieces] == pytest.approx(
            [piece.cosine for piece in theirs.found.pieces], abs=1e-4
        )
    assert mine_all.readings == other.readings
    assert (mine_all.kinds, mine_all.text_only, mine_all.embedding_tokens) == (
        other.kinds,
        other.text_only,
        other.embedding_tokens,
    )


async def test_memory_finds_what_the_database_finds(searching: Searching) -> None:
    harness, ann = searching.harness, searching.harness.ann
    await harness.library.create_collection(ann, "docs", CollectionFields("Docs"), Chunking())
    await harness.library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    for name, text in list(pages().items())[:2]:
        await put(harness, ann, text[:6_000], name, "docs")
    await put(harness, ann, ELBE)
    await harness.library.update_collection(
        ann, "docs", CollectionFields(synonyms="server, instance\nanswer, reply, final word")
    )
    for names in ((), ("docs",), ("rivers", "docs")):
        await searching.warm(ann, *names)
        # The collections decide what is searched, and not how.
        for mode in (SearchMode.HYBRID,) if names else SearchMode:
            for question in QUESTIONS:
                searching.residents.held.clear()
                query = RetrievalQuery(
                    ann, [question], names or None, mode=mode, expansions=("killed", "backup")
                )
                result = await searching.hot.retrieve(query)
                assert searching.residents.held == [True]
                same(result, await searching.cold.retrieve(query))
                passages = [each.found.passage for each in result.passages]
                wanted = [each.id for each in passages], [each.document_id for each in passages]
                near = searching.residents.surroundings(ann, *wanted)
                assert near == await searching.cold.lexical.surroundings(ann, *wanted)


async def test_every_change_counts_at_the_next_search(searching: Searching) -> None:
    harness, ann, bob = searching.harness, searching.harness.ann, searching.harness.bob
    library, searched = harness.library, searching.searched

    async def changed(change: Awaitable[object], after: set[UUID]) -> None:
        """Memory answers before the change, the database right after it."""
        await searching.warm(bob)
        await searched(bob, held=True)
        await change
        assert await searched(bob, held=False) == after

    await library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    elbe = await put(harness, ann, ELBE)
    await changed(share(harness, ann, CollectionReader(user_id=bob.user_id)), {elbe})
    await searching.warm(bob)
    rhine = await put(harness, ann, RHINE, "b.md")
    assert await searched(bob, held=False) == {elbe, rhine}
    await library.update_document(ann, rhine, DocumentChanges(title="Of the Rhine"))
    await changed(harness.finish_jobs(), {elbe, rhine})
    await changed(
        library.update_collection(ann, "rivers", CollectionFields(synonyms="river, stream")), {elbe, rhine}
    )
    await changed(library.delete_document(ann, rhine), {elbe})
    await changed(share(harness, ann), set())
    groups = PostgresGroups(harness.database, uuid7)
    group = (await groups.create(ann, {"display_name": "Sales"})).id
    await share(harness, ann, CollectionReader(group_id=group))
    await changed(groups.add(ann, group, [bob.user_id]), {elbe})
    await changed(groups.remove(ann, group, [bob.user_id]), set())
    await share(harness, ann, CollectionReader(user_id=bob.user_id))
    await searched(bob, held=False)
    await changed(library.delete_collection(ann, "rivers", force=True), set())


async def test_what_changes_while_memory_is_searched_is_searched_again(searching: Searching) -> None:
    harness, ann, bob = searching.harness, searching.harness.ann, searching.harness.bob
    await harness.library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    elbe = await put(harness, ann, ELBE)
    await share(harness, ann, CollectionReader(user_id=bob.user_id))
    for change, after in (
        (lambda: put(harness, ann, RHINE, "b.md"), 2),
        (lambda: harness.library.delete_document(ann, elbe), 1),
        (lambda: share(harness, ann), 0),
    ):
        await searching.warm(bob)
        searching.residents.before = change
        searching.residents.held.clear()
        result = await searching.hot.retrieve(RetrievalQuery(bob, [QUESTION]))
        searching.residents.before = None
        assert not searching.residents.held[0]
        assert len({one.found.passage.document_id for one in result.passages}) == after


async def test_lost_connections_between_two_questions_change_nothing(searching: Searching) -> None:
    harness, ann = searching.harness, searching.harness.ann
    await harness.library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    elbe = await put(harness, ann, ELBE)

    def lose_connections() -> None:
        harness.urls.ask(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    await searching.warm(ann)
    assert await searching.searched(ann, held=True) == {elbe}
    lose_connections()
    assert await searching.searched(ann, held=True) == {elbe}
    rhine = await put(harness, ann, RHINE, "b.md")
    lose_connections()
    assert await searching.searched(ann, held=False) == {elbe, rhine}


async def test_documents_about_persons_stay_in_the_database(searching: Searching) -> None:
    harness, ann, bob = searching.harness, searching.harness.ann, searching.harness.bob
    admin = admin_of(harness)
    await harness.library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    elbe = await put(harness, ann, ELBE)
    await share(harness, ann, EVERYONE)
    for caller in (ann, bob):
        await searching.warm(caller)
    about = await put(harness, admin, RHINE, "b.md", subject=f"users/{bob.user_id}")
    assert await searching.searched(ann, held=False) == {elbe}
    assert await searching.searched(bob, held=None) == {elbe, about}
    await searching.residents.background.drain()
    for caller, documents in ((ann, {elbe}), (bob, {elbe, about})):
        assert searching.residents.index(SearchScope(caller)) is None
        await searching.residents.background.drain()
        assert await searching.searched(caller, held=None) == documents
    await harness.library.update_document(admin, about, DocumentChanges(subject=""))
    await searching.warm(ann)
    assert await searching.searched(ann, held=True) == {elbe, about}


async def test_nothing_is_kept_beyond_the_limit(searching: Searching) -> None:
    harness, ann = searching.harness, searching.harness.ann
    await harness.library.create_collection(ann, "rivers", CollectionFields("Rivers"), Chunking())
    await put(harness, ann, ELBE)
    for most in (0, 1_000):
        residents = Residents(ResidentStore(harness.database, search_seconds=4.0), most)
        for _ in range(3):
            assert residents.index(SearchScope(ann)) is None
            await residents.background.drain()
