"""How turns are cancelled, and what is booked once they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.turns import (
    CancelledTurn,
    Claim,
    End,
    EndedTurn,
)
from responsa_server.domain.turns import TurnState
from responsa_server.stores.postgres.database import shielded
from responsa_server.stores.postgres.turn_rows import (
    EndingPart,
    caller,
    turn_of,
    usage_columns,
)


class TurnEnds(EndingPart):
    """`cancel`, `cancel_unfollowed` and `book` of a `TurnStore`."""

    FILES: ClassVar[Sequence[str]] = ("turn_ends.sql",)

    @shielded
    async def cancel(self, who: Principal, turn_id: UUID, owner_only: bool, end: End) -> CancelledTurn:
        """See `TurnStore.cancel`."""
        parameters = {**caller(who), "turn": turn_id, "owner_only": owner_only}
        async with self._database.locking(who.tenant_id) as connection:
            if await self._row(connection, "find_cancelled", parameters) is None:
                raise NotFound.of("turn", names.turn(turn_id))
            await self._row(connection, "hold_conversation", parameters)
            locked = await self._row(connection, "lock_turn", parameters)
            ended: EndedTurn | None = None
            if locked is not None and not TurnState(locked["state"]).terminal:
                ended = await self._end(connection, locked, end)
                await self._row(connection, "promote_after", {**parameters, "turns": [turn_id]})
            row = await self._row(connection, "get_turn", parameters)
        if row is None:  # deleted meanwhile
            raise NotFound.of("turn", names.turn(turn_id))
        return CancelledTurn(turn_of(row, self._codec), ended)

    @shielded
    async def cancel_unfollowed(self, who: Principal, turn_id: UUID, end: End) -> EndedTurn | None:
        """See `TurnStore.cancel_unfollowed`."""
        parameters = {**caller(who), "turn": turn_id}
        async with self._database.locking(who.tenant_id) as connection:
            if await self._row(connection, "hold_watched", parameters) is None:
                return None
            locked = await self._row(connection, "lock_unfollowed", parameters)
            if locked is None:
                return None
            ended = await self._end(connection, locked, end)
            await self._row(connection, "promote_after", {**parameters, "turns": [turn_id]})
        return ended

    @shielded
    async def book(self, claim: Claim, usage: Usage) -> None:
        """See `TurnStore.book`."""
        parameters = {
            "tenant": claim.tenant_id,
            "turn": claim.turn_id,
            "epoch": claim.epoch,
            **usage_columns(usage),
        }
        await self._database.together(claim.tenant_id, [(self._queries["book_spent"], parameters)])
