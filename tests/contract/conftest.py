"""Users, stores and a library for the contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from responsa_formats.sandbox.pool import ParserPool
from responsa_server.domain.sharing import Scheduler
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.passages import PassageTable
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import CutDatabase, opened
from tests.contract.index_writer import IndexWriter, retriever_of
from tests.contract.library_harness import Harness
from tests.contract.people import People, people_in
from tests.contract.turn_harness import Services
from tests.contract.turn_steps import Store


@pytest.fixture
def people(database_urls: DatabaseUrls) -> People:
    return people_in(database_urls)


@pytest.fixture
def store(database_urls: DatabaseUrls, database: Database) -> Store:
    return Store(database_urls, database)


@pytest.fixture
def cut_store(database_urls: DatabaseUrls, cut_database: CutDatabase) -> Store:
    """A store whose connections can be lost: see `cut_database`."""
    return Store(database_urls, cut_database)


@pytest.fixture
def conversation_store(database: Database) -> PostgresConversationStore:
    return PostgresConversationStore(database)


@pytest.fixture
def services(database: Database, database_urls: DatabaseUrls) -> Services:
    """Processes with turns, without Redis."""
    return Services(database, urls=database_urls)


@pytest.fixture
def harness(
    database_urls: DatabaseUrls,
    database: Database,
    parser: ParserPool,
    embedder: MiniLmEmbedder,
    tmp_path: Path,
) -> Iterator[Harness]:
    """A library with all its parts."""
    spool = tmp_path / "spool"
    spool.mkdir()
    yield Harness(database_urls, database, parser, embedder, spool)
    # What still embeds for a cancelled caller ends its turn on this test's event loop, which is closed by then.
    embedder._turns = Scheduler("embedding", 1)


@pytest.fixture
def table() -> PassageTable:
    return PassageTable()


@pytest.fixture
def retriever(database: Database, embedder: MiniLmEmbedder) -> Retriever:
    return retriever_of(database, embedder)


@pytest.fixture
def index_writer(database: Database, embedder: MiniLmEmbedder) -> IndexWriter:
    """The passages of the tenant acme."""
    return IndexWriter(database, embedder)


@pytest.fixture
def rival(database: Database, embedder: MiniLmEmbedder) -> IndexWriter:
    return IndexWriter(database, embedder, "rival")


@pytest.fixture
async def cut_database(database_urls: DatabaseUrls) -> AsyncIterator[CutDatabase]:
    """A database whose connections can be lost right after a COMMIT."""
    async with opened(CutDatabase(database_urls.app, database_urls.log, size=10)) as pools:
        yield pools
