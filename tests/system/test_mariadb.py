"""Sources on a real MariaDB: `pytest -m soak tests/system/test_mariadb.py`. It fails if MariaDB (`apt-get install
mariadb-server`) is missing."""

from __future__ import annotations

import asyncio
import getpass
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pymysql
import pytest

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import DatabaseConnection, DatabaseFault, DatabaseKind, DatabaseProblem, DatabaseTls
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.reading import RowSelection, read_rows
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.domain.tools import SecretPlace
from responsa_server.outbound.authorities import trust_also
from tests.tied import tied
from tests.wire.smtp import certificate_in

pytestmark = pytest.mark.soak

ROWS = 100_000
DATABASES = SqlDatabases(lambda place: place.env)
SETUP = (
    "CREATE DATABASE staff CHARACTER SET utf8mb4",
    "USE staff",
    (
        "CREATE TABLE employee (id int PRIMARY KEY, name varchar(200), mail varchar(200), points "
        "decimal(20, 2), active bit(1), born date, seen datetime, about json)"
    ),
    "INSERT INTO employee SELECT seq, concat('name ', seq), concat('p', seq % 1000), seq / "
        "3, seq % 2, '2000-01-02', '2020-01-02 03:04:05', '{\"likes\": \"herons\"}'"
    f" FROM seq_1_to_{ROWS}",
    "UPDATE employee SET name = '100% Zoë 🐦' WHERE id = 1",
    "CREATE TABLE secret (id int, name text, pay int)",
    "CREATE TABLE large (id int, note longtext, data longblob)",
    (
        f"INSERT INTO large VALUES (1, repeat('x', {15 << 20}), NULL), (2, repeat('x', "
        f"{64 << 20}), NULL), (3, NULL, repeat('x', {64 << 20})), (4, repeat('x', {9 << 20}), "
        f"repeat('x', {9 << 20}))"
    ),
    "CREATE FUNCTION harmless() RETURNS int RETURN 1",
    "CREATE ROLE editors",
    "GRANT UPDATE ON employee TO editors",
    *(f"CREATE USER {user} IDENTIFIED BY 'good'" for user in ("reader", "writer", "giver", "filer", "caller", "keeper", "member")),
    *(f"GRANT SELECT ON employee TO {user}" for user in ("reader", "writer", "filer", "caller", "member")),
    "GRANT SELECT (id, name) ON secret TO reader",
    "GRANT SELECT ON large TO reader",
    "GRANT UPDATE (name) ON employee TO writer",
    "GRANT SELECT ON employee TO giver WITH GRANT OPTION",
    "GRANT FILE ON *.* TO filer",
    "GRANT EXECUTE ON FUNCTION harmless TO caller",
    "GRANT ALL ON *.* TO keeper",
    "GRANT editors TO member",
)  # fmt: skip
MAPPING = """connection = "staff"
collection = "people"
[queries.people]
sql = "SELECT id, name, mail, points, active, born, seen, about FROM employee WHERE name LIKE 'n%' OR name LIKE '%\\\\%%'"
one_subject = "SELECT id, name, mail, points, active, born, seen, about FROM employee WHERE mail = :subject"
[queries.people.columns]
id = "integer"
name = "text"
mail = "text"
points = "number"
active = "boolean"
born = { type = "date", null = true }
seen = "time"
about = "json"
[documents.profile]
query = "people"
key = "{{ id }}"
subject = "{{ mail }}"
text = "# {{ name }}\\n\\n{{ points }} points, {{ active }}, {{ born }}, {{ seen }}, {{ about.likes }}"
"""


@dataclass
class Maria:
    """A MariaDB server of this test."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def root(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(unix_socket=str(self.folder / "socket"), user="root", autocommit=True)

    def ask(self, *statements: str) -> list[tuple[object, ...]]:
        found = list[tuple[object, ...]]()
        with self.root() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                found = list(cursor.fetchall())
        return found

    def running(self) -> list[str]:
        """The statements of the user `reader` that run now."""
        rows = self.ask("SELECT info FROM information_schema.processlist WHERE user = 'reader'")
        return [str(info) for (info,) in rows if info]


def started(folder: Path, port: int, *options: str) -> subprocess.Popen[bytes]:
    command = [
        shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder / 'data'}",
        f"--socket={folder / 'socket'}",
        f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}", "--sql-mode=", "--skip-name-resolve",
        "--max-allowed-packet=256M", *options,
    ]  # fmt: skip
    process = subprocess.Popen(tied(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "socket").exists():
        assert process.poll() is None, "MariaDB ended"
        time.sleep(0.05)
    return process


def encrypted(folder: Path) -> Sequence[str]:
    return [f"--ssl-{one}={folder / 'certificate.pem'}" for one in ("cert", "key")]


@contextmanager
def running(folder: Path) -> Generator[Maria]:
    """A MariaDB server during the block."""
    installer = shutil.which("mariadb-install-db")
    assert installer, "MariaDB is missing; run: apt-get install mariadb-server"
    certificate_in(folder)
    subprocess.run(
        [
            installer,
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--user={getpass.getuser()}",
        ],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    one = Maria(folder, port, started(folder, port, *encrypted(folder)))
    try:
        yield one
    finally:
        one.process.terminate()
        one.process.wait()


@pytest.fixture(scope="module")
def maria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maria]:
    with running(tmp_path_factory.mktemp("maria")) as one:
        one.ask(*SETUP)
        yield one


@pytest.fixture
def staff(maria: Maria) -> DatabaseConnection:
    return DatabaseConnection(
        "staff",
        DatabaseKind.MYSQL,
        ["*"],
        host="127.0.0.1",
        port=maria.port,
        database="staff",
        user="reader",
        password=SecretPlace(env="good"),
        tls=DatabaseTls.REQUIRE,
    )


async def read(connection: DatabaseConnection, sql: str, most: int = 1000) -> list[tuple[object, ...]]:
    async with aclosing(DATABASES.read(connection, sql, {}, most)) as pieces:
        return [tuple(row) async for piece in pieces for row in piece.rows]


async def problem(connection: DatabaseConnection, sql: str = "SELECT 1") -> DatabaseProblem:
    with pytest.raises(DatabaseProblem) as caught:
        await read(connection, sql)
    assert not re.search("good|127.0.0.1|localhost|staff.reader", caught.value.message), caught.value.message
    return caught.value


async def until_idle(maria: Maria) -> None:
    """Wait until the server runs no statement of the reader any more."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(maria.running):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)


async def test_logins_that_may_do_more_than_read_are_refused(maria: Maria, staff: DatabaseConnection) -> None:
    assert await read(staff, "SELECT id FROM employee WHERE id <= 3") == [(1,), (2,), (3,)]
    assert await read(staff, "SELECT id, name FROM secret") == []
    expected = {
        "writer": "the privilege UPDATE", "giver": "may give privileges", "filer": "the privilege FILE",
        "caller": "the privilege EXECUTE", "keeper": "the privilege ALL PRIVILEGES", "member": "has a role",
    }  # fmt: skip
    for user, said in expected.items():
        found = await problem(replace(staff, user=user))
        assert (found.fault, said in found.message) == (DatabaseFault.MAY_WRITE, True), (user, found.message)
    assert (await problem(replace(staff, user="nobody"))).fault is DatabaseFault.LOGIN
    assert (await problem(replace(staff, password=SecretPlace(env="bad")))).fault is DatabaseFault.LOGIN
    assert (await problem(replace(staff, port=1))).fault is DatabaseFault.UNREACHABLE
    maria.ask("GRANT DELETE ON staff.employee TO PUBLIC")
    try:
        assert "the privilege DELETE on `staff`.`employee` through PUBLIC" in (await problem(staff)).message
    finally:
        maria.ask("REVOKE DELETE ON staff.employee FROM PUBLIC")


@pytest.mark.parametrize(
    ("sql", "expected", "said"),
    [
        ("DELETE FROM employee", DatabaseFault.QUERY, "DELETE command denied"),
        ("SELECT 1; DELETE FROM employee", DatabaseFault.QUERY, "error in your SQL syntax"),
        ("SELECT pay FROM secret", DatabaseFault.QUERY, "denied"),
        ("SELECT nme FROM employee", DatabaseFault.QUERY, "Unknown column 'nme'"),
        ("SELECT id FROM nowhere", DatabaseFault.QUERY, "denied"),
        ("SELECT id FROM employee INTO OUTFILE '/tmp/rows'", DatabaseFault.QUERY, "OUTFILE"),
        ("SELECT load_file('/etc/passwd'), nothing()", DatabaseFault.QUERY, "load_file"),
        ("CREATE TEMPORARY TABLE more (id int)", DatabaseFault.QUERY, "refuses the query"),
        ("SELECT id INTO @one FROM employee WHERE id = 1", DatabaseFault.QUERY, "no rows"),
        ("SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d", DatabaseFault.TOO_LARGE, "allows 3"),
        ("SELECT " + ", ".join("1" * 5000), DatabaseFault.TOO_LARGE, "allows 3"),
        ("SELECT id, note FROM large", DatabaseFault.TOO_LARGE, "more than 16 MiB"),
        ("SELECT id, data FROM large WHERE id = 3", DatabaseFault.TOO_LARGE, "more than 16 MiB"),
        ("SELECT note, data FROM large WHERE id = 4", DatabaseFault.TOO_LARGE, "more than 16 MiB"),
    ],
)  # fmt: skip
async def test_statements_that_do_more_than_read_are_refused(
    maria: Maria, staff: DatabaseConnection, sql: str, expected: DatabaseFault, said: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = await problem(replace(staff, columns=3), sql)
    assert (found.fault, said in found.message) == (expected, True), found.message
    # One row below the limit is in memory, as bytes and as a text, but never 64 MiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10
    await until_idle(maria)


async def test_a_long_row_below_the_limit_is_read(maria: Maria, staff: DatabaseConnection) -> None:
    assert len(str((await read(staff, "SELECT note FROM large WHERE id = 1"))[0][0])) == 15 << 20
    # With the usual limit of the server, it is the server that refuses a longer row.
    maria.ask("SET GLOBAL max_allowed_packet = 16777216")
    try:
        large = await problem(staff, "SELECT note FROM large WHERE id = 2")
    finally:
        maria.ask(f"SET GLOBAL max_allowed_packet = {256 << 20}")
    assert (large.fault, "16 MiB" in large.message) == (DatabaseFault.TOO_LARGE, True), large.message


async def test_time_limits(maria: Maria, staff: DatabaseConnection) -> None:
    short = replace(staff, seconds=0.5)
    assert (await problem(short, "SELECT benchmark(1000000000000, md5('a'))")).fault is DatabaseFault.TIMEOUT
    assert (await problem(short, "SELECT sleep(600)")).fault is DatabaseFault.TIMEOUT
    # Each row is quick enough, but not all of them.
    assert (await problem(short, "SELECT sleep(0.02), id FROM employee")).fault is DatabaseFault.TIMEOUT
    await until_idle(maria)
    # Nobody waits any more.
    waiting = asyncio.create_task(read(replace(staff, seconds=3000), "SELECT sleep(3000)"))
    while not any("sleep" in one for one in await asyncio.to_thread(maria.running)):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.05)
    waiting.cancel()
    await until_idle(maria)
    # Only the first of very many rows are wanted.
    many = "SELECT a.id FROM employee AS a CROSS JOIN employee AS b"
    assert len(await read(replace(staff, seconds=3000), many, 5)) == 5
    await until_idle(maria)


async def test_tls(maria: Maria, staff: DatabaseConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    cipher = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
    assert (await read(staff, cipher))[0][0]
    assert (await read(replace(staff, tls=DatabaseTls.OFF), cipher))[0][0] == ""
    strict = replace(staff, tls=DatabaseTls.VERIFY)
    found = await problem(strict)
    assert (found.fault, "certificate" in found.message) == (DatabaseFault.UNREACHABLE, True), found.message
    monkeypatch.setenv("SSL_CERT_FILE", "")  # and back at the end
    trust_also(maria.folder / "certificate.pem")
    assert (await read(strict, cipher))[0][0]


async def test_rows_of_a_large_table_become_documents(
    maria: Maria, staff: DatabaseConnection, parser: ParserPool
) -> None:
    mapping, problems = read_mapping(MAPPING)
    assert mapping is not None, problems
    maria.ask(
        "UPDATE staff.employee SET born = '0000-00-00' WHERE id = 2",
        "UPDATE staff.employee SET name = concat(name, char(0)) WHERE id = 3",
    )
    async with aclosing(
        read_rows(DATABASES, "acme", SourceSandboxes(parser).of("acme"), staff, mapping, RowSelection())
    ) as rows:
        made = {one.key or (one.document.key if one.document else ""): one async for one in rows}
    assert len(made) == ROWS
    assert {key: one.problem for key, one in made.items() if one.problem} == {
        "2": "The column “born” has a value of another type (str); it is declared as date.",
        "3": "The column “name” has the character U+0000.",
    }
    first = made["1"].document
    assert first is not None
    assert first.text == "# 100% Zoë 🐦\n\n0.33 points, True, 2000-01-02, 2020-01-02 03:04:05, herons"
    async with aclosing(
        read_rows(
            DATABASES,
            "acme",
            SourceSandboxes(parser).of("acme"),
            staff,
            mapping,
            RowSelection("p7' OR '1' = '1"),
        )
    ) as rows:
        assert [one async for one in rows] == []
    async with aclosing(
        read_rows(DATABASES, "acme", SourceSandboxes(parser).of("acme"), staff, mapping, RowSelection("p7"))
    ) as rows:
        assert {one.document.subject async for one in rows if one.document} == {"p7"}
    # All queries of a run see the database at one moment.
    async with DATABASES.session(staff, "acme") as session:
        counts = list[object]()
        for _ in range(2):
            async with aclosing(session.read("SELECT count(*) FROM employee", {}, 5)) as pieces:
                counts += [row async for piece in pieces for row in piece.rows]
            maria.ask("DELETE FROM staff.employee ORDER BY id DESC LIMIT 1")
    assert counts == [(ROWS,), (ROWS,)]
    broken = await read(staff, "SELECT cast(x'ff41' AS char)")
    assert len(broken) == 1
    large = await problem(staff, "SELECT repeat('x', 64 << 20) FROM nowhere")
    assert large.fault is DatabaseFault.QUERY


async def test_a_server_that_goes_away(maria: Maria, staff: DatabaseConnection) -> None:
    async with aclosing(DATABASES.read(staff, "SELECT * FROM employee", {}, ROWS)) as pieces:
        await anext(pieces)
        maria.process.kill()
        maria.process.wait()
        (maria.folder / "socket").unlink()
        with pytest.raises(DatabaseProblem) as caught:
            [piece async for piece in pieces]
    assert caught.value.fault is DatabaseFault.UNREACHABLE
    assert (await problem(staff)).fault is DatabaseFault.UNREACHABLE
    # It comes back without TLS, which a connection with `require` refuses.
    maria.process = started(maria.folder, maria.port, "--skip-ssl")
    assert (await problem(staff)).fault is DatabaseFault.UNREACHABLE
    assert len(await read(replace(staff, tls=DatabaseTls.OFF), "SELECT id FROM employee", ROWS)) >= ROWS - 2
