"""Where a process finds its database and Redis, where it listens, and what needs no more than that."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa_server.app.settings import ServeRole, Settings
from responsa_server.domain.addresses import Address, AddressError, UnixAddress, parse
from responsa_server.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis, Layout
from responsa_server.identity.service import Identity
from responsa_server.stores.postgres import vector_index
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from responsa_server.stores.postgres.migrate import migrate


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
        yield identity_on(settings, database)
    finally:
        await database.close()


def identity_on(settings: Settings, database: Database) -> Identity:
    """Identity on a database."""
    return Identity(
        PostgresIdentityStore(database),
        new_id,
        code_seconds=settings.sessions.code_seconds,
        session_seconds=settings.sessions.session_seconds,
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens: for gRPC, and for the gateway's HTTP. None: nowhere."""

    grpc: Address | None
    http: Address | None


def addresses(settings: Settings, layout: Layout) -> Addresses:
    """Where this process is to listen. Raises EmbeddedError for a setting that is no address."""
    grpc = _address("grpc_listen", settings.grpc_listen)
    if settings.role is ServeRole.WORKER:
        return Addresses(grpc, None)
    http = _address("http_listen", settings.http_listen)
    if grpc is None:
        return Addresses(UnixAddress(layout.server_socket), http or UnixAddress(layout.gateway_socket))
    # Who names a place for gRPC runs one of several: the socket in the data folder is the first one's.
    return Addresses(grpc, http)


def _address(setting: str, text: str) -> Address | None:
    try:
        return parse(text) if text else None
    except AddressError as error:
        raise EmbeddedError(
            f"{setting}: {error}", "docs/operations.md tells how to name addresses"
        ) from error
