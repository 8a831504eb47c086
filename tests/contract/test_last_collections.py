"""Which collections answer: those of the people first, then samples, then Responsa's documentation, and last those that the agent puts last. Refusals suggest
what comes closest in any of them."""

from __future__ import annotations

import pytest

from responsa_server.domain.answers import Evidence, SearchOptions
from responsa_server.domain.events import MAX_QUOTE_BYTES
from responsa_server.domain.kinds import CollectionKind, kind_of
from responsa_server.domain.knowledge import Chunking
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search import answering
from responsa_server.search.answering import FLOOR, LibraryEvidence
from responsa_server.stores.postgres.collections import CollectionStore
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
    knowledge = LibraryEvidence(retriever_of(database, embedder))
    found = await knowledge.search(people.ann, (QUESTION,), (), options)
    return [one.text for one in await knowledge.passages(found, 10_000)]


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


# Kinds

DOCS = "The harbour gate of Responsa opens when the server starts."
OTHER = "The harbour gate also opens for the lifeboat at any hour."


async def library(
    database: Database, embedder: MiniLmEmbedder, people: People, shelves: dict[str, list[str]]
) -> LibraryEvidence:
    """Evidence from these collections. A collection's kind follows from its id."""
    shelf, collections = Shelf(database, embedder), CollectionStore(database)
    for collection, documents in shelves.items():
        if kind_of(collection) is not CollectionKind.OWN:
            await collections.create(people.ann, collection, "", Chunking(), embedder.name, None)
        for number, text in enumerate(documents, 1):
            await shelf.put(text, collection, f"{collection} {number}")
    return LibraryEvidence(retriever_of(database, embedder))


def kinds(evidence: Evidence) -> set[CollectionKind]:
    """The kinds of the collections of the passages."""
    return {evidence.kinds[one] for one in evidence.collections}


def also(evidence: Evidence) -> list[tuple[str, str]]:
    return [(one.collection_id, one.title) for one in evidence.also_found]


async def test_people_get_answers_from_their_own_documents_and_hear_what_else_there_is(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    shelves = {"responsa-docs": [DOCS], "tutor": [SAMPLE], "uploads": [UPLOAD, UNRELATED]}
    knowledge = await library(database, embedder, people, shelves)
    found = await knowledge.search(people.ann, (QUESTION,), ())
    assert (found.collections, kinds(found)) == (("uploads",), {CollectionKind.OWN})
    assert also(found) == [("responsa-docs", "responsa-docs 1"), ("tutor", "tutor 1")]
    extraction = await knowledge.extract(QUESTION, found)
    assert {one.passage.collection_id for one in extraction.quotes} == {"uploads"}
    # Collections that are named answer whatever their kind.
    for named in ("responsa-docs", "tutor"):
        found = await knowledge.search(people.ann, (QUESTION,), (named,))
        assert (found.collections, found.kinds, found.also_found) == ((named,), {}, ())
    both = await knowledge.search(people.ann, (QUESTION,), ("tutor", "uploads"))
    assert (set(both.collections), both.kinds) == ({"tutor", "uploads"}, {})
    # Collections that an agent puts last come after all others.
    last = await knowledge.search(people.ann, (QUESTION,), (), SearchOptions(last=("uploads", "tutor")))
    assert (last.collections, also(last)) == (
        ("responsa-docs",),
        [("uploads", "uploads 1"), ("tutor", "tutor 1")],
    )


async def test_what_hardly_supports_an_answer_is_not_named_beside_another(
    database: Database, embedder: MiniLmEmbedder, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = {"responsa-docs": [DOCS], "tutor": [SAMPLE], "uploads": [UPLOAD, UNRELATED]}
    knowledge = await library(database, embedder, people, shelves)
    monkeypatch.setattr(answering, "ALSO_FOUND", 1.0)
    assert also(await knowledge.search(people.ann, (QUESTION,), ())) == []
    named = await knowledge.search(people.ann, (QUESTION,), ("tutor", "uploads"))
    assert (await knowledge.extract(QUESTION, named)).also_found == ()
    monkeypatch.undo()
    assert (await knowledge.extract(QUESTION, named)).also_found != ()


async def test_where_their_own_documents_support_no_answer_the_documentation_answers_before_samples(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    shelves = {"responsa-docs": [DOCS], "tutor": [SAMPLE], "uploads": [UNRELATED]}
    knowledge = await library(database, embedder, people, shelves)
    found = await knowledge.search(people.ann, (QUESTION,), ())
    assert (found.collections, kinds(found)) == (("responsa-docs",), {CollectionKind.DOCS})
    assert also(found) == [("tutor", "tutor 1")]
    # Whatever the agent asks of an answer, asks it of each kind.
    strict = await knowledge.search(people.ann, (QUESTION,), (), SearchOptions(support=1.0))
    assert (set(strict.collections), kinds(strict), strict.also_found) == (
        set(shelves),
        set(CollectionKind),
        (),
    )


async def test_an_answer_is_of_one_collection_and_names_the_others_of_its_kind_that_support_one(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    knowledge = await library(
        database, embedder, people, {"lifeboat": [OTHER], "unrelated": [UNRELATED], "uploads": [UPLOAD]}
    )
    found = await knowledge.search(people.ann, (QUESTION,), ())
    extraction = await knowledge.extract(QUESTION, found)
    [answered] = {one.passage.collection_id for one in extraction.quotes}
    [other] = {"lifeboat", "uploads"} - {answered}
    assert [one.collection_id for one in extraction.also_found] == [other]
    assert found.also_found == ()


async def test_a_refusal_suggests_what_comes_closest_from_each_document_once(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    gates = ["In 1904 a storm broke the harbour gate.", "The harbour gate was painted green last spring."]
    long = "The harbour gate has " + ", ".join(f"a bolt of {size} mm" for size in range(100)) + "."
    shelves = {"responsa-docs": [UNRELATED], "uploads": [*gates, gates[0], long]}
    knowledge = await library(database, embedder, people, shelves)
    question = "Who built the harbour gate?"
    found = await knowledge.search(people.ann, (question,), (), SearchOptions(support=1.0))
    near = await knowledge.closest(question, found)
    assert 1 < len(near) <= 3
    assert all(one.score >= FLOOR for one in near)
    assert len({one.text for one in near}) == len(near)
    for one in near:
        assert len(one.text.encode()) <= MAX_QUOTE_BYTES
        data = one.passage.text.encode()
        assert data[one.source.start : one.source.end].decode() == one.text
    assert UNRELATED not in {one.text for one in near}
    # Nobody gets suggestions from outside the scope of the question, or from another tenant.
    outside = await knowledge.search(people.ann, (question,), ("responsa-docs",))
    assert await knowledge.closest(question, outside) == ()
    elsewhere = await knowledge.search(people.eve, (question,), ())
    assert await knowledge.closest(question, elsewhere) == ()
    # Quotes that say nothing on the question are left out.
    far = "How long do I boil an egg?"
    assert await knowledge.closest(far, await knowledge.search(people.ann, (far,), ())) == ()


async def test_at_most_two_suggestions_are_of_one_document_and_none_repeats_the_answer(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    gates = [
        "The harbour gate opens at eight.",
        "A bell rings before the harbour gate opens.",
        "On feast days the harbour gate opens at noon.",
        "The harbour gate opens inwards, towards the quay.",
    ]
    other = "The harbour gate of the old town opens at nine."
    shelves = {"uploads": ["\n\n".join(gates), other]}
    knowledge = await library(database, embedder, people, shelves)
    found = await knowledge.search(people.ann, (QUESTION,), ())
    near = await knowledge.closest(QUESTION, found)
    documents = [one.passage.document_id for one in near]
    assert len(near) == 3
    assert max(map(documents.count, documents)) == 2
    # What an answer quotes is not suggested.
    others = await knowledge.closest(QUESTION, found, near[:1])
    assert near[0].text not in {one.text for one in others}
    assert {one.text for one in near[1:]} <= {one.text for one in others}


async def test_a_long_suggestion_ends_after_a_word(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    long = "The harbour gate opens with " + ", ".join(f"a crank of {size} mm" for size in range(100)) + "."
    knowledge = await library(database, embedder, people, {"uploads": [long]})
    found = await knowledge.search(people.ann, (QUESTION,), ())
    [near] = await knowledge.closest(QUESTION, found)
    assert len(near.text.encode()) <= MAX_QUOTE_BYTES
    assert long.startswith(near.text + " ")
    assert near.source.end - near.source.start == len(near.text.encode())
