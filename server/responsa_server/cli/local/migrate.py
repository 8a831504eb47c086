"""`responsa migrate`: bring the database up to this version."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import typer

from responsa_server.app.resources import bring_up_to_date, reachable
from responsa_server.app.settings import Settings, load
from responsa_server.cli.failures import CommandFailed
from responsa_server.cli.local.failures import FAILED, reporting
from responsa_server.embedded import EmbeddedPostgres, Layout
from responsa_server.stores.postgres.migrate import MigrationError


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def run() -> None:  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        """Apply the migrations that the database lacks, and hold the vector index to its settings.

        Safe to repeat; two at once wait for each other.
        """
        with reporting(), database(settings := load()):
            try:
                done = asyncio.run(bring_up_to_date(settings, Layout.of(settings.home)))
            except MigrationError as error:
                raise CommandFailed(f"{error}.", "See docs/operations.md, Migrations.", FAILED) from error
            except psycopg.OperationalError as error:
                raise CommandFailed(
                    "The database cannot be reached.", "Check DATABASE_URL, and that PostgreSQL runs.", FAILED
                ) from error
            typer.echo("\n".join(done) or "The database is up to date.")


@contextmanager
def database(settings: Settings) -> Generator[None]:
    """Keep a database available during the block: the embedded PostgreSQL, if it is configured and not running, runs for that time."""
    layout = Layout.of(settings.home)
    if settings.database_url is None:
        layout.prepare()
        postgres = EmbeddedPostgres(layout)
        if not reachable(postgres.dsn("owner")):
            postgres.start()
            try:
                yield
            finally:
                postgres.stop()
            return
    yield
