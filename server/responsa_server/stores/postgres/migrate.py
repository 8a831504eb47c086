"""Applies forward migrations, which are numbered SQL files. Each migration is applied once, in order and in its own transaction,
and is never changed afterwards (ADR 0091).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, LiteralString, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa_server.domain.parts import MigrationState
from responsa_server.instance import OLDEST_POSTGRES, shipped
from responsa_server.stores.postgres.database import Database, shielded
from responsa_server.stores.postgres.locks import Lock
from responsa_server.stores.postgres.pause import BEGIN

_FILE = re.compile(r"(\d{4})_(pre|post)_([a-z0-9_]+)\.sql")
_SERVER = "responsa server"
LOCK_SECONDS = 10
"""The maximum time for which a migration waits for a lock."""

# Eight files replace the 63 of commit c6fb5430 and make the same database; see ADR 0062. These are the hash of the
# first of the 63, and the hash of the names and hashes of
# all 63 in order.
SQUASHED_AT = "c6fb5430"
_OLD_FIRST = bytes.fromhex("d1925e9deeb74c09e641fc296e45fb8bf29bf04a91c61f7e895eeba9ccba5ac3")
_OLD_LEDGER = bytes.fromhex("9636b7489fa92d82e8850b320b509ba2f22f4d540ffa7999102c8dd834332a60")
_BASELINE = 8

EARLIER_FORMS: Final[Mapping[tuple[str, str], str]] = {
    (
        "0011_pre_postings",
        "00f337002c328973dd407b08bc2e5e880ddad7d64dfa4b2ec0a309c93b2ef074",
    ): "0011_pre_postings",
    (
        "0011_pre_postings",
        "09f421acbe6dfe93e6e3d84828c6db5f683a132b7bab4ee0cb5edaca1494b698",
    ): "0011_pre_postings",
    (
        "0015_pre_patterns",
        "15cf2685a2de019684617e4ad332f0ffda1a571d79854b82a9db757a364381a7",
    ): "0015_pre_patterns",
    (
        "0026_pre_turns_of_tenant",
        "64bc2ff401ec250d2c7b4e899abe3082dda595d0c9a9c93efb6c38d40aa41a6b",
    ): "0026_pre_turns_of_tenant",
    (
        "0027_pre_turns_of_tenant",
        "64bc2ff401ec250d2c7b4e899abe3082dda595d0c9a9c93efb6c38d40aa41a6b",
    ): "0026_pre_turns_of_tenant",
    (
        "0027_pre_few_of_many",
        "48720d35ba5c8a9a2072c5fd18a9fd3759526232498c8753ee106d13ede23e8d",
    ): "0027_pre_few_of_many",
}
"""Migrations that were changed after databases had applied them: by the name and hash of the earlier form, the name of
today's. Nothing is added here without a test that such a database comes to today's schema; what an earlier form lacks,
0030 repairs. `tests/migrations/test_landed.py` holds all other migrations to their first form.
"""

Ledger = Sequence[tuple[str, bytes]]
"""The names and hashes of migrations, in the order in which a database has applied them."""


class MigrationError(Exception):
    """A migration cannot be applied. The message names the migration, the reason and the remedy."""


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
    return shipped("migrations", "migrations")


def load(source: Path | None = None) -> Sequence[Migration]:
    """Read all migrations in order. Raises MigrationError if a file's name does not have the required form, or if a number is
    missing or occurs twice.
    """
    migrations: list[Migration] = []
    for path in sorted((source or folder()).glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationError(
                f"{path.name} is not named NNNN_pre_name.sql or NNNN_post_name.sql; rename it"
            )
        migrations.append(Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8")))
    if [one.number for one in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(
            "a migration number is missing or occurs twice; the numbers must be 0001, 0002, …"
        )
    return migrations


async def applied(connection: psycopg.AsyncConnection) -> Ledger:
    """The names and hashes of the migrations that were applied to this database, in order; empty for a new database."""
    cursor = await connection.execute("SELECT to_regclass('responsa.migration') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return []
    cursor = await connection.execute("SELECT name, sha256 FROM responsa.migration ORDER BY number")
    return [(name, bytes(digest)) for name, digest in await cursor.fetchall()]


def todays(ledger: Ledger, known: Sequence[Migration]) -> Ledger:
    """The ledger with the names and hashes that its migrations have in this version. What comes behind the known migrations stays as it is.

    Raises MigrationError if a migration is known with other content, or if the ledger is a part of the 63 migrations up to commit c6fb5430.
    """
    if ledger and ledger[0][1] == _OLD_FIRST:
        if (
            hashlib.sha256(b"".join(name.encode() + digest for name, digest in ledger)).digest()
            != _OLD_LEDGER
        ):
            raise MigrationError(
                f"the database has migrations of an earlier version, the last one is {ledger[-1][0]}; "
                f"run `responsa migrate` of commit {SQUASHED_AT} of Responsa first, then that of this version"
            )
        return [(one.name, one.sha256) for one in known[:_BASELINE]]
    by_name = {one.name: (one.name, one.sha256) for one in known}
    entries = [
        by_name.get(EARLIER_FORMS.get((name, digest.hex()), ""), (name, digest)) for name, digest in ledger
    ]
    for migration, (name, digest) in zip(known, entries, strict=False):
        if (migration.name, migration.sha256) != (name, digest):
            raise MigrationError(
                f"migration {name} was applied with different content: its SHA-256 is "
                f"{digest.hex()[:12]}…, and that of this version's {migration.name} is "
                f"{migration.sha256.hex()[:12]}…; "
                "nothing was changed: continue with the version of Responsa that applied it, or restore a backup from before it"
            )
    return entries


async def migrate(
    url: str, migrations: Sequence[Migration] | None = None, *, restoring: bool = False
) -> Sequence[str]:
    """Apply the missing migrations and return their names. Stops before a `_post_` migration while servers run that do not know it.

    url: the database's URL. Its role must be able to create roles, unless Responsa's roles already exist. A database
    with all migrations of commit c6fb5430 counts as one with the first eight of this version, and one with
    `EARLIER_FORMS` as one with today's. restoring: begin a pause, in the transaction of the migration that makes its
    table, so that no server finds a database that is being restored without it. Raises MigrationError; migrations that
    were applied before the failing one stay applied.
    """
    wanted = load() if migrations is None else migrations
    done: list[str] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        version = connection.info.server_version // 10000
        if version < OLDEST_POSTGRES:
            raise MigrationError(
                f"the database is in a PostgreSQL {version}, and Responsa needs PostgreSQL {OLDEST_POSTGRES} or newer; "
                "name a database in a newer PostgreSQL in DATABASE_URL"
            )
        if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
            raise MigrationError(
                f"the database has the encoding {encoding}, and Responsa needs UTF8; name one in DATABASE_URL that was made by "
                "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
            )
        await connection.execute("SELECT pg_advisory_lock(%s)", (Lock.MIGRATE,))
        # A migration that waits for a lock makes all later calls on the table wait behind it, so it gives up soon; the
        # next attempt begins where it stopped.
        await connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_SECONDS}s",))
        present = await applied(connection)
        if (ledger := todays(present, wanted)) != present:
            await _replace(connection, ledger)
            present = ledger
        if ahead := too_new([name for name, _ in present], wanted):
            raise MigrationError(
                f"the database has the migration {ahead}, after which this version of Responsa does not work; use a newer version"
            )
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
                    await _enter(connection, migration.number, migration.name, migration.sha256)
                    if restoring:
                        await connection.execute(BEGIN)
            except psycopg.Error as error:
                if isinstance(error, psycopg.errors.UndefinedObject) and not await _has_vectors(connection):
                    raise MigrationError(
                        f"migration {migration.name} failed: the database has no extension vector; "
                        "a superuser must run CREATE EXTENSION vector in it once (pgvector 0.8 or newer)"
                    ) from error
                busy = isinstance(error, psycopg.errors.LockNotAvailable)
                remedy = "; other sessions hold a lock on its tables: try again, if need be with all servers stopped"
                raise MigrationError(
                    f"migration {migration.name} failed: {error.diag.message_primary or error}{remedy if busy else ''}"
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
    present = {name for name, _ in await applied(connection)}
    return [one.name for one in load() if one.name not in present]


def marked(url: str) -> str:
    """The URL for a server's connections, whose name in PostgreSQL tells `migrate` which migrations the server knows."""
    given = conninfo_to_dict(url).get("application_name")
    return make_conninfo(url, application_name=f"{f'{given} ' if given else ''}{_SERVER} {len(load())}")


async def _older_servers(connection: psycopg.AsyncConnection, migration: Migration) -> bool:
    """Whether a server is connected to this database that does not know the migration."""
    cursor = await connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND substring(application_name FROM %s)::int < %s LIMIT 1",
        (f"(?:^| ){_SERVER} ([0-9]{{1,6}})$", migration.number),
    )
    return await cursor.fetchone() is not None


def too_new(present: Sequence[str], known: Sequence[Migration]) -> str:
    """The first applied `_post_` migration that this version does not know; empty if there is none."""
    names = {one.name for one in known}
    return next((name for name in present if name not in names and name[5:].startswith("post_")), "")


def unfit(present: Sequence[str], known: Sequence[Migration]) -> tuple[str, str]:
    """Why a server that knows these migrations cannot work with a database that has those, and the remedy; empty if it can.

    A `_pre_` migration that the server does not know, and a `_post_` migration that the database still lacks, hinder nobody.
    """
    if lacking := [one.name for one in known if one.name not in present and not one.waits]:
        return (
            f"The database lacks migrations of this version, such as {lacking[0]}",
            "run `responsa migrate`, then start again",
        )
    if ahead := too_new(present, known):
        return (
            f"The database has the migration {ahead}, after which this version of Responsa does not work",
            "start the version that applied it, or a newer one",
        )
    return "", ""


async def _replace(connection: psycopg.AsyncConnection, ledger: Ledger) -> None:
    async with connection.transaction():
        await connection.execute("DELETE FROM responsa.migration")
        for number, (name, digest) in enumerate(ledger, 1):
            await _enter(connection, number, name, digest)


async def _enter(connection: psycopg.AsyncConnection, number: int, name: str, digest: bytes) -> None:
    await connection.execute(
        "INSERT INTO responsa.migration (number, name, sha256) VALUES (%s, %s, %s)", (number, name, digest)
    )


async def _has_vectors(connection: psycopg.AsyncConnection) -> bool:
    """Whether the extension pgvector exists in this database."""
    cursor = await connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
    return await cursor.fetchone() is not None


class PostgresMigrations:
    """The migration level of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def unfit(self) -> tuple[str, str]:
        """Why this version cannot work with the database, and the remedy; empty if it can. Raises Unavailable."""
        async with self._database.no_tenant() as connection:
            return unfit([name for name, _ in await applied(connection)], load())

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
            present = [name for name, _ in await applied(connection)]
        return MigrationState(
            last=present[-1] if present else "", pending=any(one.name not in present for one in load())
        )
