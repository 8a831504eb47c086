"""How both indexes read: each search is a transaction of its own, sent in one message, and its failures are those of an index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors

from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.domain.passages import VECTORS_PART
from responsa_server.stores.postgres.database import Connection, Database, Statement

SEARCH_SECONDS: Final = 4.0
"""The default of how long one statement of a search may take."""
# The errors of a statement that took too long, by itself or while it waited for a lock.
_TOO_SLOW: Final = (errors.QueryCanceled, errors.LockNotAvailable)

_LOG: Final = logging.getLogger(__name__)


async def searched(
    database: Database,
    tenant_id: str,
    part: str,
    statements: Sequence[Statement],
    seconds: float,
    cursor: Callable[[Connection], psycopg.AsyncCursor[tuple[Any, ...]]] = psycopg.AsyncConnection.cursor,
) -> Sequence[Sequence[tuple[Any, ...]]]:
    """The rows of each statement, all read as one tenant. The caller's method is `shielded`.

    seconds: for each statement. part: the index that is read. Raises Unavailable with this part when the database cannot search it, TooSlow when that
    takes too long, and Unavailable with the part "postgresql" when the database cannot be reached. A request's own fault is raised as it is.
    """
    async with database.one_message(tenant_id, statement_seconds=seconds) as connection:
        try:
            cursors = [cursor(connection) for _ in statements]
            for one, (query, parameters) in zip(cursors, statements, strict=True):
                await one.execute(query, parameters)
            return [await one.fetchall() for one in cursors]
        except psycopg.Error as error:
            slow = isinstance(error, _TOO_SLOW)
            if connection.broken or (part != VECTORS_PART and not slow and _not_the_index(error)):
                raise
            _LOG.error("the %s cannot be searched: %s", part, type(error).__name__)
            raise (TooSlow if slow else Unavailable)(
                Reason.PART_UNAVAILABLE,
                "The documents cannot be searched at the moment; try again.",
                {"part": part},
                retry_after=1.0,
            ) from error


def _not_the_index(error: psycopg.Error) -> bool:
    """Whether the request is wrong (values or statements that are not valid), or the database as a whole fails."""
    ours = isinstance(error, (psycopg.DataError, psycopg.InterfaceError, errors.SyntaxError))
    # Errors that the library itself finds have no SQLSTATE.
    return ours or isinstance(error, psycopg.OperationalError) or error.sqlstate is None
