from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import psycopg
import pytest

from responsa_formats.containers import OLE_MAGIC
from responsa_formats.rejections import ParserUnavailable
from responsa_local.commands import ray_engine
from responsa_local.commands.ray_engine import Unembedded, VectorMaker
from responsa_server.domain import names
from responsa_server.domain.errors import Precondition, Reason, Unavailable
from responsa_server.domain.knowledge import (
    CanonicalText,
    Chunking,
    CollectionFields,
    DocumentState,
    IngestClaim,
    Operation,
    OwnershipLost,
    SearchQuery,
)
from responsa_server.domain.listing import ListQuery
from responsa_server.domain.lists import NEWEST
from responsa_server.domain.passages import NewPassage
from responsa_server.domain.people import Server
from responsa_server.ingest.jobs import Ingest
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.stores.postgres.locks import Lock
from responsa_server.stores.postgres.operations import IngestionStore
from tests.contract.in_memory import InMemory
from tests.contract.library_harness import Gate, GatedEmbedder, GatedParser, Harness
from tests.contract.people import People
from tests.formats.office_files import changed, docx
from tests.raising import raises

SECTION = "## Section {0}\n\nThe river number {0} is {1} kilometres long. It rises in the mountains of region {0}.\n\n"
# This text makes several batches of passages.
LONG = "# Rivers\n\n" + "".join(SECTION.format(number, 100 + number) for number in range(48))


@pytest.fixture(autouse=True)
async def short_passages(harness: Harness, people: People) -> None:
    """Create the default collections so that a document is cut into many short passages, which have few distinct vectors."""
    for who in (people.ann, people.eve):
        await harness.library.create_collection(who, "default", CollectionFields(""), Chunking(64, 0))


class GatedIngestions(IngestionStore):
    """Waits before the named step until its gate opens."""

    gate: Gate
    step: str

    @classmethod
    def of(cls, harness: Harness, step: str, gate: Gate) -> GatedIngestions:
        store = cls(harness.database, harness.queue)
        store.gate, store.step = gate, step
        return store

    async def write(
        self, claim: IngestClaim, passages: Sequence[NewPassage], passages_done: int | None
    ) -> None:
        await super().write(claim, passages, passages_done)
        if self.step == "written":
            await self.gate.pass_through()

    async def publish(
        self, claim: IngestClaim, passages: Sequence[NewPassage] = (), text: CanonicalText | None = None
    ) -> bool | None:
        if self.step == "publish":
            await self.gate.pass_through()
        return await super().publish(claim, passages, text)


def stopping(harness: Harness, stage: str, gate: Gate) -> Ingest:
    """Processing that waits at a stage until the gate opens."""
    match stage:
        case "parsing":
            return harness.ingest(parser=GatedParser(harness.parser, gate.pass_through))
        case "embedding":
            return harness.ingest(embedder=GatedEmbedder(harness.embedder, gate.pass_through))
        case _:
            return harness.ingest(ingestions=GatedIngestions.of(harness, stage, gate))


STAGES = ("parsing", "embedding", "written", "publish")


def jobs_left(harness: Harness) -> list[tuple[str, int]]:
    return harness.ask("SELECT status::text, attempts FROM procrastinate.procrastinate_jobs ORDER BY id")


async def assert_whole(harness: Harness, operation: Operation) -> None:
    assert operation.error is None
    assert operation.passages_done == operation.passages_total > 16
    document = await harness.library.documents.get(harness.ann, operation.document_id)
    assert (document.state, document.version) == (DocumentState.READY, 1)
    counted = harness.ask("SELECT count(*), count(DISTINCT ordinal), bool_and(live) FROM responsa.passage")
    assert counted == [(operation.passages_total, operation.passages_total, True)]
    hits = await harness.library.search(harness.ann, SearchQuery(("How long is river number 31?",)))
    assert "131 kilometres" in hits[0].passage.text


async def test_a_large_text_is_stored_in_pieces(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, "# Rivers and lakes")
    task = await harness.ingestions.begin("acme", operation.id)
    assert task is not None
    text = InMemory(b"0123456789abcde\n" * 200_000)
    await harness.ingestions.set_parsed(task.claim, CanonicalText(text, "t", "text/plain", "en", "p"), 1)
    stored = harness.ask("SELECT sha256(canonical), octet_length(canonical) FROM responsa.document_version")
    assert stored == [(text.sha256, text.size)]
    assert harness.ask("SELECT 1 FROM pg_largeobject_metadata") == []
    assert await harness.ingestions.original(task.claim, 2, 6) == b"Rivers"


@pytest.mark.parametrize("stage", STAGES)
async def test_a_worker_that_is_stopped_in_the_midst_is_resumed_by_the_next(
    harness: Harness, stage: str
) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    gate = Gate()
    async with harness.working(stopping(harness, stage, gate)):
        await asyncio.wait_for(gate.reached.wait(), 60)
        seen = await harness.library.operations.get(harness.ann, operation.id)
        assert not seen.done
        assert await harness.library.search(harness.ann, SearchQuery(("river",))) == []
    assert [status for status, _ in jobs_left(harness)] == ["todo"]
    async with harness.working():
        await assert_whole(harness, await harness.ended(harness.ann, operation))
    assert jobs_left(harness) == []


async def test_a_short_text_is_stored_in_the_transaction_that_publishes_it(harness: Harness) -> None:
    stored = "SELECT canonical_sha256 = sha256, state FROM responsa.document_version"
    operation, gate = await harness.upload(harness.ann, "# Rivers\n\nThe Heron is long.", "heron.md"), Gate()
    async with harness.working(stopping(harness, "publish", gate)):
        await asyncio.wait_for(gate.reached.wait(), 60)
        assert harness.ask(stored) == [(None, "indexing")]
    assert harness.ask("SELECT 1 FROM responsa.passage") == []
    async with harness.working():
        ended = await harness.ended(harness.ann, operation)
    assert (ended.error, ended.passages_done, ended.passages_total) == (None, 1, 1)
    assert harness.ask(stored) == [(True, "ready")]
    document = await harness.library.documents.get(harness.ann, operation.document_id)
    assert (document.passage_count, document.language) == (1, "en")
    hits = await harness.library.search(harness.ann, SearchQuery(("Heron",)))
    assert [hit.passage.text for hit in hits] == ["# Rivers\n\nThe Heron is long."]


async def test_a_call_ends_an_operation_while_the_rows_of_an_earlier_attempt_are_removed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelling(IngestionStore):
        async def _discard_some(self, claim: IngestClaim) -> bool:
            more = await super()._discard_some(claim)
            await harness.library.cancel_operation(harness.ann, claim.operation_id)
            return more

    operation, gate = await harness.upload(harness.ann, LONG, "rivers.md"), Gate()
    async with harness.working(stopping(harness, "publish", gate)):
        await asyncio.wait_for(gate.reached.wait(), 60)
    monkeypatch.setattr("responsa_server.stores.postgres.passages._DISCARDED_AT_ONCE", 1)
    await raises(OwnershipLost, Cancelling(harness.database, harness.queue).begin("acme", operation.id))
    assert harness.ask("SELECT 1 FROM responsa.passage") == []


@pytest.mark.parametrize("alone", [True, False])
async def test_a_worker_that_was_killed_is_resumed_by_the_next(harness: Harness, alone: bool) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    task = await harness.ingestions.begin("acme", operation.id)
    assert task is not None
    # Make the state that a killed process leaves: a running job and a worker without heartbeats.
    harness.ask(
        """WITH dead AS (
            INSERT INTO procrastinate.procrastinate_workers (last_heartbeat)
            VALUES (now() - make_interval(secs => %s)) RETURNING id)
        UPDATE procrastinate.procrastinate_jobs SET status = 'doing', worker_id = dead.id FROM dead""",
        0 if alone else 5,
    )
    async with AsyncExitStack() as others:
        if not alone:
            # Another process runs jobs, so a running job may belong to a live worker. The job is assigned again only when its worker has
            # sent no heartbeat for long.
            other = await others.enter_async_context(await psycopg.AsyncConnection.connect(harness.urls.log))
            await other.execute("SELECT pg_advisory_lock_shared(%s)", [Lock.JOB_WORKERS])
        async with harness.working():
            await assert_whole(harness, await harness.ended(harness.ann, operation))


async def test_a_document_that_lost_two_workers_in_succession_is_given_up(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    harness.ask(
        """WITH dead AS (INSERT INTO procrastinate.procrastinate_workers DEFAULT VALUES RETURNING id)
        UPDATE procrastinate.procrastinate_jobs SET status = 'doing', losses = 1, worker_id = dead.id FROM dead"""
    )
    announced = list[UUID]()

    async def announce(_: str, identity: UUID) -> None:
        announced.append(identity)

    async with harness.working(announce=announce):
        ended = await harness.ended(harness.ann, operation)
        await harness.until(lambda: not harness.ask("SELECT 1 FROM procrastinate.procrastinate_jobs"))
    assert isinstance(ended.error, Unavailable)
    assert ended.error.reason is Reason.WORKER_LOST
    assert ended.error.metadata == {"operation": f"operations/{operation.id}"}
    assert announced == [operation.id]
    assert harness.ask("SELECT state FROM responsa.document") == [("failed",)]


@pytest.mark.parametrize("stage", STAGES[1::2])
async def test_a_document_deleted_while_it_is_taken_in_leaves_nothing(harness: Harness, stage: str) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    gate = Gate()
    async with harness.working(stopping(harness, stage, gate)) as jobs:
        await asyncio.wait_for(gate.reached.wait(), 60)
        waiting = asyncio.create_task(harness.ended(harness.ann, operation))
        await harness.library.delete_document(harness.ann, operation.document_id)
        ended = await waiting
        gate.opened.set()
        assert ended.error is not None
        assert ended.error.reason is Reason.OPERATION_CANCELLED
        await harness.until(lambda: not jobs_left(harness))
        assert jobs.alive
    left = harness.rows(("document", "document_version", "passage", "passage_vector", "term_stat"))
    assert left == {}


@pytest.mark.parametrize("stage", STAGES[::2])
async def test_an_operation_is_cancelled(harness: Harness, stage: str) -> None:
    first = await harness.take_in(harness.ann, "# Rivers\n\nThe first text tells of brooks.", "rivers.md")
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    gate = Gate()
    async with harness.working(stopping(harness, stage, gate)):
        await asyncio.wait_for(gate.reached.wait(), 60)
        caught = await raises(Precondition, harness.library.delete_operation(harness.ann, operation.id))
        assert caught.reason is Reason.OPERATION_RUNNING
        await harness.library.cancel_operation(harness.ann, operation.id)
        await harness.library.cancel_operation(harness.ann, operation.id)
        gate.opened.set()
        await harness.until(lambda: not jobs_left(harness))
    ended = await harness.library.operations.get(harness.ann, operation.id)
    assert ended.error is not None
    assert ended.error.reason is Reason.OPERATION_CANCELLED
    assert ended.error.metadata == {"operation": f"operations/{operation.id}"}
    document = await harness.library.documents.get(harness.ann, operation.document_id)
    assert (document.state, document.version, document.error) == (DocumentState.READY, 1, None)
    assert harness.ask("SELECT DISTINCT version, live FROM responsa.passage") == [(1, True)]
    assert harness.ask("SELECT version FROM responsa.document_version") == [(1,)]
    hits = await harness.library.search(harness.ann, SearchQuery(("brooks",)))
    assert hits[0].passage.document_id == first.document_id
    await harness.library.delete_operation(harness.ann, operation.id)
    page = await harness.library.list_operations(harness.ann, ListQuery(10, NEWEST))
    assert [item.id for item in page.items] == [first.id]


async def test_a_cancelled_version_leaves_an_earlier_one_that_waits(harness: Harness) -> None:
    first, second = [
        await harness.upload(harness.ann, text, "rivers.md") for text in ("The Elbe.", "The Oder.")
    ]
    await harness.library.cancel_operation(harness.ann, second.id)
    await harness.ingest().run("acme", first.id)
    ended = await harness.library.operations.get(Server("acme"), first.id)
    document = await harness.library.documents.get(Server("acme"), first.document_id)
    assert ended.error is None
    assert (document.state, document.version, document.error) == (DocumentState.READY, 1, None)


async def test_cancelling_all_versions_of_a_document_removes_it(harness: Harness) -> None:
    waiting = [await harness.upload(harness.ann, text, "rivers.md") for text in ("The Elbe.", "The Oder.")]
    for operation in reversed(waiting):
        await harness.library.cancel_operation(harness.ann, operation.id)
    assert harness.rows(("document", "document_version")) == {}


async def test_whoever_holds_a_stale_epoch_writes_nothing(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    stale, gate = await harness.ingestions.begin("acme", operation.id), Gate()
    assert stale is not None
    slow = asyncio.create_task(stopping(harness, "embedding", gate).run("acme", operation.id))
    await asyncio.wait_for(gate.reached.wait(), 60)
    before = harness.ask("SELECT epoch, stage, passages_total FROM responsa.operation")
    assert before[0][:2] == (2, "embedding")
    error = Unavailable(Reason.PART_UNAVAILABLE, "late", {"part": "parser"})
    await raises(OwnershipLost, harness.ingestions.write(stale.claim, [], 99))
    await raises(OwnershipLost, harness.ingestions.publish(stale.claim))
    await raises(OwnershipLost, harness.ingestions.fail(stale.claim, error))
    assert harness.ask("SELECT epoch, stage, passages_total FROM responsa.operation") == before
    # A third worker takes the operation over. The second worker continues later and finds that it has lost the
    # operation.
    await harness.ingest().run("acme", operation.id)
    gate.opened.set()
    await raises(OwnershipLost, slow)
    await assert_whole(harness, await harness.library.operations.get(harness.ann, operation.id))


async def test_an_operation_in_other_hands_is_not_forgotten_by_the_queue(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    gate = Gate()
    async with harness.working(stopping(harness, "publish", gate)) as jobs:
        await asyncio.wait_for(gate.reached.wait(), 60)
        taken = await harness.ingestions.begin("acme", operation.id)
        assert taken is not None
        gate.opened.set()
        await harness.until(lambda: [status for status, _ in jobs_left(harness)] == ["todo"])
        assert jobs.alive
    assert harness.ask(
        "SELECT scheduled_at > now() + interval '30 s' FROM procrastinate.procrastinate_jobs"
    ) == [(True,)]


async def test_a_fault_that_passes_is_tried_again(harness: Harness) -> None:
    faults = iter([ParserUnavailable("gone"), RuntimeError("odd")])

    async def fault(_: bytes) -> None:
        for error in faults:
            raise error

    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    async with harness.working(harness.ingest(parser=GatedParser(harness.parser, fault))):
        await assert_whole(harness, await harness.ended(harness.ann, operation))


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ParserUnavailable("gone"), Reason.PART_UNAVAILABLE), (RuntimeError("secret detail"), Reason.INTERNAL)],
)
async def test_a_fault_that_stays_ends_the_operation(
    harness: Harness, error: Exception, reason: Reason
) -> None:
    async def fault(_: bytes) -> None:
        raise error

    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    async with harness.working(harness.ingest(parser=GatedParser(harness.parser, fault)), max_attempts=2):
        ended = await harness.ended(harness.ann, operation)
    assert ended.error is not None
    assert ended.error.reason is reason
    assert "secret" not in ended.error.message
    counted = [(one.error, one.count, one.last_id) for one in harness.queue.errors.read()]
    expected = [("RuntimeError", 2, names.operation(operation.id))]
    assert counted == (expected if reason is Reason.INTERNAL else [])
    document = await harness.library.documents.get(harness.ann, operation.document_id)
    assert (document.state, document.version) == (DocumentState.FAILED, 0)
    assert harness.rows(("document_version", "passage")) == {}


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        (b"caf\xe9 \xff\xfe\x81 " * 4_000, "a.md", None),
        (b"\n" * 100_000, "a.md", Reason.DOCUMENT_EMPTY),
        (
            OLE_MAGIC + bytes(100_000) + "EncryptedPackage".encode("utf-16-le"),
            "a.docx",
            Reason.DOCUMENT_ENCRYPTED,
        ),
    ],
)
async def test_what_the_parser_refuses_is_told_by_operation_and_document(
    harness: Harness, content: bytes, key: str, reason: Reason | None
) -> None:
    operation = await harness.upload(harness.ann, content, key)
    async with harness.working():
        ended = await harness.ended(harness.ann, operation)
    document = await harness.library.documents.get(harness.ann, operation.document_id)
    if reason is None:
        assert ended.error is None or ended.error.reason is Reason.DOCUMENT_MALFORMED
        return
    assert ended.error is not None
    assert ended.error.reason is reason
    assert ended.error.metadata["source_key"] == key
    assert document.error is not None
    assert (document.state, document.error.reason) == (DocumentState.FAILED, reason)
    assert harness.rows(("document_version", "passage", "passage_vector", "term_stat")) == {}
    assert jobs_left(harness) == []


async def test_a_document_that_takes_too_long_is_refused_and_leaves_nothing(harness: Harness) -> None:
    gate = Gate()  # never opens
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    written = GatedIngestions.of(harness, "written", gate)
    async with harness.working(harness.ingest(ingestions=written, document_seconds=3.0)):
        async with asyncio.timeout(60):
            await gate.reached.wait()
        ended = await harness.ended(harness.ann, operation)
    assert ended.error is not None
    assert ended.error.reason is Reason.DOCUMENT_PARSER_LIMIT
    assert ended.error.metadata["source_key"] == "rivers.md"
    assert (
        ended.error.message
        == "Ingesting the document took more than 3 seconds. Split the document into smaller files."
    )
    document = await harness.library.documents.get(harness.ann, operation.document_id)
    assert (document.state, document.version) == (DocumentState.FAILED, 0)
    assert harness.rows(("document_version", "passage", "passage_vector", "term_stat")) == {}
    assert jobs_left(harness) == []


async def test_nothing_is_taken_into_a_collection_whose_vectors_are_of_another_model(
    harness: Harness,
) -> None:
    kept = await harness.take_in(harness.ann, LONG, "rivers.md")
    assert kept.error is None
    harness.ask("UPDATE responsa.collection SET embedding = 'another/1' WHERE tenant_id = 'acme'")
    ended = await harness.take_in(harness.ann, LONG.replace("mountains", "hills"), "rivers.md")
    assert ended.error is not None
    assert ended.error.reason is Reason.COLLECTION_EMBEDDING_DIFFERS
    default = await harness.library.collections.get(harness.ann, "default")
    assert ended.error.metadata == {
        "collection": f"collections/{default.shared_id}",
        "embedding": "another/1",
        "running": harness.embedder.name,
    }
    document = await harness.library.documents.get(harness.ann, ended.document_id)
    assert (document.state, document.version) == (DocumentState.FAILED, 1)
    hits = await harness.library.search(harness.ann, SearchQuery(("Where does river number 7 rise?",), (), 5))
    assert hits
    assert all(hit.vector_score == 0 and "mountains" in hit.passage.text for hit in hits)


async def test_vectors_are_made_once(harness: Harness) -> None:
    await harness.take_in(harness.ann, LONG, "rivers.md")
    counting = GatedEmbedder(harness.embedder)
    operation = await harness.upload(
        harness.ann, LONG + "\n\nOne more sentence at the very end of it.\n", "rivers.md"
    )
    await harness.ingest(embedder=counting).run("acme", operation.id)
    assert 0 < counting.texts < 8
    other = GatedEmbedder(harness.embedder)
    operation = await harness.upload(harness.eve, LONG, "rivers.md")
    await harness.ingest(embedder=other).run("rival", operation.id)
    assert other.texts > 100, "a fast ingestion would reveal what another tenant has"


async def test_an_actor_of_ray_makes_the_vectors_that_a_worker_needs_and_no_others(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "load_minilm", lambda folder, threads: harness.embedder)
    limits = IngestionSettings().parse_limits
    maker = VectorMaker(harness.embedder.name, limits, allow_unconfined=True, ocr=False)
    text = LONG + LONG
    made = 0
    try:
        async for vectors in maker.vectors(Unembedded("rivers.md", "", "", text.encode(), Chunking(64, 0))):
            await harness.ingestions.cache_vectors("acme", harness.embedder.name, vectors)
            made += len(vectors)
        rejected = Unembedded("broken.pdf", "", "", b"%PDF-1.7 of nothing", Chunking(64, 0))
        assert [vectors async for vectors in maker.vectors(rejected)] == []
    finally:
        await maker._parser.close()
    counting = GatedEmbedder(harness.embedder)
    operation = await harness.upload(harness.ann, text, "rivers.md")
    await harness.ingest(embedder=counting).run("acme", operation.id)
    assert counting.texts == 0
    assert harness.ask("SELECT count(*) FROM responsa.embedding_cache") == [(made,)]
    with pytest.raises(ValueError, match="install the same release"):
        VectorMaker("another/model", limits, allow_unconfined=True, ocr=False)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("letters.docx", docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 3_000)),
        ("cries.txt", b"Aa. " * 2_000),
        ("mixed.md", b"# a\n\n- b\n\nc\n\n" * 1_000),
    ],
)
async def test_a_text_of_tiny_pieces_gets_few_vectors(harness: Harness, key: str, content: bytes) -> None:
    """Without the bound, a passage of 500 tokens has up to 500 pieces, each with a vector."""
    await harness.library.create_collection(harness.ann, "tiny", CollectionFields(""), Chunking())
    assert (await harness.take_in(harness.ann, content, key, collection="tiny")).error is None
    ((passages, vectors),) = harness.ask(
        "SELECT (SELECT count(*) FROM responsa.passage), (SELECT count(*) FROM responsa.passage_vector)"
    )
    assert passages > 5
    assert vectors < 40 * passages


async def test_what_was_left_out_and_a_doubtful_character_set_are_in_the_result(harness: Harness) -> None:
    body = docx("<w:p><w:r><w:t>The pump stands in cellar four.</w:t></w:r></w:p>")
    part = b'<w:comments xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:comment/></w:comments>'
    commented = await harness.take_in(harness.ann, changed(body, {"word/comments.xml": part}), "a.docx")
    assert (commented.error, commented.counts, commented.charset) == (None, {"comment": 1}, "")
    guessed = await harness.take_in(harness.ann, "½ cup".encode("cp1252"), "b.txt")
    assert (guessed.error, guessed.counts, guessed.charset) == (None, {}, "windows-1252")
