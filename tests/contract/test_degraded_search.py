"""Without vectors, a turn's search continues with words alone and reports this, but a Search call fails."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from structlog.processors import format_exc_info
from structlog.testing import capture_logs

from responsa_server.domain.answers import SearchOptions
from responsa_server.domain.errors import TooSlow, Unavailable
from responsa_server.domain.knowledge import SearchMode, SearchQuery
from responsa_server.domain.passages import SearchScope
from responsa_server.domain.people import Server
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.embedder import Embedder
from responsa_server.search.hits import KnowledgeSearch
from responsa_server.stores.postgres.database import Database
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import IndexWriter, lexical_of, retriever_of
from tests.contract.library_harness import GatedEmbedder
from tests.contract.people import People
from tests.raising import raises

HARBOUR = "The harbour master keeps the tide table. Ships enter the harbour two hours before high water."
BAKERY = "The bakery opens at six. Rye bread is baked on Fridays, in an oven from 1904."
QUESTION = "When may ships enter the harbour?"
NO_INDEX = """CREATE OR REPLACE FUNCTION
    responsa.search_nearest_within(
        tenant text, collections text[], others text[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
    RETURNS TABLE (passage_id uuid) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the index is damaged' USING ERRCODE = 'XX002'; END $$"""

NO_WORDS = """CREATE OR REPLACE FUNCTION responsa.search_words(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int,
    documents uuid[], few boolean, words text[], word_weights real[], frequencies int[])
    RETURNS TABLE (passage_id uuid) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the index is damaged' USING ERRCODE = 'XX002'; END $$"""


NO_VECTORS_FUNCTION: LiteralString = "ALTER FUNCTION responsa.search_nearest_within RENAME TO search_gone"
NO_VECTORS_TABLE: LiteralString = (
    "REVOKE SELECT ON responsa.passage_vector FROM responsa_app, responsa_search"
)
NO_PASSAGES: LiteralString = "REVOKE SELECT ON responsa.passage FROM responsa_search"
NO_STATISTICS: LiteralString = "REVOKE SELECT ON responsa.term_stat FROM responsa_app"


def failing(embedder: Embedder) -> GatedEmbedder:
    """An embedding model that fails with an error like those of its library."""

    async def fail() -> None:
        raise MemoryError("the session is gone")

    return GatedEmbedder(embedder, fail)


@pytest.fixture
async def filled(database: Database, embedder: MiniLmEmbedder, people: People) -> None:
    index_writer = IndexWriter(database, embedder)
    for text in (HARBOUR, BAKERY):
        await index_writer.put(text)


def evidence(database: Database, embedder: Embedder, seconds: float | None = None) -> LibraryEvidence:
    return LibraryEvidence(retriever_of(database, embedder, search_seconds=seconds))


def damage_index(urls: DatabaseUrls, statement: LiteralString = NO_INDEX) -> None:
    """From now on, the search by vectors (or by words) fails. Everything else continues to work."""
    urls.ask(statement)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("gone", [None, NO_INDEX, NO_VECTORS_FUNCTION, NO_VECTORS_TABLE])
async def test_without_vectors_words_decide_and_the_evidence_says_so(
    database: Database, embedder: MiniLmEmbedder, people: People, database_urls: DatabaseUrls, gone: str
) -> None:
    if gone:
        damage_index(database_urls, gone)
    knowledge = evidence(database, embedder if gone else failing(embedder))
    with capture_logs(processors=[format_exc_info]) as logs:
        found = await knowledge.search(people.ann, (QUESTION,), ())
    assert (found.degraded, found.embedding_tokens) == ("text_only", 0)
    (warned,) = [log for log in logs if "words alone decide" in log["event"]]
    assert warned["log_level"] == "warning"
    assert "Traceback" in warned["exception"]
    assert QUESTION not in str(logs)
    assert [passage.text for passage in await knowledge.passages(found, 1_000)] == [HARBOUR]


@pytest.mark.usefixtures("filled")
async def test_a_search_by_hand_fails_where_its_vectors_cannot_be_had(
    database: Database, embedder: MiniLmEmbedder, people: People, database_urls: DatabaseUrls
) -> None:
    query = SearchQuery((QUESTION,))
    await raises(
        MemoryError,
        KnowledgeSearch(retriever_of(database, failing(embedder))).search(Server("acme"), query),
    )
    damage_index(database_urls)
    search = KnowledgeSearch(retriever_of(database, embedder))
    assert (await raises(Unavailable, search.search(Server("acme"), query))).metadata == {"part": "vectors"}
    by_words = SearchQuery((QUESTION,), mode=SearchMode.TEXT)
    assert [one.passage.text for one in await search.search(Server("acme"), by_words)] == [HARBOUR]


@pytest.mark.usefixtures("filled")
async def test_a_damaged_index_of_words_is_a_part_that_is_away(
    database: Database, embedder: MiniLmEmbedder, people: People, database_urls: DatabaseUrls
) -> None:
    damage_index(database_urls)
    damage_index(database_urls, NO_WORDS)
    caught = await raises(Unavailable, evidence(database, embedder).search(people.ann, (QUESTION,), ()))
    assert caught.metadata == {"part": "text index"}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("statement", [NO_PASSAGES, NO_STATISTICS])
async def test_what_the_database_refuses_a_search_is_a_part_that_is_away(
    database: Database,
    embedder: MiniLmEmbedder,
    people: People,
    database_urls: DatabaseUrls,
    caplog: pytest.LogCaptureFixture,
    statement: LiteralString,
) -> None:
    damage_index(database_urls, statement)
    caught = await raises(Unavailable, evidence(database, embedder).search(people.ann, (QUESTION,), ()))
    assert caught.metadata == {"part": "text index"}
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert logged[-1] == "the text index cannot be searched: InsufficientPrivilege"


@asynccontextmanager
async def held(urls: DatabaseUrls, *tables: str) -> AsyncGenerator[None]:
    """No other session can read these tables during the block."""
    async with await psycopg.AsyncConnection.connect(urls.superuser) as connection:
        names = sql.SQL(", ").join(sql.Identifier("responsa", table) for table in tables)
        await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        yield


HASTY = 0.2
"""The number of seconds after which a search of the following tests gives up."""


@pytest.mark.usefixtures("filled")
async def test_vectors_that_are_held_up_are_not_waited_for(
    database: Database, embedder: MiniLmEmbedder, people: People, database_urls: DatabaseUrls
) -> None:
    knowledge = evidence(database, embedder, HASTY)
    async with held(database_urls, "passage_vector"):
        found = await knowledge.search(people.ann, (QUESTION,), ())
        assert found.degraded == "text_only"
        assert [passage.text for passage in await knowledge.passages(found, 1_000)] == [HARBOUR]
        search = KnowledgeSearch(retriever_of(database, embedder, search_seconds=HASTY))
        caught = await raises(TooSlow, search.search(Server("acme"), SearchQuery((QUESTION,))))
        assert caught.metadata == {"part": "vectors"}
    assert (await knowledge.search(people.ann, (QUESTION,), ())).degraded == ""


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("tables", [("passage_vector", "passage"), ("term_stat",)])
async def test_documents_that_are_held_up_are_not_waited_for(
    database: Database,
    embedder: MiniLmEmbedder,
    people: People,
    database_urls: DatabaseUrls,
    tables: tuple[str, ...],
) -> None:
    async with held(database_urls, *tables):
        caught = await raises(
            TooSlow, evidence(database, embedder, HASTY).search(people.ann, (QUESTION,), ())
        )
    assert caught.metadata == {"part": "text index"}


@pytest.mark.usefixtures("filled")
async def test_a_request_that_is_wrong_is_no_part_that_is_away(database: Database) -> None:
    await raises(psycopg.DataError, lexical_of(database).statistics(SearchScope(Server("acme")), ["half\0"]))


@pytest.mark.usefixtures("filled")
async def test_a_database_that_is_gone_is_no_matter_of_vectors(
    database_urls: DatabaseUrls, embedder: MiniLmEmbedder, people: People
) -> None:
    knowledge = evidence(Database(database_urls.app, database_urls.log, size=2), embedder)
    caught = await raises(Unavailable, knowledge.search(people.ann, (QUESTION,), ()))
    assert caught.metadata == {"part": "postgresql"}


@pytest.mark.usefixtures("filled")
async def test_an_agents_options_say_how_to_search(
    database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    knowledge = evidence(database, embedder)
    both = ("harbour", "bakery")
    assert (await knowledge.search(people.ann, both, ())).passages == 2
    assert (await knowledge.search(people.ann, both, (), SearchOptions(top_k=1))).passages == 1
    assert (await knowledge.search(people.ann, both, (), SearchOptions(threshold=1.0))).passages == 0
    assert (await knowledge.search(people.ann, both, ("elsewhere",))).passages == 0
