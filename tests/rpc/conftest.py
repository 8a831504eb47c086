"""A server on real parts. Each test has a server to itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path

import pytest

from responsa_formats.sandbox.pool import ParserPool
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.stores.postgres.database import Database
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness
from tests.rpc.served import Serve, Served, serving


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="rpc", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def harness(
    database_urls: DatabaseUrls,
    database: Database,
    parser: ParserPool,
    embedder: MiniLmEmbedder,
    folder: Path,
) -> Harness:
    spool = folder / "spool"
    spool.mkdir()
    return Harness(database_urls, database, parser, embedder, spool)


@pytest.fixture
def serve(harness: Harness, folder: Path) -> Serve:
    """Starts a server on the test's database. Its options are those of `serving`."""
    return partial(serving, harness, folder)


@pytest.fixture
async def served(serve: Serve) -> AsyncGenerator[Served, None]:
    """The server."""
    async with serve() as made:
        yield made


@pytest.fixture
async def pair(serve: Serve) -> AsyncGenerator[tuple[Served, Served], None]:
    """Two servers on one database."""
    async with serve() as first, serve(replica="t") as second:
        yield first, second
