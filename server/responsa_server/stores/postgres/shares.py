"""Answers that users share within their tenant, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import SHARES
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.rows import Row
from responsa_server.domain.turns import FrameCodec
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Database, Queries, shielded
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.rows import one_row, to_row
from responsa_server.stores.postgres.turn_log import caller_parameters

_LIST: Final[SqlList[Row]] = SqlList(SHARES, {"turn": "s.turn_id"}, table="s.")


class PostgresShares:
    """The shares of all users: rows with `sharer`, the display name of the user, the question and, but for lists, the
    turn's terminal event and the documents that the reader may not read. All methods raise Unavailable if the database
    cannot be reached or the outcome is unknown."""

    def __init__(self, database: Database, codec: FrameCodec) -> None:
        self._database = database
        self._codec = codec
        self._queries = Queries("shares.sql")
        self._audit = AuditLog()

    @shielded
    async def share(self, principal: Principal, turn_id: UUID, expire_time: datetime) -> Row:
        """Share an answer of the caller, or set when its share ends. Raises NotFound, InvalidRequest if the turn has no
        answer that the caller may read."""
        values = {**caller_parameters(principal), "id": uuid4(), "turn": turn_id, "expire": expire_time}
        async with self._database.reading(principal) as connection:
            await connection.execute(self._queries["drop_expired"], values)
            row = await one_row(connection, self._queries["share"], values)
            if row is None and await one_row(connection, self._queries["own_turn"], values) is None:
                raise NotFound.of("turn", names.turn(turn_id))
            if row is None:
                raise InvalidRequest.of_field(
                    "turn", "turn.answered", "must have ended with an answer that you may read"
                )
            # The name of a share is a secret of those who have the link, so the log names the turn.
            await self._audit.write(connection, AuditEvent.of_call(principal, names.turn(turn_id)))
            row = await one_row(connection, self._queries["get"], {**values, "id": row["id"]})
        assert row is not None, "the share was written in this transaction"
        return self._share(row)

    @shielded
    async def get(self, principal: Principal, identity: UUID) -> Row:
        """Return a share with what the caller may not read. Raises NotFound, also if the sharer may no longer read what
        the turn has read."""
        async with self._database.reading(principal) as connection:
            row = await one_row(
                connection, self._queries["get"], {**caller_parameters(principal), "id": identity}
            )
        if row is not None:
            async with self._database.log_statements() as connection:
                turn = {"turn": row["turn_id"]}
                if await one_row(connection, self._queries["withheld_from_sharer"], turn) is None:
                    return self._share(row)
        raise NotFound.of("share", names.share(identity))

    @shielded
    async def list(self, principal: Principal, query: ListQuery) -> Page[Row]:
        """Return a page of the caller's shares that have not ended."""
        async with self._database.reading(principal) as connection:
            return await _LIST.read(
                connection, self._queries["list"], query, caller_parameters(principal), self._share
            )

    @shielded
    async def revoke(self, principal: Principal, identity: UUID) -> None:
        """End a share of the caller. Raises NotFound."""
        async with self._database.reading(principal) as connection:
            row = await one_row(
                connection, self._queries["revoke"], {**caller_parameters(principal), "id": identity}
            )
            if row is None:
                raise NotFound.of("share", names.share(identity))
            event = AuditEvent.of_call(principal, names.turn(row["turn_id"]))
            await self._audit.write(connection, event)

    def _share(self, row: Mapping[str, Any]) -> Row:
        return to_row(row, question=self._codec.decode_question(row["request"]).text)
