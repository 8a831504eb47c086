"""Searches on a streaming standby, which lags, fails and hangs (ADR 0085)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from responsa_server.domain.parts import Health
from responsa_server.domain.people import Principal
from responsa_server.embedded import EmbeddedPostgres, Layout
from responsa_server.embedded.postgres import postgres_processes
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.standby import StandbyPart
from responsa_server.telemetry import instruments
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People
from tests.contract.shelf import Shelf, retriever_of
from tests.standby import Standby, standby_of

HARBOUR = "Ships enter the harbour two hours before high water."
BAKERY = "The bakery opens at six. Rye bread is baked on Fridays."
NOWHERE = "postgresql:///responsa?host=/nowhere"
QUESTION = "When may ships enter the harbour?"
# Only the primary gets it, because the standby does not replay it.
NO_WORDS: LiteralString = """CREATE OR REPLACE FUNCTION responsa.search_words(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int,
    documents uuid[], few boolean, words text[], word_weights real[], frequencies int[])
    RETURNS TABLE (passage_id uuid) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the index is damaged' USING ERRCODE = 'XX002'; END $$"""
# Without the lock, it finds no words, and the vectors decide.
WAITING_WORDS: LiteralString = NO_WORDS.replace(
    "RAISE EXCEPTION 'the index is damaged' USING ERRCODE = 'XX002'", "PERFORM pg_advisory_xact_lock(4711)"
)


@pytest.fixture(scope="module")
def standby(
    postgres: EmbeddedPostgres, layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standby]:
    del postgres  # it runs
    with standby_of(layout, tmp_path_factory.mktemp("standby") / "home") as part:
        yield part


@asynccontextmanager
async def opened(urls: DatabaseUrls, standby_url: str) -> AsyncGenerator[Database]:
    database = Database(urls.app, urls.log, size=4, ready=0, standby_url=standby_url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def until(connection: psycopg.Connection, query: LiteralString, *values: object) -> None:
    """Wait at most a minute until the query returns true."""
    async with asyncio.timeout(60):
        while connection.execute(query, values).fetchone() != (True,):  # noqa: ASYNC110 - a standby sends no signal
            await asyncio.sleep(0.01)


@dataclass
class Pair:
    """A primary with its standby, and a search of a user. outcomes: what the standby did, for each search."""

    database: Database
    shelf: Shelf
    retriever: Retriever
    bob: Principal
    primary: psycopg.Connection
    copy: psycopg.Connection
    outcomes: list[str]

    async def hits(self) -> list[str]:
        """The texts of the passages that a search finds."""
        found = await self.retriever.search(self.bob, [QUESTION])
        return [one.found.passage.text for one in found.passages]

    async def replayed(self) -> None:
        """Wait until the standby has all that the primary has written."""
        written = self.primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        await until(self.copy, "SELECT pg_last_wal_replay_lsn() >= %s", *written)

    async def pause(self) -> None:
        """The standby replays nothing from now on."""
        self.copy.execute("SELECT pg_wal_replay_pause()")
        await until(self.copy, "SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        self.copy.execute("SELECT pg_wal_replay_resume()")


@pytest.fixture
async def pair(
    database_urls: DatabaseUrls, standby: Standby, embedder: MiniLmEmbedder, people: People
) -> AsyncIterator[Pair]:
    name = str(conninfo_to_dict(database_urls.app)["dbname"])
    outcomes: list[str] = []
    with psycopg.connect(standby.dsn("superuser", "postgres"), autocommit=True) as other:
        await until(other, "SELECT count(*) = 1 FROM pg_database WHERE datname = %s", name)
    async with opened(database_urls, standby.dsn("app", name)) as database:
        with (
            psycopg.connect(database_urls.superuser, autocommit=True) as primary,
            psycopg.connect(standby.dsn("superuser", name), autocommit=True) as copy,
        ):
            shelf, retriever = (
                Shelf(database, embedder),
                retriever_of(database, embedder, search_seconds=60.0),
            )
            made = Pair(database, shelf, retriever, people.bob, primary, copy, outcomes)
            for text in (HARBOUR, BAKERY):
                await shelf.put(text)
            await made.replayed()
            instruments.STANDBY_SEARCHES.connect(lambda _, labels: outcomes.append(labels["outcome"]))
            try:
                assert await made.hits() == [HARBOUR, BAKERY]
                assert set(outcomes) == {"answered"}
                outcomes.clear()
                yield made
            finally:
                made.resume()
                instruments.STANDBY_SEARCHES.connect(None)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM responsa.passage WHERE text LIKE 'Ships%'",
        "UPDATE responsa.passage SET live = false WHERE text LIKE 'Ships%'",
        "UPDATE responsa.passage SET subject = 'users/other' WHERE text LIKE 'Ships%'",
    ],
)
async def test_the_standby_searches_and_the_primary_decides(pair: Pair, change: LiteralString) -> None:
    await pair.pause()
    pair.primary.execute(NO_WORDS)
    assert await pair.hits() == [HARBOUR, BAKERY]
    # The product's own changes also write what the stamp covers; here, the last decision stands alone.
    pair.primary.execute(change)
    assert await pair.hits() == [BAKERY]
    assert pair.outcomes == ["answered", "answered"]


async def test_what_the_standby_lacks_is_searched_on_the_primary(pair: Pair) -> None:
    late = "Ships enter the harbour at night with a pilot."
    await pair.pause()
    document = await pair.shelf.put(late)
    assert set(await pair.hits()) == {late, HARBOUR, BAKERY}
    async with pair.database.tenant("acme") as connection:
        await pair.shelf.table.delete(connection, "acme", "default", document)
    assert await pair.hits() == [HARBOUR, BAKERY]
    pair.primary.execute("DELETE FROM responsa.collection_reader")
    assert await pair.hits() == []
    assert set(pair.outcomes) == {"behind"}
    pair.resume()
    await pair.replayed()
    assert await pair.hits() == []
    assert pair.outcomes[-1] == "answered"


async def test_a_statement_that_replay_cancels_runs_on_the_primary(pair: Pair) -> None:
    pair.primary.execute(WAITING_WORDS)
    await pair.replayed()
    pair.copy.execute("SELECT pg_advisory_lock(4711)")
    searching = asyncio.create_task(pair.hits())
    await until(pair.copy, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    # The standby's transaction has read this table, and the primary's has not.
    with pair.primary.transaction():
        pair.primary.execute("LOCK TABLE responsa.term_stat IN ACCESS EXCLUSIVE MODE")
    assert await searching == [HARBOUR, BAKERY]
    pair.copy.execute("SELECT pg_advisory_unlock(4711)")
    assert await pair.hits() == [HARBOUR, BAKERY]
    assert pair.outcomes == ["failed", "answered"]


async def test_a_standby_that_hangs_is_left_alone(pair: Pair, standby: Standby) -> None:
    part = StandbyPart(pair.database)
    assert (await part.check()).health is Health.OK
    pair.retriever = retriever_of(pair.database, pair.shelf.embedder, search_seconds=2.0)
    assert await pair.hits() == [HARBOUR, BAKERY]
    pair.outcomes.clear()
    stopped = postgres_processes(standby.layout)
    for process in stopped:
        process.suspend()
    try:
        assert await pair.hits() == [HARBOUR, BAKERY]
        assert await pair.hits() == [HARBOUR, BAKERY]
        assert pair.outcomes == ["failed", "away"]
        assert (await part.check()).detail.startswith("The standby cannot be reached or is too slow")
    finally:
        for process in stopped:
            process.resume()


async def test_without_the_primary_the_standby_is_not_down(
    database_urls: DatabaseUrls, standby: Standby, pair: Pair
) -> None:
    name = str(conninfo_to_dict(database_urls.app)["dbname"])
    async with opened(replace(database_urls, app=NOWHERE), standby.dsn("app", name)) as database:
        report = await StandbyPart(database).check()
    assert report.health is Health.DEGRADED
    assert "cannot be compared with the primary" in report.detail


async def test_another_database_in_place_of_the_standby_is_not_used(
    database_urls: DatabaseUrls, embedder: MiniLmEmbedder, pair: Pair
) -> None:
    for url, outcomes, problem in (
        (NOWHERE, {"failed", "away"}, "cannot be reached"),
        (database_urls.app, {"behind"}, "is no standby"),
    ):
        pair.outcomes.clear()
        async with opened(database_urls, url) as database:
            pair.retriever = retriever_of(database, embedder)
            assert await pair.hits() == [HARBOUR, BAKERY]
            assert set(pair.outcomes) == outcomes
            report = await StandbyPart(database).check()
            assert (report.health, problem in report.detail) == (Health.DEGRADED, True)
