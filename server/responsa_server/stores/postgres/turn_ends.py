"""How turns end: finished by who runs them, or cancelled; and what is booked afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.turns import (
    CancelledTurn,
    Claim,
    Conclusion,
    End,
    EndedTurn,
    NewMessage,
    TurnLost,
)
from responsa_server.domain.turns import LogRow, TurnState, Usage
from responsa_server.stores.postgres.database import unavailable, uncancelled
from responsa_server.stores.postgres.turn_rows import (
    EndingPart,
    caller,
    log_rows,
    turn_of,
    usage_columns,
)


class TurnEnds(EndingPart):
    """`finish`, `cancel`, `cancel_unfollowed` and `book` of a `TurnStore`."""

    FILES: ClassVar[Sequence[str]] = ("turn_ends.sql",)

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """See `TurnStore.finish`."""
        return await uncancelled(self._finish(claim, rows, conclusion))

    async def _finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        place = {"tenant": claim.tenant_id, "turn": claim.turn_id}
        parameters = {
            **place,
            **log_rows(rows),
            **usage_columns(conclusion.usage),
            "epoch": claim.epoch,
            "first": rows[0].first_seq,
            "last": rows[-1].last_seq,
            "state": conclusion.state.value,
            "terminal": conclusion.terminal,
            "messages": Jsonb([_message(one) for one in conclusion.messages]),
            "citations": Jsonb([row for one in conclusion.messages for row in _citations(one)]),
            "title": conclusion.title,
        }
        _, finished, promoted = await self._database.together(
            claim.tenant_id,
            [
                (self._queries["hold_conversation"], place),
                (self._queries["finish_turn"], parameters),
                (self._queries["promote_next"], place),
            ],
        )
        if finished:
            return bool(promoted)
        [found] = await self._database.together(claim.tenant_id, [(self._queries["position"], place)])
        return _settle(found[0] if found else None, claim, rows)

    async def cancel(self, who: Principal, turn_id: UUID, owner_only: bool, end: End) -> CancelledTurn:
        """See `TurnStore.cancel`."""

        async def work() -> CancelledTurn:
            parameters = {**caller(who), "turn": turn_id, "owner_only": owner_only}
            async with self._database.locking(who.tenant_id) as connection:
                if await self._row(connection, "find_cancelled", parameters) is None:
                    raise NotFound.of("turn", names.turn(turn_id))
                await self._row(connection, "hold_conversation", parameters)
                locked = await self._row(connection, "lock_turn", parameters)
                ended: EndedTurn | None = None
                if locked is not None and not TurnState(locked["state"]).terminal:
                    ended = await self._end(connection, locked, end)
                    await self._row(connection, "promote_next", parameters)
                row = await self._row(connection, "get_turn", parameters)
            if row is None:  # deleted meanwhile
                raise NotFound.of("turn", names.turn(turn_id))
            return CancelledTurn(turn_of(row, self._codec), ended)

        return await uncancelled(work())

    async def cancel_unfollowed(self, who: Principal, turn_id: UUID, end: End) -> EndedTurn | None:
        """See `TurnStore.cancel_unfollowed`."""

        async def work() -> EndedTurn | None:
            parameters = {**caller(who), "turn": turn_id}
            async with self._database.locking(who.tenant_id) as connection:
                if await self._row(connection, "hold_watched", parameters) is None:
                    return None
                locked = await self._row(connection, "lock_unfollowed", parameters)
                if locked is None:
                    return None
                ended = await self._end(connection, locked, end)
                await self._row(connection, "promote_next", parameters)
            return ended

        return await uncancelled(work())

    async def book(self, claim: Claim, usage: Usage) -> None:
        """See `TurnStore.book`."""
        parameters = {
            "tenant": claim.tenant_id,
            "turn": claim.turn_id,
            "epoch": claim.epoch,
            **usage_columns(usage),
        }
        await uncancelled(
            self._database.together(claim.tenant_id, [(self._queries["book_spent"], parameters)])
        )


def _settle(position: Mapping[str, Any] | None, claim: Claim, rows: Sequence[LogRow]) -> bool:
    """Tell why a finish found no row. Returns (whether a turn was promoted) when an earlier try of the same finish was committed after all.

    Only who holds the epoch writes under it, one write after the other, so the last seq tells.
    """
    if position is None or position["epoch"] != claim.epoch:
        raise TurnLost(names.turn(claim.turn_id))
    terminal = TurnState(position["state"]).terminal
    if terminal and position["last_seq"] == rows[-1].last_seq:
        return bool(position["promoted"])
    if terminal or position["last_seq"] != rows[0].first_seq - 1:
        raise TurnLost(names.turn(claim.turn_id))
    # What stood in the way was taken back meanwhile: sending it again will do.
    raise unavailable()


def _message(message: NewMessage) -> dict[str, object]:
    return {
        "id": str(message.id),
        "speaker": message.speaker.value,
        "content": message.text,
        "refusal": message.refusal.value if message.refusal else None,
    }


def _citations(message: NewMessage) -> Sequence[dict[str, object]]:
    return [
        {
            "message_id": str(message.id),
            "place": place,
            "passage_id": str(one.passage_id),
            "document_id": str(one.document_id),
            "version": one.version,
            "title": one.title,
            "uri": one.uri,
            "source_start": one.source.start,
            "source_end": one.source.end,
            "quote": one.quote,
            "sha256": one.sha256.hex(),
            "answer_start": one.answer.start,
            "answer_end": one.answer.end,
            "score": one.score,
        }
        for place, one in enumerate(message.citations)
    ]
