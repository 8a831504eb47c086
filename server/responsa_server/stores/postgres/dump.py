"""Reads all rows of all tables in one snapshot, and writes them into an empty database with the same migrations.

Only rows are copied: the migrations make the tables, and `fit_index` the vector index. The functions are not
asynchronous, because only commands call them.

No text of a dump becomes SQL except names, which are quoted, and which must be those of the database that its
migrations have made. The bounds of a partition follow from its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, LiteralString

import psycopg
from psycopg import sql
from pydantic import StringConstraints, TypeAdapter

ROLE: Final = "responsa_backup"
CHUNK: Final = 16 << 20
"""The size of a piece of a table's rows in bytes: the last row of a piece may make it longer."""

MOST_DESCRIPTION_BYTES: Final = 4 << 20
"""The maximum size of the text of a `DumpDescription`, which names each table with its columns and each week of the log."""

_Schema = Literal["responsa", "procrastinate"]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
_SCHEMAS: Final = ["responsa", "procrastinate"]
_WEEK: Final = re.compile(r"turn_event_(20[0-9]{6})")
# Weeks of the turn log that were taken out of the log wait for their deletion. A pause and the note of the last backup belong to the
# database, not to its content.
_TABLES: Final[LiteralString] = """
    SELECT n.nspname, c.relname,
        ARRAY(SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relkind = 'r' AND (c.relispartition OR c.relname !~ '^turn_event_[0-9]{8}$')
        AND c.relname NOT IN ('pause', 'last_backup')
    ORDER BY 1, 2"""
_SEQUENCES: Final[LiteralString] = (
    "SELECT schemaname::text, sequencename::text, last_value FROM pg_sequences WHERE schemaname = ANY(%s)"
)
_SECURED: Final[LiteralString] = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND c.relrowsecurity"""
_FOREIGN_KEYS: Final[LiteralString] = """
    SELECT n.nspname, c.relname, f.conname, pg_get_constraintdef(f.oid)
    FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND f.contype = 'f' AND f.conparentid = 0"""


NEWEST_ANSWERS: Final = 10
_TRUE_CITATIONS: Final[LiteralString] = """
    SELECT count(*), count(*) FILTER (WHERE sha256(source.bytes) = c.sha256)
    FROM responsa.citation c LEFT JOIN responsa.document_version v USING (tenant_id, document_id, version)
    CROSS JOIN LATERAL (
        SELECT substring(coalesce(v.canonical, v.original) FROM c.source_start::int + 1
            FOR (c.source_end - c.source_start)::int) AS bytes) source
    WHERE EXISTS (SELECT FROM responsa.document d WHERE d.tenant_id = c.tenant_id AND d.id = c.document_id)"""
# The terminal event is with the turn; the log before it is dropped after `turns.retention_days`.
_WHOLE_ANSWERS: Final[LiteralString] = """
    SELECT count(*), count(*) FILTER (WHERE log.first IS NULL OR (log.first = 1 AND log.events = log.last AND log.last >= t.last_seq - 1))
    FROM (SELECT id, last_seq FROM responsa.turn WHERE state = 'answered' ORDER BY end_time DESC LIMIT %s) t
    CROSS JOIN LATERAL (
        SELECT min(e.seq) AS first, max(e.last_seq) AS last, sum(e.last_seq - e.seq + 1) AS events
        FROM responsa.turn_event e WHERE e.turn_id = t.id) log"""


class DumpError(Exception):
    """The rows cannot be read or written. The message is a sentence without its full stop; remedy: what to do, likewise."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class DumpTable:
    """A table. columns: those that are stored."""

    schema: _Schema
    name: _Name
    columns: Sequence[_Name]

    @property
    def identifier(self) -> sql.Identifier:
        """The table's name in a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def week(self) -> datetime | None:
        """When the week of a partition of the turn log begins; None for another table. Raises ValueError if this is no Monday."""
        if self.schema != "responsa" or (match := _WEEK.fullmatch(self.name)) is None:
            return None
        week = datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC)
        if week.weekday():
            raise ValueError(self.name)
        return week


@dataclass(frozen=True, slots=True)
class DumpDescription:
    """What a dump has. sequences: the schema, the name and the last value of each sequence that was used."""

    tables: Sequence[DumpTable]
    sequences: Sequence[tuple[_Schema, _Name, int]]

    def to_json(self) -> str:
        """The description as a text."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: bytes) -> DumpDescription:
        """The description of which this is the text. Raises ValueError."""
        description = _DESCRIPTION.validate_json(text)
        if len({(table.schema, table.name) for table in description.tables}) < len(description.tables):
            raise ValueError("a table is there twice")
        for table in description.tables:
            _ = table.week
        return description


_DESCRIPTION: Final = TypeAdapter(DumpDescription)


class DatabaseSnapshot:
    """All rows as of one moment. It is valid until the connection ends."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        tables = [DumpTable(*row) for row in connection.execute(_TABLES, [_SCHEMAS]).fetchall()]
        sequences = connection.execute(_SEQUENCES, [_SCHEMAS]).fetchall()
        self.description = DumpDescription(
            tables, [(row[0], row[1], row[2]) for row in sequences if row[2] is not None]
        )

    def rows(self, table: DumpTable) -> Generator[bytes]:
        """The rows of a table in PostgreSQL's binary format, in pieces of about CHUNK bytes. Raises DumpError."""
        statement = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)")
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        piece = bytearray()
        try:
            with self._connection.cursor().copy(statement.format(table.identifier, columns)) as copy:
                for data in copy:
                    piece += data
                    if len(piece) >= CHUNK:
                        yield bytes(piece)
                        piece.clear()
        except psycopg.Error as error:
            raise _failure("read", table.name, error) from error
        yield bytes(piece)


def snapshot(connection: psycopg.Connection) -> DatabaseSnapshot:
    """Open a snapshot as the role `responsa_backup`, which may read all rows and write none.

    connection: of the tables' owner or a superuser, not in a transaction. Creates the role if the login may. Raises DumpError.
    """
    _grant(connection)
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ROLE)))
    # An error is better than a part of the rows.
    connection.execute("SET LOCAL row_security = off")
    return DatabaseSnapshot(connection)


def _grant(connection: psycopg.Connection) -> None:
    role = sql.Identifier(ROLE)
    try:
        with connection.transaction():
            row = connection.execute(
                "SELECT rolbypassrls FROM pg_roles WHERE rolname = %s", [ROLE]
            ).fetchone()
            if row is None:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN BYPASSRLS").format(role))
            # Tables of later migrations are new to the role.
            for schema in map(sql.Identifier, _SCHEMAS):
                for right in (
                    "USAGE ON SCHEMA",
                    "SELECT ON ALL TABLES IN SCHEMA",
                    "SELECT ON ALL SEQUENCES IN SCHEMA",
                ):
                    connection.execute(sql.SQL("GRANT {} {} TO {}").format(sql.SQL(right), schema, role))
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))
            if connection.execute(
                "SELECT rolbypassrls FROM pg_roles WHERE rolname = %s", [ROLE]
            ).fetchone() != (True,):
                raise DumpError(
                    f"The role {ROLE} does not bypass row-level security",
                    f"ask a superuser to run: ALTER ROLE {ROLE} BYPASSRLS",
                )
    except psycopg.errors.InsufficientPrivilege as error:
        user = connection.info.user
        raise DumpError(
            f"The login {user} may not use the role {ROLE}, which reads the rows of all tenants",
            (
                f"ask a superuser to run once: CREATE ROLE {ROLE} NOLOGIN BYPASSRLS; GRANT {ROLE} TO "
                f'"{user}"; if the role exists already, only the second statement'
            ),
        ) from error


def note_backup(connection: psycopg.Connection, began: datetime) -> None:
    """Note when the newest complete backup began, for the servers' metrics."""
    connection.execute(
        """INSERT INTO responsa.last_backup (begin_time) VALUES (%s)
            ON CONFLICT (one) DO UPDATE SET begin_time = excluded.begin_time""",
        [began],
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """What a restored database has. citations: those of documents that exist, because a citation outlives its document;
    true: whose bytes have their stored sum. answers: the newest, at most NEWEST_ANSWERS; whole: whose log goes without
    a gap to their end, or was dropped after its time."""

    citations: int
    true_citations: int
    answers: int
    whole_answers: int


def compare(connection: psycopg.Connection) -> Compared:
    """Compare all citations with the versions that they cite, and the newest answers with their logs. connection: as in
    `snapshot`. Raises DumpError."""
    snapshot(connection)
    citations = connection.execute(_TRUE_CITATIONS).fetchone() or (0, 0)
    answers = connection.execute(_WHOLE_ANSWERS, [NEWEST_ANSWERS]).fetchone() or (0, 0)
    return Compared(*citations, *answers)


def is_empty(connection: psycopg.Connection) -> bool:
    """Whether a database has no schema of Responsa."""
    row = connection.execute(
        "SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)", [_SCHEMAS]
    ).fetchone()
    return row == (0,)


def never_used(connection: psycopg.Connection) -> bool:
    """Whether a database has tables of Responsa of which no tenant was ever a row: what a restore leaves that was
    killed before it committed the rows."""
    # Row-level security hides rows from the owner, but not the size of the table.
    row = connection.execute("SELECT pg_relation_size(to_regclass('responsa.tenant'))").fetchone()
    return row in ((0,), (None,))


def read_migrations(connection: psycopg.Connection) -> Sequence[tuple[str, bytes]]:
    """The names and hashes of the database's migrations, in order. Raises DumpError if it has none."""
    try:
        rows = connection.execute("SELECT name, sha256 FROM responsa.migration ORDER BY number").fetchall()
    except psycopg.errors.UndefinedTable as error:
        raise DumpError("The database has no tables of Responsa", "run `responsa migrate`") from error
    return [(name, bytes(digest)) for name, digest in rows]


def first_migration(connection: psycopg.Connection) -> datetime | None:
    """When the first migration of the database was applied, to the microsecond. Raises DumpError if it has none."""
    read_migrations(connection)
    (time,) = connection.execute("SELECT min(apply_time) FROM responsa.migration").fetchone() or (None,)
    return time


def remove_schemas(connection: psycopg.Connection) -> None:
    """Drop everything that migrations have made, but roles."""
    for schema in map(sql.Identifier, _SCHEMAS):
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))


@contextmanager
def loading(url: str, description: DumpDescription) -> Generator[Callable[[int, Iterable[bytes]], None]]:
    """A function that takes the number of a table in the description and more bytes of its rows, the tables one after
    the other. What it took is committed at the end of the block.

    url: the database's URL with the role that owns the tables. The database has exactly the dump's migrations. Raises
    DumpError; then no row was written.
    """
    try:
        with psycopg.connect(url) as connection:
            _make_partitions(connection, description.tables)
            _check(connection, description)
            with _bare(connection, description.tables):
                with _Copies(connection, description.tables) as copies:
                    yield copies.add
                for schema, name, value in description.sequences:
                    connection.execute("SELECT setval(%s::regclass, %s)", [f"{schema}.{name}", value])
        with psycopg.connect(url, autocommit=True) as connection:
            # Searches need the statistics at once.
            for table in description.tables:
                connection.execute(sql.SQL("ANALYZE {}").format(table.identifier))
    except psycopg.Error as error:
        raise _failure("write", "", error) from error


class _Copies:
    """Writes rows into one table after the other."""

    def __init__(self, connection: psycopg.Connection, tables: Sequence[DumpTable]) -> None:
        self._connection = connection
        self._tables = tables
        self._number = -1
        self._copy: psycopg.Copy | None = None
        self._open = ExitStack()

    def __enter__(self) -> _Copies:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, number: int, rows: Iterable[bytes]) -> None:
        if number != self._number:
            self._open.close()
            table, self._number = self._tables[number], number
            columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
            statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table.identifier, columns)
            self._copy = self._open.enter_context(self._connection.cursor().copy(statement))
        assert self._copy is not None
        for data in rows:
            self._copy.write(data)


def _make_partitions(connection: psycopg.Connection, tables: Sequence[DumpTable]) -> None:
    """Make the weeks of the turn log that the migrations have not made, as `responsa.make_turn_event_partitions` does."""
    known = {(schema, name) for schema, name, _ in connection.execute(_TABLES, [_SCHEMAS]).fetchall()}
    for table in tables:
        if (week := table.week) is None or (table.schema, table.name) in known:
            continue
        bounds = connection.execute(
            "SELECT responsa.first_uuid7(%s), responsa.first_uuid7(%s)", [week, week + timedelta(days=7)]
        ).fetchone()
        assert bounds is not None
        connection.execute(
            sql.SQL(
                "CREATE TABLE {0} (LIKE responsa.turn_event INCLUDING ALL); ALTER TABLE {0} ENABLE ROW "
                "LEVEL SECURITY; ALTER TABLE {0} FORCE ROW LEVEL SECURITY; "
                "ALTER TABLE responsa.turn_event ATTACH PARTITION {0} FOR VALUES FROM ({1}) TO ({2})"
            ).format(table.identifier, *map(sql.Literal, map(str, bounds)))
        )


def _check(connection: psycopg.Connection, description: DumpDescription) -> None:
    """Refuse tables, columns and sequences that the database does not have, and tables that the description lacks. Raises DumpError."""
    described_tables = {(table.schema, table.name): sorted(table.columns) for table in description.tables}
    differ = {(schema, name) for schema, name, _ in description.sequences}
    differ -= {(row[0], row[1]) for row in connection.execute(_SEQUENCES, [_SCHEMAS]).fetchall()}
    for table in (DumpTable(*row) for row in connection.execute(_TABLES, [_SCHEMAS]).fetchall()):
        columns = described_tables.pop((table.schema, table.name), None)
        # The migrations have made weeks of the log that the dump may not have.
        if columns != sorted(table.columns) and (columns is not None or table.week is None):
            differ.add((table.schema, table.name))
    differ |= described_tables.keys()
    if differ:
        schema, name = min(differ)
        raise DumpError(
            f"The backup cannot be used: {schema}.{name} is not as its migrations make it",
            "use another backup",
        )


@contextmanager
def _bare(connection: psycopg.Connection, tables: Sequence[DumpTable]) -> Generator[None]:
    """The tables without rows, policies, triggers and foreign keys during the block."""
    secured = [sql.Identifier(*row) for row in connection.execute(_SECURED, [_SCHEMAS]).fetchall()]
    keys = connection.execute(_FOREIGN_KEYS, [_SCHEMAS]).fetchall()
    connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(rel.identifier for rel in tables)))
    for schema, table, name, _ in keys:
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                sql.Identifier(schema, table), sql.Identifier(name)
            )
        )
    for identifier in secured:
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(identifier))
    for table in tables:
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(table.identifier))
    yield
    for table in tables:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(table.identifier))
    for schema, table, name, definition in keys:
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                sql.Identifier(schema, table),
                sql.Identifier(name),
                sql.SQL(definition),
            )
        )
    for identifier in secured:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(identifier))


def _failure(what: str, table: str, error: psycopg.Error) -> DumpError:
    of = f" of {table}" if table else ""
    return DumpError(
        f"PostgreSQL could not {what} the rows{of} ({error.diag.message_primary or type(error).__name__})",
        "see the log of PostgreSQL and try again",
    )
