"""A query of an SQLite file reaches no function, virtual table or pragma that does more than compute, and runs in a
process that can do nothing else."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path

import psutil
import pytest

from responsa_etl.databases.kinds import SERVERS
from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.databases.sqlite import SqliteReading
from responsa_etl.databases.sqlite_process import FUNCTIONS
from responsa_etl.domain import DatabaseConnection, DatabaseFault, DatabaseKind, DatabaseProblem
from responsa_formats.sandbox.confinement import capabilities

WRITTEN = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE note (id integer, text text);
    INSERT INTO note VALUES (1, 'b'), (2, 'a');
    CREATE VIEW notes AS SELECT * FROM note;
    CREATE VIRTUAL TABLE found USING fts4(text);
    CREATE VIEW hidden AS SELECT * FROM found;
    CREATE VIEW made AS SELECT json_object('id', id) AS json FROM note ORDER BY id;
    CREATE VIEW pointing AS SELECT hex(fts3_tokenizer('simple')) AS pointer FROM note;
    CREATE VIEW drawn AS SELECT hex(randomblob(8)) AS blob, load_extension('x') FROM note;
"""


@pytest.fixture
def declared(tmp_path: Path) -> Iterator[DatabaseConnection]:
    # The program that writes the file stays connected, so some rows are in the log alone.
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.executescript(WRITTEN)
        yield DatabaseConnection("notes", DatabaseKind.SQLITE, ["acme"], str(tmp_path / "notes.db"))


@pytest.fixture
def reading(declared: DatabaseConnection) -> Iterator[SqliteReading]:
    one = SqliteReading(declared, allow_unconfined=True)
    one.open()
    yield one
    one.close()


def refusal(reading: SqliteReading, sql: str) -> str:
    """Why a query is refused, or "". The process goes on with the next query in any case."""
    try:
        reading.translate_errors(lambda: (reading.begin(sql, {}), reading.fetch(5)))
    except DatabaseProblem as problem:
        if problem.fault is DatabaseFault.CRASHED:
            raise
        return problem.message
    return ""


def test_functions_that_do_more_than_compute_are_refused(reading: SqliteReading) -> None:
    with closing(sqlite3.connect(":memory:")) as library:
        names = {str(name) for (name,) in library.execute("SELECT name FROM pragma_function_list")}
    assert len(names) > 80
    for name in names | {"fts3_tokenizer"}:
        said = [
            refusal(reading, f'SELECT hex("{name}"({values}))')
            for values in ("", "'simple'", "1, x'41'", "1, 2, 3")
        ]
        if name in FUNCTIONS:
            assert not any("not authorized" in one for one in said), (name, said)
        else:
            assert all(said), (name, said)
            assert any("not authorized to use function" in one for one in said), (name, said)


def test_virtual_tables_but_those_of_json_are_refused(reading: SqliteReading) -> None:
    with closing(sqlite3.connect(":memory:")) as library:
        names = {str(name) for (name,) in library.execute("SELECT name FROM pragma_module_list")}
        names |= {f"pragma_{name}" for (name,) in library.execute("PRAGMA pragma_list")}
    for name in (names | {"fts3tokenize", "found", "hidden"}) - {"json_each", "json_tree"}:
        for sql in (
            f"SELECT * FROM {name}",
            f"SELECT count(*) FROM {name}",
            f"SELECT * FROM {name}('note')",
            f"CREATE VIRTUAL TABLE temp.x USING {name}(a)",
        ):
            assert refusal(reading, sql), sql
    for view in ("pointing", "drawn"):
        assert refusal(reading, f"SELECT * FROM {view}"), view
    assert refusal(reading, "SELECT token FROM fts3tokenize WHERE input = 'hello'")


def test_ordinary_queries_are_answered(reading: SqliteReading) -> None:
    for sql in (
        "SELECT upper(text) FROM notes ORDER BY text",
        'SELECT value FROM json_each(\'["A", "B"]\')',
        "WITH one AS (SELECT 1) SELECT char(65) FROM one UNION SELECT 'B'",
    ):
        reading.begin(sql, {})
        assert list(reading.fetch(5)) == [("A",), ("B",)], sql
    reading.begin("SELECT json FROM made", {})
    assert list(reading.fetch(5)) == [('{"id":1}',), ('{"id":2}',)]
    reading.begin("WITH one AS (SELECT 1) SELECT count(*), x'00ff', 1e999, NULL FROM one", {})
    assert list(reading.fetch(5)) == [(1, b"\x00\xff", float("inf"), None)]


def test_the_process_can_only_compute(reading: SqliteReading, declared: DatabaseConnection) -> None:
    (process,) = of_sqlite()
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapPrm"], 16) == 0
    if capabilities().seccomp:
        assert status["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split()


async def test_a_process_that_ends_in_the_midst_of_a_query_is_told(declared: DatabaseConnection) -> None:
    async with aclosing(
        SqlDatabases(lambda place: place.env).read(
            declared, "SELECT a.id FROM note AS a, note AS b, note AS c", {}, 9
        )
    ) as rows:
        await anext(rows)
        for process in of_sqlite():
            process.kill()
        with pytest.raises(DatabaseProblem, match="exited during the query") as caught:
            [row async for row in rows]
    assert caught.value.fault is DatabaseFault.CRASHED


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT LOAD_FILE('/etc/passwd')", "LOAD_FILE"),
        ("SELECT /*!50000 load_file*/ /* */ ('x')", "load_file"),
        ("SELECT `sys_exec` ('id')", "sys_exec"),
        ("SELECT get_lock('a', 1)", "get_lock"),
        ("SELECT 1 INTO OUTFILE 'x'", "OUTFILE"),
        ("SELECT sleep, load_file FROM night", ""),
    ],
)
def test_functions_of_mysql_that_act_are_refused(sql: str, name: str) -> None:
    def checked() -> None:
        SERVERS[DatabaseKind.MYSQL].check(None, sql)

    if not name:
        return checked()
    with pytest.raises(DatabaseProblem, match=f"“{name}”"):
        checked()
    return None


def of_sqlite() -> list[psutil.Process]:
    """The processes that read SQLite files for this one."""
    return [
        child
        for child in psutil.Process().children()
        if any("sqlite_process" in part for part in child.cmdline())
    ]
