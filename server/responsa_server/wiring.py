"""Everything put together: the only place that knows the concrete adapters."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg
import structlog
import uuid_utils.compat
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa_server import __version__
from responsa_server.domain.ports.parts import Installation, Part
from responsa_server.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis, Layout
from responsa_server.identity.service import Identity
from responsa_server.logs import configure as configure_logs
from responsa_server.settings import Settings, environment
from responsa_server.stores.postgres import vector_index
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from responsa_server.stores.postgres.migrate import migrate
from responsa_server.tracers import drop_foreign_tracers

# What it takes, once the turns' time is up, to commit their ends and to tell those who follow.
_LAST_WORDS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One database as each of the three roles that log in."""

    owner: str
    app: str
    log: str


def database_urls(settings: Settings, layout: Layout) -> DatabaseUrls:
    """Where the database is: DATABASE_URL and friends, else the embedded one."""
    if settings.database_url is None:
        postgres = EmbeddedPostgres(layout)
        return DatabaseUrls(postgres.dsn("owner"), postgres.dsn("app"), postgres.dsn("log"))
    owner = settings.database_url.get_secret_value()
    app, log = settings.database_app_url, settings.database_log_url
    return DatabaseUrls(
        owner,
        app.get_secret_value() if app else _as_role(owner, "responsa_app"),
        log.get_secret_value() if log else _as_role(owner, "responsa_log"),
    )


def _as_role(url: str, role: str) -> str:
    options = str(conninfo_to_dict(url).get("options") or "")
    return make_conninfo(url, options=f"{options} -c role={role}".strip())


async def bring_up_to_date(settings: Settings, layout: Layout) -> Sequence[str]:
    """Apply missing migrations and hold the vector index to its settings; return what was done. Raises MigrationError."""
    owner = database_urls(settings, layout).owner
    done = [f"applied {name}" for name in await migrate(owner)]
    options = settings.retrieval
    if await vector_index.fit(owner, m=options.hnsw_m, ef_construction=options.hnsw_ef_construction):
        done.append("built the vector index anew")
    return done


def reachable(url: str) -> bool:
    """Whether a database answers at this URL, within a few seconds."""
    try:
        with psycopg.connect(url, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def redis_url(settings: Settings, layout: Layout) -> str:
    """Where Redis is: REDIS_URL, else the embedded one."""
    return settings.redis_url.get_secret_value() if settings.redis_url else EmbeddedRedis(layout).url


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): ids of one process sort in the order they were made."""
    return uuid_utils.compat.uuid7()


@asynccontextmanager
async def identity_of(settings: Settings, layout: Layout) -> AsyncGenerator[Identity]:
    """Identity on a small pool of its own, for commands that need no server."""
    urls = database_urls(settings, layout)
    database = Database(urls.app, urls.log, size=2)
    await database.open()
    try:
        yield _identity(settings, database)
    finally:
        await database.close()


def _identity(settings: Settings, database: Database) -> Identity:
    return Identity(
        PostgresIdentityStore(database),
        new_id,
        code_seconds=settings.sessions.code_seconds,
        session_seconds=settings.sessions.session_seconds,
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running server listens: gRPC (a gRPC target) and the gateway's HTTP (a socket's path)."""

    grpc: str
    http: Path


@asynccontextmanager
async def running(settings: Settings, layout: Layout) -> AsyncGenerator[Addresses]:
    """A whole server in this process, ready within the block and drained at its end."""
    drop_foreign_tracers(environment())
    # Imported here: they bring grpc, LangGraph and the model's runtime, which the commands that only look need not load.
    from responsa_server.gateway.app import GatewaySettings, build_app
    from responsa_server.gateway.serve import GatewayServer
    from responsa_server.graph.agent import AgentOptions, GraphAgent
    from responsa_server.knowledge.answering import LibraryEvidence
    from responsa_server.knowledge.cached_embedder import CachedEmbedder
    from responsa_server.knowledge.embedder import EmbeddingPart
    from responsa_server.knowledge.indexing import Indexer
    from responsa_server.knowledge.ingest import Ingest
    from responsa_server.knowledge.jobs import KnowledgeJobs
    from responsa_server.knowledge.library import Library
    from responsa_server.knowledge.retrieve import Retriever
    from responsa_server.knowledge.sandbox.limits import ParseLimits
    from responsa_server.knowledge.sandbox.pool import ParserPool
    from responsa_server.knowledge.search import KnowledgeSearch
    from responsa_server.knowledge.support import DEFAULT_SUPPORT
    from responsa_server.knowledge.waiting import Waiting
    from responsa_server.providers.minilm import load as load_minilm
    from responsa_server.rpc.frames import AskFrames
    from responsa_server.rpc.interceptors.credential import SESSION_COOKIE
    from responsa_server.rpc.server import RpcServer, ServerOptions, Services
    from responsa_server.stores.postgres.collections import CollectionStore
    from responsa_server.stores.postgres.conversations import PostgresConversationStore
    from responsa_server.stores.postgres.documents import DocumentStore
    from responsa_server.stores.postgres.ingestions import IngestionStore
    from responsa_server.stores.postgres.jobs import JobQueue
    from responsa_server.stores.postgres.operations import OperationStore
    from responsa_server.stores.postgres.part import PostgresMigrations, PostgresPart
    from responsa_server.stores.postgres.passages import PassageStore
    from responsa_server.stores.postgres.turns import PostgresTurnStore
    from responsa_server.stores.redis import RedisCache, RedisPart
    from responsa_server.turns.conversations import Conversations
    from responsa_server.turns.service import TurnOptions, Turns

    urls = database_urls(settings, layout)
    grpc_target = settings.grpc_listen or f"unix:{layout.server_socket}"
    http_socket = (
        Path(settings.http_listen.removeprefix("unix:")) if settings.http_listen else layout.gateway_socket
    )
    async with AsyncExitStack() as stack:
        database = Database(urls.app, urls.log, size=settings.database_pool)
        await database.open()
        stack.push_async_callback(database.close)

        cache = RedisCache(redis_url(settings, layout))
        stack.push_async_callback(cache.close)
        threads = settings.retrieval.embedding_threads
        embedder = await asyncio.to_thread(load_minilm, layout.data / "models", threads=threads)
        stack.callback(embedder.close)

        passages = PassageStore(database)
        retriever = Retriever(
            passages, CachedEmbedder(embedder, cache), breadth=settings.retrieval.hnsw_ef_search
        )
        queue = JobQueue(
            urls.log, concurrency=settings.ingestion.concurrency, alone=settings.database_url is None
        )
        documents = DocumentStore(database, passages, queue, new_id)
        operations = OperationStore(database, passages)
        waiting = Waiting()
        collections = CollectionStore(database, passages)
        library = Library(
            collections,
            documents,
            operations,
            KnowledgeSearch(retriever),
            waiting,
            embedding=embedder.name,
            spool_dir=layout.data,
        )
        parser = ParserPool(
            concurrency=settings.ingestion.concurrency,
            limits=ParseLimits(
                memory_bytes=settings.ingestion.parser_memory_mib << 20,
                cpu_seconds=max(1, int(settings.ingestion.parser_seconds)),
                wall_seconds=settings.ingestion.parser_seconds * 1.5,
            ),
        )
        await parser.start()
        stack.push_async_callback(parser.close)
        ingestions = IngestionStore(database, passages, queue)
        ingest = Ingest(ingestions, parser, Indexer(embedder, ingestions, new_id), waiting)
        jobs = KnowledgeJobs(queue, ingest, documents, operations)

        threshold = settings.retrieval.support_threshold
        evidence = LibraryEvidence(
            retriever, embedder, support=DEFAULT_SUPPORT if threshold is None else threshold
        )
        codec = AskFrames()
        conversation_store = PostgresConversationStore(database)
        options = settings.turns
        turns = Turns(
            PostgresTurnStore(database, codec),
            conversation_store,
            collections,
            GraphAgent(
                evidence,
                evidence,
                AgentOptions(
                    version="agents/default/versions/1",
                    time_limit_seconds=options.time_limit_seconds,
                    history_messages=options.history_messages,
                ),
            ),
            codec,
            new_id,
            TurnOptions(
                lease_seconds=options.lease_seconds,
                sweep_seconds=options.sweep_seconds,
                heartbeat_seconds=options.heartbeat_seconds,
                max_running=options.max_running,
                partition_days_ahead=options.partition_days_ahead,
            ),
            logger=structlog.get_logger("turns"),
        )
        identity = _identity(settings, database)
        parts: Sequence[Part] = [
            PostgresPart(database),
            RedisPart(redis_url(settings, layout)),
            EmbeddingPart(embedder),
            jobs,
        ]
        # Browsers send a host's cookies to all its ports: instances side by side must not share a name.
        cookie_name = f"{SESSION_COOKIE}_{settings.port}"
        server = RpcServer(
            Services(
                identity=identity,
                turns=turns,
                conversations=Conversations(conversation_store, documents, new_id),
                library=library,
                parts=parts,
                migrations=PostgresMigrations(database),
                installation=Installation(__version__, embedder.name, "extractive"),
            ),
            ServerOptions(
                address=grpc_target,
                reflection=settings.serves_reflection,
                max_calls=settings.max_calls,
                session_cookie=cookie_name,
            ),
            logger=structlog.get_logger("calls"),
        )
        await turns.start()
        stack.push_async_callback(turns.close)
        await jobs.start()
        stack.push_async_callback(jobs.close)
        await server.start()
        stack.push_async_callback(server.drain, 0.0)
        await server.ready()
        gateway = GatewayServer(
            build_app(
                GatewaySettings(
                    web_root=settings.page,
                    cookie_name=cookie_name,
                    secure_cookie=settings.sessions.secure_cookie,
                ),
                grpc_target,
                identity,
            ),
            http_socket,
        )
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        try:
            yield Addresses(grpc_target, http_socket)
        finally:
            # Nothing new begins; running turns get their time and are ended; who follows one sees its end before the calls are cut.
            await asyncio.gather(
                server.drain(settings.drain_seconds + _LAST_WORDS_SECONDS),
                turns.drain(settings.drain_seconds),
            )


async def serve(settings: Settings) -> None:
    """Run a server until SIGTERM or SIGINT. Raises EmbeddedError when what it stands on is not there."""
    configure_logs(settings.log_level.value)
    layout = Layout.of(settings.home)
    # A folder that is no home has no passwords to ask with.
    absent = settings.database_url is None and not layout.is_home()
    if absent or not reachable(database_urls(settings, layout).app):
        raise EmbeddedError(
            "There is no database to serve from",
            "run `responsa up`, which starts one, or set DATABASE_URL and run `responsa migrate`",
        )
    layout.prepare()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, layout) as addresses:
        structlog.get_logger("server").info("ready", grpc=addresses.grpc, http=str(addresses.http))
        await stop.wait()
        structlog.get_logger("server").info("draining")
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
