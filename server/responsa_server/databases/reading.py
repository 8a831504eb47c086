"""Reads databases through SQLAlchemy. Implements the port `Databases`.

The drivers block, so every read has a thread to itself. A read opens a connection, prepares the session (read-only, with a time limit), checks that the login may not write, and
fetches the result in pieces, so that a large table never is in memory as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import exc

from responsa_server.databases.kinds import KINDS, Driver
from responsa_server.domain.sources import DatabaseConnection, DatabaseFault, DatabaseProblem, Rows
from responsa_server.domain.tools import SecretPlace, ToolUnfit

_AT_ONCE: Final = 4
_PIECE_ROWS: Final = 200
# Cells of a large table may be large, so the first pieces are small, and later ones grow as long as their rows are small.
_FIRST_ROWS: Final = 4
_PIECE_CHARACTERS: Final = 1 << 20

Returned = TypeVar("Returned")


class SqlDatabases:
    """Implements the port `Databases`. secret: reads a password; it raises ToolUnfit if the password is missing."""

    def __init__(self, secret: Callable[[SecretPlace], str]) -> None:
        self._secret = secret
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def read(
        self, connection: DatabaseConnection, sql: str, values: Mapping[str, str], most: int
    ) -> AsyncGenerator[Rows]:
        """See `Databases.read`."""
        try:
            password = self._secret(connection.password) if connection.password else ""
        except ToolUnfit as error:
            raise DatabaseProblem(
                DatabaseFault.LOGIN, f"The password of the connection is missing. {error}"
            ) from error
        async with self._reading:
            reading = _Reading(connection, password)
            thread = ThreadPoolExecutor(1, "source")
            loop = asyncio.get_running_loop()

            async def run(step: Callable[[], Returned]) -> Returned:
                return await loop.run_in_executor(thread, lambda: reading.translated(step))

            try:
                columns = await run(lambda: reading.begin(sql, values))
                size, left, first = _FIRST_ROWS, most, True
                while True:
                    found = await run(lambda: reading.fetch(min(size, left)))  # noqa: B023 - called only in this round
                    left -= len(found)
                    if found or first:
                        yield Rows(columns, found)
                    if not found or left <= 0:
                        return
                    first = False
                    small = sum(map(_length, found)) * 2 <= _PIECE_CHARACTERS
                    size = min(size * 2, _PIECE_ROWS) if small else max(1, size // 2)
            finally:
                # A statement that still runs ends within the time limit of the connection; nobody waits for it.
                thread.submit(reading.close)
                thread.shutdown(wait=False)


class _Reading:
    """One read, in a thread."""

    def __init__(self, declared: DatabaseConnection, password: str) -> None:
        self._declared = declared
        self._driver: Driver = KINDS[declared.kind]
        self._engine = self._driver.engine(declared, password)
        self._connection: sqlalchemy.Connection | None = None
        self._result: sqlalchemy.CursorResult[*tuple[Any, ...]] | None = None

    def begin(self, sql: str, values: Mapping[str, str]) -> Sequence[str]:
        """Open the connection and run the query. Returns the names of the columns."""
        self._connection = self._engine.connect().execution_options(
            stream_results=True, max_row_buffer=_FIRST_ROWS
        )
        self._driver.prepare(self._connection, self._declared)
        self._result = self._connection.execute(sqlalchemy.text(sql), dict(values))
        if not self._result.returns_rows:
            raise DatabaseProblem(DatabaseFault.QUERY, "The query returns no rows; write one SELECT.")
        columns = list(self._result.keys())
        if len(columns) > self._declared.columns:
            message = f"The query returns {len(columns)} columns, and the connection allows {self._declared.columns}; name the columns that are needed."
            raise DatabaseProblem(DatabaseFault.TOO_LARGE, message)
        return columns

    def fetch(self, count: int) -> Sequence[Sequence[object]]:
        """The next rows."""
        assert self._result is not None, "the query has run"
        return [tuple(one) for one in self._result.fetchmany(count)]

    def close(self) -> None:
        """Close the result and the connection. An error does not matter any more."""
        # Drivers raise anything when a database has gone away, and nothing is left to do.
        with suppress(Exception):
            if self._result is not None:
                self._result.close()
        with suppress(Exception):
            if self._connection is not None:
                # The session is not used again, so its state does not matter.
                self._connection.invalidate()
                self._connection.close()
        self._engine.dispose()

    def translated(self, step: Callable[[], Returned]) -> Returned:
        """Run a step. Raises DatabaseProblem for the errors of the driver."""
        try:
            return step()
        except exc.DBAPIError as error:
            raise self._driver.problem(error.orig) from error
        except (exc.SQLAlchemyError, OSError, RuntimeError) as error:
            message = f"The database cannot be read ({type(error).__name__})."
            raise DatabaseProblem(DatabaseFault.UNREACHABLE, message) from error


def _length(row: Sequence[object]) -> int:
    return sum(len(one) if isinstance(one, str | bytes) else 8 for one in row)
