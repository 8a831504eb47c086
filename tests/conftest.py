"""Fixtures on real parts: one throw-away PostgreSQL for each run, and one database for each test."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore2
import numpy as np
import psycopg
import pytest
import structlog
from hypothesis import settings
from psycopg import sql
from redis import Redis
from structlog.dev import ConsoleRenderer, plain_traceback

from responsa_formats.sandbox.pool import ParserPool
from responsa_local.embedded import EmbeddedPostgres, EmbeddedRedis, LocalLayout, purge
from responsa_local.embedded.layout import DATABASE, SUPERUSER
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.providers.minilm import DIMENSIONS, Float, MiniLmEmbedder, load
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.database import Database
from tests import seeds
from tests.formats import PROFILE

pytest_plugins = [
    "tests.groups",
    "tests.interrupts",
    "tests.instance",
    "tests.callers",
    "tests.times",
    "tests.faults.lines",
]
TEMPLATE = "responsa_template"
MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""The number of bytes that must be free in memory. Each process of a run has its own PostgreSQL, which took about 100
MB with one database."""
_numbers = itertools.count(1)

# A shell that starts a command in the background without job control lets it ignore SIGINT. The programs of the tests
# would inherit this, and the
# tests send them SIGINT.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Collecting imports hundreds of modules and makes thousands of objects that live as long as the process.
# `pytest_runtestloop` starts the collector.
gc.disable()

# Otherwise each client of httpx2, of which a run makes a thousand, would read the system's certificates: 22 ms of CPU time.
httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)

# By default, structlog draws tracebacks with rich, which takes seconds of CPU time for a single exception.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        ConsoleRenderer(exception_formatter=plain_traceback),
    ]
)

settings.load_profile(PROFILE)


def pytest_configure() -> None:
    """Before pytest-xdist starts its processes."""
    seeds.begin()


def pytest_unconfigure() -> None:
    """After all processes have ended."""
    seeds.end()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Start the garbage collector, which then leaves out the modules and the collected tests."""
    gc.freeze()
    gc.enable()


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One database, with a connection for each role that can log in."""

    owner: str
    app: str
    log: str
    superuser: str

    def ask(self, query: str | bytes | sql.Composed, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement by the superuser, whom no policy restricts. Without values, there may be several statements."""
        options = "-c search_path=public,procrastinate"  # the queue's triggers use names without a schema
        statement = query.encode() if isinstance(query, str) else query
        with psycopg.connect(self.superuser, autocommit=True, options=options) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *values: object) -> Any:
        """The first column of the first row; None if there is no row."""
        return next((row[0] for row in self.ask(query, *values)), None)


def urls_of(postgres: EmbeddedPostgres, name: str) -> DatabaseUrls:
    return DatabaseUrls(*(postgres.dsn(role, database=name) for role in ("owner", "app", "log", "superuser")))


@pytest.fixture(scope="session")
def layout() -> Iterator[LocalLayout]:
    """The file locations of this run's throw-away instance.

    The files are in memory if there is room, because each test copies a database of 300 files and removes it again.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    # `make test` makes a folder in memory for temporary files, and removes it later if the run is killed.
    given = Path(tempfile.gettempdir()).is_relative_to(MEMORY)
    with tempfile.TemporaryDirectory(prefix="responsa-", dir=MEMORY if roomy and not given else None) as name:
        folder = Path(name)
        folder.chmod(0o755)  # if root runs the tests, PostgreSQL runs under another account
        with pytest.MonkeyPatch.context() as patched:
            if roomy:
                patched.setattr("responsa_local.embedded.layout.ROOT_PLACES", folder / "root")
            places = LocalLayout.of(folder / "home").prepare()
        yield places
        purge(places)


@pytest.fixture(scope="session")
def postgres(layout: LocalLayout) -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL, started for this run. Its data need not survive a power cut, and its passwords cost a client little to prove."""
    seeds.plant(layout)
    settings = [
        ("fsync", "off"),
        ("max_connections", "200"),
        ("scram_iterations", "1"),
        # What a cancelled client has half opened holds up the end of its database this long.
        ("authentication_timeout", "15s"),
    ]
    part = EmbeddedPostgres(layout, settings=settings)
    part.start()
    with psycopg.connect(part.dsn("superuser", database="postgres"), autocommit=True) as connection:
        # initdb ran before this PostgreSQL and its settings.
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(SUPERUSER), sql.Literal(layout.passwords.postgres_superuser)
            )
        )
    try:
        yield part
    finally:
        part.stop()


@pytest.fixture(scope="session")
def redis_url(layout: LocalLayout) -> Iterator[str]:
    """A real Redis, started for this run."""
    part = EmbeddedRedis(layout)
    part.start()
    try:
        yield part.url
        assert not newer_commands(part.url), "the setting redis_url may name a Redis 6.2"
    finally:
        part.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of this test alone, which the test may stop."""
    part = EmbeddedRedis(LocalLayout.of(tmp_path / "home").prepare())
    part.start()
    try:
        yield part
    finally:
        part.stop()


def newer_commands(url: str) -> Sequence[str]:
    """The commands that a Redis has executed for the product, and that Redis 6.2 does not have."""
    client: Any = Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType]  # it has no types
    with client:
        client.set_response_callback("COMMAND", _as_it_is)
        # The client library sends CLIENT SETINFO, and accepts a refusal.
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")} - {"client|setinfo"}
        known: Mapping[str, Mapping[str, str]] = client.execute_command("COMMAND", "DOCS", *used)
    return [name for name, of in known.items() if tuple(map(int, of["since"].split("."))) >= (7,)]


def _as_it_is(reply: object, **_: object) -> object:
    return reply


@pytest.fixture(scope="session")
def maintenance(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """The connection that makes and drops the tests' databases."""
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        yield connection


def _create(maintenance: psycopg.Connection, name: str, template: str) -> None:
    maintenance.execute(
        sql.SQL("CREATE DATABASE {} OWNER responsa_owner TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def _drop(maintenance: psycopg.Connection, name: str) -> None:
    maintenance.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def template(maintenance: psycopg.Connection) -> str:
    """The name of a database with all migrations, from which every test's database is copied."""
    _create(maintenance, TEMPLATE, DATABASE)
    return TEMPLATE


@pytest.fixture
def database_urls(
    postgres: EmbeddedPostgres, maintenance: psycopg.Connection, template: str
) -> Iterator[DatabaseUrls]:
    """A database with all migrations, only for this test."""
    name = f"test_{next(_numbers)}"
    _create(maintenance, name, template)
    yield urls_of(postgres, name)
    _drop(maintenance, name)


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """The pools of this test's database."""
    # Four pools with two connections each would cost each test 30 ms of CPU time.
    pools = Database(database_urls.app, database_urls.log, size=10, ready=0)
    await pools.open()
    try:
        yield pools
    finally:
        await pools.close()


@pytest.fixture(scope="session")
def embedder() -> Iterator[MiniLmEmbedder]:
    """The real model. It embeds each text only once, because many tests store the same documents."""
    model = load(seeds.models(), threads=RetrievalSettings().embedding_threads)
    embed = model.embed_sync
    known: dict[str, Float] = {}

    def remembered(texts: Sequence[str]) -> Float:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known.update(zip(new, embed(new), strict=True))
        return np.array([known[text] for text in texts], np.float32).reshape(len(texts), DIMENSIONS)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model, "embed_sync", remembered)
        yield model
    model.close()


@pytest.fixture(scope="session")
def zygotes() -> Iterator[list[Any]]:
    """The zygote that a test has left to the next test, if any. Hundreds of tests parse documents, and each start of a
    zygote takes 0.4 s of CPU time."""
    left: list[Any] = []
    yield left
    for one in left:
        one._control.close()
        one._process.wait(60)


@pytest.fixture
async def parser(zygotes: list[Any]) -> AsyncIterator[ParserPool]:
    """The real parsers in their sandbox."""
    settings = IngestionSettings()
    pool = ParserPool(concurrency=settings.concurrency, limits=settings.parse_limits)
    # A pool belongs to one event loop, and each test has its own. So the test gets a new pool, to which the zygote moves.
    loop = asyncio.get_running_loop()
    if zygotes:
        zygote = zygotes.pop()
        zygote._loop = loop
        loop.add_reader(zygote._control.fileno(), zygote._receive)
        pool._zygote = zygote  # pyright: ignore[reportPrivateUsage]  # in the product, a zygote never moves
    yield pool
    zygote: Any = pool._zygote  # pyright: ignore[reportPrivateUsage]  # see above
    if zygote is not None and not zygote.lost and not zygote._running:
        loop.remove_reader(zygote._control.fileno())
        zygotes.append(zygote)
        pool._zygote = None  # pyright: ignore[reportPrivateUsage]  # see above
    await pool.close()


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """The folder of public data sets, if it exists next to the checkout. It is not part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None
