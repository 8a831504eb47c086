"""One contract for every vector index. The transactions that write the passages also write PostgreSQL's index, and
Qdrant's while they hold what the vectors belong to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import CallCancelled, DocumentRejected, Reason, Unavailable
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import (
    CanonicalText,
    Chunking,
    CollectionFields,
    IngestClaim,
    OwnershipLost,
)
from responsa_server.domain.passages import (
    BUILT,
    CandidateQuery,
    DocumentSet,
    IndexingAttempt,
    NewPassage,
    Passage,
    PassageVector,
    PassageVectors,
    QuestionVector,
    SearchScope,
    VectorKind,
    generation_name,
)
from responsa_server.domain.people import Principal, Server
from responsa_server.domain.tenants import TenantState
from responsa_server.identity.tenants import TenantKeeper
from responsa_server.ingest.analysing import Analysing
from responsa_server.ingest.indexing import Indexers
from responsa_server.ingest.jobs import KnowledgeJobs
from responsa_server.ingest.rebuilding import Rebuild
from responsa_server.search.outside import OutsideIndex
from responsa_server.search.retrieve import RetrievalQuery
from responsa_server.stores.postgres.passages import PassageWordsStore, PostgresLexicalIndex
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.stores.postgres.vectors import EXACT_PASSAGES
from responsa_server.stores.qdrant import QdrantVectors
from tests.contract.in_memory import InMemory
from tests.contract.index_writer import VectorsOf, lexical_of, matching
from tests.contract.library_harness import Gate, Harness
from tests.contract.outside import QDRANTS, qdrant_at, size
from tests.contract.people import People
from tests.contract.turn_steps import until_somebody_waits
from tests.raising import raises

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]

FIRST = "The harbour master keeps the tide table."
SECOND = "The bakery opens at six in the morning."


@dataclass
class Store:
    """A library that keeps its vectors in the index under test."""

    harness: Harness
    index: VectorsOf | QdrantVectors

    @property
    def ann(self) -> Principal:
        return self.harness.ann

    @property
    def eve(self) -> Principal:
        return self.harness.eve

    @property
    def lexical(self) -> PostgresLexicalIndex:
        return lexical_of(self.harness.database)

    def jobs(self) -> KnowledgeJobs:
        harness = self.harness
        return KnowledgeJobs(
            harness.queue, harness.ingest(), harness.documents, harness.operations, vectors=harness.vectors
        )

    def question(
        self, vector: np.ndarray[tuple[int], np.dtype[np.float32]], model: str = ""
    ) -> QuestionVector:
        """A question to the generations that are active."""
        active = self.harness.ask("SELECT id, generation_id FROM responsa.collection ORDER BY id")
        return QuestionVector(
            model or self.harness.embedder.name,
            vector.astype("<f4").tobytes(),
            stored=tuple(generation_name(collection, generation) for collection, generation in active),
        )

    async def begin(self, caller: Principal, key: str, text: str, collection: str = "default") -> IngestClaim:
        """Accept a document and claim its operation."""
        operation = await self.harness.upload(caller, text, key, collection=collection)
        return await self.claim(caller, operation.id)

    async def claim(self, caller: Principal, operation_id: UUID) -> IngestClaim:
        task = await self.harness.ingestions.begin(caller.tenant_id, operation_id)
        assert task is not None
        return task.claim

    async def write(self, claim: IngestClaim, vectors: Vectors) -> list[UUID]:
        """Write one passage for each vector. The passage has a window and a sentence, both with that vector."""
        text = CanonicalText(InMemory(b"harbour " * len(vectors)), "", "text/plain", "en", "TEXT")
        await self.harness.ingestions.set_parsed(claim, text, len(vectors))
        new = [passage(claim, ordinal, vector) for ordinal, vector in enumerate(vectors)]
        await self.harness.ingestions.write(claim, new, len(new))
        return [one.passage.id for one in new]

    async def put(
        self, caller: Principal, key: str, vectors: Vectors, collection: str = "default"
    ) -> tuple[IngestClaim, list[UUID]]:
        """Write a searchable document with these vectors."""
        claim = await self.begin(caller, key, f"{key} {uuid7()}", collection)
        ids = await self.write(claim, vectors)
        assert await self.harness.ingestions.publish(claim)
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
        meant = (
            None
            if collections is None
            else list(await self.lexical.statistics(SearchScope(server, collections), ()))
        )
        nearest = await self.index.nearest(SearchScope(server, meant), self.question(vector), limit)
        return await matching(self.harness.database, server, CandidateQuery(meant, ids=nearest))


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


@pytest.fixture(params=["postgres", *QDRANTS])
async def store(request: pytest.FixtureRequest, harness: Harness, people: People) -> AsyncGenerator[Store]:
    for who in (people.ann, people.eve):
        await harness.library.create_collection(who, "default", CollectionFields(""), Chunking(64, 0))
        await harness.library.create_collection(who, "other", CollectionFields(""), Chunking(64, 0))
    if request.param == "postgres":
        yield Store(harness, VectorsOf(harness.database))
        return
    async with qdrant_at(request.param) as qdrant:
        yield in_qdrant(harness, qdrant)


def in_qdrant(harness: Harness, qdrant: QdrantVectors) -> Store:
    """The same library with its vectors in Qdrant."""
    moved = Harness(
        harness.urls, harness.database, harness.parser, harness.embedder, harness.spool, vectors=qdrant
    )
    return Store(moved, qdrant)


async def test_the_nearest_are_found_and_no_more_than_asked_for(store: Store) -> None:
    own = vectors(1, 40)
    _, ids = await store.put(store.ann, "a.md", own)
    # This vector is near five passages, each with two equal vectors, and far from all other passages.
    wanted = own[:5].sum(axis=0)
    best = set(ids[:5])
    assert await store.candidates("acme", wanted, limit=10) == best
    assert await store.candidates("acme", own[3], limit=2) == {ids[3]}


async def test_only_published_vectors_are_found_and_the_newest_version_replaces_the_former(
    store: Store,
) -> None:
    first = await store.begin(store.ann, "a.md", "one")
    former = await store.write(first, vectors(1, 3))
    wanted = vectors(1, 3)[0]
    assert await store.candidates("acme", wanted) == set()
    assert await store.harness.ingestions.publish(first)
    assert await store.candidates("acme", wanted) == set(former)
    second = await store.begin(store.ann, "a.md", "two")
    two = await store.write(second, vectors(2, 3))
    assert await store.candidates("acme", wanted) == set(former)
    assert await store.harness.ingestions.publish(second)
    assert await store.candidates("acme", wanted) == set(two)
    assert not set(former) & set(
        await store.index.nearest(SearchScope(Server("acme")), store.question(wanted), 100)
    ), "older vectors are removed"


async def test_a_version_that_a_newer_one_has_overtaken_leaves_nothing(store: Store) -> None:
    first = await store.begin(store.ann, "a.md", "one")
    await store.write(first, vectors(1, 3))
    _, two = await store.put(store.ann, "a.md", vectors(2, 3))
    assert not await store.harness.ingestions.publish(first)
    wanted = vectors(1, 1)[0]
    assert await store.candidates("acme", wanted) == set(two)
    assert set(await store.index.nearest(SearchScope(Server("acme")), store.question(wanted), 100)) == set(
        two
    )


async def test_a_failed_or_repeated_attempt_leaves_nothing(store: Store) -> None:
    claim = await store.begin(store.ann, "a.md", "one")
    await store.write(claim, vectors(1, 3))
    again = await store.claim(store.ann, claim.operation_id)
    ids = await store.write(again, vectors(2, 2))
    await raises(OwnershipLost, store.write(claim, vectors(1, 3)))
    await raises(OwnershipLost, store.harness.ingestions.publish(claim))
    assert await store.harness.ingestions.publish(again)
    assert await store.candidates("acme", vectors(1, 1)[0]) == set(ids)
    assert set(await store.index.pieces(Server("acme"), ids, None)) == set(ids)
    failed = await store.begin(store.ann, "b.md", "two")
    lost = await store.write(failed, vectors(3, 2))
    await store.harness.ingestions.fail(failed, DocumentRejected(Reason.DOCUMENT_EMPTY, "It is empty."))
    assert await store.candidates("acme", vectors(3, 1)[0]) == set(ids)
    assert await store.index.pieces(Server("acme"), lost, None) == {}


async def test_tenants_and_collections_are_kept_apart(store: Store) -> None:
    same = vectors(1, 2)
    _, ours = await store.put(store.ann, "a.md", same)
    _, other = await store.put(store.ann, "b.md", same, "other")
    _, theirs = await store.put(store.eve, "a.md", same)
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
    [default] = await store.lexical.statistics(SearchScope(store.ann, ["default"]), ())
    confirmed = await matching(store.harness.database, Server("acme"), CandidateQuery([default], ids=every))
    assert confirmed == set(ours)


async def test_only_passages_of_the_named_documents_are_found(store: Store) -> None:
    same = vectors(1, 2)
    first, ours = await store.put(store.ann, "a.md", same)
    second, more = await store.put(store.ann, "b.md", same, "other")
    theirs, _ = await store.put(store.eve, "a.md", same)
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


async def test_the_cosines_of_named_passages_are_exact(store: Store) -> None:
    own = vectors(1, 4)
    _, ids = await store.put(store.ann, "a.md", own)
    wanted = vectors(2, 1)[0]
    near = store.question(own[1])
    assert set(await store.index.nearest(SearchScope(Server("acme")), near, 1)) == {ids[1]}
    assert set(await store.index.nearest(SearchScope(Server("acme")), near, 1, [ids[2], uuid7()])) == {
        ids[1],
        ids[2],
    }
    cosines = await store.index.nearest(
        SearchScope(Server("acme")), store.question(wanted), 100, [ids[2], ids[0]]
    )
    assert set(cosines) == set(ids)
    for place in (0, 2):
        cosine = float(own[place] @ wanted)
        assert cosines[ids[place]].window == pytest.approx(cosine, abs=2e-3)
        assert cosines[ids[place]].piece == pytest.approx(abs(cosine), abs=2e-3)
    pieces = (await store.index.pieces(Server("acme"), [ids[1]], store.question(wanted)))[ids[1]]
    assert [piece.kind for piece in pieces] == [VectorKind.HEADING, VectorKind.SENTENCE]
    assert pieces[0].cosine == pytest.approx(-float(own[1] @ wanted), abs=2e-3)
    assert [one.cosine for one in (await store.index.pieces(Server("acme"), [ids[1]], None))[ids[1]]] == [
        None,
        None,
    ]
    assert (pieces[1].source.start, pieces[1].source.end) == (8, 15)


async def test_vectors_of_another_model_are_neither_found_nor_compared(store: Store) -> None:
    _, ids = await store.put(store.ann, "a.md", vectors(1, 2))
    other = store.question(vectors(1, 1)[0], "another/1")
    if isinstance(store.index, QdrantVectors):
        await store.index.prepare(other.model, 384)
    assert await store.index.nearest(SearchScope(Server("acme")), other, 10, ids) == {}
    pieces = await store.index.pieces(Server("acme"), ids, other)
    assert {one.cosine for found in pieces.values() for one in found} == {None}


async def test_deleted_documents_and_collections_are_found_no_more_and_their_vectors_go(store: Store) -> None:
    claim, ids = await store.put(store.ann, "a.md", vectors(1, 2))
    _, rest = await store.put(store.ann, "b.md", vectors(2, 2))
    other, _ = await store.put(store.ann, "c.md", vectors(3, 2), "other")
    await store.harness.documents.delete("acme", claim.document_id, "")
    await store.harness.collections.delete(store.ann, "other", "", force=True)
    assert await store.candidates("acme", vectors(1, 1)[0]) == set(rest)
    jobs = store.jobs()
    for document in (claim.document_id, other.document_id):
        assert await jobs.prune("acme", document, 0) is None
    nearest = await store.index.nearest(SearchScope(Server("acme")), store.question(vectors(1, 1)[0]), 100)
    assert set(nearest) == set(rest)
    assert await store.index.pieces(Server("acme"), ids, None) == {}


async def test_whatever_ends_an_operation_leaves_no_vectors(harness: Harness) -> None:
    async with qdrant_at("local") as qdrant:
        store = in_qdrant(harness, qdrant)
        operations, ingestions = store.harness.operations, store.harness.ingestions
        claim = await store.begin(harness.ann, "a.md", "one")
        await store.write(claim, vectors(1, 3))
        assert await size(qdrant) == 9
        await operations.cancel("acme", claim.operation_id)
        await pruned(store)
        assert await size(qdrant) == 0
        first, _ = await store.put(harness.ann, "b.md", vectors(1, 1))
        second = await store.begin(harness.ann, "b.md", "two")
        await store.write(second, vectors(2, 2))
        # These are published, but a cancellation comes before the commit of the version.
        await qdrant.publish(attempt_of(second))
        await operations.cancel("acme", second.operation_id)
        third = await store.begin(harness.ann, "b.md", "three")
        await store.write(third, vectors(3, 4))
        await pruned(store)
        assert await size(qdrant) == 3 + 12, "the version that is searched, and the one that is being indexed"
        await ingestions.give_up("acme", third.operation_id, CallCancelled(Reason.OPERATION_CANCELLED, "x"))
        await pruned(store)
        assert await size(qdrant) == 3
        assert len(await store.candidates("acme", vectors(1, 1)[0])) == 1
        await store.harness.documents.delete("acme", first.document_id, "")
        await pruned(store)
        assert await size(qdrant) == 0


async def pruned(store: Store) -> None:
    """Run the jobs that remove vectors, now."""
    waiting = store.harness.ask(
        "DELETE FROM procrastinate_jobs WHERE task_name = 'responsa.prune' RETURNING args ->> 'id'"
    )
    assert waiting
    for (document,) in waiting:
        assert await store.jobs().prune("acme", UUID(document), 0) is None


def attempt_of(claim: IngestClaim) -> IndexingAttempt:
    generation = generation_name(claim.collection_id, claim.generation)
    version = claim.document_id, claim.version, claim.epoch
    return IndexingAttempt("acme", claim.collection_id, *version, claim.embedding, generation)


class GatedVectors(QdrantVectors):
    """A vector store whose `put` waits at a gate."""

    gate: Gate | None = None

    async def put(
        self, passages: Mapping[IndexingAttempt, Sequence[PassageVectors]], *, published: bool = False
    ) -> None:
        if self.gate is not None:
            await self.gate.pass_through()
        await super().put(passages, published=published)


async def test_a_late_worker_stores_no_vectors_of_what_is_gone(harness: Harness) -> None:
    """The deletion waits for vectors that are on their way, so the job that removes them comes later."""
    async with qdrant_at("local", GatedVectors) as qdrant:
        assert isinstance(qdrant, GatedVectors)
        store = in_qdrant(harness, qdrant)
        searched, _ = await store.put(harness.ann, "a.md", vectors(1, 2))
        claim = await store.begin(harness.ann, "b.md", "one")
        operation = await store.harness.library.reindex_collection(harness.ann, "default")
        task = await store.harness.builds.begin("acme", operation.id)
        assert task is not None
        builds = store.harness.builds
        [first, *_] = await builds.missing(task, None, 10)
        data = vectors(1, 1)[0].astype("<f4").tobytes()
        made = [PassageVectors(first.passage.id, [PassageVector(VectorKind.WINDOW, ByteRange(0, 1), data)])]
        other, [id_] = await store.put(harness.ann, "c.md", vectors(3, 1))
        again = [PassageVectors(id_, made[0].vectors)]
        refilled = replace(task, operation_id=uuid7(), generation_id=None)
        assert not await builds.refill(replace(refilled, generation_id=uuid7()), again)
        assert not await builds.missing(replace(refilled, collection_id="gone"), None, 10)
        assert not harness.ask("SELECT FROM responsa.collection_stat WHERE collection_id = 'gone'")
        for document, late in (
            (claim.document_id, store.write(claim, vectors(2, 2))),
            (searched.document_id, builds.write(task, made, since=0, seconds=1.0)),
            (other.document_id, builds.refill(refilled, again)),
        ):
            qdrant.gate = Gate()
            storing = asyncio.create_task(late)
            await qdrant.gate.reached.wait()
            deletion = asyncio.create_task(store.harness.documents.delete("acme", document, ""))
            await until_somebody_waits(harness.urls, deletion)
            qdrant.gate.opened.set()
            await storing
            await deletion
            await pruned(store)
        assert await size(qdrant) == 0


async def test_a_look_at_vectors_ends_with_its_time_and_the_next_one_goes_on(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with qdrant_at("local") as qdrant:
        store = in_qdrant(harness, qdrant)
        builds = store.harness.builds
        await store.put(harness.ann, "a.md", vectors(1, 3))
        operation = await store.harness.library.reindex_collection(harness.ann, "default")
        task = await builds.begin("acme", operation.id)
        assert task is not None
        made = [PassageVector(VectorKind.WINDOW, ByteRange(0, 1), vectors(1, 1)[0].astype("<f4").tobytes())]
        found = [PassageVectors(one.passage.id, made) for one in await builds.missing(task, None, 10)]
        await builds.write(task, found, since=0, seconds=1.0)
        monkeypatch.setattr("responsa_server.stores.postgres.generations._MOST_ASKED", 1)
        looks = 0
        while not await builds.complete(task):
            assert not await builds.missing(task, None, 10, seconds=0.0)
            looks += 1
        assert looks == 3 + 1, "the last one finds that none is left"


async def test_a_store_that_hangs_leaves_connections_to_others(harness: Harness) -> None:
    async with qdrant_at("local", GatedVectors) as qdrant:
        assert isinstance(qdrant, GatedVectors)
        store = in_qdrant(harness, qdrant)
        claim = await store.begin(harness.ann, "a.md", "one")
        gate = qdrant.gate = Gate()
        async with asyncio.TaskGroup() as writes:
            for ordinal, vector in enumerate(vectors(1, 10)):  # as many as there are connections
                new = [passage(claim, ordinal, vector)]
                writes.create_task(store.harness.ingestions.write(claim, new, None))
            await gate.reached.wait()
            assert (await harness.documents.get(harness.ann, claim.document_id)).id == claim.document_id
            gate.opened.set()
        assert await size(qdrant) == 30


class LateVectors(QdrantVectors):
    """A vector store in which a worker stores something just after the vectors of a tenant were removed for the first time."""

    late: Callable[[], Awaitable[object]] | None = None

    async def drop_tenant(self, tenant_id: str) -> None:
        await super().drop_tenant(tenant_id)
        late, self.late = self.late, None
        if late is not None:
            await late()


async def test_an_erased_tenant_leaves_no_vectors(harness: Harness) -> None:
    async def no_turn(tenant_id: str, user_id: UUID, turn_id: UUID) -> None:
        """No process runs turns."""

    async def nothing(tenant_id: str) -> int:
        return 0

    async with qdrant_at("local", LateVectors) as qdrant:
        assert isinstance(qdrant, LateVectors)
        store = in_qdrant(harness, qdrant)
        for who in (harness.ann, harness.eve):
            await harness.library.create_collection(who, "default", CollectionFields(""), Chunking(64, 0))
            await store.put(who, "a.md", vectors(1, 2))
        claim = await store.begin(harness.ann, "b.md", "one")
        qdrant.late = lambda: store.write(claim, vectors(2, 3))
        harness.ask("UPDATE responsa.tenant SET erase_time = now(), suspend_time = now() WHERE id = 'acme'")
        tenants = PostgresTenants(harness.database)
        await TenantKeeper(tenants, no_turn, nothing, qdrant, settle_seconds=0.0).erase()
        assert (await tenants.get("acme")).state is TenantState.ERASED
        assert qdrant.late is None
        assert await size(qdrant) == 6


class Killed(BaseException):
    """Simulates the death of the process: no code of the process runs after it."""


class CutVectors(QdrantVectors):
    """A vector store that simulates the death of the process before or after a call."""

    cut: Callable[[str], bool] = staticmethod(lambda _: False)

    def _at(self, place: str) -> None:
        if self.cut(place):
            self.cut = lambda _: False
            raise Killed(place)

    async def put(
        self, passages: Mapping[IndexingAttempt, Sequence[PassageVectors]], *, published: bool = False
    ) -> None:
        self._at("before put")
        await super().put(passages, published=published)
        self._at("after put")

    async def publish(self, attempt: IndexingAttempt) -> None:
        self._at("before publish")
        await super().publish(attempt)
        self._at("after publish")

    async def drop_versions(
        self, tenant_id: str, document_id: UUID, before_version: int | None, keep: Collection[int] = ()
    ) -> None:
        self._at("before drop")
        await super().drop_versions(tenant_id, document_id, before_version, keep)
        self._at("after drop")


async def searched(store: Store, question: str) -> list[str]:
    found = await store.harness.retriever.retrieve(RetrievalQuery(Server("acme"), [question]))
    assert len({one.found.passage.id for one in found.passages}) == len(found.passages)
    assert all(one.score.vector is not None for one in found.passages), "a passage has no vectors"
    return [one.found.passage.text for one in found.passages]


@pytest.mark.parametrize(
    "place", ["before put", "after put", "before publish", "after publish", "before drop", "after drop"]
)
async def test_a_worker_that_is_killed_leaves_all_of_one_version_searched(
    harness: Harness, place: str
) -> None:
    """Until the new version is committed, searches use the whole former version; after that they use the new version.
    The retry publishes the missing vectors.
    """
    await harness.library.create_collection(harness.ann, "default", CollectionFields(""), Chunking(64, 0))
    async with qdrant_at("local", CutVectors) as cut:
        assert isinstance(cut, CutVectors)
        store = in_qdrant(harness, cut)

        async def attempt(operation: UUID) -> None:
            await store.harness.ingest().run("acme", operation)

        first = await harness.upload(harness.ann, FIRST, "a.md")
        await attempt(first.id)
        assert await searched(store, "Who keeps the tide table?") == [FIRST]
        before = await size(cut)
        second = await harness.upload(harness.ann, SECOND, "a.md")
        cut.cut = lambda at: at == place
        await raises(Killed, attempt(second.id))
        committed = place.endswith("drop")
        assert await searched(store, "Who keeps the tide table and when does the bakery open?") == (
            [SECOND] if committed else [FIRST]
        )
        await attempt(second.id)
        assert await searched(store, "When does the bakery open?") == [SECOND]
        await store.jobs().prune("acme", first.document_id, 0)
        assert await searched(store, "When does the bakery open?") == [SECOND]
        assert 0 < await size(cut) <= before + 2
    document = await harness.documents.get(Server("acme"), first.document_id)
    assert (document.version, document.passage_count) == (2, 1)


@pytest.mark.parametrize("place", QDRANTS)
async def test_lost_vectors_are_computed_again_from_the_database(harness: Harness, place: str) -> None:
    await harness.library.create_collection(harness.ann, "default", CollectionFields(""), Chunking(64, 0))
    async with qdrant_at(place) as qdrant:
        store = in_qdrant(harness, qdrant)
        indexed = store.harness.ingest()
        for key, text in (("a.md", FIRST), ("b.md", SECOND)):
            await indexed.run("acme", (await harness.upload(harness.ann, text, key)).id)
        before = await size(qdrant)
        [name] = await qdrant._collections()
        await qdrant._client.delete_collection(name)
        qdrant._known = frozenset()  # the server's error says so; that of the local mode is another
        await raises(Unavailable, searched(store, "When does the bakery open?"))
        words = PassageWordsStore(harness.database)
        indexers = Indexers(harness.embedders, harness.ingestions, uuid7)
        for missing in (2, 0):
            assert await Rebuild(store.harness.builds, words, indexers).run() == missing
            assert (await searched(store, "When does the bakery open?"))[0] == SECOND
            assert await size(qdrant) == before
            # The stored words belonged to the lost pieces.
            assert len(await words.without("acme", 10)) == missing
            outside = OutsideIndex(store.lexical, qdrant)
            await Analysing(words, store.lexical, outside).all()


@pytest.mark.parametrize("place", QDRANTS)
async def test_a_stale_attempt_does_not_replace_the_vectors_of_a_later_one(place: str) -> None:
    document, passages = uuid7(), [uuid7(), uuid7(), uuid7()]
    data = vectors(1, 1)[0].astype("<f4").tobytes()

    def stored(id_: UUID) -> list[PassageVectors]:
        return [PassageVectors(id_, [PassageVector(VectorKind.WINDOW, ByteRange(0, 1), data)])]

    def at(epoch: int, generation: str) -> IndexingAttempt:
        return IndexingAttempt("acme", "default", document, 1, epoch, "m", generation)

    async with qdrant_at(place) as index:
        for attempt, id_ in ((at(2, "one"), passages[0]), (at(1, "one"), passages[1])):
            await index.put({attempt: stored(id_)})
            await index.put({attempt: stored(id_)})
            await index.publish(attempt)
            await index.publish(attempt)
        question = QuestionVector("m", data, stored=("one",))
        found = await index.nearest(SearchScope(Server("acme")), question, 10)
        assert list(found) == [passages[0]]
        assert await size(index) == 1
        # Nor does it remove what was built for another generation meanwhile.
        await index.put({at(BUILT, "two"): stored(passages[2])}, published=True)
        await index.publish(at(2, "one"))
        # Searches of the one generation find nothing of the other, and compare with nothing of it.
        assert list(await index.nearest(SearchScope(Server("acme")), question, 10, passages)) == [passages[0]]
        await index.drop_attempts("acme", document, 1, 3)
        assert await index.lacking("acme", "m", "two", passages) == passages[:2]
        assert await size(index) == 1


@pytest.mark.parametrize("place", QDRANTS)
async def test_a_passage_lacks_vectors_until_all_of_them_are_stored(place: str) -> None:
    id_, data = uuid7(), vectors(1, 1)[0].astype("<f4").tobytes()
    windows = [PassageVector(VectorKind.WINDOW, ByteRange(n, n + 1), data) for n in range(300)]
    attempt = IndexingAttempt("acme", "default", uuid7(), 1, BUILT, "m", "one")
    async with qdrant_at(place) as index:
        await index.prepare("m", 384)
        upsert, sent = index._client.upsert, list[int]()

        async def once(name: str, points: Sequence[object], *, wait: bool) -> None:
            if sent:
                raise Unavailable(Reason.PART_UNAVAILABLE, "x", {})
            sent.append(len(points))
            await upsert(name, points, wait=wait)

        index._client.upsert = once
        await raises(Unavailable, index.put({attempt: [PassageVectors(id_, windows)]}, published=True))
        assert 0 < await size(index) < len(windows)
        assert await index.lacking("acme", "m", "one", [id_]) == [id_]
        index._client.upsert = upsert
        await index.put({attempt: [PassageVectors(id_, windows)]}, published=True)
        assert await index.lacking("acme", "m", "one", [id_]) == []
        assert await size(index) == len(windows)
