"""The caller's own title, labels and metadata of a document, at upload and afterwards."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import pytest

from responsa_server.domain.errors import AlreadyExists, InvalidRequest
from responsa_server.domain.knowledge import (
    Document,
    DocumentChanges,
    DocumentState,
    Operation,
    SearchQuery,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import Principal, Server
from tests.contract.library_harness import Harness

TEXT: Final = "The Elbe is 1094 kilometres long. It flows into the North Sea.\n"


async def described(
    harness: Harness, caller: Principal, text: str = TEXT, *, request_id: UUID | None = None, **stated: Any
) -> Operation:
    """Upload a text with a description."""
    return await harness.upload(caller, text, "elbe.md", request_id=request_id, **stated)


async def of(harness: Harness, operation: Operation) -> Document:
    return await harness.documents.get(Server("acme"), operation.document_id)


async def newest(harness: Harness) -> Operation:
    """The operation that began last."""
    query = ListQuery(1, Order("create_time", descending=True))
    [operation] = (await harness.operations.list(Server("acme"), None, query)).items
    return operation


async def titles(harness: Harness, words: str) -> list[str]:
    return [one.passage.title for one in await harness.library.search(harness.ann, SearchQuery((words,)))]


async def test_labels_and_metadata_stay_until_an_upload_names_others(harness: Harness) -> None:
    labels, metadata = {"team": "legal"}, {"year": 2025, "parts": ["a", {"deep": None}]}
    first = await described(harness, harness.ann, labels=labels, metadata=metadata)
    await harness.ingest().run("acme", first.id)
    document = await of(harness, first)
    assert (document.labels, document.metadata) == (labels, metadata)
    # Another version keeps them.
    second = await described(harness, harness.ann, TEXT + "More.")
    assert second.version == 2
    assert (await of(harness, second)).labels == labels
    await harness.ingest().run("acme", second.id)
    # The same bytes with other labels make no version, but they are a change.
    etag = (await of(harness, second)).etag
    third = await described(harness, harness.ann, TEXT + "More.", labels={"team": "sales"})
    document = await of(harness, third)
    assert (third.done, third.unchanged, third.version) == (True, False, 2)
    assert (document.labels, document.metadata) == ({"team": "sales"}, metadata)
    assert document.etag != etag
    again = await described(harness, harness.ann, TEXT + "More.", labels={"team": "sales"})
    assert (again.done, again.unchanged) == (True, True)


async def test_a_new_title_reaches_searches_and_citations(harness: Harness) -> None:
    operation = await described(harness, harness.ann)
    await harness.ingest().run("acme", operation.id)
    assert await titles(harness, "waterway handbook") != ["The waterway handbook"]
    renamed = DocumentChanges(title="The waterway handbook")
    document = await harness.library.update_document(harness.ann, operation.document_id, renamed)
    with pytest.raises(InvalidRequest, match=r"document\.title"):
        await harness.library.update_document(harness.ann, document.id, DocumentChanges(title=" \n"))
    # The library shows the title at once. Until the version is indexed, searches use the former one, title included.
    assert (document.title, document.state, document.version) == (
        "The waterway handbook",
        DocumentState.INDEXING,
        1,
    )
    assert "The waterway handbook" not in await titles(harness, "Elbe")
    async with harness.working():
        running = await newest(harness)
        await harness.ended(harness.ann, running)
    document = await of(harness, operation)
    assert (document.title, document.state, document.version) == (
        "The waterway handbook",
        DocumentState.READY,
        2,
    )
    assert await titles(harness, "waterway handbook") == ["The waterway handbook"]
    statistics = harness.ask("SELECT passages FROM responsa.term_stat WHERE term = 'waterway'")
    assert statistics == [(1,)]
    # The same title again changes nothing. Later uploads keep the title, unless they state one.
    document = await harness.library.update_document(harness.ann, document.id, renamed)
    assert document.state is DocumentState.READY
    assert (await described(harness, harness.ann)).unchanged
    await harness.ingest().run("acme", (await described(harness, harness.ann, TEXT + "More.")).id)
    assert (await of(harness, operation)).title == "The waterway handbook"
    await harness.ingest().run("acme", (await described(harness, harness.ann, title="Elbe")).id)
    assert (await of(harness, operation)).title == "Elbe"
    await harness.ingest().run("acme", (await described(harness, harness.ann, TEXT + "End.")).id)
    assert (await of(harness, operation)).title not in ("Elbe", "The waterway handbook")


async def test_a_title_that_could_not_be_indexed_is_taken_back(harness: Harness) -> None:
    operation = await described(harness, harness.ann)
    await harness.ingest().run("acme", operation.id)
    before = (await of(harness, operation)).title
    await harness.library.update_document(harness.ann, operation.document_id, DocumentChanges(title="New"))
    running = await newest(harness)
    await harness.library.cancel_operation(harness.ann, running.id)
    document = await of(harness, operation)
    assert (document.title, document.state, document.version) == (before, DocumentState.READY, 1)
    # The document's bytes are those of the version that is searched, so a later update can index them.
    document = await harness.library.update_document(harness.ann, document.id, DocumentChanges(title="Newer"))
    assert (document.title, document.state) == ("Newer", DocumentState.INDEXING)


async def test_an_upload_does_not_keep_a_title_that_was_taken_back(harness: Harness) -> None:
    operation = await described(harness, harness.ann)
    await harness.ingest().run("acme", operation.id)
    before = (await of(harness, operation)).title
    for taken_back, title, kept in (
        (True, "First", before),
        (False, "Second", "Second"),
        (True, "Third", "Second"),
    ):
        await harness.library.update_document(
            harness.ann, operation.document_id, DocumentChanges(title=title)
        )
        running = await newest(harness)
        if taken_back:
            await harness.library.cancel_operation(harness.ann, running.id)
        else:
            await harness.ingest().run("acme", running.id)
        await harness.ingest().run("acme", (await described(harness, harness.ann, f"{TEXT}{title}")).id)
        assert (await of(harness, operation)).title == kept


async def test_labels_are_part_of_a_request(harness: Harness) -> None:
    identity = UUID("6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11")
    first = await described(harness, harness.ann, request_id=identity, labels={"a": "1", "b": "2"})
    again = await described(harness, harness.ann, request_id=identity, labels={"b": "2", "a": "1"})
    assert again.id == first.id
    with pytest.raises(AlreadyExists, match="labels"):
        await described(harness, harness.ann, request_id=identity)
