"""Connections to PostgreSQL: one pool for the role that serves a tenant, one for the role that writes the log."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from responsa_server.domain.errors import Reason, Unavailable

Result = TypeVar("Result")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# A tenant's plan must not be made from another tenant's statistics, so the app role plans each time (docs/architecture.md).
_APP = "-c plan_cache_mode=force_custom_plan -c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"
_LOG = "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"
# A server that vanished without a word (half-open connection) answers no statement_timeout: over TCP the kernel gives up a little after it.
_TCP: Final[Mapping[str, str]] = {
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "35000",
}


# In one message: the beginning of a transaction costs one way to the server and back, not two.
_BEGIN_AS: Final = sql.SQL("BEGIN; SELECT set_config('responsa.tenant_id', {tenant}, true)")


def unavailable() -> Unavailable:
    """The error that callers see when PostgreSQL cannot be reached."""
    return Unavailable(
        Reason.PART_UNAVAILABLE,
        "The database cannot be reached at the moment; try again.",
        {"part": "postgresql"},
        retry_after=1.0,
    )


def conninfo(url: str, options: str) -> str:
    """How to connect: what the URL says, with our options added to its own (such as a role), and bounds on a silent network where it sets none."""
    parameters = conninfo_to_dict(url)
    merged = f"{parameters.get('options') or ''} {options}".strip()
    return make_conninfo("", **{**_TCP, **parameters, "options": merged})


async def uncancelled(work: Coroutine[Any, Any, Result]) -> Result:
    """Run database work to its end even when the caller's task is cancelled.

    A cancel in the midst of a query can be lost or leave a connection in doubt (psycopg#1345, #1371); the caller is released at once all the same.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_outcome_seen)
        raise


def _outcome_seen(task: asyncio.Future[Any]) -> None:
    """Nobody is left to be told: without this asyncio would log an error as never retrieved."""
    if not task.cancelled():
        task.exception()


class Database:
    """Both pools. `tenant()` and `log()` each give a connection in a transaction that commits at the end of the block."""

    def __init__(self, app_url: str, log_url: str, *, size: int = 10) -> None:
        """Take the URLs of the roles responsa_app and responsa_log; size is the most connections a pool opens."""
        self._app = self._pool(app_url, _APP, size)
        self._log = self._pool(log_url, _LOG, size)

    @staticmethod
    def _pool(url: str, options: str, size: int) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            conninfo(url, options),
            connection_class=psycopg.AsyncConnection[tuple[Any, ...]],
            min_size=min(2, size),
            max_size=size,
            timeout=10,
            open=False,
            check=_check,
            kwargs={"autocommit": True},
        )

    async def open(self) -> None:
        """Open both pools and wait for their first connections. Raises Unavailable."""
        try:
            await self._app.open(wait=True, timeout=30)
            await self._log.open(wait=True, timeout=30)
        except PoolTimeout as error:
            raise unavailable() from error

    async def close(self) -> None:
        """Close both pools; connections in use are closed when they come back."""
        await asyncio.gather(self._app.close(), self._log.close())

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncGenerator[Connection]:
        """A transaction of the app role that sees this tenant's rows alone."""
        begin = _BEGIN_AS.format(tenant=sql.Literal(tenant_id))
        async with self._checked_out(self._app) as connection, _transaction(connection, begin):
            yield connection

    @asynccontextmanager
    async def no_tenant(self) -> AsyncGenerator[Connection]:
        """A transaction of the app role before a tenant is known: it sees no rows and may call the credential functions."""
        async with self._checked_out(self._app) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Connection]:
        """A transaction of the log role, over all tenants."""
        async with self._checked_out(self._log) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def log_statements(self) -> AsyncGenerator[Connection]:
        """A connection of the log role, over all tenants, on which each statement is a transaction of its own: one way there and back."""
        async with self._checked_out(self._log) as connection:
            yield connection

    @asynccontextmanager
    async def _checked_out(self, pool: AsyncConnectionPool[Connection]) -> AsyncGenerator[Connection]:
        try:
            async with pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise unavailable() from error


@asynccontextmanager
async def _transaction(connection: Connection, begin: sql.Composed) -> AsyncGenerator[None]:
    """A transaction that begins by these statements; commits at the end of the block, rolls back when it raises."""
    try:
        # Several statements cannot be prepared.
        await connection.execute(begin, prepare=False)
        yield
    except BaseException:
        # When the connection is gone there is nothing to take back, and the first error is the one that tells.
        with contextlib.suppress(psycopg.Error):
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


async def _check(connection: Connection) -> None:
    """Raise OperationalError when the server has closed an idle connection.

    A connection at rest has nothing to read unless it was closed or sent a notice: a look at its socket spares asking the server each time.
    """
    looking = select.poll()
    looking.register(connection.fileno(), select.POLLIN)
    if looking.poll(0):
        await AsyncConnectionPool[Connection].check_connection(connection)
