"""One contract for every vector index. The transactions that write the passages also write PostgreSQL's index. The ingestion job writes Qdrant's: in the client's local mode, which compares
all vectors, and in the server at QDRANT_URL if there is one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import DocumentRejected, Reason, Unavailable
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import CanonicalText, Chunking, IngestClaim, Ingestions, OwnershipLost
from responsa_server.domain.passages import (
    DocumentSet,
    IndexingAttempt,
    NewPassage,
    Passage,
    PassageVector,
    PassageVectors,
    QuestionVector,
    SearchScope,
    VectorIndex,
    VectorKind,
)
from responsa_server.domain.people import Principal, Server
from responsa_server.ingest.analysing import Analysing
from responsa_server.ingest.indexing import Indexers
from responsa_server.ingest.jobs import KnowledgeJobs, VectorPublishing
from responsa_server.ingest.rebuilding import Rebuild
from responsa_server.search.embedder import OneEmbedder
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.generations import GenerationBuildStore
from responsa_server.stores.postgres.operations import IngestionStore, OperationStore
from responsa_server.stores.postgres.passages import PassageWordsStore, PostgresLexicalIndex
from responsa_server.stores.postgres.vectors import EXACT_PASSAGES
from responsa_server.stores.qdrant import QdrantOptions, QdrantVectors, Quantization, connect
from tests.contract.conftest import People
from tests.contract.library_house import House
from tests.contract.shelf import lexical_of, vectors_of
from tests.unit.ingest.in_memory import InMemory

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
QDRANT_URL: Final = os.environ.get("QDRANT_URL", "")
QDRANTS: Final = ["local", "server"] if QDRANT_URL else ["local"]
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]

FIRST = "The harbour master keeps the tide table."
SECOND = "The bakery opens at six in the morning."


@dataclass
class Store:
    """A library that keeps its vectors in the index under test."""

    house: House
    index: VectorIndex
    ingestions: Ingestions
    documents: DocumentStore
    collections: CollectionStore
    qdrant: QdrantVectors | None

    @property
    def lexical(self) -> PostgresLexicalIndex:
        return lexical_of(self.house.database)

    @property
    def retriever(self) -> Retriever:
        return Retriever(self.lexical, self.index, OneEmbedder(self.house.embedder))

    def jobs(self) -> KnowledgeJobs:
        house = self.house
        ingest = house.ingest(ingestions=house.ingestions)
        return KnowledgeJobs(house.queue, ingest, self.documents, house.operations, vectors=self.qdrant)

    def question(self, vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> QuestionVector:
        return QuestionVector(self.house.embedder.name, vector.astype("<f4").tobytes())

    async def begin(self, who: Principal, key: str, text: str, collection: str = "default") -> IngestClaim:
        """Accept a document and claim its operation."""
        operation = await self.house.upload(who, text, key, collection=collection)
        return await self.claim(who, operation.id)

    async def claim(self, who: Principal, operation_id: UUID) -> IngestClaim:
        task = await self.ingestions.begin(who.tenant_id, operation_id)
        assert task is not None
        return task.claim

    async def write(self, claim: IngestClaim, vectors: Vectors) -> list[UUID]:
        """Write one passage for each vector. The passage has a window and a sentence, both with that vector."""
        text = CanonicalText(InMemory(b"harbour " * len(vectors)), "", "text/plain", "en", "TEXT")
        await self.ingestions.parsed(claim, text, len(vectors))
        new = [passage(claim, ordinal, vector) for ordinal, vector in enumerate(vectors)]
        await self.ingestions.write(claim, new, len(new))
        return [one.passage.id for one in new]

    async def put(
        self, who: Principal, key: str, vectors: Vectors, collection: str = "default"
    ) -> tuple[IngestClaim, list[UUID]]:
        """Write a searchable document with these vectors."""
        claim = await self.begin(who, key, f"{key} {uuid7()}", collection)
        ids = await self.write(claim, vectors)
        assert await self.ingestions.publish(claim)
        return claim, ids

    async def candidates(
        self,
        tenant: str,
        vector: np.ndarray[tuple[int], np.dtype[np.float32]],
        limit: int = 100,
        collections: Sequence[str] | None = None,
    ) -> set[UUID]:
        """The candidates of a search by this vector only. They are the nearest passages that the lexical index confirms."""
        server = Server(tenant)
        meant = None if collections is None else await self.lexical.meant(server, collections)
        scope = SearchScope(server, meant)
        nearest = await self.index.nearest(scope, self.question(vector), limit)
        found = await self.lexical.candidates(scope, (), nearest)
        return {one.id for one in found}


def passage(
    claim: IngestClaim, ordinal: int, vector: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> NewPassage:
    source = ByteRange(8 * ordinal, 8 * ordinal + 7)
    data = vector.astype("<f4").tobytes()
    opposite = (-vector).astype("<f4").tobytes()
    return NewPassage(
        Passage(uuid7(), claim.collection_id, claim.document_id, claim.version, "", "", source, "harbour"),
        ordinal,
        "en",
        1,
        "'harbour':1",
        1,
        [
            PassageVector(VectorKind.WINDOW, source, data),
            PassageVector(VectorKind.HEADING, source, opposite),
            PassageVector(VectorKind.SENTENCE, source, data),
        ],
    )


def vectors(seed: int, count: int) -> Vectors:
    made = np.random.default_rng(seed).normal(size=(count, 384)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@asynccontextmanager
async def qdrant_at(place: str, made: type[QdrantVectors] = QdrantVectors) -> AsyncGenerator[QdrantVectors]:
    server = place == "server"
    client = (
        connect(QDRANT_URL, os.environ.get("QDRANT_API_KEY", "")) if server else AsyncQdrantClient(":memory:")
    )
    store = made(client, QdrantOptions(f"test_{uuid4().hex}", 4.0, 16, 64, 100, Quantization.INT8))
    yield store
    for name in await store._collections():
        await client.delete_collection(name)
    await store.close()


async def size(store: QdrantVectors) -> int:
    """The number of vectors, published or not."""
    counts = [await store._client.count(name, exact=True) for name in await store._collections()]
    return sum(one.count for one in counts)


@pytest.fixture(params=["postgres", *QDRANTS])
async def store(request: pytest.FixtureRequest, house: House, people: People) -> AsyncGenerator[Store]:
    for who in (people.ann, people.eve):
        await house.library.create_collection(who, "default", "", Chunking(64, 0))
        await house.library.create_collection(who, "other", "", Chunking(64, 0))
    if request.param == "postgres":
        yield Store(
            house,
            vectors_of(house.database),
            house.ingestions,
            house.documents,
            house.collections,
            None,
        )
        return
    async with qdrant_at(request.param) as qdrant:
        yield in_qdrant(house, qdrant)


def in_qdrant(house: House, qdrant: QdrantVectors) -> Store:
    stored = IngestionStore(house.database, house.queue, prune_after=0.0, vectors=False)
    return Store(
        house,
        qdrant,
        VectorPublishing(stored, qdrant),
        DocumentStore(house.database, house.queue, uuid7, external_vectors=True),
        CollectionStore(house.database, house.queue),
        qdrant,
    )


async def test_the_nearest_are_found_and_no_more_than_asked_for(store: Store, people: People) -> None:
    own = vectors(1, 40)
    _, ids = await store.put(people.ann, "a.md", own)
    # This vector is near five passages, each with two equal vectors, and far from all other passages.
    wanted = own[:5].sum(axis=0)
    best = set(ids[:5])
    assert await store.candidates("acme", wanted, limit=10) == best
    assert await store.candidates("acme", own[3], limit=2) == {ids[3]}


async def test_only_published_vectors_are_found_and_the_newest_version_replaces_the_former(
    store: Store, people: People
) -> None:
    first = await store.begin(people.ann, "a.md", "one")
    one = await store.write(first, vectors(1, 3))
    wanted = vectors(1, 3)[0]
    assert await store.candidates("acme", wanted) == set()
    assert await store.ingestions.publish(first)
    assert await store.candidates("acme", wanted) == set(one)
    second = await store.begin(people.ann, "a.md", "two")
    two = await store.write(second, vectors(2, 3))
    assert await store.candidates("acme", wanted) == set(one)
    assert await store.ingestions.publish(second)
    assert await store.candidates("acme", wanted) == set(two)
    assert not set(one) & set(
        await store.index.nearest(SearchScope(Server("acme")), store.question(wanted), 100)
    ), "older vectors are removed"


async def test_a_version_that_a_newer_one_has_overtaken_leaves_nothing(store: Store, people: People) -> None:
    first = await store.begin(people.ann, "a.md", "one")
    await store.write(first, vectors(1, 3))
    _, two = await store.put(people.ann, "a.md", vectors(2, 3))
    assert not await store.ingestions.publish(first)
    wanted = vectors(1, 1)[0]
    assert await store.candidates("acme", wanted) == set(two)
    assert set(await store.index.nearest(SearchScope(Server("acme")), store.question(wanted), 100)) == set(
        two
    )


async def test_a_failed_or_repeated_attempt_leaves_nothing(store: Store, people: People) -> None:
    claim = await store.begin(people.ann, "a.md", "one")
    await store.write(claim, vectors(1, 3))
    again = await store.claim(people.ann, claim.operation_id)
    ids = await store.write(again, vectors(2, 2))
    with pytest.raises(OwnershipLost):
        await store.write(claim, vectors(1, 3))
    with pytest.raises(OwnershipLost):
        await store.ingestions.publish(claim)
    assert await store.ingestions.publish(again)
    assert await store.candidates("acme", vectors(1, 1)[0]) == set(ids)
    assert set(await store.index.pieces(Server("acme"), ids, None)) == set(ids)
    failed = await store.begin(people.ann, "b.md", "two")
    lost = await store.write(failed, vectors(3, 2))
    await store.ingestions.fail(failed, DocumentRejected(Reason.DOCUMENT_EMPTY, "It is empty."))
    assert await store.candidates("acme", vectors(3, 1)[0]) == set(ids)
    assert await store.index.pieces(Server("acme"), lost, None) == {}


async def test_tenants_and_collections_are_kept_apart(store: Store, people: People) -> None:
    same = vectors(1, 2)
    _, ours = await store.put(people.ann, "a.md", same)
    _, other = await store.put(people.ann, "b.md", same, "other")
    _, theirs = await store.put(people.eve, "a.md", same)
    assert await store.candidates("acme", same[0]) == {*ours, *other}
    assert await store.candidates("acme", same[0], collections=["other"]) == set(other)
    assert await store.candidates("acme", same[0], collections=["nowhere"]) == set()
    assert await store.candidates("rival", same[0]) == set(theirs)
    assert await store.candidates("nobody", same[0]) == set()
    question = store.question(same[0])
    every = [*ours, *other, *theirs]
    assert set(await store.index.nearest(SearchScope(Server("acme")), question, 1, every)) == {*ours, *other}
    assert set(await store.index.pieces(Server("rival"), every, None)) == set(theirs)
    # Whatever the vector index returns, the lexical index confirms only passages that the caller may read.
    [default] = await store.lexical.meant(people.ann, ["default"])
    confirmed = await store.lexical.candidates(SearchScope(Server("acme"), [default]), (), every)
    assert {one.id for one in confirmed} == set(ours)


async def test_only_passages_of_the_named_documents_are_found(store: Store, people: People) -> None:
    same = vectors(1, 2)
    first, ours = await store.put(people.ann, "a.md", same)
    second, more = await store.put(people.ann, "b.md", same, "other")
    theirs, _ = await store.put(people.eve, "a.md", same)
    question = store.question(same[0])
    for documents, expected in (
        ([first.document_id], ours),
        ([first.document_id, second.document_id], [*ours, *more]),
        ([theirs.document_id, uuid7()], []),
        ([], []),
    ):
        for passages in (len(expected), EXACT_PASSAGES + 1):
            scope = SearchScope(Server("acme"), None, DocumentSet.of(documents, passages))
            assert set(await store.index.nearest(scope, question, 100)) == set(expected)


async def test_the_cosines_of_named_passages_are_exact(store: Store, people: People) -> None:
    own = vectors(1, 4)
    _, ids = await store.put(people.ann, "a.md", own)
    wanted = vectors(2, 1)[0]
    near = store.question(own[1])
    assert set(await store.index.nearest(SearchScope(Server("acme")), near, 1)) == {ids[1]}
    assert set(await store.index.nearest(SearchScope(Server("acme")), near, 1, [ids[2], uuid7()])) == {
        ids[1],
        ids[2],
    }
    found = await store.index.nearest(
        SearchScope(Server("acme")), store.question(wanted), 100, [ids[2], ids[0]]
    )
    assert set(found) == set(ids)
    for place in (0, 2):
        cosine = float(own[place] @ wanted)
        assert found[ids[place]].window == pytest.approx(cosine, abs=2e-3)
        assert found[ids[place]].piece == pytest.approx(abs(cosine), abs=2e-3)
    pieces = (await store.index.pieces(Server("acme"), [ids[1]], store.question(wanted)))[ids[1]]
    assert [piece.kind for piece in pieces] == [VectorKind.HEADING, VectorKind.SENTENCE]
    assert pieces[0].cosine == pytest.approx(-float(own[1] @ wanted), abs=2e-3)
    assert [one.cosine for one in (await store.index.pieces(Server("acme"), [ids[1]], None))[ids[1]]] == [
        None,
        None,
    ]
    assert (pieces[1].source.start, pieces[1].source.end) == (8, 15)


async def test_vectors_of_another_model_are_neither_found_nor_compared(store: Store, people: People) -> None:
    _, ids = await store.put(people.ann, "a.md", vectors(1, 2))
    other = QuestionVector("another/1", vectors(1, 1)[0].astype("<f4").tobytes())
    assert await store.index.nearest(SearchScope(Server("acme")), other, 10, ids) == {}
    pieces = await store.index.pieces(Server("acme"), ids, other)
    assert {one.cosine for found in pieces.values() for one in found} == {None}


async def test_deleted_documents_and_collections_are_found_no_more_and_their_vectors_go(
    store: Store, people: People
) -> None:
    claim, ids = await store.put(people.ann, "a.md", vectors(1, 2))
    _, rest = await store.put(people.ann, "b.md", vectors(2, 2))
    other, _ = await store.put(people.ann, "c.md", vectors(3, 2), "other")
    await store.documents.delete("acme", claim.document_id, "")
    await store.collections.delete(people.ann, "other", "", force=True)
    assert await store.candidates("acme", vectors(1, 1)[0]) == set(rest)
    jobs = store.jobs()
    for document in (claim.document_id, other.document_id):
        assert await jobs.prune("acme", document, 0) is None
    nearest = await store.index.nearest(SearchScope(Server("acme")), store.question(vectors(1, 1)[0]), 100)
    assert set(nearest) == set(rest)
    assert await store.index.pieces(Server("acme"), ids, None) == {}


async def test_a_cancelled_first_version_leaves_no_vectors(house: House, people: People) -> None:
    async with qdrant_at("local") as qdrant:
        store = in_qdrant(house, qdrant)
        claim = await store.begin(people.ann, "a.md", "one")
        await store.write(claim, vectors(1, 3))
        assert await size(qdrant) == 9
        await OperationStore(house.database, house.queue, external_vectors=True).cancel(
            "acme", claim.operation_id
        )
        [(document,)] = house.ask(
            "SELECT args ->> 'id' FROM procrastinate_jobs WHERE task_name = 'responsa.prune'"
        )
        assert await store.jobs().prune("acme", UUID(document), 0) is None
        assert await size(qdrant) == 0


class Killed(BaseException):
    """Simulates the death of the process: no code of the process runs after it."""


class CutVectors(QdrantVectors):
    """A vector store that simulates the death of the process before or after a call."""

    cut: Callable[[str], bool] = staticmethod(lambda _: False)

    def _at(self, place: str) -> None:
        if self.cut(place):
            self.cut = lambda _: False
            raise Killed(place)

    async def put(self, attempt: IndexingAttempt, passages: Sequence[PassageVectors]) -> None:
        self._at("before put")
        await super().put(attempt, passages)
        self._at("after put")

    async def publish(self, attempt: IndexingAttempt) -> None:
        self._at("before publish")
        await super().publish(attempt)
        self._at("after publish")

    async def drop_versions(self, tenant_id: str, document_id: UUID, before_version: int | None) -> None:
        self._at("before drop")
        await super().drop_versions(tenant_id, document_id, before_version)
        self._at("after drop")


async def searched(store: Store, question: str) -> list[str]:
    found = await store.retriever.search(Server("acme"), [question])
    assert len({one.found.passage.id for one in found.passages}) == len(found.passages)
    assert all(one.score.vector is not None for one in found.passages), "a passage has no vectors"
    return [one.found.passage.text for one in found.passages]


@pytest.mark.parametrize(
    "place", ["before put", "after put", "before publish", "after publish", "before drop", "after drop"]
)
async def test_a_worker_that_is_killed_leaves_all_of_one_version_searched(
    house: House, people: People, place: str
) -> None:
    """Until the new version is committed, searches use the whole former version; after that they use the new version.
    The retry publishes the missing vectors.
    """
    await house.library.create_collection(people.ann, "default", "", Chunking(64, 0))
    async with qdrant_at("local", CutVectors) as cut:
        assert isinstance(cut, CutVectors)
        store = in_qdrant(house, cut)

        async def attempt(operation: UUID) -> None:
            indexed = house.ingest(ingestions=house.ingestions)
            indexed._ingestions = store.ingestions
            await indexed.run("acme", operation)

        first = await house.upload(people.ann, FIRST, "a.md")
        await attempt(first.id)
        assert await searched(store, "Who keeps the tide table?") == [FIRST]
        before = await size(cut)
        second = await house.upload(people.ann, SECOND, "a.md")
        cut.cut = lambda at: at == place
        with pytest.raises(Killed):
            await attempt(second.id)
        committed = place.endswith("drop")
        assert await searched(store, "Who keeps the tide table and when does the bakery open?") == (
            [SECOND] if committed else [FIRST]
        )
        await attempt(second.id)
        assert await searched(store, "When does the bakery open?") == [SECOND]
        await store.jobs().prune("acme", first.document_id, 0)
        assert await searched(store, "When does the bakery open?") == [SECOND]
        assert 0 < await size(cut) <= before + 2
    document = await house.documents.get(Server("acme"), first.document_id)
    assert (document.version, document.passage_count) == (2, 1)


@pytest.mark.parametrize("place", QDRANTS)
async def test_lost_vectors_are_computed_again_from_the_database(
    house: House, people: People, place: str
) -> None:
    await house.library.create_collection(people.ann, "default", "", Chunking(64, 0))
    async with qdrant_at(place) as qdrant:
        store = in_qdrant(house, qdrant)
        indexed = house.ingest(ingestions=house.ingestions)
        indexed._ingestions = store.ingestions
        for key, text in (("a.md", FIRST), ("b.md", SECOND)):
            await indexed.run("acme", (await house.upload(people.ann, text, key)).id)
        before = await size(qdrant)
        for lost in (True, False):
            if lost:
                [name] = await qdrant._collections()
                await qdrant._client.delete_collection(name)
                qdrant._known = frozenset()  # the server's error says so; that of the local mode is another
                with pytest.raises(Unavailable):
                    await searched(store, "When does the bakery open?")
            builds = GenerationBuildStore(house.database, house.queue)
            words = PassageWordsStore(house.database)
            indexers = Indexers(OneEmbedder(house.embedder), house.ingestions, uuid7)
            assert await Rebuild(qdrant, builds, words, indexers, 2_000_000_000 - lost).run() == 2
            assert (await searched(store, "When does the bakery open?"))[0] == SECOND
            assert await size(qdrant) == before
            # The stored words belonged to the lost pieces.
            assert len(await words.without("acme", 10)) == (2 if lost else 0)
            await Analysing(words, store.lexical, qdrant).all()


@pytest.mark.parametrize("place", QDRANTS)
async def test_a_stale_attempt_does_not_replace_the_vectors_of_a_later_one(place: str) -> None:
    document, passages = uuid7(), [uuid7(), uuid7()]
    old, new = (IndexingAttempt("acme", "default", document, 1, epoch, "m") for epoch in (1, 2))
    data = vectors(1, 1)[0].astype("<f4").tobytes()
    async with qdrant_at(place) as index:
        for one, id_ in zip((new, old), passages, strict=True):
            stored = PassageVectors(id_, [PassageVector(VectorKind.WINDOW, ByteRange(0, 1), data)])
            await index.put(one, [stored])
            await index.put(one, [stored])
            await index.publish(one)
            await index.publish(one)
        found = await index.nearest(SearchScope(Server("acme")), QuestionVector("m", data), 10)
        assert list(found) == [passages[0]]
        assert await size(index) == 1
