"""Connections to PostgreSQL: a pool for the role that serves tenants, small ones for the same role's checks of
credentials and for the beginnings and ends of turns, a pool for the role that writes the log, and a single connection
for the appends of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import re
import select
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import Context, ContextVar
from importlib.resources import files
from types import CoroutineType
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    LiteralString,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
)
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGresult
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from responsa_server.domain.background import Background
from responsa_server.domain.errors import (
    Conflict,
    Reason,
    ResponsaError,
    StorageFull,
    TooSlow,
    Unauthenticated,
    Unavailable,
)
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.passages import VECTORS_PART
from responsa_server.domain.people import Reader, Server
from responsa_server.stores.postgres.pool import Pool
from responsa_server.stores.postgres.presence import Presence
from responsa_server.stores.postgres.wire import Bound, prepare, send
from responsa_server.telemetry.stages import exchange

# Not structlog's logger: `up`, `migrate` and `admin` import this module, must start fast, and print only their results
# on stdout. In a server,
# `configure_logs` sends these records through structlog's chain.
_LOGGER: Final = logging.getLogger(__name__)
# The number of seconds for which a pool tries to replace a connection before it reports a failure and starts again.
_RECONNECT_SECONDS: Final = 0.5

# The number of connections for credentials. A check takes one or two milliseconds.
_CREDENTIAL_CONNECTIONS: Final = 4
# The number of connections for the beginnings and ends of turns. Most of the time, two of them are in use.
_TURN_CONNECTIONS: Final = 4
# Deletions may use this share of the connections at a time, and so may transactions that wait for a store outside the database.
_SLOW_SHARE: Final = 0.3
# How long a deletion waits for a lock.
_LOCK_SECONDS: Final = 5

# When the database is closed, running methods of stores have this number of seconds to end.
_CLOSE_SECONDS: Final = 5.0

# The errors of a statement that took too long, whether it ran or waited for a lock.
_TOO_SLOW: Final = (errors.QueryCanceled, errors.LockNotAvailable)

Result = TypeVar("Result")
Args = ParamSpec("Args")
Store = TypeVar("Store", bound="_Store")
Item = TypeVar("Item")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = Callable[[Connection], psycopg.AsyncCursor[tuple[Any, ...]]]
Rows = Sequence[Sequence[tuple[Any, ...]]]
Statement = tuple[LiteralString | sql.Composed, Mapping[str, object]]
"""A query and its parameters."""

# A plan for one tenant must not depend on another tenant's statistics, so the app role plans each statement every time
# (ADR 0004). Until a transaction names its caller, it
# reads nothing that has readers.
_APP = "-c responsa.role=none -c plan_cache_mode=force_custom_plan -c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"
# Every call waits for the check of its credential, so this check never waits long for a lock.
_CREDENTIALS = f"{_APP} -c statement_timeout=5000 -c lock_timeout=1000 -c transaction_timeout=10000"
# The statements that accept and end turns find their rows by keys, so one plan suits all tenants. Many turns share a
# transaction, so none waits long for a lock.
_TURNS = (
    "-c responsa.role=none -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
    " -c lock_timeout=100ms -c statement_timeout=30000 -c transaction_timeout=5000"
)
# Statements over all turns are planned every time as well, because the tables grow and shrink. If a process is
# stopped in the middle of a transaction, other processes cannot claim the turns that it has locked.
# transaction_timeout limits this time.
_LOG = "-c plan_cache_mode=force_custom_plan -c statement_timeout=30000 -c transaction_timeout=5000"
# The writer's statements are planned once, possibly while the tables are still small. Even then, the plan must find rows by their
# keys. The statements take lists of ids: with hash joins, their cost grows with the length of a list and not with its square.
_WRITER = (
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_nestloop=off -c enable_mergejoin=off"
    " -c statement_timeout=30000 -c transaction_timeout=5000"
)
# The errors that a caller gets if PostgreSQL has ended a session that was too slow. These errors are not subclasses of
# psycopg's OperationalError.
_ENDED: Final = (errors.TransactionTimeout, errors.IdleInTransactionSessionTimeout)
# If the database's machine vanishes silently (a half-open connection), no statement_timeout is reported. With these
# settings the kernel ends a TCP connection a little after that timeout.
_TCP: Final[Mapping[str, str]] = {
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "35000",
}


# How long a look at the database's health waits for a connection.
_ANSWER_SECONDS: Final = 1.0
_FULL_SECONDS: Final = 1.0
"""The number of seconds that a caller waits for a connection while the database's disk is full."""
_FULL_KNOWN_SECONDS: Final = 60.0
"""How long a disk that PostgreSQL has found full is taken for full."""
_NAME: Final = re.compile(r"^-- name: ([a-z0-9_]+)[^\n]*$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^[ \t]*+--[^\n]*\n", re.MULTILINE)
_INDENTATION: Final = re.compile(r"\n\s+")
# Both statements are sent in one message, so that the beginning of a transaction costs one round trip and not two.
_BEGIN_AS: Final = sql.SQL(
    "BEGIN; SELECT set_config('responsa.tenant_id', {tenant}, true), "
    "set_config('responsa.user_id', {user}, true), set_config('responsa.role', {role}, true)"
)
AS_READER: Final = """SELECT set_config('responsa.tenant_id', %(tenant)s::text, true), set_config('responsa.user_id', %(user)s::text, true),
    set_config('responsa.role', %(role)s::text, true)"""
_KEYED: Final = f"{AS_READER}, set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)"
# The statements of a search find their rows by keys too, but for `documents` in passages.sql. What its functions search
# has plans of its own.
_AS_READER_WITHIN: Final = (
    f"{AS_READER}, set_config('plan_cache_mode', 'force_generic_plan', true), "
    "set_config('statement_timeout', %(bound)s, true)"
)
_PLANS_LAST_SECONDS: Final = 10.0
"""For how long a connection keeps the plans of `Database.by_key`, `Database.turns` and searches. While a table is nearly
empty, the planner takes any index for as good as the key; PostgreSQL itself makes such a plan again only when it has
analysed the table, which may have many rows by then.
"""
_CREDENTIAL_PLANS_LAST_SECONDS: Final = 60.0
"""The same for the functions that look credentials up (`0001_pre_identity.sql`). Users, keys and sessions are made one
by one, so in a minute their tables grow little."""
# A search asks in each of its statements what its reader may read; this is computed once (`0004_pre_passages.sql`), when
# the reader is set: PostgreSQL computes the inner query first.
_AS_KNOWN_READER_WITHIN: Final = (
    "SELECT responsa.know_reader() FROM ("  # noqa: S608  a constant
    f"{_AS_READER_WITHIN}, set_config('responsa.files', %(files)s, true) OFFSET 0) AS reader"
)
_NO_FILES: Final = "-"
"""What `responsa.files` says in a search that is for no conversation with files. No collection is called so."""
_SET_TOGETHER: Final = f"{_KEYED}, set_config('transaction_timeout', '5s', true)"


def unavailable(cause: Exception | None = None, *, full: bool = False) -> Unavailable:
    """The error that callers see when PostgreSQL cannot be reached, or could not do the work at this moment. cause: the
    error that says which. full: whether its disk is full."""
    if full or isinstance(cause, errors.DiskFull):
        return StorageFull(
            Reason.STORAGE_FULL,
            "The disk of the database is full, so nothing was stored; try again when the operator has freed space.",
            {"part": "postgresql"},
        )
    match cause:
        case errors.DeadlockDetected() | errors.SerializationFailure():
            happened = "Another call was changing the same data at the same moment"
        case (
            errors.QueryCanceled() | errors.LockNotAvailable() | TimeoutError() | errors.TransactionTimeout()
        ):
            happened = "The database took too long"
        case PoolTimeout():
            happened = "All connections to the database are in use"
        case None:
            happened = "The database cannot be reached at the moment"
        case _:
            # As after a transaction that was too slow, of which libpq may only tell that its session has ended.
            happened = "The connection to the database was lost"
    return Unavailable(
        Reason.PART_UNAVAILABLE, f"{happened}; try again.", {"part": "postgresql"}, retry_after=1.0
    )


def concurrent_change() -> Unavailable:
    """The error that callers see when other calls changed the same data at the same moment, so that another try may succeed."""
    return unavailable(errors.SerializationFailure())


def conninfo(url: str, options: str) -> str:
    """The connection parameters of the URL, with the given options added. Time limits for a silent network are added
    unless the URL sets them.
    """
    parameters = conninfo_to_dict(url)
    merged = f"{parameters.get('options') or ''} {options}".strip()
    return make_conninfo("", **{**_TCP, **parameters, "options": merged})


@functools.cache
def _read_queries(filename: str, package: str | None) -> Sequence[tuple[str, LiteralString]]:
    """The names and texts of the queries in a .sql file. Many stores read the same files."""
    parts = _NAME.split((files(package or "") / filename).read_text(encoding="utf-8"))[1:]
    # The files are part of the package and contain no input, so they are as safe as literals.
    # Without comments and indentation, more statements are short enough for the driver's cache of parsed statements.
    named: list[tuple[str, LiteralString]] = []
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        text = _INDENTATION.sub("\n", _COMMENT.sub("", body)).strip()
        for part, shared in named:
            text = text.replace(f"{{{part}}}", shared.removesuffix(";"))
        named.append((name, cast("LiteralString", text)))
    return named


class Queries:
    """The named queries of some of a package's .sql files, as in `Queries("FILE.sql")["NAME"]`. `{NAME}` in a query
    stands for the text of an earlier one of its file.

    Raises KeyError for a name that the files lack, and ValueError for a name that they have twice.
    """

    def __init__(self, *filenames: str, package: str | None = __package__) -> None:
        pairs = [pair for filename in filenames for pair in _read_queries(filename, package)]
        self._queries = dict(pairs)
        if len(self._queries) != len(pairs):
            raise ValueError(f"{', '.join(filenames)}: a query's name occurs twice")

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
    """A decorator that lets a store's method run to its end even if the caller's task is cancelled. Every public method
    of a store has this decorator.

    A cancel in the middle of a query can be lost or leave a connection in an unknown state (psycopg#1345, #1371). The
    cancelled caller still returns at once; the database keeps the task, and `Database.close` awaits it.

    Each call is a span of its own: psycopg's instrumentation sees neither `wire.send` nor what a caller waits for a
    connection, and one span for each statement of a pipeline would say less.

    A method that writes something for a user who has been deleted in the meantime raises Unauthenticated (CREDENTIAL_UNKNOWN).
    """

    name = method.__qualname__

    @functools.wraps(method)
    async def run(store: Store, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        # The decorator is part of the stores, so it may use their private attribute.
        database = store._database  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        try:
            with exchange(name, **_POSTGRESQL):
                return await database.background.run(method(store, *args, **kwargs))
        except errors.ForeignKeyViolation as error:
            # If a user is not deleted because of a row, the detail names the table of the row instead.
            if "app_user" in (error.diag.message_detail or ""):
                raise Unauthenticated(
                    Reason.CREDENTIAL_UNKNOWN,
                    "The account of this credential was deleted. Sign in with another account.",
                ) from error
            raise

    return run


_POSTGRESQL: Final = {"db.system.name": "postgresql"}


def acting(reader: Reader) -> dict[str, str]:
    """The session variables of a transaction for this reader; see `0001_pre_identity.sql`."""
    if isinstance(reader, Server):
        return {"tenant": reader.tenant_id, "user": "", "role": "system"}
    return {"tenant": reader.tenant_id, "user": reader.user_id.hex, "role": reader.acting_role}


def _reader_of(reader: Reader | str) -> Reader:
    return Server(reader) if isinstance(reader, str) else reader


def uuid_array(ids: Iterable[UUID]) -> str:
    """Ids as the text of a PostgreSQL array, for a parameter with the cast `::uuid[]`. psycopg needs ten times as long to encode a list."""
    return "{" + ",".join([id_.hex for id_ in ids]) + "}"


class Database:
    """All connections to the database. `tenant()` and `log()` each open a transaction that commits at the end of the block."""

    def __init__(
        self,
        app_url: str,
        log_url: str,
        *,
        size: int,
        ready: int = 2,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        """app_url, log_url: the URLs for the roles responsa_app and responsa_log. size: the maximum
        number of connections in each of the large pools. ready: the number of connections that each pool opens at once
        and keeps. full: whether the disk of the database is full, as far as this process can know.
        """
        self._ready = ready
        self._full = full
        self._found_full_at = -math.inf
        self.background = Background()
        """The stores' methods that are running now."""
        # The circuits of the pools. While a pool's circuit is open, one task asks for a connection, and no call waits for one.
        self._pinging: dict[str, asyncio.Task[None]] = {}
        self._planned: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self._app = self._pool("app", app_url, _APP, size, configure=_adapt)
        self._credentials = self._pool(
            "credentials", app_url, _CREDENTIALS, min(size, _CREDENTIAL_CONNECTIONS)
        )
        self._turns = self._pool("turns", app_url, _TURNS, min(size, _TURN_CONNECTIONS))
        self._deleting, self._outside = (asyncio.Semaphore(max(1, int(size * _SLOW_SHARE))) for _ in range(2))
        self._log = self._pool("log", log_url, _LOG, size)
        self.presence = Presence()
        """The lock of this process. It is held from `open` on, if the pools open connections at once."""
        self._writer = self._pool(
            "writer",
            log_url,
            _WRITER,
            1,
            prepare_threshold=0,
            configure=self.presence.hold,
            max_lifetime=math.inf,
        )
        self._pools = (self._app, self._credentials, self._turns, self._log, self._writer)

    def _pool(
        self,
        name: str,
        url: str,
        options: str,
        size: int,
        prepare_threshold: int = 5,
        configure: Callable[[Connection], Awaitable[None]] | None = None,
        max_lifetime: float = 3600.0,
    ) -> Pool:
        return Pool(
            conninfo(url, options),
            name=name,
            min_size=min(self._ready, size),
            max_size=size,
            timeout=10,
            reconnect_timeout=_RECONNECT_SECONDS,
            reconnect_failed=self._on_lost,
            open=False,
            check=check_idle,
            configure=configure,
            max_lifetime=max_lifetime,
            kwargs={"autocommit": True, "prepare_threshold": prepare_threshold},
        )

    async def open(self) -> None:
        """Open all pools and wait for their first connections. Raises Unavailable."""
        try:
            for pool in self._pools:
                await pool.open(wait=True, timeout=30)
        except PoolTimeout as error:
            raise unavailable() from error

    async def close(self) -> None:
        """Wait a few seconds for the running methods of stores, then close all pools."""
        await self.background.drain(_CLOSE_SECONDS)
        for task in self._pinging.values():
            task.cancel()
        await asyncio.gather(*(pool.close() for pool in self._pools))

    async def _on_lost(self, lost: AsyncConnectionPool[Any]) -> None:
        """Called when a pool has tried for half a second to connect: opens the pool's circuit, so that calls fail at
        once, those that wait already included. But a stall of the event loop makes attempts fail too.

        By itself, the pool would try again only when a new caller asks for a connection, or after growing pauses. So a
        task asks until the pool has a connection, and then closes the circuit, within a second of the database's
        return.
        """
        (pool,) = (own for own in self._pools if own is lost)
        if not self._away(pool) and await _is_away(pool):
            # It serves everybody, so its lines name nothing of the call that happens to begin it.
            self._pinging[pool.name] = asyncio.create_task(
                _ping(pool), name=f"ping of {pool.name}", context=Context()
            )
            pool.refuse_waiting()

    def _away(self, pool: Pool) -> bool:
        task = self._pinging.get(pool.name)
        return task is not None and not task.done()

    @property
    def away(self) -> Sequence[str]:
        """The names of the pools whose circuits are open, because they cannot connect."""
        return [pool.name for pool in self._pools if self._away(pool)]

    def pools(self) -> Mapping[str, Mapping[str, int]]:
        """The state of each pool as psycopg_pool counts it. May be called from any thread."""
        return {pool.name: pool.get_stats() for pool in self._pools}

    async def answers(self) -> bool:
        """Whether PostgreSQL can be reached, as far as an idle connection shows it. A pool without a free connection is busy, not away."""
        pool = self._turns
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS), self._check_out(pool):
                return True
        return not self._away(pool)

    def tenant(self, tenant_id: str) -> AbstractAsyncContextManager[Connection]:
        """A transaction of the app role that sees all rows of this tenant and no others, for the server's own work and
        for changes whose caller has been checked."""
        return self.reading(Server(tenant_id))

    @asynccontextmanager
    async def reading(self, reader: Reader) -> AsyncGenerator[Connection]:
        """A transaction of the app role that sees what the reader may read."""
        begin = _BEGIN_AS.format(**{name: sql.Literal(value) for name, value in acting(reader).items()})
        async with self._check_out(self._app) as connection, _transaction(connection, begin):
            yield connection

    @asynccontextmanager
    async def by_key(self, reader: Reader | str, *, one_write: bool = False) -> AsyncGenerator[Connection]:
        """Like `reading`, or like `tenant` with a tenant's id, for statements that find their rows by keys. A plan of
        such a statement suits every tenant, so it is made once in a while and
        not each time: to read the policies and to make the plan takes several times as long as to use it.

        Statements are sent without waiting for their results, until rows are fetched or the block ends. So an error may
        be raised later than its statement, and a statement without rows has no `rowcount`.
        one_write: whether at most one statement of the block writes. Then PostgreSQL need not be asked to begin and to
        commit a transaction; an error of the block itself does not undo the write.
        """
        async with self._check_out(self._app) as connection:
            await self._discard_plans(connection, _PLANS_LAST_SECONDS)
            if one_write:
                # Until the end of a pipeline, PostgreSQL treats its statements as one transaction.
                async with connection.pipeline():
                    await connection.execute(_KEYED, acting(_reader_of(reader)))
                    yield connection
                return
            async with _undo_on_error(connection), connection.pipeline():
                await connection.execute("BEGIN")
                await connection.execute(_KEYED, acting(_reader_of(reader)))
                yield connection
                await connection.execute("COMMIT")

    async def search(
        self,
        reader: Reader,
        part: str,
        statements: Sequence[Statement],
        seconds: float,
        cursor: Cursor = psycopg.AsyncConnection.cursor,
    ) -> Rows:
        """Run the statements of a search for a reader and return the rows of each statement. The statements run in the
        transaction of the surrounding `search_session`. Without a `search_session`, they form one transaction, which is
        sent in one message. The method that calls this must be `shielded`.

        seconds: the time limit of each statement. part: the index that is searched. Raises Unavailable with this part
        if the database cannot search the index, TooSlow if the search takes too long, and Unavailable with the part
        "postgresql" if the database cannot be reached. An error of the request itself is raised unchanged.
        """
        session = _SESSION.get()
        if session is None or session.of != (self._app, reader):
            async with self._check_out(self._app) as connection, _search_errors(connection, part):
                await self._discard_plans(connection, _PLANS_LAST_SECONDS)
                return await _rows(connection, [_as_reader(reader, seconds)], statements, cursor)
        async with session.connection() as connection, _search_errors(connection, part):
            if not session.begun:
                await self._discard_plans(connection, _PLANS_LAST_SECONDS)
            begin: Sequence[Statement] = (("BEGIN", {}), _as_reader(session.of[1], seconds))
            rows = await _rows(connection, () if session.begun else begin, statements, cursor)
            session.begun = True
            return rows

    @asynccontextmanager
    async def search_session(self, reader: Reader) -> AsyncGenerator[None]:
        """In the block, the searches of this reader run one after the other and share one connection and one
        transaction. A search that fails ends the transaction; the next search begins another.
        """
        session = _SearchSession(self._app, reader, lambda: self._check_out(self._app))
        token = _SESSION.set(session)
        try:
            yield
        finally:
            _SESSION.reset(token)
            # Close the session in the background: its close may have to wait until the search of a cancelled caller
            # ends. The caller need not wait, because the session wrote nothing.
            self.background.start(session.close())

    @asynccontextmanager
    async def locking(self, reader: Reader | str, seconds: int = 5) -> AsyncGenerator[Connection]:
        """Like `reading`, or like `tenant` with a tenant's id, for a transaction that holds locks for which other
        transactions wait. PostgreSQL rolls the transaction back after `seconds`.
        """
        async with self.reading(_reader_of(reader)) as connection:
            await connection.execute(
                sql.SQL("SET LOCAL transaction_timeout = {}").format(sql.Literal(f"{seconds}s"))
            )
            yield connection

    @asynccontextmanager
    async def deleting(self, reader: Reader | str, name: str) -> AsyncGenerator[Connection]:
        """Like `reading`, or like `tenant` with a tenant's id, for a deletion of much content. Only a few deletions run
        at a time; the others wait without a connection. name: the resource.

        Raises Conflict (RESOURCE_LOCKED) if other calls keep the resource locked for `_LOCK_SECONDS`.
        """
        async with self._deleting:
            try:
                async with self.reading(_reader_of(reader)) as connection:
                    await connection.execute(
                        sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{_LOCK_SECONDS}s"))
                    )
                    yield connection
            except Unavailable as error:
                if not isinstance(error.__cause__, errors.LockNotAvailable):
                    raise
                raise Conflict(
                    Reason.RESOURCE_LOCKED,
                    f"Another call is changing {name}; nothing was deleted. Try again in a moment.",
                    {"resource_name": name},
                ) from error

    def outside(self, store: object | None) -> AbstractAsyncContextManager[None]:
        """Entered before a transaction that waits for a store outside the database: only a few such transactions run at
        a time; the others wait without a connection. store: None if there is none."""
        return contextlib.nullcontext() if store is None else self._outside

    @asynccontextmanager
    async def credentials(self) -> AsyncGenerator[Connection]:
        """A connection of the app role that only checks of credentials use, so that no other work delays them. It sees
        no rows, but may call the credential functions. Each statement is a separate transaction and takes one round
        trip.
        """
        async with self._check_out(self._credentials) as connection:
            await self._discard_plans(connection, _CREDENTIAL_PLANS_LAST_SECONDS)
            yield connection

    @asynccontextmanager
    async def account(self, tenant_id: str) -> AsyncGenerator[Connection]:
        """Like `tenant`, on a connection that only checks of credentials use. It is for statements on a single row."""
        values = acting(Server(tenant_id))
        begin = _BEGIN_AS.format(**{name: sql.Literal(value) for name, value in values.items()})
        async with self._check_out(self._credentials) as connection, _transaction(connection, begin):
            yield connection

    @asynccontextmanager
    async def no_tenant(self) -> AsyncGenerator[Connection]:
        """A transaction of the app role for the time before a tenant is known. It sees no rows, but may call the credential functions."""
        async with self._check_out(self._app) as connection, connection.transaction():
            yield connection

    def no_tenant_statements(self) -> AbstractAsyncContextManager[Connection]:
        """Like `no_tenant`, but each statement is a separate transaction and takes one round trip."""
        return self._check_out(self._app)

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Connection]:
        """A transaction of the log role, over all tenants."""
        async with self._check_out(self._log) as connection, connection.transaction():
            yield connection

    def log_statements(self) -> AbstractAsyncContextManager[Connection]:
        """A connection of the log role, over all tenants. Each statement is a separate transaction and takes one round trip."""
        return self._check_out(self._log)

    def writer(self) -> AbstractAsyncContextManager[Connection]:
        """The log role's single connection, on which the workers' batches are written one after another. Each statement is a separate
        transaction.
        """
        return self._check_out(self._writer)

    async def together(
        self, reader: Reader | str, statements: Sequence[Statement]
    ) -> Sequence[Sequence[dict[str, Any]]]:
        """Run statements as the app role in one transaction that sees what the reader may read; a tenant's id stands
        for the server itself. They are sent in one message. Returns the rows of each statement.

        An error in one statement rolls all statements back.
        """
        # PostgreSQL treats the statements of a pipeline as one transaction, so BEGIN and COMMIT are not needed.
        async with self._check_out(self._app) as connection:
            cursors = [connection.cursor(binary=True, row_factory=dict_row) for _ in statements]
            async with connection.pipeline():
                await connection.execute(_SET_TOGETHER, acting(_reader_of(reader)))
                for cursor, (query, parameters) in zip(cursors, statements, strict=True):
                    await cursor.execute(query, parameters)
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    async def turns(
        self, parts: Sequence[tuple[Reader | str, Sequence[Bound]]], *, patient: bool = False
    ) -> Sequence[Sequence[PGresult]]:
        """Run statements as the app role in one transaction, sent in one message. The statements of each part see what
        the part's reader may read; a tenant's id stands for the server itself. Returns the results of each part's
        statements.

        An error in one statement rolls all statements back. patient: whether statements wait long for locks; otherwise,
        Unavailable is raised after a tenth of a second, with LockNotAvailable as its cause.
        """
        as_reader = prepare(_SET_TOGETHER if patient else AS_READER)
        bound: list[Bound] = []
        for reader, statements in parts:
            bound += (as_reader.bind(acting(_reader_of(reader))), *statements)
        async with self._check_out(self._app if patient else self._turns) as connection:
            await self._discard_plans(connection, _PLANS_LAST_SECONDS)
            results = iter(await send(connection, bound))
        return [[next(results) for _ in (as_reader, *statements)][1:] for _, statements in parts]

    async def _discard_plans(self, connection: Connection, seconds: float) -> None:
        """Let PostgreSQL make the plans of this connection again if it did so `seconds` ago or earlier."""
        now = time.monotonic()
        if now >= self._planned.get(connection, 0.0) + seconds:
            self._planned[connection] = now
            await connection.execute("DISCARD PLANS")

    @asynccontextmanager
    async def _check_out(self, pool: Pool) -> AsyncGenerator[Connection]:
        if self._away(pool):
            raise unavailable(full=self._full() or self._lately_full(away=True))
        # PostgreSQL stops if it cannot write its log, and starts again when it can. Until then, no caller waits long for a connection.
        timeout = _FULL_SECONDS if self._full() else None
        try:
            async with pool.connection(timeout) as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError, *_ENDED) as error:
            if isinstance(error, errors.DiskFull):
                self._found_full_at = time.monotonic()
            away = self._away(pool)
            lost = away if isinstance(error, PoolTimeout) else _no_connection(error)
            full = self._full() or (lost and self._lately_full(away=True))
            raise unavailable(None if away else error, full=full) from error

    def _lately_full(self, *, away: bool = False) -> bool:
        """Whether PostgreSQL has lately found its disk full. away: whether it cannot be reached now; as long as that
        lasts, the disk is the reason, because PostgreSQL stops if it cannot write its log.
        """
        now = time.monotonic()
        lately = now < self._found_full_at + _FULL_KNOWN_SECONDS
        if lately and away:
            self._found_full_at = now
        return lately

    @property
    def found_full(self) -> bool:
        """Whether PostgreSQL has found its disk full in the last minute, or before it stopped answering."""
        return self._lately_full()


class _SearchSession:
    """The connection that the searches of one `Database.search_session` share. The first search takes it from the pool."""

    def __init__(
        self,
        pool: Pool,
        reader: Reader,
        check_out: Callable[[], AbstractAsyncContextManager[Connection]],
    ) -> None:
        self.of = (pool, reader)
        """The pool of the connection, and the reader whose searches may share it."""
        self._check_out = check_out
        self._stack = AsyncExitStack()
        self._one_at_a_time = asyncio.Lock()
        self._connection: Connection | None = None
        self.begun = False
        """Whether the transaction has begun. The first search begins it."""

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """The connection. Only one search at a time uses it. An error ends the transaction."""
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
                    raise unavailable(error) from error
                raise

    async def close(self) -> None:
        """End the transaction and return the connection to the pool."""
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
    new_cursor: Cursor,
) -> Rows:
    """Run the statements in `first`, then `statements`, all sent in one message. Returns the rows of each of `statements`."""
    cursors = [new_cursor(connection) for _ in statements]
    alone = not first and len(statements) == 1
    async with contextlib.nullcontext() if alone else connection.pipeline():
        for query, parameters in first:
            await connection.execute(query, parameters)
        for cursor, (query, parameters) in zip(cursors, statements, strict=True):
            await cursor.execute(query, parameters)
    # The rows are fetched after the pipeline, because a fetch within the pipeline would cost another round trip.
    return [await cursor.fetchall() for cursor in cursors]


class Batcher(Generic[Item, Result]):
    """Writes items in batches, one batch after the other. A write takes all items that have arrived since the previous
    write began. If no write is running, an item is written at once, unless the window has not passed.

    A write that has begun continues even if its caller is cancelled. `background` holds it. If its owner cancels the
    write, the callers that still wait are cancelled as well.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        limit: int,
        background: Background,
        window: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """write: a function that writes items in one transaction and returns their results in order. If a write of
        several items raises an error other than a ResponsaError, one item may be the cause. The function is then called
        again for each item separately. limit: the maximum number of items in one write. window: the minimum time in
        seconds between the starts of two writes.
        """
        self._write = write
        self._limit = limit
        self._background = background
        self._window = window
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._started_at = -math.inf

    async def put(self, item: Item) -> Result:
        """Write an item together with items that arrive at the same time. Raises the errors of the write."""
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._writer is None:
            self._writer = self._background.start(self._write_waiting())
            self._writer.add_done_callback(self._on_end)
        return await outcome

    async def _write_waiting(self) -> None:
        now = asyncio.get_running_loop().time
        while self._waiting:
            pause = self._started_at + self._window() - now()
            if pause > 0:
                await asyncio.sleep(pause)
            self._started_at = now()
            batch = self._waiting[: self._limit]
            await self._write_batch(batch)
            del self._waiting[: len(batch)]
        self._writer = None

    def _on_end(self, writer: asyncio.Task[None]) -> None:
        if writer.cancelled():
            self._writer = None
            for _, outcome in self._waiting:
                outcome.cancel()
            self._waiting.clear()

    async def _write_batch(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
            settled = list(zip(batch, results, strict=True))
        except Exception as error:  # every waiting caller gets the error, whatever it is
            if len(batch) > 1 and not isinstance(error, ResponsaError):
                for item in batch:
                    await self._write_batch([item])
                return
            for _, outcome in batch:
                if not outcome.done():
                    outcome.set_exception(error)
            return
        for (_, outcome), result in settled:
            if not outcome.done():
                outcome.set_result(result)


async def _is_away(pool: Pool) -> bool:
    """Whether the database does not take a connection now. If it does, the pool is asked for one too, so that it goes on."""
    try:
        async with await psycopg.AsyncConnection.connect(str(pool.conninfo)):
            pass
        async with pool.connection(timeout=1.0):
            pass
    except psycopg.OperationalError as error:
        return not isinstance(error, (PoolTimeout, PoolClosed))
    return False


async def _ping(pool: AsyncConnectionPool[Any]) -> None:
    """Keep asking the pool for a connection until one is available or the pool is closed."""
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


def _as_reader(reader: Reader, seconds: float) -> Statement:
    """The statement with which a transaction that searches for this reader begins."""
    values = {**acting(reader), "bound": f"{max(1, round(seconds * 1000))}ms"}
    if isinstance(reader, Server):
        return _AS_READER_WITHIN, values
    return _AS_KNOWN_READER_WITHIN, {**values, "files": reader.files or _NO_FILES}


@asynccontextmanager
async def _transaction(connection: Connection, begin: sql.Composed) -> AsyncGenerator[None]:
    """A transaction that begins with these statements. It commits at the end of the block, and rolls back if the block raises an error."""
    async with _undo_on_error(connection):
        # Several statements in one string cannot be prepared.
        await connection.execute(begin, prepare=False)
        yield
        await connection.execute("COMMIT")


@asynccontextmanager
async def _undo_on_error(connection: Connection) -> AsyncGenerator[None]:
    """Rolls the transaction of the block back if the block raises an error."""
    try:
        yield
    except BaseException:
        # If the connection is lost, there is nothing to roll back, and the first error is the useful one.
        with contextlib.suppress(psycopg.Error):
            await connection.execute("ROLLBACK")
        raise


async def _adapt(connection: Connection) -> None:
    """Configure a connection over which vectors are sent."""
    # Imported late, because commands that send none import this module, and numpy is slow to import.
    from responsa_server.stores.postgres.adapters import adapt

    await adapt(connection)


async def check_idle(connection: Connection) -> None:
    """Raise OperationalError when the server has closed an idle connection.

    An idle connection has nothing to read unless it was closed or sent a notice, so a look at its socket saves a round trip.
    """
    looking = select.poll()
    looking.register(connection.fileno(), select.POLLIN)
    if looking.poll(0):
        await Pool.check_connection(connection)


def _no_connection(error: psycopg.Error) -> bool:
    """Whether there is no connection, or PostgreSQL has closed it: it stops, has crashed or starts (SQLSTATE 57P…)."""
    return error.sqlstate is None or error.sqlstate.startswith("57P")


def _not_the_index(error: psycopg.Error) -> bool:
    """Whether the error has a cause other than the index: the request has invalid values or statements, or the whole database fails."""
    ours = isinstance(error, (psycopg.DataError, psycopg.InterfaceError, errors.SyntaxError))
    # Errors that psycopg itself detects have no SQLSTATE.
    return ours or isinstance(error, psycopg.OperationalError) or error.sqlstate is None


class PostgresPart:
    """Implements `domain.parts.ReportedPart`."""

    name = "postgresql"

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def check(self) -> PartReport:
        """Run a query with each of the two roles, and ask PostgreSQL for its version."""
        async with self._database.no_tenant() as connection:
            cursor = await connection.execute("SELECT current_setting('server_version')")
            row = await cursor.fetchone()
        async with self._database.log() as connection:
            await connection.execute("SELECT 1")
        version = str(row[0]) if row else ""
        if self._database.found_full:
            detail = "its disk is full: it could not store something in the last minute; free space on the database's disk"
            return PartReport(Health.DOWN, version, detail)
        return PartReport(Health.OK, version)
