"""Reads databases. Implements the port `Databases`. SQLAlchemy reads those with a server, `sqlite` reads files.

The drivers block, so every session has a thread to itself. A session opens a connection, prepares it (read-only, with a
time limit), checks that the login may not write, and fetches results in pieces, so that a large table never is in
memory as a whole. All its queries run in one transaction, and see the database at one moment.

The time limit counts the time that the database needs for the query and all pieces of its result. A statement that
exceeds it, or that nobody waits for any more, is stopped: the limits that the databases enforce themselves are for one
piece, and a query may change them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from responsa_etl.databases.kinds import SERVERS, Driver
from responsa_etl.databases.problems import (
    ROW_BYTES,
    check_columns,
    long_row,
    timeout_problem,
    unreadable_value,
)
from responsa_etl.databases.sqlite import SqliteReading
from responsa_etl.databases.sqlite_process import PIECE_BYTES
from responsa_etl.domain import (
    DatabaseConnection,
    DatabaseFault,
    DatabaseKind,
    DatabaseProblem,
    DatabaseSession,
    Rows,
    bytes_of,
)
from responsa_server.domain.tenant_locks import TenantLocks
from responsa_server.domain.tools import SecretPlace, ToolUnfit

if TYPE_CHECKING:
    # At run time, only the threads of sessions import SQLAlchemy: it would take a tenth of a second of each start.
    import sqlalchemy

_AT_ONCE: Final = 4
# Opening a connection takes several exchanges with the database, and the check of rights looks at all its tables.
_OPENING_SECONDS: Final = 60
_STOPPING_SECONDS: Final = 2
_PIECE_ROWS: Final = 200

Returned = TypeVar("Returned")


class QuerySession(Protocol):
    """One session, in its own thread. running: whether a step may still run in the thread. spent: the seconds that the
    database needed for the query so far."""

    running: bool
    spent: float

    def open(self) -> None: ...

    def begin(self, sql: str, values: Mapping[str, str]) -> Sequence[str]: ...

    def fetch(self, count: int) -> Sequence[Sequence[object]]:
        """The next rows, at most so many, and fewer if they have `PIECE_BYTES` together; none at the end."""
        ...

    def close(self) -> None:
        """Close the connection and the result. An error does not matter any more."""
        ...

    def stop(self) -> None:
        """Stop the step that runs in the thread of the session, from another thread."""
        ...

    def translate_errors(self, step: Callable[[], Returned]) -> Returned:
        """Run a step. Raises DatabaseProblem for the errors of the driver."""
        ...


class SqlDatabases:
    """Implements the port `Databases`."""

    def __init__(self, secret: Callable[[SecretPlace], str], *, allow_unconfined: bool = True) -> None:
        """secret: reads a password; it raises ToolUnfit if the password is missing. allow_unconfined: whether SQLite
        files are read on a kernel that lacks Landlock or seccomp."""
        self._secret = secret
        self._allow_unconfined = allow_unconfined
        self._reading = asyncio.Semaphore(_AT_ONCE)
        self._tenants = TenantLocks()

    async def read(
        self, connection: DatabaseConnection, sql: str, values: Mapping[str, str], limit: int
    ) -> AsyncGenerator[Rows]:
        """Run one query for the operator; see `DatabaseSession.read`."""
        async with (
            self.session(connection, "") as session,
            aclosing(session.read(sql, values, limit)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    @asynccontextmanager
    async def session(
        self, connection: DatabaseConnection, tenant_id: str
    ) -> AsyncGenerator[DatabaseSession]:
        try:
            password = self._secret(connection.password) if connection.password else ""
        except ToolUnfit as error:
            raise DatabaseProblem(
                DatabaseFault.LOGIN, f"The password of the connection is missing. {error}"
            ) from error
        async with self._tenants.of(tenant_id), self._reading:
            session = _OpenDatabase(lambda: self._reading_of(connection, password), connection.seconds)
            try:
                yield session
            finally:
                session.close()

    def _reading_of(self, declared: DatabaseConnection, password: str) -> QuerySession:
        if declared.kind is DatabaseKind.SQLITE:
            return SqliteReading(declared, allow_unconfined=self._allow_unconfined)
        return _ServerReading(declared, password)


class _OpenDatabase:
    """Implements the port `DatabaseSession`. A query that was not read to its end takes its connection with it."""

    def __init__(self, reading: Callable[[], QuerySession], seconds: float) -> None:
        """reading: makes what reads, before the first query. seconds: the time limit of each query."""
        self._reading = reading
        self._seconds = seconds
        self._open: tuple[QuerySession, ThreadPoolExecutor] | None = None

    async def read(self, sql: str, values: Mapping[str, str], limit: int) -> AsyncGenerator[Rows]:
        seconds, complete = self._seconds, False
        try:
            if self._open is None:
                self._open = self._reading(), ThreadPoolExecutor(1, "source")
                await self._run(self._open[0].open, _OPENING_SECONDS)
            reading = self._open[0]
            reading.spent = 0.0
            columns = await self._run(lambda: reading.begin(sql, values), seconds)
            left, first = limit, True
            while True:
                rows = await self._run(
                    lambda: reading.fetch(min(_PIECE_ROWS, left)),  # noqa: B023 - called only in this round
                    seconds - reading.spent,
                )
                complete = not rows
                left -= len(rows)
                if rows or first:
                    yield Rows(columns, rows)
                if not rows or left <= 0:
                    return
                first = False
        finally:
            if not complete:
                self.close()

    def close(self) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        reading, thread = opened
        # Nobody waits for the database any more.
        if reading.running:
            threading.Thread(target=reading.stop, name="source-stop", daemon=True).start()
        thread.submit(reading.close)
        thread.shutdown(wait=False)

    async def _run(self, step: Callable[[], Returned], seconds: float) -> Returned:
        assert self._open is not None, "it is open"
        reading, thread = self._open
        reading.running = True
        try:
            async with asyncio.timeout(seconds):
                result = await asyncio.get_running_loop().run_in_executor(
                    thread, lambda: reading.translate_errors(step)
                )
        except TimeoutError:
            raise timeout_problem() from None
        except DatabaseProblem:
            reading.running = False
            raise
        reading.running = False
        return result


class _ServerReading:
    def __init__(self, declared: DatabaseConnection, password: str) -> None:
        self.running = False
        self.spent = 0.0
        self._declared = declared
        self._driver: Driver = SERVERS[declared.kind]
        self._password = password
        self._engine: sqlalchemy.Engine | None = None
        self._connection: sqlalchemy.Connection | None = None
        self._raw: Any = None
        self._rows: Generator[Sequence[object]] | None = None
        self._closed = threading.Event()

    def open(self) -> None:
        self._engine = self._driver.engine(self._declared, self._password)
        self._connection = self._engine.connect()
        self._raw = self._connection.connection.driver_connection
        self._driver.prepare(self._connection, self._declared)

    def begin(self, sql: str, values: Mapping[str, str]) -> Sequence[str]:
        assert self._connection is not None, "it is open"
        self._driver.check(self._connection, sql)
        columns, self._rows = self._driver.rows(self._connection, sql, values)
        check_columns(columns, self._declared)
        return columns

    def fetch(self, count: int) -> Sequence[Sequence[object]]:
        assert self._rows is not None, "the query has run"
        rows, size = list[Sequence[object]](), 0
        for row in islice(self._rows, count):
            length = sum(bytes_of(value) if isinstance(value, str | bytes) else 8 for value in row)
            # Not every database limits the whole row.
            if length > ROW_BYTES:
                raise long_row()
            rows.append(tuple(row))
            size += length
            if size >= PIECE_BYTES:
                break
        return rows

    def close(self) -> None:
        # Drivers raise anything when a database has gone away, and nothing is left to do.
        with suppress(Exception):
            if self._connection is not None:
                # The session is not used again, so its state does not matter.
                self._driver.drop(self._raw)
                self._connection.invalidate()
        with suppress(Exception):
            if self._rows is not None:
                self._rows.close()
        with suppress(Exception):
            if self._connection is not None:
                self._connection.close()
        if self._engine is not None:
            self._engine.dispose()
        self._closed.set()

    def stop(self) -> None:
        """See `QuerySession.stop`. Waits until the thread has closed the connection, and asks again, because the statement
        may not have begun."""
        while True:
            # Drivers raise anything when a database has gone away; the thread then ends by the limits of its socket.
            with suppress(Exception):
                if self._raw is not None and self._engine is not None:
                    self._driver.stop(self._raw, self._engine)
            if self._closed.wait(_STOPPING_SECONDS):
                return

    def translate_errors(self, step: Callable[[], Returned]) -> Returned:
        import psycopg
        from sqlalchemy import exc

        begun = time.monotonic()
        try:
            return step()
        except (ValueError, ArithmeticError, RecursionError) as error:
            # A driver cannot represent a value of the result.
            raise unreadable_value() from error
        except exc.DBAPIError as error:
            raise self._driver.problem(error.orig) from error
        except psycopg.Error as error:
            raise self._driver.problem(error) from error
        except (exc.SQLAlchemyError, OSError, RuntimeError) as error:
            message = f"The database cannot be read ({type(error).__name__})."
            raise DatabaseProblem(DatabaseFault.UNREACHABLE, message) from error
        finally:
            self.spent += time.monotonic() - begun
