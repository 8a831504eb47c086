"""Sources in PostgreSQL: how they are stored, and a PostgreSQL database that is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo
from uuid_utils.compat import uuid7

from responsa_server.databases.reading import SqlDatabases
from responsa_server.domain.errors import AlreadyExists, Conflict, NotFound
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.sources import (
    DatabaseConnection,
    DatabaseFault,
    DatabaseKind,
    DatabaseProblem,
    DatabaseTls,
    NewSource,
    SourceChange,
)
from responsa_server.domain.tools import SecretPlace
from responsa_server.embedded.postgres import EmbeddedPostgres
from responsa_server.samples.aptitude.database import Dialect, script
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.sources import PostgresSources
from tests.aptitude import GOLDEN, documents, written
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People

STAFF = NewSource("staff", "The staff", "mapping")
DATABASES = SqlDatabases(lambda place: place.env)


async def test_a_source_is_stored_for_its_tenant_alone(
    database: Database, database_urls: DatabaseUrls, people: People
) -> None:
    sources = PostgresSources(database, JobQueue(database_urls.log, concurrency=1), uuid7)
    made = await sources.create(people.ann, STAFF, "db", "people")
    assert (made.id, made.mapping, made.connection, made.collection) == ("staff", "mapping", "db", "people")
    with pytest.raises(AlreadyExists):
        await sources.create(people.bob, STAFF, "db", "people")
    assert (await sources.create(people.eve, STAFF, "db", "people")).id == "staff"
    changed = await sources.update(people.bob, "staff", SourceChange(mapping="other"), ("a", "b"), made.etag)
    assert (changed.mapping, changed.connection, changed.collection) == ("other", "a", "b")
    assert changed.display_name == "The staff"
    with pytest.raises(Conflict):
        await sources.delete(people.ann, "staff", made.etag)
    await sources.create(people.ann, replace(STAFF, id="orders"), "db", "orders")
    seen, after = list[str](), None
    for _ in range(2):
        page = await sources.list(people.ann, ListQuery(1, Order("name"), after))
        seen += [one.id for one in page.items]
        after = page.next_after
    assert (seen, after) == (["orders", "staff"], None)
    await sources.delete(people.ann, "staff", changed.etag)
    with pytest.raises(NotFound):
        await sources.get(people.ann, "staff")
    assert (await sources.get(people.eve, "staff")).mapping == "mapping"


@pytest.fixture(scope="module")
def staff(postgres: EmbeddedPostgres) -> Iterator[DatabaseConnection]:
    """A database of the organisation, with users who may do more or less."""
    server = postgres.dsn("superuser", database="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE staff TEMPLATE template0")
        for role in ("source_reader", "source_writer", "source_member"):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'good'")  # pyright: ignore[reportArgumentType, reportCallIssue]  # the names are above
        connection.execute("GRANT pg_read_server_files TO source_member")
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute("CREATE TABLE employee (id int, name text, points numeric)")
        connection.execute(
            "INSERT INTO employee SELECT n, 'name ' || n, n / 2.0 FROM generate_series(1, 1000) AS n"
        )
        connection.execute("GRANT SELECT ON employee TO source_reader, source_writer, source_member")
        connection.execute("GRANT UPDATE (name) ON employee TO source_writer")
    given = conninfo.conninfo_to_dict(postgres.dsn("superuser", database="staff"))
    yield DatabaseConnection(
        "staff",
        DatabaseKind.POSTGRESQL,
        ["*"],
        host=str(given["host"]),
        port=int(given.get("port") or 0),
        database="staff",
        user="source_reader",
        password=SecretPlace(env="good"),
        tls=DatabaseTls.OFF,
        columns=3,
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE staff WITH (FORCE)")
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
    async with DATABASES.session(staff) as session:
        counts = list[object]()
        for _ in range(2):
            async with aclosing(session.read("SELECT count(*) FROM employee", {}, 5)) as pieces:
                counts += [row async for piece in pieces for row in piece.rows]
            with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
                connection.execute("INSERT INTO employee VALUES (0)")
    assert counts == [(1000,), (1000,)]
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute("DELETE FROM employee WHERE id = 0")
    missing = await fault(staff, "SELECT nme FROM employee")
    assert (missing.fault, 'column "nme" does not exist' in missing.message) == (DatabaseFault.QUERY, True)
    divided = await fault(staff, "SELECT 1 / (id - 1) FROM employee")
    assert (divided.fault, "22012" in divided.message) == (DatabaseFault.QUERY, True)
    assert (await fault(staff, "SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d")).fault is DatabaseFault.TOO_LARGE
    long = await fault(staff, "SELECT id, repeat('x', 17 << 20) FROM employee")
    assert (long.fault, "16 MiB" in long.message) == (DatabaseFault.TOO_LARGE, True)
    short = replace(staff, seconds=0.2)
    assert (await fault(short, "SELECT pg_sleep(60)")).fault is DatabaseFault.TIMEOUT
    # Each piece is quick enough, but not all of them; and a query cannot lift its own limit.
    slow = "SELECT pg_sleep(0.02), set_config('statement_timeout', '0', false) FROM employee"
    assert (await fault(short, slow)).fault is DatabaseFault.TIMEOUT
    late = "SELECT CASE WHEN id = 6 THEN pg_sleep(60) END, set_config('statement_timeout', '0', false) FROM generate_series(1, 20) AS id"
    assert (await fault(short, late)).fault is DatabaseFault.TIMEOUT
    running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'source_reader' AND query LIKE '%FETCH%'"
    while await read(staff, running) != [(1,)]:  # noqa: ASYNC110 - the server tells nobody; the query that counts is the last one
        await asyncio.sleep(0.05)
    [times] = await read(staff, "SELECT 'infinity'::date, 'infinity'::timestamp, '-infinity'::timestamptz")
    assert times == ("infinity", "infinity", "-infinity")


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
    assert (await fault(replace(staff, user="nobody_here"))).fault in (
        DatabaseFault.LOGIN,
        DatabaseFault.UNREACHABLE,
    )


async def test_the_mappings_of_the_aptitude_sample_read_postgresql(
    staff: DatabaseConnection, postgres: EmbeddedPostgres
) -> None:
    with psycopg.connect(postgres.dsn("superuser", database="staff")) as connection:
        connection.execute(script(Dialect.POSTGRESQL).encode())
        connection.execute(
            "GRANT SELECT ON tendency, cognitive_ability, job_matching, job_catalogue, major_catalogue TO source_reader"
        )
    reader = replace(staff, columns=20)
    made = {**await documents(DATABASES, reader, "catalogues")}
    for subject in ("mira.holt", "ruben.stahl", "tariq.nolan"):
        made |= await documents(DATABASES, reader, "aptitude", f"{subject}@example.org")
    golden = {file.stem: file.read_text(encoding="utf-8") for file in GOLDEN.iterdir() if file.stem in made}
    assert len(golden) > 6
    assert {name: written(made[name]) for name in golden} == golden
