"""The database, Redis and addresses that the settings select, and operations on them for commands on this machine.

This module imports neither grpc nor LangGraph, so that `up`, `migrate` and `admin` start fast.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa_server.app.layout import Layout
from responsa_server.app.settings import Settings
from responsa_server.app.vector_stores import open_store
from responsa_server.domain.addresses import Address, AddressError, UnixAddress, parse
from responsa_server.domain.errors import AlreadyExists, Unauthenticated, Unavailable
from responsa_server.domain.knowledge import FIRST_DIMENSIONS
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.passages import VectorStore
from responsa_server.domain.people import DEFAULT_TENANT, Principal, Role
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import Credential, Identity
from responsa_server.identity.settings import MIN_SECRET_BYTES
from responsa_server.identity.tokens import Tokens
from responsa_server.search.settings import EMBEDDED_MODEL
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from responsa_server.stores.postgres.late_indexes import build_late_indexes
from responsa_server.stores.postgres.migrate import migrate
from responsa_server.system.fixable import Fixable
from responsa_server.system.machine import NO_ROOM, free_space
from responsa_server.system.private_files import write_private


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """The URLs of one database, one for each of the three roles that log in."""

    owner: str
    app: str
    log: str


def read_secret(settings: Settings, layout: Layout) -> bytes:
    """Return the installation's secret, at least `MIN_SECRET_BYTES` long. Raises Fixable, which names the setting."""
    file = settings.tokens.secret_file or layout.token_secret
    remedy = (
        f"write at least {MIN_SECRET_BYTES} random bytes into the file (the same bytes on all machines), or name another file in "
        "tokens.secret_file (RESPONSA_TOKENS__SECRET_FILE)"
    )
    try:
        text = file.read_bytes().strip()
    except OSError as error:
        raise Fixable(f"The secret file {file} cannot be read ({error.strerror})", remedy) from error
    if len(text) < MIN_SECRET_BYTES:
        raise Fixable(f"The secret file {file} is too short", remedy)
    return text


def relay_key(settings: Settings, layout: Layout) -> bytes:
    """Return the key that authenticates messages between processes, derived from the installation's secret. Raises Fixable."""
    return hmac.digest(read_secret(settings, layout), b"responsa relay", "sha256")


def cache_key(settings: Settings, layout: Layout) -> bytes:
    """Return the key that authenticates entries of the cache, derived like `relay_key`. Raises Fixable."""
    return hmac.digest(read_secret(settings, layout), b"responsa cache", "sha256")


def database_urls(settings: Settings, layout: Layout) -> DatabaseUrls:
    """Return the URLs of DATABASE_URL, DATABASE_APP_URL and DATABASE_LOG_URL, or of the embedded database if
    DATABASE_URL is not set.
    """
    if settings.database_url is None:
        return DatabaseUrls(layout.dsn("owner"), layout.dsn("app"), layout.dsn("log"))
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


async def bring_up_to_date(settings: Settings, layout: Layout, *, restoring: bool = False) -> Sequence[str]:
    """Apply missing migrations, and build the indexes that are missing or whose settings have changed, also those of a
    vector store outside the database. Returns one line for each change, and one if the vector store cannot be reached.
    restoring: see `migrate`. Raises MigrationError, SettingsError.
    """
    owner = database_urls(settings, layout).owner
    done = [f"applied {name}" for name in await migrate(owner, restoring=restoring)]
    done += [f"built the index of {what}" for what in await build_late_indexes(owner)]
    if await build_index(settings, layout):
        done.append("rebuilt the vector index")
    if (store := open_store(settings)) is not None:
        done += await _prepare(store, settings)
    return done


async def _prepare(store: VectorStore, settings: Settings) -> Sequence[str]:
    # The length of other models' vectors is known when their first vectors are stored.
    if settings.retrieval.embedding != EMBEDDED_MODEL:
        return ()
    try:
        # Imported late, as is what works with vectors below: numpy takes a sixth of the start of a command.
        from responsa_server.providers.minilm import name_of

        if await store.prepare(name_of(), FIRST_DIMENSIONS):
            return (
                f"prepared {store.name}; for documents from before, run `responsa migrate --rebuild-vectors`",
            )
    except Unavailable:
        return ((await store.check()).detail,)
    finally:
        await store.close()
    return ()


async def build_index(settings: Settings, layout: Layout) -> bool:
    """Build the vector index if it is missing or its settings have changed. Returns whether it was built."""
    from responsa_server.stores.postgres.vectors import fit_index

    options = settings.retrieval
    owner = database_urls(settings, layout).owner
    return await fit_index(owner, m=options.hnsw_m, ef_construction=options.hnsw_ef_construction)


def targets_folder(settings: Settings, layout: Layout) -> Path:
    """The folder of the files that tell Prometheus the servers' addresses."""
    return settings.telemetry.metrics_targets or layout.metrics


def refusal(url: str) -> str:
    """Connect to the database at this URL within five seconds. Returns the reason why that failed; empty if it worked."""
    try:
        with psycopg.connect(url, connect_timeout=5):
            return ""
    except psycopg.OperationalError as error:
        return reason_of(error)


def reason_of(error: psycopg.OperationalError) -> str:
    """Return the reason why a connection failed, such as `password authentication failed for user "responsa"`.

    The reason omits the host and the port, because they are parts of the password if its special characters are not
    escaped in the URL.
    """
    first = str(error).partition("\n")[0].strip()
    _, fatal, told = first.partition("FATAL:")
    if not fatal:
        _, failed, told = first.rpartition(" failed: ")
        told = told if failed else re.split(r": |\[Errno -?\d+\] ", first)[-1]
    return told.strip()


def redis_url(settings: Settings, layout: Layout) -> str:
    """Return REDIS_URL, or the URL of the embedded Redis if REDIS_URL is not set."""
    return settings.redis_url.get_secret_value() if settings.redis_url else layout.redis_url


def new_id() -> UUID:
    """Return a new UUIDv7 (RFC 9562). The ids of one process sort in the order of their creation."""
    return uuid_utils.compat.uuid7()


@asynccontextmanager
async def pools_of(settings: Settings, layout: Layout) -> AsyncGenerator[Database]:
    """Provide small connection pools, for commands that work without a server."""
    urls = database_urls(settings, layout)
    database = Database(urls.app, urls.log, size=2)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_identity(settings: Settings, layout: Layout) -> AsyncGenerator[Identity]:
    """Provide an `Identity` for commands that work without a server."""
    async with pools_of(settings, layout) as database:
        identity = build_identity(settings, database)
        try:
            yield identity
        finally:
            await identity.close()


def build_identity(
    settings: Settings,
    database: Database,
    cache: CredentialCache | None = None,
    tokens: Tokens | None = None,
) -> Identity:
    """Return an `Identity` that uses an open database. cache: the cache of credentials; a new one by default. tokens:
    None refuses all access tokens."""
    return Identity(
        PostgresIdentityStore(database),
        new_id,
        code_seconds=settings.sessions.code_seconds,
        session_seconds=settings.sessions.session_seconds,
        cache=cache,
        tokens=tokens,
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses on which a server listens for gRPC and for the gateway's HTTP. None: the server does not listen."""

    grpc: Address | None
    http: Address | None


def addresses(settings: Settings, layout: Layout) -> Addresses:
    """Return the addresses on which this process listens. Raises Fixable for a setting that is not an address."""
    grpc = _address("grpc_listen", settings.grpc_listen)
    http = _address("http_listen", settings.http_listen)
    if not settings.role.accepts_calls:
        return Addresses(grpc, http)
    if grpc is None:
        return Addresses(UnixAddress(layout.server_socket), http or UnixAddress(layout.gateway_socket))
    # If an address for gRPC is set, this process is one of several, and the sockets in the data folder belong to the
    # first process.
    return Addresses(grpc, http)


def _address(setting: str, text: str) -> Address | None:
    try:
        return parse(text) if text else None
    except AddressError as error:
        raise Fixable(f"{setting}: {error}", "docs/deployment.md shows the form of an address") from error


_KEY_NAME: Final = "made by responsa up"


async def ensure_administrator(identity: Identity, key_file: Path) -> Principal:
    """Return the administrator whose API key is in key_file.

    If the key is missing or no longer valid, the administrator of an earlier file gets a new key, so that a restored
    instance keeps its administrator. If there is none, create an administrator, and the tenant if it is missing. The
    file is written atomically with mode 0600 and contains only the secret. The administrator is an owner of the
    installation, because whoever can read the file controls the machine.
    """
    secret = await asyncio.to_thread(_read_key, key_file)
    # A key is not valid if it was revoked or belongs to another database.
    with contextlib.suppress(Unauthenticated):
        return await _owner(identity, secret)
    with contextlib.suppress(AlreadyExists):
        await identity.create_tenant(DEFAULT_TENANT, "Default")
    user_id = await identity.store.owner_with_key(DEFAULT_TENANT, _KEY_NAME)
    if user_id is None:
        user_id = (await identity.create_user(DEFAULT_TENANT, "Administrator", "", Role.ADMIN)).id
    _, secret = await identity.create_key(DEFAULT_TENANT, user_id, _KEY_NAME)
    await asyncio.to_thread(write_private, key_file, secret + "\n")
    return await _owner(identity, secret)


async def _owner(identity: Identity, secret: str) -> Principal:
    """Authenticate the machine's administrator, and make the administrator an owner. Raises Unauthenticated."""
    who = await identity.authenticate(Credential("api_key", secret))
    if not who.owner and await identity.own(who):
        who = await identity.authenticate(Credential("api_key", secret))
    return who


def _read_key(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


_RECHECK_SECONDS: Final = 1.0


class Disks:
    """The disks that receive an instance's data; implements `domain.parts.Part`."""

    name = "disk"

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._full: Sequence[Path] = ()
        self._checked_at = -_RECHECK_SECONDS

    def full(self) -> Sequence[Path]:
        """The folders whose disks have less than 16 MiB left, as they were at most a second ago."""
        now = time.monotonic()
        if now >= self._checked_at + _RECHECK_SECONDS:
            self._checked_at = now
            self._full = [folder for folder in self._folders if free_space(folder) < NO_ROOM]
        return self._full

    def holds_full(self, folder: Path) -> bool:
        return folder in self.full()

    async def check(self) -> PartReport:
        """Report full disks as DOWN: nothing can be stored there."""
        folders = self.full()
        if not folders:
            return PartReport(Health.OK)
        return PartReport(
            Health.DOWN,
            detail=f"full: the disk of {', '.join(map(str, folders))}; free at least 200 MB there",
        )
