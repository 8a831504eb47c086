"""Tool calls that are too large for an event of the log."""

from __future__ import annotations

from responsa_server.domain.agents import Barrier
from responsa_server.domain.events import ToolCalled
from responsa_server.domain.turns import Question, TurnState
from tests.contract.people import People
from tests.contract.turn_harness import SEARCHING, Script, Services, followed
from tests.plain_codec import events_of

RIVER = Question("How long is the river?")
LEDGER = "SELECT array_agg(call_id || ' ' || outcome ORDER BY call_id) FROM responsa.turn_tool"


async def test_a_call_that_no_frame_holds_ends_its_turn_which_can_be_read(
    services: Services, people: People
) -> None:
    script = Script([SEARCHING, ToolCalled("a", "note", {"text": "x" * (6 << 20)}), Barrier()])
    async with services.turns(script) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        assert (await turns.wait(people.ann, accepted.turn_id)).state is TurnState.FAILED
        events = events_of(await followed(turns, people.ann, accepted.turn_id))
    assert [event["kind"] for event in events] == ["started", "status", "failed"]
    assert events[-1]["reason"] == "INTERNAL"
    assert await services.value(LEDGER) is None
