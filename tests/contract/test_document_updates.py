"""The caller's own title, labels and metadata of a document, at upload and afterwards."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import pytest

from responsa_server.domain.errors import AlreadyExists, InvalidRequest
from responsa_server.domain.knowledge import (
    Document,
    DocumentChanges,
    DocumentMetadata,
    DocumentState,
    Operation,
    SearchQuery,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import Principal, Server
from tests.contract.conftest import People
from tests.contract.library_house import House, pieces_of

TEXT: Final = "The Elbe is 1094 kilometres long. It flows into the North Sea.\n"


async def described(
    house: House, caller: Principal, text: str = TEXT, *, request_id: UUID | None = None, **stated: Any
) -> Operation:
    """Upload a text with a description."""
    metadata = DocumentMetadata("", "elbe.md", **stated)
    return await house.library.upload(caller, metadata, pieces_of(text.encode()), request_id=request_id)


async def of(house: House, operation: Operation) -> Document:
    return await house.documents.get(Server("acme"), operation.document_id)


async def titles(house: House, people: People, words: str) -> list[str]:
    return [one.passage.title for one in await house.library.search(people.ann, SearchQuery((words,)))]


async def test_labels_and_metadata_stay_until_an_upload_names_others(house: House, people: People) -> None:
    labels, metadata = {"team": "legal"}, {"year": 2025, "parts": ["a", {"deep": None}]}
    first = await described(house, people.ann, labels=labels, metadata=metadata)
    await house.ingest().run("acme", first.id)
    document = await of(house, first)
    assert (document.labels, document.metadata) == (labels, metadata)
    # Another version keeps them.
    second = await described(house, people.ann, TEXT + "More.")
    assert second.version == 2
    assert (await of(house, second)).labels == labels
    await house.ingest().run("acme", second.id)
    # The same bytes with other labels make no version, but they are a change.
    etag = (await of(house, second)).etag
    third = await described(house, people.ann, TEXT + "More.", labels={"team": "sales"})
    document = await of(house, third)
    assert (third.done, third.unchanged, third.version) == (True, False, 2)
    assert (document.labels, document.metadata) == ({"team": "sales"}, metadata)
    assert document.etag != etag
    again = await described(house, people.ann, TEXT + "More.", labels={"team": "sales"})
    assert (again.done, again.unchanged) == (True, True)


async def test_a_new_title_reaches_searches_and_citations(house: House, people: People) -> None:
    operation = await described(house, people.ann)
    await house.ingest().run("acme", operation.id)
    assert await titles(house, people, "waterway handbook") != ["The waterway handbook"]
    renamed = DocumentChanges(title="The waterway handbook")
    document = await house.library.update_document(people.ann, operation.document_id, renamed)
    with pytest.raises(InvalidRequest, match=r"document\.title"):
        await house.library.update_document(people.ann, document.id, DocumentChanges(title=" \n"))
    # The library shows the title at once. Until the version is indexed, searches use the former one, title included.
    assert (document.title, document.state, document.version) == (
        "The waterway handbook",
        DocumentState.INDEXING,
        1,
    )
    assert "The waterway handbook" not in await titles(house, people, "Elbe")
    async with house.working():
        [running] = (
            await house.operations.list(
                Server("acme"), None, ListQuery(1, Order("create_time", descending=True))
            )
        ).items
        await house.ended(people.ann, running)
    document = await of(house, operation)
    assert (document.title, document.state, document.version) == (
        "The waterway handbook",
        DocumentState.READY,
        2,
    )
    assert await titles(house, people, "waterway handbook") == ["The waterway handbook"]
    statistics = house.ask("SELECT passages FROM responsa.term_stat WHERE term = 'waterway'")
    assert statistics == [(1,)]
    # The same title again changes nothing. Later uploads keep the title, unless they state one.
    document = await house.library.update_document(people.ann, document.id, renamed)
    assert document.state is DocumentState.READY
    assert (await described(house, people.ann)).unchanged
    await house.ingest().run("acme", (await described(house, people.ann, TEXT + "More.")).id)
    assert (await of(house, operation)).title == "The waterway handbook"
    await house.ingest().run("acme", (await described(house, people.ann, title="Elbe")).id)
    assert (await of(house, operation)).title == "Elbe"
    await house.ingest().run("acme", (await described(house, people.ann, TEXT + "End.")).id)
    assert (await of(house, operation)).title not in ("Elbe", "The waterway handbook")


async def test_a_title_that_could_not_be_indexed_is_taken_back(house: House, people: People) -> None:
    operation = await described(house, people.ann)
    await house.ingest().run("acme", operation.id)
    before = (await of(house, operation)).title
    await house.library.update_document(people.ann, operation.document_id, DocumentChanges(title="New"))
    [running] = (
        await house.operations.list(Server("acme"), None, ListQuery(1, Order("create_time", descending=True)))
    ).items
    await house.library.cancel_operation(people.ann, running.id)
    document = await of(house, operation)
    assert (document.title, document.state, document.version) == (before, DocumentState.READY, 1)
    # The document's bytes are those of the version that is searched, so a later update can index them.
    document = await house.library.update_document(people.ann, document.id, DocumentChanges(title="Newer"))
    assert (document.title, document.state) == ("Newer", DocumentState.INDEXING)


async def test_an_upload_does_not_keep_a_title_that_was_taken_back(house: House, people: People) -> None:
    operation = await described(house, people.ann)
    await house.ingest().run("acme", operation.id)
    before = (await of(house, operation)).title
    for taken_back, title, kept in (
        (True, "First", before),
        (False, "Second", "Second"),
        (True, "Third", "Second"),
    ):
        await house.library.update_document(people.ann, operation.document_id, DocumentChanges(title=title))
        [running] = (
            await house.operations.list(
                Server("acme"), None, ListQuery(1, Order("create_time", descending=True))
            )
        ).items
        if taken_back:
            await house.library.cancel_operation(people.ann, running.id)
        else:
            await house.ingest().run("acme", running.id)
        await house.ingest().run("acme", (await described(house, people.ann, f"{TEXT}{title}")).id)
        assert (await of(house, operation)).title == kept


async def test_labels_are_part_of_a_request(house: House, people: People) -> None:
    identity = UUID("6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11")
    first = await described(house, people.ann, request_id=identity, labels={"a": "1", "b": "2"})
    again = await described(house, people.ann, request_id=identity, labels={"b": "2", "a": "1"})
    assert again.id == first.id
    with pytest.raises(AlreadyExists, match="labels"):
        await described(house, people.ann, request_id=identity)
