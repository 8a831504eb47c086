"""An interrupted tool call has the outcome "unknown", and one that is too large for an event ends its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from responsa_server.domain.agents import Barrier
from responsa_server.domain.events import ToolCalled, ToolOutcome, ToolReturned
from responsa_server.domain.turns import TurnState
from tests.contract.turn_harness import QUICK, RIVER, SEARCHING, Line, Script, Services, followed
from tests.contract.turn_partition import lost_worker
from tests.plain_codec import events_of

MAIL = ToolCalled("mail-1", "tools/mail", {"to": "ann"})
LOOK = [ToolCalled("look-1", "tools/look", {}), Barrier(), ToolReturned("look-1", ToolOutcome.OK, "42")]


async def outcomes(services: Services) -> dict[str, str]:
    async with services.database.log() as connection:
        cursor = await connection.execute("SELECT call_id, outcome FROM responsa.turn_tool")
        return dict(await cursor.fetchall())


def tool_lines(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["kind"] for event in events if event["kind"] not in ("started", "restarted")]


@pytest.mark.parametrize("end", [asyncio.Event(), RuntimeError("the agent broke")], ids=["limit", "error"])
async def test_a_call_that_the_turns_end_interrupts_is_unknown(services: Services, end: Line) -> None:
    script = Script([*LOOK, MAIL, Barrier(), end], time_limit_seconds=1.0)
    async with services.turns(script, QUICK) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        assert (await turns.wait(services.ann, accepted.turn_id)).state is TurnState.FAILED
        events = events_of(await followed(turns, services.ann, accepted.turn_id))
    assert tool_lines(events) == ["tool_called", "tool_returned", "tool_called", "tool_returned", "failed"]
    assert await outcomes(services) == {"look-1": "ok", "mail-1": "unknown"}


async def test_a_call_of_a_lost_worker_is_unknown(services: Services) -> None:
    first = Script([MAIL, Barrier(), asyncio.Event()])
    async with lost_worker(services, first) as (_, turn_id, _):
        await services.age(turn_id)
        async with services.turns(Script(), QUICK) as new:
            await new.wait(services.ann, turn_id)
            events = events_of(await followed(new, services.ann, turn_id))
    assert tool_lines(events) == ["tool_called", "tool_returned", "failed"]
    assert await outcomes(services) == {"mail-1": "unknown"}


async def test_a_call_that_no_frame_holds_ends_its_turn_which_can_be_read(services: Services) -> None:
    script = Script([SEARCHING, ToolCalled("a", "note", {"text": "x" * (6 << 20)}), Barrier()])
    async with services.turns(script) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        assert (await turns.wait(services.ann, accepted.turn_id)).state is TurnState.FAILED
        events = events_of(await followed(turns, services.ann, accepted.turn_id))
    assert [event["kind"] for event in events] == ["started", "status", "failed"]
    assert events[-1]["reason"] == "INTERNAL"
    assert await outcomes(services) == {}
