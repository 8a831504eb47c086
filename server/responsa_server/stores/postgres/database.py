"""Connections to PostgreSQL: one pool for the role that serves a tenant, one for the role that writes the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from responsa_server.domain.errors import Reason, Unavailable

Result = TypeVar("Result")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# A tenant's plan must not be made from another tenant's statistics, so the app role plans each time (docs/architecture.md).
_APP = "-c plan_cache_mode=force_custom_plan -c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"
_LOG = "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"


def unavailable() -> Unavailable:
    """The error that callers see when PostgreSQL cannot be reached."""
    return Unavailable(
        Reason.PART_UNAVAILABLE,
        "The database cannot be reached at the moment; try again.",
        {"part": "postgresql"},
        retry_after=1.0,
    )


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
        # Settings are added to those that the URL carries (such as a role), not put in their place.
        parameters = conninfo_to_dict(url)
        merged = f"{parameters.get('options') or ''} {options}".strip()
        return AsyncConnectionPool(
            make_conninfo(url, options=merged),
            connection_class=psycopg.AsyncConnection[tuple[Any, ...]],
            min_size=min(2, size),
            max_size=size,
            timeout=10,
            open=False,
            check=AsyncConnectionPool[Connection].check_connection,
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
        async with self._checked_out(self._app) as connection, connection.transaction():
            await connection.execute("SELECT set_config('responsa.tenant_id', %s, true)", (tenant_id,))
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
    async def _checked_out(self, pool: AsyncConnectionPool[Connection]) -> AsyncGenerator[Connection]:
        try:
            async with pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise unavailable() from error


def transient(error: BaseException) -> bool:
    """Whether the statement's outcome is unknown or trying again makes sense: the connection was lost or could not be had."""
    return isinstance(error, (psycopg.OperationalError, PoolTimeout, Unavailable))


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """Await database work for at most so long. Raises Unavailable when time is up."""
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError as error:
        raise unavailable() from error
