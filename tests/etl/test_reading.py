"""Rows of SQLite files, and the declarations of connections."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path

import pytest

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import DatabaseConnection, DatabaseFault, DatabaseProblem, MadeRow
from responsa_etl.sources import reading
from responsa_etl.sources.declarations import DeclaredConnections, read_connections
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.reading import RowSelection, read_rows
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.domain.errors import Precondition

MAPPING = """connection = "staff"
collection = "people"
[queries.people]
sql = "SELECT id, mail, note FROM employee"
one_subject = "SELECT id, mail, note FROM employee WHERE mail >= :subject"
columns = { id = "integer", mail = "text", note = "text" }
[documents.note]
query = "people"
key = "{{ id }}"
subject = "{{ mail }}"
text = "{{ note }}"
"""
DATABASES = SqlDatabases(lambda place: place.env)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "staff.db")) as connection, connection:
        connection.execute("CREATE TABLE employee (id integer, mail text, note text)")
        rows = [(1, "ada", "A."), (1, "ada", "Again."), (2, "ada", None), (3, "bela", "CANARY")]
        connection.executemany("INSERT INTO employee VALUES (?, ?, ?)", rows)
        connection.execute(
            "INSERT INTO employee VALUES (4, 'ada', CAST(x'ff41' AS text)), (5, 'ada', 'a' || char(0))"
        )
    (tmp_path / "staff.toml").write_text('kind = "sqlite"\nfile = "staff.db"\ntenants = ["acme"]\n')
    return tmp_path


async def declared(folder: Path) -> DatabaseConnection:
    found = await DeclaredConnections(folder).find("acme", "staff")
    assert isinstance(found, DatabaseConnection)
    return found


async def made(
    parser: ParserPool, connection: DatabaseConnection, selection: RowSelection, text: str = "{{ note }}"
) -> list[MadeRow]:
    mapping, _ = read_mapping(MAPPING.replace('text = "{{ note }}"', f'text = "{text}"'))
    assert mapping is not None
    async with aclosing(
        read_rows(DATABASES, "acme", SourceSandboxes(parser).of("acme"), connection, mapping, selection)
    ) as rows:
        return [row async for row in rows]


async def fault(connection: DatabaseConnection, sql: str) -> DatabaseFault:
    async with aclosing(DATABASES.read(connection, sql, {}, 1000)) as pieces:
        with pytest.raises(DatabaseProblem) as caught:
            await anext(pieces)
    assert "CANARY" not in caught.value.message
    return caught.value.fault


async def test_rows_are_made_or_set_aside_with_their_reason(folder: Path, parser: ParserPool) -> None:
    connection = await declared(folder)
    found = await made(parser, connection, RowSelection())
    assert [one.document.key if one.document and not one.problem else one.problem for one in found] == [
        "1",
        "Another row has the same key, “1”.",
        "The column “note” is NULL; declare it with null = true, or leave such rows out of the query.",
        "3",
        "The column “note” is not valid UTF-8.",
        "The column “note” has the character U+0000.",
    ]
    with pytest.raises(Precondition, match="more than 4 rows") as caught:
        await made(parser, replace(connection, rows=4), RowSelection())
    assert caught.value.metadata == {"connection": "staff", "query": "people", "fault": "TOO_LARGE"}


@pytest.mark.parametrize(
    ("old", "new", "selection", "said"),
    [
        (
            "SELECT id, mail, note FROM employee",
            "SELECT id, mail, note, phone FROM employee",
            RowSelection(),
            "queries.people.sql: The database refuses the query: no such column: phone.",
        ),
        ("FROM employee WHERE", "FROM employe WHERE", RowSelection("ada"), (
            "queries.people.one_subject: The database refuses the query: no such table: "
            "employe."
        )),
        (
            "SELECT id, mail, note FROM employee",
            "SELECT id, mail, note AS notes FROM employee",
            RowSelection(),
            "queries.people.sql: The query people no longer returns “note”",
        ),
    ],
)  # fmt: skip
async def test_a_query_that_the_database_refuses_is_named_with_its_key(
    folder: Path, parser: ParserPool, old: str, new: str, selection: RowSelection, said: str
) -> None:
    mapping, _ = read_mapping(MAPPING.replace(old, new, 1))
    assert mapping is not None
    async with aclosing(
        read_rows(
            DATABASES, "acme", SourceSandboxes(parser).of("acme"), await declared(folder), mapping, selection
        )
    ) as rows:
        with pytest.raises(Precondition, match=f"SOURCE_UNREADABLE: {re.escape(said)}"):
            await anext(rows)


async def test_a_result_that_is_not_read_to_its_end_is_closed_without_an_error(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with aclosing(DATABASES.read(await declared(folder), "SELECT id FROM employee", {}, 1)) as pieces:
        assert [len(piece.rows) async for piece in pieces] == [1]
    for thread in threading.enumerate():
        if thread.name.startswith("source"):
            await asyncio.to_thread(thread.join, 60)
    assert [record for record in caplog.records if record.name.startswith("sqlalchemy")] == []


async def test_a_template_that_makes_gigabytes_is_a_matter_of_its_row(
    folder: Path, parser: ParserPool
) -> None:
    doubled = "{% set a = a ~ a %}" * 40
    found = await made(
        parser,
        await declared(folder),
        RowSelection(),
        f"{{% set a = note %}}{{% if id == 1 %}}{doubled}{{% endif %}}{{{{ a }}}}",
    )
    said = [one.document.text if one.document else one.problem for one in found]
    assert (said[0], said[3]) == (
        "The templates take too much memory or time for this row; simplify them.",
        "CANARY",
    )


async def test_a_preview_has_ended_its_session_before_it_fills_templates(
    folder: Path, parser: ParserPool
) -> None:
    mapping, _ = read_mapping(MAPPING)
    assert mapping is not None
    connection, sandboxes = await declared(folder), SourceSandboxes(parser)
    sandbox = sandboxes.of("acme")
    rows = read_rows(DATABASES, "acme", sandbox, connection, mapping, RowSelection(most=2))
    async with sandbox._slot, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(anext(rows))
        while not sandbox._slot._waiters:  # noqa: ASYNC110 - a lock tells nobody who waits for it
            await asyncio.sleep(0)
        assert not DATABASES._tenants.of("acme").locked()
        sandbox._slot.release()
        await first
        await sandbox._slot.acquire()
    await rows.aclose()


async def test_a_row_with_too_much_is_set_aside(
    folder: Path, parser: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 1000)
    with closing(sqlite3.connect(folder / "staff.db")) as staff, staff:
        staff.execute("DELETE FROM employee")
        staff.executemany("INSERT INTO employee VALUES (?, 'ada', ?)", [(1, "A."), (2, "ä" * 1000)])
    found = await made(parser, await declared(folder), RowSelection())
    assert [bool(one.document) for one in found] == [True, False]
    assert "declares have more than" in found[1].problem
    assert (found[1].key, found[1].subject) == ("2", "ada")


async def test_json_is_parsed_in_the_sandbox_alone(folder: Path, parser: ParserPool) -> None:
    with closing(sqlite3.connect(folder / "staff.db")) as staff, staff:
        staff.execute("DELETE FROM employee")
        notes = ['{"a": ["x"]}', '{"a":', "[" * 100 + "]" * 100]
        staff.executemany("INSERT INTO employee VALUES (?, 'ada', ?)", enumerate(notes))
    text = MAPPING.replace('note = "text"', 'note = "json"').replace("{{ note }}", "{{ note.a[0] }}")
    mapping, problems = read_mapping(text)
    assert mapping is not None, problems
    sandbox = SourceSandboxes(parser).of("acme")
    async with aclosing(
        read_rows(DATABASES, "acme", sandbox, await declared(folder), mapping, RowSelection())
    ) as rows:
        first, *others = [one async for one in rows]
    assert first.document is not None
    assert (first.document.text, first.row["note"]) == ("x", notes[0])
    assert [(one.document, dict(one.row), one.key, one.subject) for one in others] == [
        (None, {}, "1", "ada"),
        (None, {}, "2", "ada"),
    ]
    assert "declared as json" in others[0].problem
    assert "nested too deeply" in others[1].problem


async def test_a_statement_for_one_subject_shows_nothing_of_another(folder: Path, parser: ParserPool) -> None:
    found = await made(parser, await declared(folder), RowSelection("ada"))
    assert "CANARY" not in str(found)
    assert any("a row of another subject" in one.problem for one in found)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT x FROM employee", DatabaseFault.QUERY),
        ("DELETE FROM employee", DatabaseFault.QUERY),
        ("SELECT load_extension('x')", DatabaseFault.QUERY),
        ("SELECT 'a' REGEXP 'a'", DatabaseFault.QUERY),
        ("ATTACH 'other.db' AS other", DatabaseFault.QUERY),
        ("PRAGMA query_only = off", DatabaseFault.QUERY),
        ("SELECT 1; SELECT 2", DatabaseFault.QUERY),
        ("SELECT json_extract(note, '$') FROM employee", DatabaseFault.QUERY),
        ("SELECT json_extract('{}', note) FROM employee WHERE id = 3", DatabaseFault.QUERY),
        ("SELECT zeroblob(20000000)", DatabaseFault.TOO_LARGE),
        ("SELECT zeroblob(9000000), zeroblob(9000000)", DatabaseFault.TOO_LARGE),
        ("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c", DatabaseFault.TIMEOUT),
        ("SELECT 1, 2, 3, 4", DatabaseFault.TOO_LARGE),
        ("SELECT " + ", ".join("1" * 3000), DatabaseFault.TOO_LARGE),
    ],
)  # fmt: skip
async def test_statements_that_do_more_than_read_are_refused(
    folder: Path, sql: str, expected: DatabaseFault
) -> None:
    # A loaded machine may be slow, so only the statement without an end has little time.
    seconds = 0.2 if expected is DatabaseFault.TIMEOUT else 60
    connection = replace(await declared(folder), seconds=seconds, columns=3)
    assert await fault(connection, sql) is expected


async def test_a_file_that_goes_away_is_unreachable(folder: Path) -> None:
    connection = await declared(folder)
    with closing(sqlite3.connect(folder / "staff.db")) as staff, staff:
        staff.executemany("INSERT INTO employee VALUES (0, '', zeroblob(4000))", [()] * 200)
    async with aclosing(DATABASES.read(connection, "SELECT note FROM employee", {}, 1000)) as pieces:
        await anext(pieces)
        (folder / "staff.db").write_bytes(b"x" * 100)
        with pytest.raises(DatabaseProblem) as caught:
            [piece async for piece in pieces]
    assert caught.value.fault is DatabaseFault.UNREACHABLE
    assert await fault(connection, "SELECT 1 FROM employee") is DatabaseFault.UNREACHABLE
    (folder / "staff.db").unlink()
    assert await fault(connection, "SELECT 1") is DatabaseFault.UNREACHABLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "sqlite"\nfile = "staff.db"', "“tenants” is missing"),
        ('kind = "sqlite"\nfile = "../staff.db"\ntenants = ["acme"]', "bad.toml: file: must be the name of a file"),
        ('kind = "sqlite"\nfile = "link.db"\ntenants = ["acme"]', "without folders and links"),
        ('kind = "sqlite"\nfile = "none.db"\ntenants = ["acme"]', "there is no such file"),
        ('kind = "sqlite"\nfile = "staff.db"\nhost = "a"\ntenants = ["acme"]', "and no host"),
        ('kind = "mysql"\nhost = "user@db/x"\ndatabase = "a"\nuser = "b"\ntenants = ["*"]', "not a URL"),
        ('kind = "mysql"\nhost = "/run/x"\ndatabase = "a"\nuser = "b"\ntenants = ["*"]', "“host” must be"),
        ('kind = "postgresql"\nhost = "db"\ntenants = ["*"]', "needs database and user"),
        ((
            'kind = "postgresql"\nhost = "db"\ndatabase = "a"\nuser = "b"\npassword = { env = "A", '
            'file = "b" }\ntenants = ["*"]'
        ), "either env or file"),
        ('kind = "postgresql"\nhost = "db"\nservice = "x"\ndatabase = "a"\nuser = "b"\ntenants = ["*"]', "there is no key “service”"),
        ('kind = "oracle"\ntenants = ["*"]', "must be “postgresql”, “mysql”, “sqlite” or “web”"),
        ('kind = "web"\ntenants = ["*"]', "“sites” is missing"),
        (
            'kind = "web"\nsites = ["https://a.example/b"]\ntenants = ["*"]',
            "bad.toml: sites: “https://a.example/b” must be a scheme and a host",
        ),
        ('kind = "web"\nsites = ["https://a.example"]\nallow_private = ["169.254.0.0/16"]\ntenants = ["*"]', "cannot be allowed"),
        ('kind = "web"\nsites = ["https://a.example"]\nuser = "b"\ntenants = ["*"]', "websites have no file, host"),
        ('kind = "sqlite"\nfile = "staff.db"\npages = 1\ntenants = ["*"]', "“pages” is for the kind “web”"),
        ("kind = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_mistakes_of_declarations(folder: Path, text: str, said: str) -> None:
    (folder / "link.db").symlink_to(folder / "staff.db")
    (folder / "bad.toml").write_text(text)
    bad, good = read_connections(folder)
    assert (bad.item, good.problems) == (None, ())
    assert any(said in str(problem) for problem in bad.problems), [str(problem) for problem in bad.problems]


async def test_a_connection_is_there_for_its_tenants_alone(folder: Path) -> None:
    assert await DeclaredConnections(folder).find("rival", "staff") is None
    assert await DeclaredConnections(folder).list_granted("acme") == ["staff"]
    assert await DeclaredConnections(folder / "none").list_granted("acme") == []
