"""Collections that come last: their passages are used only when no other passage supports an answer."""

from __future__ import annotations

import pytest

from responsa_server.domain.answers import SearchOptions
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.answering import LibraryEvidence
from responsa_server.stores.postgres.database import Database
from tests.contract.conftest import People
from tests.contract.shelf import Shelf, retriever_of

SAMPLE = "The harbour master of the sample town opens the harbour gate at noon."
UPLOAD = "The harbour gate opens two hours before high water."
UNRELATED = "Rye bread is baked on Fridays, in an oven from 1904."
QUESTION = "When does the harbour gate open?"


async def texts(
    database: Database,
    embedder: MiniLmEmbedder,
    people: People,
    shelves: dict[str, list[str]],
    options: SearchOptions,
) -> list[str]:
    """The passages that an answer gets from a search of these collections, best first."""
    shelf = Shelf(database, embedder)
    for collection, documents in shelves.items():
        for text in documents:
            await shelf.put(text, collection)
    knowledge = LibraryEvidence(retriever_of(database, embedder), embedder)
    found = await knowledge.search(people.ann, (QUESTION,), (), options)
    return [one.text for one in knowledge.passages(found, 10_000)]


LAST = SearchOptions(last=("samples",))


async def test_passages_that_support_an_answer_exclude_those_that_come_last(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    shelves = {"samples": [SAMPLE], "uploads": [UPLOAD, UNRELATED]}
    assert UPLOAD in await texts(database, embedder, people, shelves, LAST)
    assert SAMPLE not in await texts(database, embedder, people, {}, LAST)
    assert SAMPLE in await texts(database, embedder, people, {}, SearchOptions())


async def test_without_support_elsewhere_those_that_come_last_are_used(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    shelves = {"samples": [SAMPLE], "uploads": [UNRELATED]}
    assert (await texts(database, embedder, people, shelves, LAST))[0] == SAMPLE


async def test_the_number_of_passages_stays_as_it_was_asked_for(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    uploads = [f"{UPLOAD[:-1]} on pier {number}." for number in range(6)]
    found = await texts(
        database, embedder, people, {"uploads": uploads}, SearchOptions(top_k=2, last=("samples",))
    )
    assert len(found) == 2
    assert found == await texts(database, embedder, people, {}, SearchOptions(top_k=2))


@pytest.mark.parametrize("last", [(), ("samples",)])
async def test_expansions_still_take_no_more_than_half_of_the_places(
    database: Database, embedder: MiniLmEmbedder, people: People, last: tuple[str, ...]
) -> None:
    """`last` needs a wider search. The expansions may still take at most half of the `top_k` places; otherwise they would fill all of them."""
    bread = [f"Rye bread is baked on Fridays, in oven {number} of the bakery." for number in range(6)]
    own = [UPLOAD, "The gate of the harbour opens when the harbour master rings."]
    options = SearchOptions(
        top_k=2,
        last=last,
        expansions=("rye bread is baked on Fridays in an oven of the bakery",),
    )
    found = await texts(database, embedder, people, {"samples": [SAMPLE], "uploads": [*own, *bread]}, options)
    assert len(found) == 2
    assert set(found) & {UPLOAD, own[1], SAMPLE}
