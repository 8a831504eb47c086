"""Connections to PostgreSQL: a pool for the role that serves a tenant, one for the role that writes the log,
and one connection for the appends of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from importlib.resources import files
from types import CoroutineType
from typing import Any, Concatenate, Final, Generic, LiteralString, ParamSpec, Protocol, TypeVar, cast
from uuid import UUID

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from responsa_server.domain.background import Background
from responsa_server.domain.errors import Reason, ResponsaError, TooSlow, Unavailable
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.passages import VECTORS_PART

_LOGGER: Final = logging.getLogger(__name__)
# How long a pool tries to replace a connection before it reports failure and starts again.
_RECONNECT_SECONDS: Final = 0.5

# Seconds that running methods of stores have to end when the database is closed.
_CLOSE_SECONDS: Final = 5.0

SEARCH_SECONDS: Final = 4.0
"""The default time limit of one statement of a search."""
# The errors of a statement that took too long, by itself or while it waited for a lock.
_TOO_SLOW: Final = (errors.QueryCanceled, errors.LockNotAvailable)

Result = TypeVar("Result")
Args = ParamSpec("Args")
Store = TypeVar("Store", bound="_Store")
Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Statement = tuple[LiteralString, Mapping[str, object]]
"""A query and its parameters."""

# A tenant's plan must not be made from another tenant's statistics, so the app role plans each time (docs/architecture.md).
_APP = "-c plan_cache_mode=force_custom_plan -c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"
# Statements over all turns are planned each time as well, because the tables grow and shrink. If a process is
# stopped in the middle of a transaction, other processes cannot claim the turns that it has locked; this
# limits that time.
_LOG = "-c plan_cache_mode=force_custom_plan -c statement_timeout=30000 -c transaction_timeout=5000"
# The writer's statements and those of a batch use keys, whatever the number of rows. They are planned once,
# and small tables at that time must not mislead the planner. The writer's statements take lists of ids: with
# hashing, their cost grows with the length, not with its square.
_WRITER = (
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_nestloop=off -c enable_mergejoin=off"
    " -c statement_timeout=30000 -c transaction_timeout=5000"
)
# The errors of a session that the server has ended for being slow; psycopg does not count them as
# operational.
_ENDED: Final = (errors.TransactionTimeout, errors.IdleInTransactionSessionTimeout)
# A server that vanishes silently (half-open connection) does not answer a statement_timeout: over TCP the
# kernel gives up a little after that time.
_TCP: Final[Mapping[str, str]] = {
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "35000",
}


_NAME: Final = re.compile(r"^-- name: ([a-z0-9_]+)[^\n]*$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--[^\n]*\n", re.MULTILINE)
# In one message: the beginning of a transaction costs one round trip, not two.
_BEGIN_AS: Final = sql.SQL("BEGIN; SELECT set_config('responsa.tenant_id', {tenant}, true)")
_AS_TENANT_WITHIN: Final = "SELECT set_config('responsa.tenant_id', %(tenant)s, true), set_config('statement_timeout', %(bound)s, true)"
_SET_TOGETHER: Final = """SELECT set_config('responsa.tenant_id', %(tenant)s, true), set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('enable_seqscan', 'off', true), set_config('transaction_timeout', '5s', true)"""


def unavailable() -> Unavailable:
    """The error that callers see when PostgreSQL cannot be reached."""
    return Unavailable(
        Reason.PART_UNAVAILABLE,
        "The database cannot be reached at the moment; try again.",
        {"part": "postgresql"},
        retry_after=1.0,
    )


def conninfo(url: str, options: str) -> str:
    """The connection parameters: the URL's, with our options added (such as a role), and time limits for a
    silent network unless the URL sets them.
    """
    parameters = conninfo_to_dict(url)
    merged = f"{parameters.get('options') or ''} {options}".strip()
    return make_conninfo("", **{**_TCP, **parameters, "options": merged})


class Queries:
    """The queries of files of this package: `Queries("turn_reads.sql")["get_turn"]`.

    Raises KeyError for a name that the files lack, ValueError for one that they have twice.
    """

    def __init__(self, *filenames: str) -> None:
        parts = [
            part
            for filename in filenames
            for part in _NAME.split((files(__package__ or "") / filename).read_text(encoding="utf-8"))[1:]
        ]
        names = parts[::2]
        if len(set(names)) != len(names):
            raise ValueError(f"{', '.join(filenames)}: a query's name occurs twice")
        # The files are part of the package and contain no input, so they are as safe as literals.
        self._queries: dict[str, LiteralString] = {
            name: cast("LiteralString", _COMMENT.sub("", body).strip())
            for name, body in zip(names, parts[1::2], strict=True)
        }

    def __getitem__(self, name: str) -> LiteralString:
        return self._queries[name]

    def names(self) -> frozenset[str]:
        """All names in the files, for tests."""
        return frozenset(self._queries)


class _Store(Protocol):
    @property
    def _database(self) -> Database: ...


def shielded(
    method: Callable[Concatenate[Store, Args], CoroutineType[Any, Any, Result]],
) -> Callable[Concatenate[Store, Args], CoroutineType[Any, Any, Result]]:
    """Run a store's method to its end even when the caller's task is cancelled: every public method of a store carries this decorator.

    A cancel in the middle of a query can be lost or leave a connection in doubt (psycopg#1345, #1371). The caller is still released at once; the database holds the task and `Database.close` awaits it.
    """

    @functools.wraps(method)
    async def run(store: Store, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        # The decorator belongs to the store.
        database = store._database  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return await database.background.run(method(store, *args, **kwargs))

    return run


async def one_row(
    connection: Connection, query: LiteralString, parameters: Mapping[str, object]
) -> dict[str, Any] | None:
    """The first row of a query, by column; None if there are no rows."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query, parameters)
    return await cursor.fetchone()


def uuid_array(ids: Iterable[UUID]) -> str:
    """Ids as the text of a PostgreSQL array, for a parameter with the cast `::uuid[]`. psycopg takes ten times as long for a list."""
    return "{" + ",".join([one.hex for one in ids]) + "}"


class Database:
    """All connections. `tenant()` and `log()` each give one in a transaction that commits at the end of the block."""

    def __init__(self, app_url: str, log_url: str, *, size: int = 10) -> None:
        """Take the URLs of the roles responsa_app and responsa_log; size is the most connections a pool opens."""
        self.background = Background()
        """The running methods of stores."""
        self._knocking: dict[str, asyncio.Task[None]] = {}
        self._app = self._pool(app_url, _APP, size)
        self._log = self._pool(log_url, _LOG, size)
        self._writer = self._pool(log_url, _WRITER, 1, prepare_threshold=0)

    def _pool(
        self, url: str, options: str, size: int, prepare_threshold: int = 5
    ) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            conninfo(url, options),
            connection_class=psycopg.AsyncConnection[tuple[Any, ...]],
            min_size=min(2, size),
            max_size=size,
            timeout=10,
            reconnect_timeout=_RECONNECT_SECONDS,
            reconnect_failed=self._lost,
            open=False,
            check=_check,
            kwargs={"autocommit": True, "prepare_threshold": prepare_threshold},
        )

    async def open(self) -> None:
        """Open all pools and wait for their first connections. Raises Unavailable."""
        try:
            for pool in (self._app, self._log, self._writer):
                await pool.open(wait=True, timeout=30)
        except PoolTimeout as error:
            raise unavailable() from error

    async def close(self) -> None:
        """Wait some seconds for the methods of stores that are running, then close all pools."""
        await self.background.drain(_CLOSE_SECONDS)
        for task in self._knocking.values():
            task.cancel()
        await asyncio.gather(self._app.close(), self._log.close(), self._writer.close())

    async def _lost(self, pool: AsyncConnectionPool[Connection]) -> None:
        """A pool has given up on a connection. Without help the pool would try again when a new caller asks, or after growing pauses; this task asks until there is a connection, so waiting callers get it within a second of the database's return."""
        task = self._knocking.get(pool.name)
        if task is None or task.done():
            self._knocking[pool.name] = asyncio.create_task(_knock(pool), name=f"knocking for {pool.name}")

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncGenerator[Connection]:
        """A transaction of the app role that sees only this tenant's rows."""
        begin = _BEGIN_AS.format(tenant=sql.Literal(tenant_id))
        async with self._checked_out(self._app) as connection, _transaction(connection, begin):
            yield connection

    async def search(
        self,
        tenant_id: str,
        part: str,
        statements: Sequence[Statement],
        seconds: float,
        cursor: Callable[[Connection], psycopg.AsyncCursor[tuple[Any, ...]]] = psycopg.AsyncConnection.cursor,
    ) -> Sequence[Sequence[tuple[Any, ...]]]:
        """The rows of each statement, all read as one tenant: in the transaction of the surrounding `search_session`, or in one message as a separate transaction. The caller's method is `shielded`.

        seconds: for each statement. part: the index that is read. Raises Unavailable with this part when the database cannot search it, TooSlow when that
        takes too long, and Unavailable with the part "postgresql" when the database cannot be reached. An error of the request itself is raised unchanged.
        """
        as_tenant: Statement = (
            _AS_TENANT_WITHIN,
            {"tenant": tenant_id, "bound": f"{_milliseconds(seconds)}ms"},
        )
        session = _SESSION.get()
        if session is None or session.of != (self._app, tenant_id):
            async with self._checked_out(self._app) as connection, _search_errors(connection, part):
                return await _rows(connection, [as_tenant], statements, cursor)
        async with session.connection() as connection, _search_errors(connection, part):
            first: Sequence[Statement] = () if session.begun else (("BEGIN", {}), as_tenant)
            rows = await _rows(connection, first, statements, cursor)
            session.begun = True
            return rows

    @asynccontextmanager
    async def search_session(self, tenant_id: str) -> AsyncGenerator[None]:
        """Searches of this tenant in the block share one connection and one transaction, one after the other. A search that fails ends the transaction; the
        next one begins another.
        """
        session = _SearchSession(self._app, tenant_id, lambda: self._checked_out(self._app))
        token = _SESSION.set(session)
        try:
            yield
        finally:
            _SESSION.reset(token)
            # No caller waits for it: nothing was written. It waits for the search of a caller that was
            # cancelled.
            self.background.start(session.close())

    @asynccontextmanager
    async def locking(self, tenant_id: str, seconds: int = 5) -> AsyncGenerator[Connection]:
        """Like `tenant`, for transactions with locks that others wait for: the server rolls the transaction
        back after this many seconds.
        """
        async with self.tenant(tenant_id) as connection:
            await connection.execute(
                sql.SQL("SET LOCAL transaction_timeout = {}").format(sql.Literal(f"{seconds}s"))
            )
            yield connection

    @asynccontextmanager
    async def no_tenant(self) -> AsyncGenerator[Connection]:
        """A transaction of the app role before a tenant is known: it sees no rows and may call the credential functions."""
        async with self._checked_out(self._app) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def no_tenant_statements(self) -> AsyncGenerator[Connection]:
        """Like `no_tenant`, but each statement is its own transaction, with one round trip."""
        async with self._checked_out(self._app) as connection:
            yield connection

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Connection]:
        """A transaction of the log role, over all tenants."""
        async with self._checked_out(self._log) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def log_statements(self) -> AsyncGenerator[Connection]:
        """A connection of the log role, over all tenants, on which each statement is its own transaction, with one round trip."""
        async with self._checked_out(self._log) as connection:
            yield connection

    @asynccontextmanager
    async def writer(self) -> AsyncGenerator[Connection]:
        """The one connection, of the log role, for the grouped writes of workers, one after another; each
        statement is its own transaction.
        """
        async with self._checked_out(self._writer) as connection:
            yield connection

    async def together(
        self, tenant_id: str, statements: Sequence[Statement]
    ) -> Sequence[Sequence[dict[str, Any]]]:
        """Run statements as the app role in one transaction that sees only this tenant's rows, sent in one message; returns the rows of each.

        An error in one of them rolls all back.
        """
        # To the server, the content of a pipeline up to its end is one transaction: no BEGIN, no COMMIT.
        async with self._checked_out(self._app) as connection:
            cursors = [connection.cursor(binary=True, row_factory=dict_row) for _ in statements]
            async with connection.pipeline():
                await connection.execute(_SET_TOGETHER, {"tenant": tenant_id})
                for cursor, (query, parameters) in zip(cursors, statements, strict=True):
                    await cursor.execute(query, parameters)
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    @asynccontextmanager
    async def _checked_out(self, pool: AsyncConnectionPool[Connection]) -> AsyncGenerator[Connection]:
        try:
            async with pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError, *_ENDED) as error:
            raise unavailable() from error


class _SearchSession:
    """The connection that the searches of one `Database.search_session` share. The first search checks it out."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        tenant_id: str,
        check_out: Callable[[], AbstractAsyncContextManager[Connection]],
    ) -> None:
        self.of = (pool, tenant_id)
        """The pool and the tenant whose searches may share it."""
        self._check_out = check_out
        self._stack = AsyncExitStack()
        self._one_at_a_time = asyncio.Lock()
        self._connection: Connection | None = None
        self.begun = False
        """Whether the connection is in the transaction. The first search begins it."""

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """The connection, for one search at a time. An error ends the transaction."""
        async with self._one_at_a_time:
            if self._connection is None:
                self._connection = await self._stack.enter_async_context(self._check_out())
            connection = self._connection
            try:
                yield connection
            except BaseException as error:
                self.begun = False
                with contextlib.suppress(psycopg.Error):
                    await connection.execute("ROLLBACK")
                if connection.broken:
                    self._connection = None
                    await self._stack.aclose()
                if isinstance(error, (psycopg.OperationalError, *_ENDED)):
                    raise unavailable() from error
                raise

    async def close(self) -> None:
        """End the transaction and give the connection back."""
        async with self._one_at_a_time:
            if self._connection is not None and self.begun:
                with contextlib.suppress(psycopg.Error):
                    await self._connection.execute("COMMIT")
            await self._stack.aclose()


_SESSION: ContextVar[_SearchSession | None] = ContextVar("search_session", default=None)


@asynccontextmanager
async def _search_errors(connection: Connection, part: str) -> AsyncGenerator[None]:
    try:
        yield
    except psycopg.Error as error:
        slow = isinstance(error, _TOO_SLOW)
        if connection.broken or (part != VECTORS_PART and not slow and _not_the_index(error)):
            raise
        _LOGGER.error("the %s cannot be searched: %s", part, type(error).__name__)
        raise (TooSlow if slow else Unavailable)(
            Reason.PART_UNAVAILABLE,
            "The documents cannot be searched at the moment; try again.",
            {"part": part},
            retry_after=1.0,
        ) from error


async def _rows(
    connection: Connection,
    first: Sequence[Statement],
    statements: Sequence[Statement],
    cursor: Callable[[Connection], psycopg.AsyncCursor[tuple[Any, ...]]],
) -> Sequence[Sequence[tuple[Any, ...]]]:
    """Run statements, after the first ones and in one message with them; returns the rows of each."""
    cursors = [cursor(connection) for _ in statements]
    alone = not first and len(statements) == 1
    async with contextlib.nullcontext() if alone else connection.pipeline():
        for query, parameters in first:
            await connection.execute(query, parameters)
        for one, (query, parameters) in zip(cursors, statements, strict=True):
            await one.execute(query, parameters)
    # After the pipeline, because a fetch within it would cost another round trip.
    return [await one.fetchall() for one in cursors]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class Gathered(Generic[Key, Item, Result]):
    """One write at a time for each key, with all items that wait for it. An item does not wait for others: a single item is written at once.

    A write that has begun continues when its caller is cancelled.
    """

    def __init__(
        self, write: Callable[[Key, Sequence[Item]], Awaitable[Sequence[Result]]], most: int
    ) -> None:
        """write: writes items of one key in one transaction, and returns their results in order. If it raises
        an error other than a ResponsaError for several items, it is called again with each item
        separately: then one of them cannot be stored, and the others can. most: items in one write.
        """
        self._write = write
        self._most = most
        self._waiting: dict[Key, list[tuple[Item, asyncio.Future[Result]]]] = {}
        self._writers: set[asyncio.Task[None]] = set()

    async def put(self, key: Key, item: Item) -> Result:
        """Write an item together with items that arrive at the same time. Raises the errors of the write."""
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append((item, outcome))
        else:
            self._waiting[key] = [(item, outcome)]
            writer = asyncio.create_task(self._write_waiting(key), name=f"writes for {key}")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await outcome

    async def _write_waiting(self, key: Key) -> None:
        while waiting := self._waiting[key]:
            batch, self._waiting[key] = waiting[: self._most], waiting[self._most :]
            await self._write_batch(key, batch)
        del self._waiting[key]

    async def _write_batch(self, key: Key, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write(key, [item for item, _ in batch])
            settled = list(zip(batch, results, strict=True))
        except Exception as error:  # every waiting caller gets the error, whatever it is
            if len(batch) > 1 and not isinstance(error, ResponsaError):
                for one in batch:
                    await self._write_batch(key, [one])
                return
            for _, outcome in batch:
                if not outcome.done():
                    outcome.set_exception(error)
            return
        for (_, outcome), result in settled:
            if not outcome.done():
                outcome.set_result(result)


async def _knock(pool: AsyncConnectionPool[Connection]) -> None:
    """Ask a pool for a connection until it has one."""
    _LOGGER.warning("the database cannot be reached; connections are tried again every half second")
    while True:
        try:
            async with pool.connection(timeout=1.0):
                _LOGGER.warning("the database is back")
                return
        except PoolClosed:
            return
        except (PoolTimeout, psycopg.OperationalError):
            continue


@asynccontextmanager
async def _transaction(connection: Connection, begin: sql.Composed) -> AsyncGenerator[None]:
    """A transaction that begins with these statements; commits at the end of the block, rolls back if the block raises."""
    try:
        # Several statements cannot be prepared.
        await connection.execute(begin, prepare=False)
        yield
    except BaseException:
        # Without a connection there is nothing to roll back, and the first error is the useful one.
        with contextlib.suppress(psycopg.Error):
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


async def _check(connection: Connection) -> None:
    """Raise OperationalError when the server has closed an idle connection.

    An idle connection has nothing to read unless it was closed or sent a notice, so checking its socket saves a round trip.
    """
    looking = select.poll()
    looking.register(connection.fileno(), select.POLLIN)
    if looking.poll(0):
        await AsyncConnectionPool[Connection].check_connection(connection)


def _not_the_index(error: psycopg.Error) -> bool:
    """Whether the request is wrong (values or statements that are not valid), or the database as a whole fails."""
    ours = isinstance(error, (psycopg.DataError, psycopg.InterfaceError, errors.SyntaxError))
    # Errors that the library itself detects have no SQLSTATE.
    return ours or isinstance(error, psycopg.OperationalError) or error.sqlstate is None


class PostgresPart:
    """Implements `domain.parts.Part`."""

    name = "postgresql"

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def check(self) -> PartReport:
        """Query both roles, and ask the server for its version."""
        async with self._database.no_tenant() as connection:
            cursor = await connection.execute("SELECT current_setting('server_version')")
            row = await cursor.fetchone()
        async with self._database.log() as connection:
            await connection.execute("SELECT 1")
        return PartReport(Health.OK, version=str(row[0]) if row else "")
