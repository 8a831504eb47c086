"""Sources in PostgreSQL: how they are stored, and a PostgreSQL database that is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import DatabaseConnection, DatabaseFault, DatabaseKind, DatabaseProblem, DatabaseTls
from responsa_etl.samples.aptitude.database import Dialect, script
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_formats.sandbox.pool import ParserPool
from responsa_local.embedded.postgres import EmbeddedPostgres
from responsa_server.domain.tools import SecretPlace
from tests.aptitude import GOLDEN, documents, written
from tests.conftest import DatabaseUrls

DATABASES = SqlDatabases(lambda place: place.env)


@pytest.fixture(scope="module")
def staff(postgres: EmbeddedPostgres) -> Iterator[DatabaseConnection]:
    """A database of the organisation, with users who may do more or less."""
    server = postgres.dsn("superuser", database="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE staff TEMPLATE template0")
        connection.execute("CREATE DATABASE legacy TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
        for role in ("source_reader", "source_writer", "source_member"):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'good'")
        connection.execute("GRANT pg_read_server_files TO source_member")
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute("CREATE TABLE employee (id int, name text, points numeric)")
        connection.execute(
            "INSERT INTO employee SELECT n, 'name ' || n, n / 2.0 FROM generate_series(1, 1000) AS n"
        )
        connection.execute("GRANT SELECT ON employee TO source_reader, source_writer, source_member")
        connection.execute("GRANT UPDATE (name) ON employee TO source_writer")
    parameters = conninfo.conninfo_to_dict(postgres.dsn("superuser", database="staff"))
    yield DatabaseConnection(
        "staff",
        DatabaseKind.POSTGRESQL,
        ["*"],
        host=str(parameters["host"]),
        port=int(parameters.get("port") or 0),
        database="staff",
        user="source_reader",
        password=SecretPlace(env="good"),
        tls=DatabaseTls.OFF,
        columns=3,
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE staff WITH (FORCE)")
        connection.execute("DROP DATABASE legacy WITH (FORCE)")
        connection.execute("DROP ROLE source_reader, source_writer, source_member")


async def read(connection: DatabaseConnection, sql: str, most: int = 5000) -> list[tuple[object, ...]]:
    async with aclosing(DATABASES.read(connection, sql, {}, most)) as pieces:
        return [tuple(row) async for piece in pieces for row in piece.rows]


async def fault(connection: DatabaseConnection, sql: str = "SELECT 1") -> DatabaseProblem:
    with pytest.raises(DatabaseProblem) as caught:
        await read(connection, sql)
    assert "good" not in caught.value.message
    return caught.value


async def test_a_login_that_only_reads_reads_all_rows(
    postgres: EmbeddedPostgres, staff: DatabaseConnection
) -> None:
    rows = await read(staff, "SELECT id, name, points FROM employee ORDER BY id")
    assert len({row[0] for row in rows}) == len(rows) == 1000
    assert len(await read(staff, "SELECT id FROM employee", 7)) == 7
    assert await read(staff, "SELECT id FROM employee WHERE id < 0") == []
    # All queries of a run see the database at one moment.
    async with DATABASES.session(staff, "acme") as session:
        counts = list[object]()
        for _ in range(2):
            async with aclosing(session.read("SELECT count(*) FROM employee", {}, 5)) as pieces:
                counts += [row async for piece in pieces for row in piece.rows]
            with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
                connection.execute("INSERT INTO employee VALUES (0)")
    assert counts == [(1000,), (1000,)]
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute("DELETE FROM employee WHERE id = 0")
    short = replace(staff, seconds=0.2)
    assert (await fault(short, "SELECT pg_sleep(60)")).fault is DatabaseFault.TIMEOUT
    # Each piece is quick enough, but not all of them.
    slow = "SELECT pg_sleep(0.02) FROM employee"
    assert (await fault(short, slow)).fault is DatabaseFault.TIMEOUT
    late = "SELECT CASE WHEN id = 6 THEN pg_sleep(60) END FROM generate_series(1, 20) AS id"
    assert (await fault(short, late)).fault is DatabaseFault.TIMEOUT
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'source_reader' AND query LIKE '%pg_sleep%'"
    )
    while await read(staff, running) != [(1,)]:  # noqa: ASYNC110 - the server tells nobody; the query that counts is the last one
        await asyncio.sleep(0.05)
    # What Python cannot represent is a matter of one row.
    [times] = await read(staff, "SELECT 'infinity'::date, '-infinity'::timestamptz, '24:00'::time")
    assert times == ("infinity", "-infinity", "24:00:00")
    [(deep,)] = await read(staff, "SELECT (repeat('[', 3000) || repeat(']', 3000))::jsonb")
    assert deep == "[" * 3000 + "]" * 3000
    # Nested values stay text, because they take many times as much memory as values.
    [nested] = await read(staff, "SELECT '{\"a\": [1]}'::json, ARRAY[[1, 2]], '{[1,2)}'::int4multirange")
    assert nested == ('{"a": [1]}', "[[1, 2]]", "{[1,2)}")
    # A database that checks no text.
    texts = await read(replace(staff, database="legacy"), r"SELECT E'\xc3\xa9'::text, E'\xff\x41'::varchar")
    assert texts == [("é", "\udcffA")]


@pytest.mark.parametrize(
    ("sql", "expected", "said"),
    [
        ("SELECT nme FROM employee", DatabaseFault.QUERY, 'column "nme" does not exist'),
        ("SELECT 1 / (id - 1) FROM employee", DatabaseFault.QUERY, "22012"),
        ("SELECT id INTO more FROM employee", DatabaseFault.QUERY, "not allowed here"),
        ("WITH gone AS (DELETE FROM employee RETURNING id) SELECT id FROM gone", DatabaseFault.QUERY, "0A000"),
        ("COPY employee TO PROGRAM 'true'", DatabaseFault.QUERY, "syntax error"),
        ("SELECT U&\"!0070g_cancel_backend\" UESCAPE '!' (0)", DatabaseFault.QUERY, "U&"),
        ("SELECT convert_from('\\xff41', 'UTF8')", DatabaseFault.QUERY, "22021"),
        ("SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d", DatabaseFault.TOO_LARGE, "allows 3"),
        ("SELECT " + ", ".join("1" * 3000), DatabaseFault.TOO_LARGE, "more columns than the database can return"),
        ("SELECT id, repeat('x', 17 << 20) FROM employee", DatabaseFault.TOO_LARGE, "16 MiB"),
    ],
)  # fmt: skip
async def test_statements_that_do_more_than_read_are_refused(
    staff: DatabaseConnection, sql: str, expected: DatabaseFault, said: str
) -> None:
    found = await fault(staff, sql)
    assert (found.fault, said in found.message) == (expected, True), found.message


ACTING = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "SELECT pg_catalog.PG_Cancel_Backend (0)", 'SELECT "pg_advisory_lock"(1)',
    "SELECT lo_create/* */(0)", "SELECT lo_get(1)", "SELECT set_config('transaction_read_only', 'off', false)", "SELECT nextval('one')",
    "SELECT query_to_xml('SELECT 1', true, true, '')", "SELECT * FROM ts_stat('SELECT 1')", "SELECT publish(1)",
    "SELECT employee.announce FROM employee", 'SELECT "say it"(1)',
)  # fmt: skip


async def test_functions_that_act_are_refused_by_name(
    postgres: EmbeddedPostgres, staff: DatabaseConnection
) -> None:
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        for made in ("publish(integer)", "announce(employee)", '"say it"(integer)', "id(text)"):
            connection.execute(
                f"CREATE FUNCTION {made} RETURNS text LANGUAGE sql AS 'SELECT $1::text'".encode()
            )
        connection.execute(
            "CREATE FUNCTION shout(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1::text'"
        )
    for sql in ACTING:
        found = await fault(staff, sql)
        assert (found.fault, "of a function that may do more than read" in found.message) == (
            DatabaseFault.QUERY,
            True,
        ), (sql, found.message)
    # Names of columns and tables do not count, and neither do functions that only compute.
    plain = "SELECT id, shout(1) || lower('A'), random() < 2 FROM employee AS system WHERE id = 1"
    assert await read(staff, plain) == [(1, "1a", True)]


async def test_pieces_are_small_however_long_the_rows_behind_short_ones_are(
    staff: DatabaseConnection,
) -> None:
    sql = "SELECT CASE WHEN id > 300 THEN repeat('x', 2000000) END AS note FROM generate_series(1, 320) AS id"
    async with aclosing(DATABASES.read(staff, sql, {}, 5000)) as pieces:
        sizes = [len(piece.rows) async for piece in pieces if piece.rows]
    assert sizes == [200, 101, *[1] * 19]


async def test_a_table_that_stays_locked_is_named_as_such_and_tried_again(
    postgres: EmbeddedPostgres, staff: DatabaseConnection
) -> None:
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute("LOCK TABLE employee")
        locked = await fault(staff, "SELECT name FROM employee")
    assert (locked.fault, "locked" in locked.message) == (DatabaseFault.UNREACHABLE, True)


async def test_a_server_that_goes_away(postgres: EmbeddedPostgres, staff: DatabaseConnection) -> None:
    async with aclosing(
        DATABASES.read(staff, "SELECT a.id, a.name FROM employee AS a, employee AS b", {}, 1_000_000)
    ) as pieces:
        await anext(pieces)
        with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'source_reader'"
            )
        with pytest.raises(DatabaseProblem) as caught:
            [piece async for piece in pieces]
    assert caught.value.fault is DatabaseFault.UNREACHABLE
    wrong = replace(staff, password=SecretPlace(env="bad"))
    assert (await fault(wrong)).fault is DatabaseFault.LOGIN


async def test_a_login_that_may_write_is_refused(
    staff: DatabaseConnection, database_urls: DatabaseUrls
) -> None:
    writer = await fault(replace(staff, user="source_writer"))
    assert (writer.fault, "may change the table employee" in writer.message) == (
        DatabaseFault.MAY_WRITE,
        True,
    )
    member = await fault(replace(staff, user="source_member"))
    assert (member.fault, "pg_read_server_files" in member.message) == (DatabaseFault.MAY_WRITE, True)
    given = conninfo.conninfo_to_dict(database_urls.superuser)
    root = replace(
        staff, user=str(given["user"]), password=SecretPlace(env=str(given.get("password") or "good"))
    )
    assert (await fault(root)).fault is DatabaseFault.MAY_WRITE
    own = replace(staff, database=str(given["dbname"]))
    assert (await fault(own)).fault is DatabaseFault.OWN_DATABASE
    assert (await fault(replace(staff, database="none"))).fault is DatabaseFault.UNREACHABLE
    assert (await fault(replace(staff, host="/nowhere"))).fault is DatabaseFault.UNREACHABLE
    assert (await fault(replace(staff, user="nobody_here"))).fault is DatabaseFault.LOGIN


async def test_the_mappings_of_the_aptitude_sample_read_postgresql(
    staff: DatabaseConnection, postgres: EmbeddedPostgres, parser: ParserPool
) -> None:
    sandbox = SourceSandboxes(parser).of("acme")
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute(script(Dialect.POSTGRESQL).encode())
        connection.execute(
            "GRANT SELECT ON tendency, cognitive_ability, job_matching, job_catalogue, major_catalogue TO source_reader"
        )
    reader = replace(staff, columns=20)
    made = {**await documents(DATABASES, sandbox, reader, "catalogues")}
    for subject in ("mira.holt", "ruben.stahl", "tariq.nolan"):
        made |= await documents(DATABASES, sandbox, reader, "aptitude", f"{subject}@example.org")
    golden = {file.stem: file.read_text(encoding="utf-8") for file in GOLDEN.iterdir() if file.stem in made}
    assert len(golden) > 6
    assert {name: written(made[name]) for name in golden} == golden
