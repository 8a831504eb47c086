"""Reads one SQLite file, in a process that can only compute: `python -m responsa_etl.databases.sqlite_process`.

SQLite runs the queries of administrators in C, next to functions that take pointers. So it never runs in the server.
This process opens the file, gives up every right but those to compute and to use its open descriptors, and only then
looks at the schema and runs queries. Within SQLite, a query gets nothing but ordinary tables, views, and functions that
compute.

It reads requests, one JSON object a line, from its standard input, and writes answers to its standard output: two
lengths of 8 bytes each, JSON, and the bytes of texts and BLOBs, which would be longer in JSON. Python 3.11 lacks the
calls that switch on SQLite's defensive mode; the file is opened read-only, and nothing but a SELECT is authorized. The
process imports the standard library and `confinement` alone, so that it starts fast.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import IO, Any, Final
from urllib.parse import quote

from responsa_formats.sandbox.confinement import capabilities, confine

EXIT_UNCONFINED: Final = 70
"""The exit status if the process could not be confined, and so ran no query."""
LENGTHS: Final = struct.Struct("<QQ")
"""The lengths of an answer's JSON and of the bytes behind it."""
NO_MEMORY: Final = 7
"""The number of SQLITE_NOMEM, for which Python has no name."""
_BUSY_SECONDS: Final = 5
# The server ends a query that takes too long. This is for all queries of a session, and for a process that it has lost.
_CPU_SECONDS: Final = 3600
PIECE_BYTES: Final = 1 << 20
"""The length of rows after which an answer ends."""

_FUNCTIONS: Final = """
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat concat_ws cos
    cosh count cume_dist current_date current_time current_timestamp date datetime degrees dense_rank exp
    first_value floor format glob group_concat hex if ifnull iif instr json json_array json_array_insert
    json_array_length json_error_position json_extract json_group_array json_group_object json_insert
    json_object json_patch json_pretty json_quote json_remove json_replace json_set json_type json_valid
    jsonb jsonb_array jsonb_array_insert jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert
    jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set julianday lag last_value lead length
    like likelihood likely ln log log10 log2 lower ltrim max median min mod nth_value ntile nullif
    octet_length percent_rank percentile percentile_cont percentile_disc pi pow power printf quote radians
    random randomblob rank replace round row_number rtrim sign sin sinh soundex sqrt strftime string_agg
    substr substring sum tan tanh time timediff total trim trunc typeof unhex unicode unistr unistr_quote
    unixepoch unlikely upper zeroblob
"""
FUNCTIONS: Final = frozenset(_FUNCTIONS.split())
"""The functions that a query may call: those of SQLite itself that compute a value from their arguments. A later
release of SQLite may lack some, or call them from others."""
TABLES: Final = frozenset({"json_each", "json_tree", "sqlite_master", "sqlite_schema"})
"""What a query may read besides the ordinary tables and the views of the file."""


def _open(file: str, row_bytes: int) -> sqlite3.Connection:
    """Open the file read-only, and begin the transaction in which all queries see it. This takes the locks, and opens
    the log if the file has one. Raises sqlite3.Error."""
    opened = sqlite3.connect(
        f"file:{quote(file)}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    opened.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, row_bytes)
    opened.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    # A row with broken UTF-8 is set aside; it does not end the reading.
    opened.text_factory = _decode
    if sys.version_info >= (3, 12):
        opened.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        opened.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, False)
    # There are no temporary files, and functions and virtual tables in the schema get no trust.
    trusted = "OFF" if _views_may_make_json() else "ON"
    for pragma in (
        f"trusted_schema = {trusted}",
        "cell_size_check = ON",
        "query_only = ON",
        "temp_store = MEMORY",
    ):
        opened.execute(f"PRAGMA {pragma}")
    opened.execute("BEGIN")
    # It reads the header alone, under the lock that the transaction keeps.
    opened.execute("PRAGMA schema_version").fetchone()
    # Afterwards, SQLite could not open the source of its random numbers, nor the C library the time zone.
    opened.execute("SELECT random(), datetime('now', 'localtime')").fetchone()
    return opened


def _views_may_make_json() -> bool:
    """Whether a view may call `json_object` without trust. SQLite 3.40 refuses that; there, the list of functions alone
    protects, which counts for views as well."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.execute("CREATE VIEW made AS SELECT json_object('a', 1)")
        empty.execute("PRAGMA trusted_schema = OFF")
        try:
            empty.execute("SELECT * FROM made")
        except sqlite3.OperationalError:
            return False
    return True


def _restrict(opened: sqlite3.Connection) -> None:
    """Let later queries only select from ordinary tables and views, with the functions of `FUNCTIONS`."""
    # A virtual table is usually made at its first use, with calls that are not authorized below.
    with suppress(sqlite3.OperationalError):  # SQLite may have been built without JSON
        opened.execute("SELECT * FROM json_each('[]'), json_tree('[]')").close()
    virtual, ordinary = {str(name).lower() for (name,) in opened.execute("PRAGMA module_list")}, set[str]()
    for name, kind, root, sql in opened.execute("SELECT name, type, rootpage, sql FROM sqlite_master"):
        plain = kind == "view" or (root and not str(sql).lower().startswith("create virtual"))
        (ordinary if plain else virtual).add(str(name).lower())
    readable, refused = ordinary | TABLES, virtual - ordinary - TABLES

    def authorise(action: int, about: str | None, more: str | None, *_: str | None) -> int:
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_RECURSIVE:
                fits = True
            case sqlite3.SQLITE_FUNCTION:
                fits = (more or "").lower() in FUNCTIONS
            case sqlite3.SQLITE_READ:
                name = (about or "").lower()
                # Without a column, it may be a common table expression of which the query uses none.
                unused = not more and name not in refused and not name.startswith("pragma_")
                fits = name in readable or unused
            case _:
                fits = False
        return sqlite3.SQLITE_OK if fits else sqlite3.SQLITE_DENY

    opened.set_authorizer(authorise)


class _QueryRunner:
    """Runs queries. At most one result is open."""

    def __init__(self, opened: sqlite3.Connection, row_bytes: int) -> None:
        self._opened = opened
        self._row_bytes = row_bytes
        self._result: sqlite3.Cursor | None = None

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, object]:
        """The answer to a request: the columns of a query, or the next rows of its result. Raises the errors of the
        module `sqlite3`, MemoryError."""
        if "sql" in request:
            if self._result is not None:
                self._result.close()
            self._result = self._opened.execute(request["sql"], request["values"])
            return {"columns": [column[0] for column in self._result.description or ()]}
        assert self._result is not None, "a query has run"
        rows, parts, size = list[Sequence[object]](), list[bytes](), 0
        while len(rows) < request["rows"] and size < PIECE_BYTES:
            row = self._result.fetchone()
            if row is None:
                break
            parts += [value for value in row if isinstance(value, bytes)]
            length = sum(len(value) + 8 if isinstance(value, bytes) else 8 for value in row)
            if length > self._row_bytes:
                return {"long_row": True}
            rows.append([_pack(value) for value in row])
            size += length
        return {"rows": rows, "data": b"".join(parts)}


class _SqliteText(bytes):
    """A text in SQLite's bytes, which need not be valid UTF-8."""


def _pack(value: object) -> object:
    """A value for JSON. For bytes their length, and whether they are a text; they follow behind the JSON."""
    return [len(value), isinstance(value, _SqliteText)] if isinstance(value, bytes) else value


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _describe(error: Exception) -> Mapping[str, object]:
    return {
        "code": getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR),
        "name": getattr(error, "sqlite_errorname", type(error).__name__),
        "error": str(error),
    }


def _try(step: Callable[[], Mapping[str, object]]) -> Mapping[str, object]:
    try:
        return step()
    # The module raises errors of Python for a query that it does not even give to SQLite.
    except (sqlite3.Error, sqlite3.Warning, ValueError, ArithmeticError, RecursionError) as error:
        return _describe(error)
    except MemoryError:
        return {"code": NO_MEMORY, "name": "SQLITE_NOMEM", "error": ""}


def _send(answers: IO[bytes], message: Mapping[str, object]) -> None:
    plain = {name: value for name, value in message.items() if name != "data"}
    head, data = json.dumps(plain).encode(), message.get("data", b"")
    assert isinstance(data, bytes)
    answers.write(LENGTHS.pack(len(head), len(data)))
    answers.write(head)
    answers.write(data)
    answers.flush()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the other side ends. The first one names the file."""
    begin = json.loads(requests.readline())
    sandbox = capabilities()
    if not sandbox.complete and not begin["unconfined"]:
        _send(answers, {"unconfined": sandbox.sentence})
        return
    time.tzset()
    try:
        opened = _open(begin["file"], begin["row_bytes"])
    except sqlite3.Error as error:
        _send(answers, _describe(error))
        return
    try:
        confine(
            sandbox,
            (),
            memory_bytes=begin["memory_bytes"],
            cpu_seconds=_CPU_SECONDS,
            parent_pid=begin["parent"],
        )
    except BaseException:  # whatever the failure, an unconfined process must run no query
        os._exit(EXIT_UNCONFINED)

    def restrict() -> Mapping[str, object]:
        _restrict(opened)
        opened.text_factory = _SqliteText
        return {"ready": True}

    reader = _QueryRunner(opened, begin["row_bytes"])
    _send(answers, _try(restrict))
    for line in requests:
        asked = json.loads(line)
        _send(answers, _try(lambda: reader.answer(asked)))  # noqa: B023 - called only in this round


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
