"""Turns and their logs in PostgreSQL: the `TurnStore`, put together from its parts."""

from __future__ import annotations

from responsa_server.domain.turns import FrameCodec
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.queries import Queries
from responsa_server.stores.postgres.turn_accept import TurnAccepts
from responsa_server.stores.postgres.turn_ends import TurnEnds
from responsa_server.stores.postgres.turn_log import TurnLog
from responsa_server.stores.postgres.turn_reads import TurnReads
from responsa_server.stores.postgres.turn_rows import NamedQueries

_PARTS = (TurnAccepts, TurnLog, TurnEnds, TurnReads)


def turn_queries() -> Queries:
    """All queries of the turn store, by name."""
    return Queries(*(file for part in _PARTS for file in part.FILES))


class PostgresTurnStore(TurnAccepts, TurnLog, TurnEnds, TurnReads):
    """A `TurnStore`. codec reads and writes the questions that rows keep; queries stands for `turn_queries()`, all of them."""

    def __init__(self, database: Database, codec: FrameCodec, *, queries: NamedQueries | None = None) -> None:
        super().__init__(database, codec, queries or turn_queries())
