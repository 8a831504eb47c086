"""An interrupted tool call has the outcome "unknown"."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from responsa_server.domain.agents import Barrier
from responsa_server.domain.events import ToolCalled, ToolOutcome, ToolReturned
from responsa_server.domain.turns import Question, TurnState
from tests.contract.people import People
from tests.contract.turn_harness import QUICK, Line, Script, Services, followed
from tests.contract.turn_partition import Link
from tests.plain_codec import events_of

RIVER = Question("How long is the river?")
MAIL = ToolCalled("mail-1", "tools/mail", {"to": "ann"})
LOOK = [ToolCalled("look-1", "tools/look", {}), Barrier(), ToolReturned("look-1", ToolOutcome.OK, "42")]


async def outcomes(services: Services) -> dict[str, str]:
    async with services.database.log() as connection:
        cursor = await connection.execute("SELECT call_id, outcome FROM responsa.turn_tool")
        return dict(await cursor.fetchall())


def tool_lines(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["kind"] for event in events if event["kind"] not in ("started", "restarted")]


@pytest.mark.parametrize("end", [asyncio.Event(), RuntimeError("the agent broke")], ids=["limit", "error"])
async def test_at_the_turns_end(services: Services, people: People, end: Line) -> None:
    script = Script([*LOOK, MAIL, Barrier(), end], time_limit_seconds=1.0)
    async with services.turns(script, QUICK) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        assert (await turns.wait(people.ann, accepted.turn_id)).state is TurnState.FAILED
        events = events_of(await followed(turns, people.ann, accepted.turn_id))
    assert tool_lines(events) == ["tool_called", "tool_returned", "tool_called", "tool_returned", "failed"]
    assert await outcomes(services) == {"look-1": "ok", "mail-1": "unknown"}


async def test_by_a_worker_before(services: Services, people: People) -> None:
    first = Script([MAIL, Barrier(), asyncio.Event()])
    link = Link()
    async with services.turns(first, QUICK, store=link.on) as old:
        accepted = await old.accept(people.ann, RIVER, None)
        await first.waiting.wait()
        await link.sever()
        async with services.database.log() as connection:
            await connection.execute(
                "UPDATE responsa.turn SET begin_time = now() - interval '1 h', lease_until = now() - interval '1 s'"
            )
        async with services.turns(Script(), QUICK) as new:
            await new.wait(people.ann, accepted.turn_id)
            events = events_of(await followed(new, people.ann, accepted.turn_id))
    assert tool_lines(events) == ["tool_called", "tool_returned", "failed"]
    assert await outcomes(services) == {"mail-1": "unknown"}
