"""Instances that live as long as a `with` block: for tests, benches and evaluations."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from responsa_server.embedded.layout import Layout
from responsa_server.embedded.postgres import EmbeddedPostgres
from responsa_server.embedded.purge import purge
from responsa_server.embedded.redis import EmbeddedRedis


@contextmanager
def throwaway_layout() -> Generator[Layout]:
    """A prepared home in the system's temp folder, which is purged at the end."""
    with tempfile.TemporaryDirectory(prefix="responsa-") as folder:
        layout = Layout.of(Path(folder) / "home").prepare()
        try:
            yield layout
        finally:
            purge(layout)


@contextmanager
def throwaway_postgres(settings: Sequence[tuple[str, str]] = ()) -> Generator[EmbeddedPostgres]:
    """A running PostgreSQL with roles, database and extension. The start takes about a second."""
    with throwaway_layout() as layout:
        postgres = EmbeddedPostgres(layout, settings=settings)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


@contextmanager
def throwaway_redis() -> Generator[EmbeddedRedis]:
    """A running, empty Redis."""
    with throwaway_layout() as layout:
        redis = EmbeddedRedis(layout)
        redis.start()
        try:
            yield redis
        finally:
            redis.stop()
