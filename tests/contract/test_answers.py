"""Questions about a small handbook that was written for this test. The right passage is shown for each question, or
nothing as an answer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.answers import Ranking
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import NearText, NewPassage, Passage, PassageVector, VectorKind
from responsa_server.domain.people import Server
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.excerpts import choose, ranking, with_excerpts
from responsa_server.search.retrieve import RetrievalQuery, Retriever
from responsa_server.stores.postgres.database import Database
from responsa_server.text.lexical import Analyzer, tsvector_literal
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import IndexWriter, indexed_at_once, retriever_of

HANDBOOK = {
    "Turns": "A turn is one question and its answer. Its events are numbered from 1 and committed before they are shown."
    " A turn whose worker was killed is ended by the sweep with the reason WORKER_LOST.",
    "Asking again": "A client goes on after its connection was cut by asking again with the same request_id."
    " The server attaches it to the turn that is already running and replays the events from the first one.",
    "Citations": "Every sentence of an answer carries a citation. A citation names the document version, the byte range and"
    " the SHA-256 of the quote. When a document is deleted, its citations verify as SOURCE_DELETED.",
    "Uploads": "A file may have at most 64 MiB. Markdown, plain text and HTML are read. A parser runs in a sandbox"
    " without network and is stopped when it takes more than 512 MiB of memory.",
    "Keys": "The first administrator's key is kept in the file api-key in the data folder, readable by its owner alone."
    " A key that was revoked is refused from the next call on.",
    "Ports": "One port serves gRPC, gRPC-Web, REST and the page. It is 8080 by default and listens on loopback."
    " Set RESPONSA_PORT to choose another one.",
    "Languages": "The embedded model reads English. In other languages the full text alone decides what is found.",
    "Removing": "The command purge stops every part and removes the database, the logs and the keys of an instance.",
}


ANSWERED: Final = [
    ("How does a client go on after its connection was cut?", "same request_id"),
    ("What becomes of a turn when its worker dies?", "WORKER_LOST"),
    ("how big may a file be", "64 MiB"),
    ("Where is the key of the administrator stored?", "api-key"),
    ("Which port is used by default?", "8080"),
    ("What does a citation name?", "byte range"),
    ("Which languages does the embedding model understand?", "reads English"),
    ("How do I get rid of an instance?", "purge"),
    ("Does deleting a document change its citations?", "SOURCE_DELETED"),
]
"""Questions that the handbook answers, with words of the answer."""
OFF_TOPIC: Final = [
    "What did the mayor of Ulan Bator eat on the ninth of March 1961?",
    "tell me a joke",
    "what's the weather like in lisbon tomorrow",
    "Who won the football world cup in 1974?",
    "set a timer for ten minutes",
    "How many calories are in an avocado?",
    "???",
    "Wie hoch ist der Eiffelturm?",
]
UNRELATED: Final = 3_000


@pytest.fixture
async def retriever(database: Database, embedder: MiniLmEmbedder) -> Retriever:
    index_writer = IndexWriter(database, embedder)
    for title, text in HANDBOOK.items():
        await index_writer.put(text, title=title)
    return retriever_of(database, embedder)


async def ranked(retriever: Retriever, question: str) -> Ranking:
    found = await retriever.retrieve(RetrievalQuery(Server("acme"), [question], top_k=16))
    passages = [passage.found.passage for passage in found.passages]
    around = {passage.id: NearText(passage.source.start, passage.text.encode()) for passage in passages}
    chosen = await choose(found, around, Analyzer())
    return await with_excerpts(ranking(chosen), chosen, found, Analyzer())


async def test_questions_are_answered_if_the_handbook_does(retriever: Retriever) -> None:
    for question, words in ANSWERED:
        ranking = await ranked(retriever, question)
        assert ranking.near, (question, ranking.support)
        assert any(words in excerpt.text for excerpt in ranking.excerpts), question
    for question in OFF_TOPIC:
        ranking = await ranked(retriever, question)
        assert not ranking.near, (question, ranking.support, [excerpt.text for excerpt in ranking.excerpts])


@pytest.mark.parametrize(
    "language",
    ["ja", "th", "tr", *(pytest.param(name, marks=pytest.mark.soak) for name in ("de", "ko", "zh"))],
)
async def test_questions_in_languages_that_the_vectors_do_not_know(
    database: Database, embedder: MiniLmEmbedder, language: str
) -> None:
    """The right document is among the first three for nearly each question, and few are refused. Of the questions about
    other things, nearly all are."""
    folder = Path(__file__).parents[2] / "evals" / "languages" / language
    index_writer = IndexWriter(database, embedder)
    names = {
        await index_writer.put(one["text"], title=one["title"]): one["id"]
        for one in map(json.loads, (folder / "docs.jsonl").read_text().splitlines())
    }
    retriever = retriever_of(database, embedder)
    lost, refused, answered, answerable = list[str](), list[str](), list[str](), 0
    for row in map(json.loads, (folder / "questions.jsonl").read_text().splitlines()):
        ranking_of_it = await ranked(retriever, row["question"])
        if not row.get("answerable", True):
            answered += [row["question"]] * ranking_of_it.near
            continue
        answerable += 1
        first = [names[excerpt.document_id] for excerpt in ranking_of_it.excerpts]
        lost += [row["question"]] * (row["doc_ids"][0] not in first)
        refused += [row["question"]] * (not ranking_of_it.near)
    assert len(lost) <= 0.1 * answerable, lost
    assert len(refused) <= 0.2 * answerable, refused
    assert len(answered) <= 1, answered


async def put_unrelated(index_writer: IndexWriter, collection: str) -> None:
    """Stores passages of words of the questions and the handbook, in no order. Every fifth has a made-up vector."""
    analyzer, document = Analyzer(), uuid7()
    words = sorted(
        {word for question, _ in ANSWERED for word in analyzer.terms(question, "en")}
        | {word for text in HANDBOOK.values() for word in text.split()[:8]}
    )
    chance, vectors = random.Random(10), np.random.default_rng(10)
    passages: list[NewPassage] = []
    for ordinal in range(UNRELATED):
        text = " ".join(chance.choices(words, k=6))
        source = ByteRange(100 * ordinal, 100 * ordinal + len(text.encode()))
        vector = vectors.normal(size=384)
        vector = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()
        terms = analyzer.terms(text, "en")
        passages.append(
            NewPassage(
                Passage(uuid7(), collection, document, 1, "", "", source, text),
                ordinal,
                "en",
                20,
                tsvector_literal([], terms),
                len(terms),
                [PassageVector(VectorKind.SENTENCE, source, vector)] if ordinal % 5 == 0 else [],
            )
        )
    async with index_writer.database.tenant(index_writer.tenant) as connection:
        await index_writer.table.write(connection, index_writer.tenant, passages)
    await index_writer.publish(document, 1, collection)


async def test_unrelated_passages_in_another_collection_displace_nothing(
    retriever: Retriever,
    database: Database,
    database_urls: DatabaseUrls,
    embedder: MiniLmEmbedder,
) -> None:
    async def firsts() -> list[str]:
        return [(await ranked(retriever, one)).excerpts[0].title for one, _ in ANSWERED]

    alone = await firsts()
    async with indexed_at_once(database_urls.superuser):
        await put_unrelated(IndexWriter(database, embedder), "unrelated")
    beside = await firsts()
    assert sum(one == other for one, other in zip(alone, beside, strict=True)) >= len(ANSWERED) - 1
