"""How turns end: by their worker, many of one tenant in one transaction, or from outside, by a cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import (
    CancelledTurn,
    Claim,
    Conclusion,
    End,
    EndedTurn,
    FrameCodec,
    LogRow,
    NewMessage,
    TurnLost,
    TurnState,
)
from responsa_server.stores.postgres.database import Database, Gathered, shielded, unavailable
from responsa_server.stores.postgres.turn_rows import (
    EndingPart,
    NamedQueries,
    caller,
    held,
    log_rows,
    turn_of,
    usage_columns,
    usage_lists,
)

# Turns in one transaction. Joins of so few cost nothing, whichever way they go.
_MOST_TURNS: Final = 32


@dataclass(frozen=True, slots=True)
class _End:
    """A turn's last write."""

    claim: Claim
    rows: Sequence[LogRow]
    conclusion: Conclusion


class TurnEnds(EndingPart):
    """`finish`, `cancel`, `cancel_unfollowed` and `book` of a `TurnStore`."""

    FILES: ClassVar[Sequence[str]] = ("turn_ends.sql",)

    def __init__(self, database: Database, codec: FrameCodec, queries: NamedQueries) -> None:
        super().__init__(database, codec, queries)
        self._finishing: Gathered[str, _End, bool | None] = Gathered(self._finish_together, _MOST_TURNS)

    @shielded
    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """See `TurnStore.finish`."""
        end = _End(claim, rows, conclusion)
        promoted = await self._finishing.put(claim.tenant_id, end)
        return await self._finish_alone(end) if promoted is None else promoted

    async def _finish_together(self, tenant_id: str, ends: Sequence[_End]) -> Sequence[bool | None]:
        """Whether each has promoted a queued turn; None for one that was passed over."""
        parameters = _parameters(tenant_id, ends)
        finished, promoted = await self._database.together(
            tenant_id,
            [(self._queries["finish_turns"], parameters), (self._queries["promote_after"], parameters)],
        )
        promoting = {row["conversation_id"] for row in promoted}
        outcomes = {row["place"]: row["conversation_id"] in promoting for row in finished}
        return [outcomes.get(place) for place, _ in enumerate(ends, start=1)]

    async def _finish_alone(self, end: _End) -> bool:
        """End a turn that was passed over: wait for the locks on its conversation and row, then try again."""
        claim = end.claim
        place = {"tenant": claim.tenant_id, "turn": claim.turn_id}
        parameters = _parameters(claim.tenant_id, [end])
        _, _, finished, promoted = await self._database.together(
            claim.tenant_id,
            [
                (self._queries["hold_conversation"], place),
                (self._queries["hold_turn"], place),
                (self._queries["finish_turns"], parameters),
                (self._queries["promote_after"], parameters),
            ],
        )
        if finished:
            return bool(promoted)
        [found] = await self._database.together(claim.tenant_id, [(self._queries["position"], place)])
        return _settle(found[0] if found else None, claim, end.rows)

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


def _parameters(tenant_id: str, ends: Sequence[_End]) -> dict[str, object]:
    """Ends as columns."""
    through = list(accumulate(len(one.rows) for one in ends))
    conclusions = [one.conclusion for one in ends]
    return {
        "tenant": tenant_id,
        **held([one.claim for one in ends]),
        **log_rows([row for one in ends for row in one.rows]),
        "firsts": [one.rows[0].first_seq for one in ends],
        "lasts": [one.rows[-1].last_seq for one in ends],
        "froms": [end - len(one.rows) + 1 for one, end in zip(ends, through, strict=True)],
        "tos": through,
        "states": [one.state.value for one in conclusions],
        "terminals": [one.terminal for one in conclusions],
        **usage_lists([one.usage for one in conclusions]),
        "titles": [one.title for one in conclusions],
        "speaks": [bool(one.messages) for one in conclusions],
        "messages": Jsonb(
            [_message(place, said) for place, one in enumerate(conclusions, 1) for said in one.messages]
        ),
        "citations": Jsonb(
            [
                row
                for place, one in enumerate(conclusions, 1)
                for said in one.messages
                for row in _citations(place, said)
            ]
        ),
    }


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


def _message(finish: int, message: NewMessage) -> dict[str, object]:
    return {
        "finish": finish,
        "id": str(message.id),
        "speaker": message.speaker.value,
        "content": message.text,
        "refusal": message.refusal.value if message.refusal else None,
    }


def _citations(finish: int, message: NewMessage) -> Sequence[dict[str, object]]:
    return [
        {
            "finish": finish,
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
