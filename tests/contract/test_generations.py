"""Generations of a collection: built with another embedding model while the old one serves, switched, completed and
rolled back. The other models are on a real server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_formats.sandbox.pool import ParserPool
from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.app.embedders import ConfiguredEmbedders
from responsa_server.app.models import model_table
from responsa_server.app.settings import SettingsError
from responsa_server.domain.errors import (
    AlreadyExists,
    InvalidRequest,
    Precondition,
    Reason,
    Unavailable,
)
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.generations import MAX_GENERATIONS, Generation, GenerationState
from responsa_server.domain.knowledge import (
    Chunking,
    CollectionFields,
    GenerationSwitched,
    Operation,
    OwnershipLost,
    SearchMode,
    SearchQuery,
)
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.passages import PassageVectors
from responsa_server.domain.people import Principal, Server
from responsa_server.ingest.indexing import Indexers, SeenVectors
from responsa_server.providers import settings as providers_settings
from responsa_server.providers.embedding import OpenAiEmbedder
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.providers.settings import ModelSettings
from responsa_server.providers.table import providers
from responsa_server.search.settings import EMBEDDED_MODEL
from responsa_server.stores.postgres import generations, vectors
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.generation_table import FIRST_TABLE
from responsa_server.stores.qdrant import QdrantVectors
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Gate, Harness
from tests.contract.outside import QDRANTS, qdrant_at, size
from tests.contract.people import People
from tests.contract.turn_steps import until_somebody_waits
from tests.raising import raises
from tests.wire.embeddings import EmbeddingServer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
WORDS = "lab:words"
ACTIVE, RETIRED, READY, BUILDING, FAILED = (
    GenerationState.ACTIVE,
    GenerationState.RETIRED,
    GenerationState.READY,
    GenerationState.BUILDING,
    GenerationState.FAILED,
)
EVERYWHERE = pytest.mark.parametrize("harness", ["postgres", *QDRANTS], indirect=True)
TEXTS = {
    "rivers.md": "# Rivers\n\nThe Elbe is 1094 kilometres long.\n\nThe Bille rises in the Hahnheide forest.",
    "mills.md": "# Mills\n\nThe mill at Sandford grinds rye.\n\n| miller | since |\n|---|---|\n| Agnes | 1911 |",
}
LATE = "# Eels\n\nEels return to the Sargasso Sea to spawn."


class Lab:
    """The server of the other models. Its next answers can be held or refused."""

    def __init__(self) -> None:
        self.server = EmbeddingServer(256, self._before)
        self.gate: Gate | None = None
        self.status = 0
        self.refused = 0

    async def _before(self, exchange: LoopbackExchange) -> bool:
        if self.gate is not None:
            await self.gate.pass_through()
        if not self.status:
            return False
        self.refused += 1
        await exchange.reply(self.status, b"{}")
        return True

    @property
    def texts(self) -> list[str]:
        """All texts that the server received."""
        return [text for body in self.server.bodies for text in body["input"]]


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    await made.server.start()
    yield made
    await made.server.close()


@pytest.fixture
async def embedders(lab: Lab, embedder: MiniLmEmbedder) -> AsyncIterator[ConfiguredEmbedders]:
    made = configured(embedder, EMBEDDED_MODEL, settings(lab))
    yield made
    await made.close()


def configured(
    embedder: MiniLmEmbedder, called: str, settings_of_models: ModelSettings
) -> ConfiguredEmbedders:
    return ConfiguredEmbedders(embedder, called, settings_of_models, providers(settings_of_models))


def settings(lab: Lab) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "servers": {"lab": {"url": lab.server.url}},
            "retries": 0,
            "embeddings": {WORDS: {}},
        }
    )


@pytest.fixture
async def harness(
    request: pytest.FixtureRequest,
    database_urls: DatabaseUrls,
    database: Database,
    parser: ParserPool,
    embedder: MiniLmEmbedder,
    embedders: ConfiguredEmbedders,
    tmp_path: Path,
) -> AsyncIterator[Harness]:
    """Its vectors are in PostgreSQL, or where the parameter says."""
    place = getattr(request, "param", "postgres")
    if place == "postgres":
        yield Harness(database_urls, database, parser, embedder, tmp_path, embedders)
        return
    async with qdrant_at(place) as qdrant:
        yield Harness(database_urls, database, parser, embedder, tmp_path, embedders, qdrant)


async def stored(harness: Harness) -> int:
    """The number of vectors."""
    if isinstance(harness.vectors, QdrantVectors):
        return await size(harness.vectors)
    return sum(harness.rows(("passage_vector", "generation_vector")).values())


@pytest.fixture
async def filled(harness: Harness, people: People) -> Harness:
    """A library with two documents in the collection `notes`, which belongs to Ann."""
    await harness.library.create_collection(people.ann, "notes", CollectionFields(""), Chunking())
    for key, text in TEXTS.items():
        assert (await harness.take_in(people.ann, text, key, collection="notes")).error is None
    return harness


async def best_texts(
    harness: Harness, caller: Principal, question: str, mode: SearchMode = SearchMode.VECTOR
) -> str:
    """The text of the best passage."""
    hits = await harness.library.search(caller, SearchQuery((question,), ("notes",), 1, mode=mode))
    return hits[0].passage.text if hits else ""


async def states(harness: Harness, caller: Principal) -> dict[int, GenerationState]:
    return {one.number: one.state for one in await harness.generations.list(caller, "notes")}


async def generation(harness: Harness, caller: Principal, number: int) -> Generation:
    [one] = [one for one in await harness.generations.list(caller, "notes") if one.number == number]
    return one


async def rebuilt(harness: Harness, caller: Principal, embedding: str = WORDS) -> Operation:
    """Build a generation and wait for it."""
    operation = await harness.library.reindex_collection(caller, "notes", embedding)
    async with harness.working():
        return await harness.ended(caller, operation)


@EVERYWHERE
async def test_another_model_is_built_while_the_old_one_serves(filled: Harness, lab: Lab) -> None:
    harness, ann = filled, filled.ann
    [first] = await harness.generations.list(Server("acme"), "notes")
    assert (first.number, first.state, first.dimensions, first.embedding) == (
        1,
        ACTIVE,
        384,
        harness.embedder.name,
    )
    passages = first.passages_total
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    lab.gate = Gate()
    async with harness.working():
        await lab.gate.reached.wait()
        assert await states(harness, ann) == {2: BUILDING, 1: ACTIVE}
        # The old generation serves, and documents still arrive.
        asked = len(lab.texts)
        assert "Elbe" in await best_texts(harness, ann, "How long is the Elbe?")
        late = await harness.ended(ann, await harness.upload(ann, LATE, "eels.md", collection="notes"))
        assert late.error is None
        assert "Sargasso" in await best_texts(harness, ann, "Where do eels spawn?")
        assert len(lab.texts) == asked
        lab.gate.opened.set()
        ended = await harness.ended(ann, operation)
    assert (ended.error, ended.passages_done, ended.passages_total) == (None, passages + 1, passages + 1)
    assert await states(harness, ann) == {2: ACTIVE, 1: RETIRED}
    known = await harness.generations.find(Server("acme"), ["missing", "notes"])
    assert {name: one.state for name, one in known.items()} == {("notes", 2): ACTIVE, ("notes", 1): RETIRED}
    former = await generation(harness, ann, 1)
    assert (former.passages_done, former.passages_total) == (passages + 1, passages + 1)
    second = await generation(harness, ann, 2)
    assert (second.embedding, second.dimensions) == (f"{WORDS}/256", 256)
    assert (await harness.library.collections.get(Server("acme"), "notes")).embedding == second.embedding
    # The new model embeds the questions, and the document that arrived meanwhile is found too.
    assert "Sargasso" in await best_texts(harness, ann, "Where do eels spawn?")
    assert lab.texts[-1] == "Where do eels spawn?"
    for question, answer in (("The mill at Sandford grinds rye.", "rye"), ("Hahnheide forest", "Bille")):
        for mode in SearchMode:
            assert answer in await best_texts(harness, ann, question, mode)


@EVERYWHERE
async def test_a_collection_goes_back_to_the_earlier_generation(filled: Harness, lab: Lab) -> None:
    harness, ann = filled, filled.ann
    await rebuilt(harness, ann)
    assert (await harness.take_in(ann, LATE, "eels.md", collection="notes")).error is None
    before = await stored(harness)
    operation = await harness.library.activate_generation(ann, "notes", 1)
    texts_before = len(lab.texts)
    async with harness.working():
        assert (await harness.ended(ann, operation)).error is None
    assert await states(harness, ann) == {2: RETIRED, 1: ACTIVE}
    assert await stored(harness) > before
    assert "Sargasso" in await best_texts(harness, ann, "Where do eels spawn?")
    assert len(lab.texts) == texts_before
    again = await harness.library.activate_generation(ann, "notes", 1)
    assert (again.done, again.error) == (True, None)
    assert again.passages_done == again.passages_total > 0


async def test_tables_and_headings_keep_their_pieces(filled: Harness) -> None:
    harness, ann = filled, filled.ann
    kinds = "SELECT v.kind, v.byte_start, v.byte_end FROM responsa.{} AS v WHERE v.kind NOT IN ('window', 'title')"
    before = sorted(harness.ask(kinds.format("passage_vector")))
    await rebuilt(harness, ann)
    await rebuilt(harness, ann, EMBEDDED_MODEL)
    later = sorted(harness.ask(kinds.format("generation_vector")))
    assert later == sorted([*before, *before])
    assert {kind for kind, _, _ in before} >= {"row", "heading", "sentence"}


@EVERYWHERE
async def test_a_cancelled_operation_leaves_nothing(filled: Harness, lab: Lab) -> None:
    harness, ann = filled, filled.ann
    before, vectors_before = harness.rows(), await stored(harness)
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    lab.gate = Gate()
    async with harness.working():
        await lab.gate.reached.wait()
        await harness.library.cancel_operation(ann, operation.id)
        lab.gate.opened.set()
        ended = await harness.ended(ann, operation)
        assert ended.error is not None
        assert ended.error.reason is Reason.OPERATION_CANCELLED
        assert await states(harness, ann) == {1: ACTIVE}
        # The worker that was cancelled writes nothing afterwards.
        later = await harness.library.reindex_collection(ann, "notes", EMBEDDED_MODEL, activate=False)
        assert (await harness.ended(ann, later)).error is None
    await harness.library.delete_generation(ann, "notes", 3)
    await harness.library.delete_operation(ann, operation.id)
    await harness.library.delete_operation(ann, later.id)
    await harness.finish_jobs()
    assert harness.rows() == {**before, "collection_generation": 1}
    assert await stored(harness) == vectors_before


async def test_a_cancelled_activation_keeps_the_generation(filled: Harness, lab: Lab) -> None:
    harness, ann = filled, filled.ann
    await rebuilt(harness, ann)
    await rebuilt(harness, ann, EMBEDDED_MODEL)
    assert (await harness.take_in(ann, LATE, "eels.md", collection="notes")).error is None
    lab.gate = Gate()
    operation = await harness.library.activate_generation(ann, "notes", 2)
    async with harness.working():
        await lab.gate.reached.wait()
        await harness.library.cancel_operation(ann, operation.id)
        lab.gate.opened.set()
    assert await states(harness, ann) == {3: ACTIVE, 2: RETIRED, 1: RETIRED}


async def test_a_refusing_model_fails_the_operation_and_a_busy_one_delays_it(
    filled: Harness, lab: Lab
) -> None:
    harness, ann = filled, filled.ann
    await harness.embedders.of_model(WORDS)
    lab.status = 401
    ended = await rebuilt(harness, ann)
    assert ended.error is not None
    assert (ended.error.reason, ended.error.metadata) == (
        Reason.EMBEDDING_FAILED,
        {"embedding": WORDS, "cause": "credential"},
    )
    assert await states(harness, ann) == {2: FAILED, 1: ACTIVE}
    await harness.finish_jobs()
    assert "generation_vector" not in harness.rows()
    caught = await raises(Precondition, harness.library.activate_generation(ann, "notes", 2))
    assert caught.metadata == {"generation": "collections/notes/generations/2", "state": "failed"}
    lab.status, lab.refused = 503, 0
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    async with harness.working():
        await harness.until(lambda: lab.refused > 0)
        lab.status = 0
        assert (await harness.ended(ann, operation)).error is None
    assert await states(harness, ann) == {3: ACTIVE, 1: RETIRED}


@EVERYWHERE
async def test_a_generation_is_complete_only_with_what_arrived_last(filled: Harness) -> None:
    harness, ann, builds = filled, filled.ann, filled.builds
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    task = await builds.begin("acme", operation.id)
    assert task is not None
    indexer = await Indexers(harness.embedders, harness.ingestions, uuid7).of_name(task.embedding)
    assert indexer is not None

    async def fill() -> int:
        after, count = None, 0
        while found := await builds.missing(task, after, 1):
            made = await indexer.vectors("acme", found, SeenVectors(1))
            await builds.write(task, made, since=0, seconds=1.0)
            after, count = found[-1].passage.id, count + 1
        return count

    assert await fill() == harness.rows(("passage",))["passage"]
    assert (await harness.take_in(ann, LATE, "eels.md", collection="notes")).error is None
    assert not await builds.complete(task)
    assert await fill() == 1
    assert await fill() == 0
    assert await builds.complete(task)
    assert await states(harness, ann) == {2: ACTIVE, 1: RETIRED}
    assert "Sargasso" in await best_texts(harness, ann, "Where do eels spawn?")


@EVERYWHERE
async def test_a_lost_worker_can_write_nothing_and_its_vectors_are_kept(filled: Harness) -> None:
    harness, ann = filled, filled.ann
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    builds = harness.builds
    lost = await builds.begin("acme", operation.id)
    assert lost is not None
    missing = await builds.missing(lost, None, 1)
    indexer = await Indexers(harness.embedders, harness.ingestions, uuid7).of_name(lost.embedding)
    assert indexer is not None
    made = await indexer.vectors("acme", missing, SeenVectors(1))
    await builds.write(lost, made, since=0, seconds=1.0)
    # A passage that is gone is left out.
    await builds.write(lost, [PassageVectors(uuid7(), made[0].vectors)], since=0, seconds=1.0)
    following = await builds.begin("acme", operation.id)
    assert following is not None
    await raises(OwnershipLost, builds.write(lost, made, since=0, seconds=1.0))
    await raises(OwnershipLost, builds.complete(lost))
    assert not await builds.complete(following)
    assert made[0].passage_id not in {one.passage.id for one in await builds.missing(following, None, 100)}
    async with harness.working():
        ended = await harness.ended(ann, operation)
    assert ended.error is None
    assert (ended.passages_done, await states(harness, ann)) == (
        ended.passages_total,
        {2: ACTIVE, 1: RETIRED},
    )


async def test_the_vectors_of_a_deleted_generation_go_in_parts_after_the_call(
    filled: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, ann = filled, filled.ann
    await rebuilt(harness, ann)
    monkeypatch.setattr(generations, "_MOST_DISCARDED", 2)
    builds = harness.builds
    active = UUID(str(harness.ask("SELECT generation_id FROM responsa.collection")[0][0]))
    before = harness.rows(("passage_vector", "generation_vector"))
    for kept in (FIRST_TABLE, active):
        assert not await builds.discard("acme", kept)
    await harness.library.delete_generation(ann, "notes", 1)
    assert harness.rows(("passage_vector", "generation_vector")) == before
    assert await builds.discard("acme", FIRST_TABLE)
    assert harness.rows(("passage_vector",))["passage_vector"] == before["passage_vector"] - 2
    await harness.finish_jobs()
    assert harness.rows(("passage_vector", "generation_vector")) == {
        "generation_vector": before["generation_vector"]
    }


async def test_a_deletion_locks_passages_in_the_order_in_which_vectors_are_stored(filled: Harness) -> None:
    harness = filled
    text = "\n\n".join(f"# Mill {number}\n\n{'The mill grinds rye. ' * 60}" for number in range(8))
    document = (await harness.take_in(filled.ann, text, "long.md", collection="notes")).document_id
    ids = [
        one
        for (one,) in harness.ask(
            "SELECT id FROM responsa.passage WHERE document_id = %s ORDER BY id", document
        )
    ]
    # The first passage is stored last, so that a scan reaches it last.
    harness.ask("UPDATE responsa.passage SET ordinal = 1000 WHERE id = %s", ids[0])
    assert len(ids) > 2
    hold = "SELECT FROM responsa.passage WHERE id = %s FOR KEY SHARE NOWAIT"
    with psycopg.connect(harness.urls.superuser) as worker:
        worker.execute(hold, [ids[0]])
        deletion = asyncio.create_task(harness.library.delete_document(filled.ann, document))
        await until_somebody_waits(harness.urls, deletion)
        for one in ids[1:]:
            worker.execute(hold, [one])
        worker.rollback()
    await deletion


async def test_the_time_left_is_measured_over_all_attempts(filled: Harness) -> None:
    harness, ann = filled, filled.ann
    for number in range(24):
        text = f"# Mill {number}\n\nThe mill number {number} grinds rye."
        assert (await harness.take_in(ann, text, f"{number}.md", collection="notes")).error is None
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    reindex = harness.reindex(slice_seconds=0.0001)

    async def left() -> float | None:
        found = (await harness.library.operations.get(Server("acme"), operation.id)).time_left
        return None if found is None else found.total_seconds()

    assert await left() is None
    while (first := await left()) is None:  # a slice on a busy machine may end before its first vectors
        assert await reindex.work("acme", operation.id, 0) is not None
    # The beginning of the next attempt keeps what was measured.
    assert await harness.builds.begin("acme", operation.id) is not None
    again = await left()
    assert again
    assert again >= first
    while await reindex.work("acme", operation.id, 0) is not None:
        pass
    assert await left() is None


@EVERYWHERE
async def test_a_document_whose_model_was_replaced_is_embedded_again(filled: Harness) -> None:
    harness, ann = filled, filled.ann
    await rebuilt(harness, ann)
    operation = await harness.upload(ann, LATE, "eels.md", collection="notes")
    ready = await harness.library.reindex_collection(ann, "notes", EMBEDDED_MODEL)
    task = await harness.ingestions.begin("acme", operation.id)
    assert task is not None
    assert task.claim.embedding == f"{WORDS}/256"
    reindex = harness.reindex()
    while await reindex.work("acme", ready.id, 0) is not None:
        pass
    assert await states(harness, ann) == {3: ACTIVE, 2: RETIRED, 1: RETIRED}
    await raises(GenerationSwitched, harness.ingestions.publish(task.claim))
    await harness.ingest().run("acme", operation.id)
    assert "Sargasso" in await best_texts(harness, ann, "Where do eels spawn?")


async def test_one_generation_is_built_at_a_time(filled: Harness) -> None:
    library, ann = filled.library, filled.ann
    request_id = uuid7()
    operation = await library.reindex_collection(ann, "notes", request_id=request_id)
    assert await library.reindex_collection(ann, "notes", request_id=request_id) == operation
    await raises(AlreadyExists, library.reindex_collection(ann, "notes", WORDS, request_id=request_id))
    for busy in (library.reindex_collection(ann, "notes"), library.activate_generation(ann, "notes", 1)):
        running = await raises(Precondition, busy)
        assert running.reason is Reason.REINDEX_RUNNING
        assert running.metadata["operation"] == f"operations/{operation.id}"
    await raises(Precondition, library.delete_generation(ann, "notes", 2), "cancel the operation")


async def test_a_collection_has_a_bounded_number_of_generations(harness: Harness) -> None:
    ann = harness.ann
    await harness.library.create_collection(ann, "notes", CollectionFields(""), Chunking())
    for _ in range(MAX_GENERATIONS - 1):
        await rebuilt(harness, ann, EMBEDDED_MODEL)
    caught = await raises(Precondition, harness.library.reindex_collection(ann, "notes"))
    assert caught.reason is Reason.GENERATION_STATE
    assert caught.metadata["generation"] == "collections/notes/generations/1"
    await harness.library.delete_generation(ann, "notes", 1)
    await harness.library.reindex_collection(ann, "notes")


@EVERYWHERE
async def test_a_deleted_collection_ends_its_operation_and_takes_all_vectors(
    filled: Harness, lab: Lab
) -> None:
    harness, ann = filled, filled.ann
    await rebuilt(harness, ann)
    operation = await harness.library.reindex_collection(ann, "notes", WORDS)
    await harness.library.delete_collection(ann, "notes", force=True)
    ended = await harness.library.operations.get(Server("acme"), operation.id)
    assert ended.error is not None
    assert ended.error.reason is Reason.OPERATION_CANCELLED
    assert "collection was deleted" in ended.error.message
    await harness.finish_jobs()
    assert not harness.rows(("collection_generation",))
    assert not await stored(harness)


async def test_a_model_that_the_settings_no_longer_declare(filled: Harness, embedder: MiniLmEmbedder) -> None:
    ann = filled.ann
    await rebuilt(filled, ann)
    left = configured(embedder, EMBEDDED_MODEL, ModelSettings())
    harness = Harness(filled.urls, filled.database, filled.parser, embedder, filled.spool, left)
    assert "Elbe" in await best_texts(harness, ann, "Elbe kilometres", SearchMode.HYBRID)
    caught = await raises(Precondition, best_texts(harness, ann, "Elbe kilometres"))
    assert caught.reason is Reason.COLLECTION_EMBEDDING_DIFFERS
    failed = await harness.take_in(ann, LATE, "eels.md", collection="notes")
    assert failed.error is not None
    assert failed.error.reason is Reason.COLLECTION_EMBEDDING_DIFFERS
    await raises(InvalidRequest, harness.library.activate_generation(ann, "notes", 2))
    # The earlier generation can still be activated.
    operation = await harness.library.activate_generation(ann, "notes", 1)
    async with harness.working():
        assert (await harness.ended(ann, operation)).error is None
    assert "Elbe" in await best_texts(harness, ann, "How long is the Elbe?")


async def test_the_configured_model_makes_the_vectors_of_new_collections(
    filled: Harness, embedder: MiniLmEmbedder, lab: Lab
) -> None:
    ann = filled.ann
    of_words = configured(embedder, WORDS, settings(lab))
    harness = Harness(filled.urls, filled.database, filled.parser, embedder, filled.spool, of_words)
    await harness.library.create_collection(ann, "fish", CollectionFields(""), Chunking())
    assert (await harness.take_in(ann, LATE, "eels.md", collection="fish")).error is None
    [only] = await harness.generations.list(Server("acme"), "fish")
    assert (only.state, only.embedding, only.dimensions) == (ACTIVE, f"{WORDS}/256", 256)
    for question in ("Where do eels spawn?", "How long is the Elbe?"):
        query = SearchQuery((question,), ("fish", "notes"), 3, mode=SearchMode.VECTOR)
        hits = await harness.library.search(ann, query)
        assert {hit.passage.collection_id for hit in hits} == {"fish", "notes"}
    # Another model, another length, and back: the vectors of both collections stay comparable with their own questions only.
    operation = await harness.library.reindex_collection(ann, "fish", EMBEDDED_MODEL)
    async with harness.working():
        assert (await harness.ended(ann, operation)).error is None
    assert [one.state for one in await harness.generations.list(Server("acme"), "fish")] == [ACTIVE, RETIRED]
    await of_words.close()


async def test_a_model_that_is_down_stops_only_uploads_that_make_a_collection(
    filled: Harness, embedder: MiniLmEmbedder, lab: Lab
) -> None:
    ann = filled.ann
    of_words = configured(embedder, WORDS, settings(lab))
    harness = Harness(filled.urls, filled.database, filled.parser, embedder, filled.spool, of_words)
    lab.status = 503
    await harness.upload(ann, LATE, "eels.md", collection="notes")
    await raises(Unavailable, harness.upload(ann, LATE, "eels.md"))
    lab.status = 0
    await harness.upload(ann, LATE, "eels.md")
    [only] = await harness.generations.list(Server("acme"), "default")
    assert only.embedding == f"{WORDS}/256"
    await of_words.close()


@pytest.mark.parametrize("exact", [0, 2_000])
async def test_a_filter_selects_within_a_generation(
    filled: Harness, monkeypatch: pytest.MonkeyPatch, exact: int
) -> None:
    monkeypatch.setattr(vectors, "EXACT_PASSAGES", exact)
    await rebuilt(filled, filled.ann)
    only = parse_filter(SEARCHED, 'source_key = "mills.md"')
    query = SearchQuery(("The Elbe",), ("notes",), mode=SearchMode.VECTOR, filters=only)
    hits = await filled.library.search(filled.ann, query)
    assert hits
    assert all("Elbe" not in hit.passage.text for hit in hits)


@EVERYWHERE
async def test_uploads_and_deletions_during_switches_leave_every_passage_with_vectors(
    filled: Harness,
) -> None:
    harness, ann = filled, filled.ann

    async def write() -> list[Operation]:
        operations = [
            await harness.upload(
                ann, f"# Note {number}\n\nThe number is {number}.", f"{number % 5}.md", collection="notes"
            )
            for number in range(10)
        ]
        return [await harness.ended(ann, operation) for operation in operations]

    async def switch() -> None:
        for embedding in (WORDS, EMBEDDED_MODEL, WORDS):
            operation = await harness.library.reindex_collection(ann, "notes", embedding)
            assert (await harness.ended(ann, operation)).error is None

    async def remove() -> None:
        for _ in range(2):
            ended = await harness.ended(ann, await harness.upload(ann, LATE, "eels.md", collection="notes"))
            assert ended.error is None
            await harness.library.delete_document(ann, ended.document_id)

    async with harness.working():
        operations, *_ = await asyncio.gather(write(), switch(), remove())
    assert [one.error for one in operations] == [None] * 10
    assert "Sargasso" not in await best_texts(harness, ann, "Where do eels spawn?")
    live = "SELECT p.id FROM responsa.passage AS p JOIN responsa.collection AS c ON c.id = p.collection_id WHERE p.live"
    if harness.vectors is None:
        lacking = harness.ask(
            f"{live} AND NOT EXISTS (SELECT FROM responsa.generation_vector AS v WHERE v.passage_id = "
            "p.id AND v.generation_id = c.generation_id)"
        )
        assert lacking == list[tuple[UUID]]()
    else:
        [(generation,)] = harness.ask("SELECT generation_id::text FROM responsa.collection")
        ids = [id_ for (id_,) in harness.ask(live)]
        assert await harness.vectors.lacking("acme", f"{WORDS}/256", generation, ids) == []
        # Nothing is left of what was deleted or replaced.
        generations = await harness.generations.list(Server("acme"), "notes")
        for former in generations[1:]:
            await harness.library.delete_generation(ann, "notes", former.number)
        await harness.finish_jobs()
        of_new = sum(map(len, (await harness.vectors.pieces(Server("acme"), ids, None)).values()))
        assert of_new < await stored(harness) <= of_new + 2 * len(ids)
    for number in (5, 9):
        assert f"number is {number}." in await best_texts(harness, ann, f"The number is {number}.")


async def test_a_table_of_several_passages_keeps_the_names_of_its_columns(harness: Harness, lab: Lab) -> None:
    ann = harness.ann
    await harness.library.create_collection(ann, "notes", CollectionFields(""), Chunking(64, 0))
    table = "| river | kilometres |\n|---|---|\n" + "".join(f"| Stream {n} | {n} |\n" for n in range(80))
    assert (await harness.take_in(ann, f"# Long\n\n{table}", "long.md", collection="notes")).error is None
    await rebuilt(harness, ann)
    last = next(text for text in lab.texts if "Stream 79" in text and "Stream 78" in text)
    assert "river | kilometres" in last


async def test_a_model_is_asked_once_and_kept_only_if_it_answers(
    lab: Lab, embedders: ConfiguredEmbedders
) -> None:
    await asyncio.gather(*(embedders.of_model(WORDS) for _ in range(3)))
    assert len(lab.texts) == 1
    answering = await embedders.of_model("lab:answering")
    assert isinstance(answering, OpenAiEmbedder)
    words = await embedders.of_model(WORDS)
    assert isinstance(words, OpenAiEmbedder)
    assert answering.http is words.http
    del answering, words
    lab.status = 404
    for name in ("lab:unknown", "lab:other"):
        await raises(Precondition, embedders.of_model(name))
    gc.collect()
    kept = [one.called for one in gc.get_objects() if type(one) is OpenAiEmbedder]
    assert not {"lab:answering", "lab:unknown", "lab:other"} & {*kept}


async def test_language_models_and_embedding_models_share_the_limits_of_a_key(
    lab: Lab, embedder: MiniLmEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers_settings, "WAIT_SECONDS", 0.0)
    server = {"url": lab.server.url, "concurrent": 1}
    given = ModelSettings.model_validate({"servers": {"lab": server}, "retries": 0})
    models = model_table(given)
    made = ConfiguredEmbedders(embedder, EMBEDDED_MODEL, given, models.providers)
    async with models.providers["lab"].limits.place():
        await raises(Unavailable, made.of_model(WORDS))
    assert (await made.of_model(WORDS)).dimensions == 256
    await made.close()


@pytest.mark.parametrize(
    ("called", "message"),
    [
        ("nowhere:words", r"models\.servers\.nowhere\.url"),
        ("anthropic:words", "no embedding models"),
        ("openai:text-embedding-3-small", "OPENAI_API_KEY"),
        ("embedded:other", "only embedded:minilm"),
    ],
)
def test_a_configured_model_that_cannot_be_used_is_named(
    embedder: MiniLmEmbedder, called: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        configured(embedder, called, ModelSettings())
    assert "retrieval.embedding" in str(caught.value)
    with pytest.raises(SettingsError, match=r"models\.embeddings"):
        configured(embedder, EMBEDDED_MODEL, ModelSettings.model_validate({"embeddings": {called: {}}}))
