"""Users, stores and a library for the contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_formats.sandbox.pool import ParserPool
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.sharing import Scheduler
from responsa_server.domain.turns import NewTurn, OnBusy, Question
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.passages import PassageTable
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import CutDatabase
from tests.contract.index_writer import IndexWriter, retriever_of
from tests.contract.library_harness import Harness
from tests.contract.turn_harness import Services
from tests.plain_codec import PlainCodec

AGENT = "agents/default/versions/1"


@dataclass(frozen=True, slots=True)
class People:
    """Two users of one tenant, and one user of another tenant."""

    ann: Principal
    bob: Principal
    eve: Principal


@pytest.fixture
def people(database_urls: DatabaseUrls) -> People:
    made: list[Principal] = []
    with psycopg.connect(database_urls.superuser) as connection:
        for tenant in ("acme", "rival"):
            connection.execute(
                "INSERT INTO responsa.tenant (id, display_name) VALUES (%s, %s)", (tenant, tenant)
            )
        for tenant in ("acme", "acme", "rival"):
            user = uuid7()
            connection.execute(
                "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES (%s, %s, 'x', 'user')",
                (user, tenant),
            )
            made.append(Principal(tenant, user, Role.USER, "api_key"))
    return People(*made)


@pytest.fixture
def turn_store(database: Database) -> PostgresTurnStore:
    return PostgresTurnStore(database, PlainCodec())


@pytest.fixture
def conversation_store(database: Database) -> PostgresConversationStore:
    return PostgresConversationStore(database)


@pytest.fixture
def services(database: Database) -> Services:
    """Processes with turns, without Redis."""
    return Services(database)


def new_turn(
    text: str = "How long is the river?",
    *,
    conversation: UUID | None = None,
    request_id: UUID | None = None,
    lease_seconds: float = 60.0,
    collections: tuple[str, ...] = (),
    agent: str = "",
    on_busy: OnBusy = OnBusy.REJECT,
    version: str = AGENT,
    pending: bool = False,
    watched: bool = False,
    max_pending: int = 1000,
    max_queued: int = 8,
    parameters: str = "",
    max_cost_micros: int = 0,
    document_filter: str = "",
) -> NewTurn:
    """A turn for `accept`. pending: whether the turn begins as pending, so that any worker may claim it."""
    return NewTurn(
        id=uuid7(),
        conversation_id=conversation or uuid7(),
        question=Question(
            text,
            conversation,
            collections,
            agent,
            on_busy,
            parameters,
            max_cost_micros,
            document_filter=document_filter,
        ),
        request_id=request_id,
        agent_version=version,
        owner=None if pending else uuid7(),
        lease_seconds=lease_seconds,
        frame=b"started",
        cancel_on_disconnect=watched,
        max_pending=max_pending,
        max_queued=max_queued,
    )


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
    pools = CutDatabase(database_urls.app, database_urls.log, size=10)
    await pools.open()
    try:
        yield pools
    finally:
        await pools.close()
