"""SQLite files. SQLite runs in its own confined process for each session; see `sqlite_process`."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import responsa_etl
from responsa_etl.databases.problems import (
    ROW_BYTES,
    check_columns,
    crash_problem,
    long_row,
    many_columns,
    refusal,
    timeout_problem,
)
from responsa_etl.databases.sqlite_process import EXIT_UNCONFINED, LENGTHS, NO_MEMORY, PIECE_BYTES
from responsa_etl.domain import DatabaseConnection, DatabaseFault, DatabaseProblem

MEMORY_BYTES: Final = 256 << 20
"""What the process may use beyond what it needs to start."""
# What JSON has of rows: numbers, and the lengths of texts and BLOBs.
_HEAD_BYTES: Final = 4 * PIECE_BYTES
_DATA_BYTES: Final = PIECE_BYTES + ROW_BYTES
_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)
# What it says about the text of a query. Errors of functions can quote a value.
_ABOUT_QUERY: Final = re.compile(
    r"no such |ambiguous column|near \"|not authorized|access to |vtable constructor failed|wrong number of arguments"
    r"|unrecognized token|incomplete input|misuse of|unsafe use of|malformed JSON$|integer overflow$"
    r"|unable to use function"
)
_FORBIDDEN: Final = re.compile(r"not authorized|access to |vtable constructor failed|unsafe use of")

Returned = TypeVar("Returned")


class SqliteReading:
    """Implements `QuerySession`. A session's process ends with the session."""

    def __init__(self, declared: DatabaseConnection, *, allow_unconfined: bool) -> None:
        """allow_unconfined: whether the file is read on a kernel that lacks Landlock or seccomp."""
        self.running = False
        self.spent = 0.0
        self._declared = declared
        self._allow_unconfined = allow_unconfined
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()
        self._ended = False

    def open(self) -> None:
        with self._ending:
            if self._ended:
                raise timeout_problem()
            self._process = _start()
        self._ask(
            {
                "file": self._declared.file,
                "memory_bytes": MEMORY_BYTES,
                "row_bytes": ROW_BYTES,
                "unconfined": self._allow_unconfined,
                "parent": os.getpid(),
            }
        )

    def begin(self, sql: str, values: Mapping[str, str]) -> Sequence[str]:
        from sqlalchemy import text
        from sqlalchemy.dialects.sqlite import dialect

        compiled: Any = text(sql).compile(
            dialect=dialect()
        )  # it writes places as the other databases have them
        reply = self._ask({"sql": str(compiled), "values": [values[name] for name in compiled.positiontup]})
        columns = [str(column) for column in cast("Sequence[object]", reply["columns"])]
        check_columns(columns, self._declared)
        return columns

    def fetch(self, count: int) -> Sequence[Sequence[object]]:
        """See `QuerySession.fetch`. SQLite's process returns fewer rows if they are long."""
        reply = self._ask({"rows": count})
        data, rows = io.BytesIO(reply["data"]), cast("Sequence[Sequence[object]]", reply["rows"])
        return [tuple(_unpack(value, data) for value in row) for row in rows]

    def close(self) -> None:
        self.stop()
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()

    def stop(self) -> None:
        with self._ending:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def translate_errors(self, step: Callable[[], Returned]) -> Returned:
        begun = time.monotonic()
        try:
            return step()
        # Its answers are not trusted: a query may have taken it over.
        except (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise self._explain_loss() from error
        finally:
            self.spent += time.monotonic() - begun

    def _ask(self, message: Mapping[str, object]) -> Mapping[str, Any]:
        """The process's answer to a request. Raises DatabaseProblem, and the errors that `translate_errors` translates."""
        process = self._process
        assert process is not None, "it is open"
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        head = process.stdout.read(LENGTHS.size)
        if len(head) < LENGTHS.size:
            raise EOFError
        lengths = LENGTHS.unpack(head)
        if lengths[0] > _HEAD_BYTES or lengths[1] > _DATA_BYTES:
            raise ValueError("an answer that the process does not give")
        plain, data = (process.stdout.read(length) for length in lengths)
        if (len(plain), len(data)) != lengths:
            raise EOFError
        answer = {**json.loads(plain), "data": data}
        if "unconfined" in answer:
            why = (
                f"{answer['unconfined']} SQLite files are read only with Landlock and seccomp;"
                " see the setting ingestion.allow_unconfined."
            )
            raise DatabaseProblem(DatabaseFault.UNREACHABLE, why)
        if "long_row" in answer:
            raise long_row()
        if "error" in answer:
            raise _problem(int(answer["code"]), str(answer["name"]), str(answer["error"]))
        return answer

    def _explain_loss(self) -> DatabaseProblem:
        assert self._process is not None, "it was open"
        self._process.kill()
        if self._process.wait() == EXIT_UNCONFINED:
            return DatabaseProblem(
                DatabaseFault.UNREACHABLE,
                "The process that reads SQLite files could not be confined, so it read nothing.",
            )
        return crash_problem()


def _problem(code: int, name: str, text: str) -> DatabaseProblem:
    # The lowest byte is the error, the others say more about it.
    match code & 0xFF:
        case sqlite3.SQLITE_TOOBIG:
            return long_row()
        case _ if code == NO_MEMORY:
            message = f"The query needs more than {MEMORY_BYTES >> 20} MiB of memory; sort and group fewer rows, or add an index."
            return DatabaseProblem(DatabaseFault.TOO_LARGE, message)
        case low if low in _AWAY:
            return DatabaseProblem(
                DatabaseFault.UNREACHABLE, f"The database file cannot be read: {text[:200]}."
            )
        case _:
            pass
    if "too many columns" in text or "too many terms" in text:
        return many_columns()
    if _FORBIDDEN.match(text):
        return refusal(f"{text[:300]}; sources use ordinary tables, views, and functions that only compute")
    return refusal(text if _ABOUT_QUERY.match(text) else f"error {name[:40]}")


def _unpack(value: object, data: io.BytesIO) -> object:
    """A value of a row. data: the bytes of texts and BLOBs from this value on. Raises ValueError, TypeError if the
    process cannot have packed it."""
    if isinstance(value, list):
        length, is_text = cast("list[object]", value)
        if isinstance(length, int) and length >= 0 and len(content := data.read(length)) == length:
            return content.decode(errors="surrogateescape") if is_text else content
    elif value is None or isinstance(value, str | int | float):
        return value
    raise ValueError("not a value of SQLite")


def _start() -> subprocess.Popen[bytes]:
    # Nothing of the server's environment, which may hold passwords.
    folder = str(Path(responsa_etl.__file__ or "").resolve().parents[1])
    environment = {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    return subprocess.Popen(
        [sys.executable, "-P", "-S", "-m", "responsa_etl.databases.sqlite_process"],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
