"""`python -m bench.access`: what the readers of collections cost a search, on a real PostgreSQL with 50,000 passages.

The same questions are searched alternately by the server itself, which reads the whole tenant, by a user who may read all of it, and by a user who may read one collection,
0.1 % of the passages. The vectors of the questions are computed before, so the times are those of the search alone. Recall compares the nearest passages of the second user
with those of an exact comparison. The passages are in 10 collections and, on a second database, in 1,000.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg
from rich.console import Console
from uuid_utils.compat import uuid7

from bench import corpus
from bench.figures import Comparison, median
from bench.report import Line, Machine, show
from responsa_server.domain.passages import QuestionVector, SearchScope
from responsa_server.domain.people import Principal, Reader, Role, Server
from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from responsa_server.ingest.indexing import lexical_form
from responsa_server.providers.minilm import MiniLmEmbedder, load
from responsa_server.search.embedder import OneEmbedder, Vectors
from responsa_server.search.retrieve import NEAREST_VECTORS, Retriever
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.migrate import migrate
from responsa_server.stores.postgres.passages import PostgresLexicalIndex
from responsa_server.stores.postgres.vectors import PostgresVectorIndex
from responsa_server.text.lexical import Analyzer, language_of

TENANT: Final = "acme"
PASSAGES: Final = 50_000
FEW: Final = "few"
"""The collection of the user who may read little. It has 0.1 % of the passages."""
# The model reads this number of texts. The vectors of the passages are theirs, with noise.
_EMBEDDED: Final = 400
_NOISE: Final = 0.04

_COLLECTION: Final = """INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, max_tokens, overlap_tokens, embedding)
    VALUES (%(tenant)s, %(id)s, %(id)s, %(owner)s, 500, 50, %(model)s)"""
_PASSAGE: Final = """COPY responsa.passage (
    id, tenant_id, collection_id, document_id, version, ordinal, byte_start, byte_end, title, uri, text, language, tokens, length, terms, live) FROM STDIN"""
_VECTOR: Final = """COPY responsa.passage_vector (passage_id, ordinal, tenant_id, collection_id, kind, byte_start, byte_end, embedding) FROM STDIN"""
_INDEX: Final = "CREATE INDEX passage_vector_embedding ON responsa.passage_vector USING hnsw (embedding halfvec_cosine_ops)"
_EXACT: Final = """SELECT passage_id FROM responsa.passage_vector WHERE collection_id = %s ORDER BY (embedding <=> %s::halfvec) + 0 LIMIT 10"""


class _Known:
    """The real model's answers for questions that were embedded before. Implements `Embedder`."""

    def __init__(self, model: MiniLmEmbedder) -> None:
        self.name, self.dimensions, self.max_tokens = model.name, model.dimensions, model.max_tokens
        self.languages, self.texts_a_call = model.languages, model.texts_a_call
        self.token_offsets = model.token_offsets
        self._model = model
        self.vectors: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}

    def learn(self, texts: Sequence[str]) -> None:
        """Embed these texts."""
        self.vectors |= dict(zip(texts, self._model.embed_sync(list(texts)), strict=True))

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`."""
        return np.array([self.vectors[one] for one in texts], np.float32)


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with passages. all_of_it, few: the users."""

    database: Database
    url: str
    retriever: Retriever
    model: _Known
    questions: Sequence[str]
    all_of_it: Principal
    few: Principal


def _texts(number: int, collections: int) -> list[tuple[str, str]]:
    """Collections, each with a text. FEW has one text of a thousand."""
    paragraphs = [
        one for text in corpus.documents(number // 100, 101) for one in text.text.split("\n\n")[1:]
    ][:number]
    few = max(len(paragraphs) // 1000, 1)
    return [
        (FEW if place < few else f"c-{place % (collections - 1)}", one)
        for place, one in enumerate(paragraphs)
    ]


def _unit(vector: npt.NDArray[np.float64]) -> str:
    """The vector of length one in this direction, as the database reads it."""
    numbers: list[float] = (vector / float(np.linalg.norm(vector))).tolist()
    return str(numbers)


def fill(
    url: str, model: _Known, texts: Sequence[tuple[str, str]], owner: UUID, all_of_it: UUID, few: UUID
) -> None:
    """Store the users, collections and passages, with the statistics that publishing would have written. url: a superuser's."""
    analyzer = Analyzer()
    chance = np.random.default_rng(5)
    model.learn(sampled := [text for _, text in texts[:: max(len(texts) // _EMBEDDED, 1)]])
    centres: npt.NDArray[np.float64] = np.array([model.vectors[one] for one in sampled], np.float64)
    with psycopg.connect(url) as connection:
        connection.execute("SELECT '[1]'::vector")
        connection.execute("INSERT INTO responsa.tenant (id, display_name) VALUES (%s, 'Acme')", (TENANT,))
        for user in (owner, all_of_it, few):
            connection.execute(
                "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES (%s, %s, 'x', 'user')",
                (user, TENANT),
            )
        collections = list(dict.fromkeys(collection for collection, _ in texts))
        for one in collections:
            connection.execute(
                _COLLECTION, {"tenant": TENANT, "id": one, "owner": owner, "model": model.name}
            )
        readers = [*((one, all_of_it) for one in collections), (FEW, few)]
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO responsa.collection_reader (tenant_id, collection_id, user_id) VALUES (%s, %s, %s)",
                [(TENANT, *one) for one in readers],
            )
        ids = [uuid7() for _ in texts]
        documents = {one: uuid7() for one in collections}
        with connection.cursor().copy(_PASSAGE) as copy:
            for place, (id_, (collection, text)) in enumerate(zip(ids, texts, strict=True)):
                form = lexical_form(analyzer, "", (), text, language_of(text))
                row = [
                    id_,
                    TENANT,
                    collection,
                    documents[collection],
                    1,
                    place,
                    0,
                    len(text.encode()),
                    "",
                    "",
                ]
                row += [text, language_of(text), len(text) // 4, form.length, form.terms, True]
                copy.write_row(row)
        connection.execute("DROP INDEX responsa.passage_vector_embedding")
        with connection.cursor().copy(_VECTOR) as copy:
            for place, (id_, (collection, text)) in enumerate(zip(ids, texts, strict=True)):
                vector = _unit(centres[place % len(centres)] + chance.normal(0, _NOISE, model.dimensions))
                copy.write_row((id_, 0, TENANT, collection, "window", 0, len(text.encode()), vector))
        connection.execute("SET LOCAL maintenance_work_mem = '1GB'")
        connection.execute(_INDEX)
        connection.execute(
            """INSERT INTO responsa.collection_stat (tenant_id, collection_id, passages, terms)
            SELECT tenant_id, collection_id, count(*), sum(length) FROM responsa.passage GROUP BY 1, 2"""
        )
        connection.execute(
            """INSERT INTO responsa.term_stat (tenant_id, collection_id, term, passages)
            SELECT p.tenant_id, p.collection_id, u.lexeme, count(*) FROM responsa.passage AS p, unnest(p.lexemes) AS u GROUP BY 1, 2, 3"""
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


@asynccontextmanager
async def filled(
    postgres: EmbeddedPostgres, model: _Known, passages: int, collections: int
) -> AsyncGenerator[Filled]:
    """A new database with this number of passages, in this number of collections."""
    name = f"access_{collections}"
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER responsa_owner".encode())
    url = postgres.dsn("superuser", database=name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    await migrate(postgres.dsn("owner", database=name))
    owner, all_of_it, few = uuid7(), uuid7(), uuid7()
    texts = _texts(passages, collections)
    await asyncio.to_thread(fill, url, model, texts, owner, all_of_it, few)
    questions = corpus.questions(corpus.documents(passages // 100, 101), min(200, passages // 10))
    model.learn(questions)
    settings = RetrievalSettings()
    database = Database(postgres.dsn("app", database=name), postgres.dsn("log", database=name), size=2)
    await database.open()
    try:
        retriever = Retriever(
            PostgresLexicalIndex(database, search_seconds=settings.search_seconds),
            PostgresVectorIndex(
                database, search_seconds=settings.search_seconds, breadth=settings.hnsw_ef_search
            ),
            OneEmbedder(model),
        )
        yield Filled(
            database,
            url,
            retriever,
            model,
            questions,
            Principal(TENANT, all_of_it, Role.USER, "api_key"),
            Principal(TENANT, few, Role.USER, "api_key"),
        )
    finally:
        await database.close()


async def timed(of: Filled, readers: Sequence[Reader], rounds: int, a_round: int) -> list[list[float]]:
    """The median milliseconds of a search by each reader, in each round. The readers take turns at every question."""
    medians: list[list[float]] = [[] for _ in readers]
    place = 0
    for _ in range(rounds):
        taken: list[list[float]] = [[] for _ in readers]
        for _ in range(a_round):
            question = of.questions[place % len(of.questions)]
            for step in range(len(readers)):
                side = (place + step) % len(readers)
                begun = time.perf_counter()
                await of.retriever.search(readers[side], [question])
                taken[side].append((time.perf_counter() - begun) * 1000)
            place += 1
        for side, values in enumerate(taken):
            medians[side].append(median(values))
    return medians


async def recall(of: Filled, questions: int) -> float:
    """The share of the ten nearest passages that the vector index finds for the user who may read little."""
    index = PostgresVectorIndex(of.database, search_seconds=30, breadth=RetrievalSettings().hnsw_ef_search)
    wanted = found = 0
    with psycopg.connect(of.url) as connection:
        for question in of.questions[:questions]:
            vector = of.model.vectors[question].astype("<f4")
            exact = {row[0] for row in connection.execute(_EXACT, (FEW, str(vector.tolist())))}
            near: Mapping[UUID, object] = await index.nearest(
                SearchScope(of.few), QuestionVector(of.model.name, vector.tobytes()), NEAREST_VECTORS
            )
            wanted += len(exact)
            found += len(exact & near.keys())
    return found / wanted


async def measure(postgres: EmbeddedPostgres, model: _Known, *, quick: bool) -> list[Line]:
    """All measurements."""
    lines: list[Line] = []
    passages = 2_000 if quick else PASSAGES
    rounds, a_round = (3, 5) if quick else (15, 20)
    for collections in (10, 100 if quick else 1_000):
        title = f"Search in {passages:,} passages in {collections:,} collections: searches as a user, compared with the same searches as the server itself, which may read everything"
        async with filled(postgres, model, passages, collections) as of:
            readers = (Server(TENANT), of.all_of_it, of.few)
            await timed(of, readers, 2, a_round)
            own, everything, few = await timed(of, readers, rounds, a_round)
            for what, taken in (
                ("a user who may read everything", everything),
                ("a user who may read 0.1 %", few),
            ):
                found = Comparison.of(taken, own)
                lines.append(Line.compared(title, f"{what}, p50", "ms", "less", found, rounds * a_round * 2))
            value = [await recall(of, 20 if quick else 100)]
            lines.append(
                Line.alone(title, "recall@10 of 0.1 %", "", value, better="more", measured=len(of.questions))
            )
    return lines


def main() -> None:
    """Measure on a throw-away PostgreSQL."""
    parser = argparse.ArgumentParser(prog="python -m bench.access", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few passages, to test the bench itself")
    given = parser.parse_args()
    machine = Machine.here()
    with tempfile.TemporaryDirectory(prefix="rsp-access-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        layout = Layout.of(folder / "home").prepare()
        postgres = EmbeddedPostgres(layout)
        postgres.start()
        model = load(layout.data / "models", threads=os.cpu_count() or 1)
        try:
            lines = asyncio.run(measure(postgres, _Known(model), quick=given.quick))
        finally:
            model.close()
            postgres.stop()
            purge(layout)
    console = Console(width=150)
    console.print(str(machine), highlight=False)
    show(lines, console)


if __name__ == "__main__":
    main()
