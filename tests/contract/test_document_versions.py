"""Versions of documents: kept, listed, restored, and read again by a newer parser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_formats.rejections import Rejected
from responsa_server.domain.errors import (
    AlreadyExists,
)
from responsa_server.domain.knowledge import DocumentState, DocumentVersion, IngestStage, Operation
from responsa_server.domain.listing import ListQuery
from responsa_server.domain.lists import DOCUMENT_VERSIONS
from responsa_server.domain.people import Principal, Server
from responsa_server.ingest.formats import FORMATS
from responsa_server.ingest.jobs import Parser
from responsa_server.stores.postgres.documents import DocumentStore
from tests.contract.library_harness import GatedParser, Harness, other_parser

TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"
CHANGED = TEXT.replace("1094", "1112")


async def run(harness: Harness, operation: Operation, parser: Parser | None = None) -> Operation:
    await harness.ingest(parser=parser).run(operation.tenant_id, operation.id)
    return await harness.library.operations.get(Server(operation.tenant_id), operation.id)


async def stored(harness: Harness, document_id: UUID) -> Sequence[DocumentVersion]:
    """All versions, read in pages of two."""
    query = ListQuery(2, DOCUMENT_VERSIONS.orders[0])
    page = await harness.documents.versions(Server("acme"), document_id, query)
    versions = [*page.items]
    while page.next_after is not None:
        page = await harness.documents.versions(
            Server("acme"), document_id, replace(query, after=page.next_after)
        )
        versions += page.items
    return versions


async def text(harness: Harness, caller: Principal, document_id: UUID, version: int | None = None) -> str:
    return "".join([piece async for _, piece in harness.library.content(caller, document_id, version)])


async def original(harness: Harness, caller: Principal, document_id: UUID, version: int) -> bytes:
    return b"".join([data async for _, _, data in harness.library.original(caller, document_id, version)])


async def test_an_older_version_is_restored_as_a_new_one(harness: Harness) -> None:
    taken = await harness.take_in(
        harness.ann, TEXT, uri="https://example.org/rivers", title="Rivers of Europe"
    )
    document_id = taken.document_id
    await harness.take_in(harness.ann, CHANGED)
    request_id = uuid7()
    restored = await harness.library.restore(harness.ann, document_id, 1, request_id=request_id)
    assert (restored.version, restored.stage) == (3, IngestStage.QUEUED)
    assert (
        await harness.library.restore(harness.ann, document_id, 1, request_id=request_id)
    ).id == restored.id
    with pytest.raises(AlreadyExists) as caught:
        await harness.library.restore(harness.ann, document_id, 2, request_id=request_id)
    assert caught.value.metadata["difference"] == "name"
    assert (await run(harness, restored)).error is None
    document = await harness.documents.get(Server("acme"), document_id)
    assert (document.version, document.state) == (3, DocumentState.READY)
    assert (document.title, document.uri) == ("Rivers of Europe", "https://example.org/rivers")
    assert await text(harness, harness.ann, document_id) == TEXT
    assert await original(harness, harness.ann, document_id, 3) == TEXT.encode()
    found = await stored(harness, document_id)
    assert [(one.version, one.searchable, one.passage_count) for one in found] == [
        (3, True, 1),
        (2, False, 1),
        (1, False, 1),
    ]


async def test_the_same_text_is_unchanged(harness: Harness) -> None:
    document_id = (await harness.take_in(harness.ann, TEXT)).document_id
    before = harness.rows()
    passages = harness.ask("SELECT id FROM responsa.passage")
    reading = await harness.library.reindex(harness.ann, document_id)
    assert (reading.version, reading.done) == (2, False)
    # A second call meanwhile, and an upload of the same bytes, wait for the same operation.
    assert (await harness.library.reindex(harness.ann, document_id)).id == reading.id
    assert (await harness.upload(harness.ann, TEXT)).id == reading.id
    ended = await run(harness, reading)
    assert (ended.unchanged, ended.error, ended.version) == (True, None, 1)
    document = await harness.documents.get(Server("acme"), document_id)
    assert (document.version, document.state, document.error) == (1, DocumentState.READY, None)
    assert harness.rows() == {**before, "operation": before["operation"] + 1}
    assert harness.ask("SELECT id FROM responsa.passage") == passages
    # Afterwards the document is as ready as before for anything else.
    same = await harness.upload(harness.ann, TEXT)
    assert (same.unchanged, same.version) == (True, 1)
    changed = await harness.take_in(harness.ann, CHANGED)
    assert (changed.version, changed.error) == (3, None)
    assert [one.version for one in await stored(harness, document_id)] == [3, 1]


async def test_another_text_is_a_new_version(harness: Harness) -> None:
    document_id = (await harness.take_in(harness.ann, TEXT)).document_id
    reading = await harness.library.reindex(harness.ann, document_id)
    assert not (await run(harness, reading, other_parser(harness.parser, b"1094", b"1095"))).unchanged
    assert "1095" in await text(harness, harness.ann, document_id)
    assert "1094" in await text(harness, harness.ann, document_id, 1)
    assert [(one.version, one.searchable) for one in await stored(harness, document_id)] == [
        (2, True),
        (1, False),
    ]
    assert await original(harness, harness.ann, document_id, 2) == TEXT.encode()


async def test_what_an_earlier_parser_read_or_earlier_rules_cut_is_read_again(harness: Harness) -> None:
    parser = FORMATS.with_name("MARKDOWN")
    assert parser is not None
    documents = DocumentStore(harness.database, harness.queue, uuid7, parsers=[parser.parsed_by])
    harness.library.documents = documents
    document_id = (await harness.take_in(harness.ann, TEXT, title="Rivers")).document_id
    cited = await text(harness, harness.ann, document_id)
    assert (await harness.upload(harness.ann, TEXT)).unchanged
    assert await documents.read_outdated("acme", 10) == 0
    harness.ask("UPDATE responsa.document_version SET parser = 'CARDS 2'")
    assert await documents.read_outdated("acme", 10) == 0, "no parser here reads this format"
    for again, earlier in product(("upload", "look"), ("parser = 'MARKDOWN 0'", "chunking = 1")):
        harness.ask(f"UPDATE responsa.document_version SET {earlier}")
        if again == "upload":
            reading = await harness.upload(harness.ann, TEXT)
        else:
            assert await documents.read_outdated("acme", 10) == 1
            assert await documents.read_outdated("acme", 10) == 0, "it is being read"
            (operation,) = harness.ask("SELECT id FROM responsa.operation WHERE stage <> 'done'")
            reading = await harness.library.operations.get(Server("acme"), operation[0])
        assert not reading.done
        ended = await run(harness, reading)
        assert not ended.unchanged, "its passages may begin elsewhere"
        # Its bytes are not read a third time.
        assert (await documents.version(Server("acme"), document_id, None)).parser == parser.parsed_by
        assert (await harness.upload(harness.ann, TEXT)).unchanged
    assert (await documents.get(Server("acme"), document_id)).title == "Rivers"
    assert await text(harness, harness.ann, document_id, 1) == cited, (
        "citations of the first version stay valid"
    )
    # A title that nobody has set becomes the one of today.
    unset = (await harness.take_in(harness.ann, "## Fares\n\nFree.", "ferry_times.md")).document_id
    harness.ask("UPDATE responsa.document SET title = 'Fares' WHERE title = 'ferry times'")
    harness.ask(
        "UPDATE responsa.document_version SET title = 'Fares', chunking = 1 WHERE title = 'ferry times'"
    )
    assert await documents.read_outdated("acme", 10) == 1
    (operation,) = harness.ask("SELECT id FROM responsa.operation WHERE stage <> 'done'")
    await run(harness, await harness.library.operations.get(Server("acme"), operation[0]))
    assert (await documents.get(Server("acme"), unset)).title == "ferry times"


async def test_a_failure_leaves_the_searchable_version(harness: Harness) -> None:
    document_id = (await harness.take_in(harness.ann, TEXT)).document_id
    reading = await harness.library.reindex(harness.ann, document_id)

    async def refuse(_: bytes) -> None:
        raise Rejected.as_malformed("No.")

    failed = await run(harness, reading, GatedParser(harness.parser, refuse))
    assert failed.error is not None
    document = await harness.documents.get(Server("acme"), document_id)
    assert (document.version, document.state) == (1, DocumentState.FAILED)
    # The searchable version can be read again and restored, and either makes the document ready.
    assert (await run(harness, await harness.library.reindex(harness.ann, document_id))).unchanged
    assert (await harness.documents.get(Server("acme"), document_id)).state is DocumentState.READY


async def test_older_versions_are_kept_up_to_a_number(harness: Harness) -> None:
    taken = [await harness.take_in(harness.ann, f"{TEXT}\n{number}\n") for number in range(5)]
    document_id = taken[0].document_id
    await harness.documents.prune("acme", document_id)
    assert [one.version for one in await stored(harness, document_id)] == [5, 4, 3, 2, 1]
    # Kept versions are not searched, so they need no passages.
    assert harness.ask("SELECT DISTINCT version FROM responsa.passage") == [(5,)]
    keeping = DocumentStore(harness.database, harness.queue, uuid7, kept_versions=2)
    await keeping.prune("acme", document_id)
    assert [one.version for one in await stored(harness, document_id)] == [5, 4, 3]
    assert await text(harness, harness.ann, document_id, 3) == f"{TEXT}\n2\n"


async def test_an_original_can_be_had_before_it_is_read(harness: Harness) -> None:
    data = bytes(range(32, 127)) * 8_000
    operation = await harness.upload(harness.ann, data, "long.txt")
    pieces = [piece async for piece in harness.library.original(harness.ann, operation.document_id)]
    assert b"".join(data for _, _, data in pieces) == data
    assert [offset for _, offset, _ in pieces] == [0, 262_144, 524_288]
    assert all(version.version == 1 and not version.searchable for version, _, _ in pieces)
