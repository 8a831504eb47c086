"""Applies forward migrations, which are numbered SQL files. Each migration is applied once, in order and in its own transaction,
and is never changed once a release has it (docs/backup.md).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa_server.domain.parts import MigrationState
from responsa_server.stores.postgres.database import Database, shielded
from responsa_server.stores.postgres.locks import Lock
from responsa_server.stores.postgres.pause import BEGIN
from responsa_server.system.fixable import Fixable
from responsa_server.system.instance import OLDEST_POSTGRES, locate

_FILE = re.compile(r"(\d{4})_(pre|post)_([a-z0-9_]+)\.sql")
_SERVER = "responsa server"
LOCK_SECONDS = 10
"""The maximum time for which a migration waits for a lock."""

Ledger = Sequence[tuple[str, bytes]]
"""The names and hashes of migrations, in the order in which a database has applied them."""


class MigrationError(Fixable):
    """A migration cannot be applied. The message names the migration and the reason."""


class ForeignSchema(MigrationError):
    """A database or a backup has applied migrations with other content than this version's, so its tables may be other ones."""

    def __init__(self, known: Migration, name: str, digest: bytes) -> None:
        """known: this version's migration. name, digest: what was applied in its place."""
        super().__init__(
            f"These tables were made by another version: migration {name} was applied with the SHA-256 {digest.hex()[:12]}…, and "
            f"that of this version's {known.name} is {known.sha256.hex()[:12]}…. Nothing was changed, but this version can show "
            "none of their documents, accounts, conversations, keys and feedback",
            "go on with the version that made them, or save the documents with it (GET /v1/documents/ID:original) and begin "
            "with an empty data folder or database; see docs/backup.md, Tables of another version",
        )


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file. number: the migration's number; numbers begin at 1 and have no gaps. name: the file's name without its suffix."""

    number: int
    name: str
    sql: str

    @property
    def waits(self) -> bool:
        """Whether servers of earlier releases do not work after this migration."""
        return self.name[5:].startswith("post_")

    @property
    def sha256(self) -> bytes:
        """The hash of the migration's content. It must equal the hash of the applied migration."""
        return hashlib.sha256(self.sql.encode()).digest()


def folder() -> Path:
    """The folder of the migrations, which is in the checkout or in the installed package."""
    return locate("migrations", "migrations")


def load(source: Path | None = None) -> Sequence[Migration]:
    """Read all migrations in order. Raises MigrationError if a file's name does not have the required form, or if a number is
    missing or occurs twice.
    """
    migrations: list[Migration] = []
    for path in sorted((source or folder()).glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationError(
                f"{path.name} is not named NNNN_pre_name.sql or NNNN_post_name.sql", "rename it"
            )
        migrations.append(Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8")))
    if [item.number for item in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(
            "A migration number is missing or occurs twice", "name the files 0001, 0002, … without a gap"
        )
    return migrations


async def read_ledger(connection: psycopg.AsyncConnection) -> Ledger:
    """The names and hashes of the migrations that were applied to this database, in order; empty for a new database."""
    cursor = await connection.execute("SELECT to_regclass('responsa.migration') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return []
    cursor = await connection.execute("SELECT name, sha256 FROM responsa.migration ORDER BY number")
    return [(name, bytes(digest)) for name, digest in await cursor.fetchall()]


def check_form(ledger: Ledger, known: Sequence[Migration]) -> None:
    """Raise ForeignSchema if one of the known migrations was applied with another name or content."""
    for migration, (name, digest) in zip(known, ledger, strict=False):
        if (migration.name, migration.sha256) != (name, digest):
            raise ForeignSchema(migration, name, digest)


async def migrate(
    url: str, migrations: Sequence[Migration] | None = None, *, restoring: bool = False
) -> Sequence[str]:
    """Apply the missing migrations and return their names. Stops before a `_post_` migration while servers run that do not know it.

    url: the database's URL. Its role must be able to create roles, unless Responsa's roles already exist. restoring:
    begin a pause, in the transaction of the migration that makes its table, so that no server finds a database that is
    being restored without it. Raises MigrationError, ForeignSchema; migrations that were applied before the failing one
    stay applied.
    """
    wanted = load() if migrations is None else migrations
    done: list[str] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        version = connection.info.server_version // 10000
        if version < OLDEST_POSTGRES:
            raise MigrationError(
                f"The database is in a PostgreSQL {version}, and Responsa needs PostgreSQL {OLDEST_POSTGRES} or newer",
                "name a database in a newer PostgreSQL in DATABASE_URL",
            )
        if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
            raise MigrationError(
                f"The database has the encoding {encoding}, and Responsa needs UTF8",
                "name one in DATABASE_URL that was made by CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'",
            )
        await connection.execute("SELECT pg_advisory_lock(%s)", (Lock.MIGRATE,))
        # A migration that waits for a lock makes all later calls on the table wait behind it, so it gives up soon; the
        # next attempt begins where it stopped.
        await connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_SECONDS}s",))
        present = await read_ledger(connection)
        check_form(present, wanted)
        if ahead := too_new([name for name, _ in present], wanted):
            raise _too_new(ahead)
        for migration in wanted[len(present) :]:
            if migration.waits and await _older_servers(connection, migration):
                break
            try:
                async with connection.transaction():
                    await connection.execute(cast("LiteralString", migration.sql))
                    await connection.execute(
                        """CREATE TABLE IF NOT EXISTS responsa.migration (
                            number int PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL,
                            apply_time timestamptz NOT NULL DEFAULT now())"""
                    )
                    await connection.execute(
                        "GRANT SELECT ON responsa.migration TO responsa_app, responsa_log"
                    )
                    await connection.execute(
                        "INSERT INTO responsa.migration (number, name, sha256) VALUES (%s, %s, %s)",
                        (migration.number, migration.name, migration.sha256),
                    )
                    if restoring:
                        await connection.execute(BEGIN)
            except psycopg.Error as error:
                if isinstance(error, psycopg.errors.UndefinedObject) and not await _has_vectors(connection):
                    raise MigrationError(
                        f"Migration {migration.name} failed: the database has no extension vector",
                        "a superuser must run CREATE EXTENSION vector in it once (pgvector 0.8 or newer); see docs/backup.md",
                    ) from error
                busy = isinstance(error, psycopg.errors.LockNotAvailable)
                raise MigrationError(
                    f"Migration {migration.name} failed: {error.diag.message_primary or error}",
                    "other sessions hold a lock on its tables: try again, if need be with all servers stopped"
                    if busy
                    else "see docs/backup.md, Migrations",
                ) from error
            done.append(migration.name)
        if restoring:
            await connection.execute(BEGIN)
    return done


async def waiting(url: str) -> str:
    """After `migrate`: which migration waits and for what, as a sentence; empty if none waits."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        lacking = await _lacking(connection)
    if not lacking:
        return ""
    return f"{lacking[0]} waits until no server of an earlier release runs: stop them, then run `responsa migrate` again."


async def _lacking(connection: psycopg.AsyncConnection) -> Sequence[str]:
    """The names of the migrations that the database lacks."""
    present = {name for name, _ in await read_ledger(connection)}
    return [migration.name for migration in load() if migration.name not in present]


def mark_url(url: str) -> str:
    """The URL for a server's connections, whose name in PostgreSQL tells `migrate` which migrations the server knows."""
    name = conninfo_to_dict(url).get("application_name")
    return make_conninfo(url, application_name=f"{f'{name} ' if name else ''}{_SERVER} {len(load())}")


async def _older_servers(connection: psycopg.AsyncConnection, migration: Migration) -> bool:
    """Whether a server is connected to this database that does not know the migration."""
    cursor = await connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND substring(application_name FROM %s)::int < %s LIMIT 1",
        (f"(?:^| ){_SERVER} ([0-9]{{1,6}})$", migration.number),
    )
    return await cursor.fetchone() is not None


def too_new(present: Sequence[str], known: Sequence[Migration]) -> str:
    """The first applied `_post_` migration that this version does not know; empty if there is none."""
    names = {migration.name for migration in known}
    return next((name for name in present if name not in names and name[5:].startswith("post_")), "")


def _too_new(ahead: str) -> MigrationError:
    return MigrationError(
        f"The database has the migration {ahead}, after which this version of Responsa does not work",
        "start the version that applied it, or a newer one",
    )


def check_fit(present: Ledger, known: Sequence[Migration]) -> None:
    """Raise MigrationError if a server that knows these migrations cannot work with a database that has those.

    A `_pre_` migration that the server does not know, and a `_post_` migration that the database still lacks, hinder nobody.
    """
    check_form(present, known)
    names = [name for name, _ in present]
    if lacking := [item.name for item in known if item.name not in names and not item.waits]:
        raise MigrationError(
            f"The database lacks migrations of this version, such as {lacking[0]}",
            "run `responsa migrate`, then start again",
        )
    if ahead := too_new(names, known):
        raise _too_new(ahead)


async def _has_vectors(connection: psycopg.AsyncConnection) -> bool:
    """Whether the extension pgvector exists in this database."""
    cursor = await connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
    return await cursor.fetchone() is not None


class PostgresMigrations:
    """The migration level of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def check(self) -> None:
        """Raise MigrationError if this version cannot work with the database. Raises Unavailable."""
        async with self._database.no_tenant() as connection:
            check_fit(await read_ledger(connection), load())

    @shielded
    async def missing(self) -> Sequence[str]:
        """The names of the migrations that the database lacks. If `unfit` finds nothing, they wait for the end of older
        servers. Raises Unavailable."""
        async with self._database.no_tenant() as connection:
            return await _lacking(connection)

    @shielded
    async def state(self) -> MigrationState:
        """Read the migration level. Raises Unavailable."""
        async with self._database.no_tenant() as connection:
            present = [name for name, _ in await read_ledger(connection)]
        return MigrationState(
            last=present[-1] if present else "", pending=any(item.name not in present for item in load())
        )
