"""The node that calls tools: the ledger decides which calls are made."""

from __future__ import annotations

import asyncio

import pytest

from responsa_server.agents.engine.calling import UNKNOWN_CONTENT, CallModel, ResultModel
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.calling import CallTool, CallToolInput, CallToolOutput
from responsa_server.domain.events import Status, Step, ToolCalled, ToolFault, ToolOutcome, ToolReturned
from responsa_server.domain.faults import Fault
from responsa_server.domain.tools import MAX_RESULT_BYTES, Effect, FixedTools, Tool, ToolResult
from responsa_server.domain.turns import ToolRecord
from tests.unit.graph.speaking import TURN, Does, Turn

CALL = CallModel(call_id="call-9", tool="note", arguments={"text": "x"})
CALLING = Status(Step.CALLING_TOOL, "Calling a tool...")
CALLED = ToolCalled("tool-1", "note", {"text": "x"})
RETURNED = ToolReturned("tool-1", ToolOutcome.OK, "done")


def caller(*tools: Tool) -> CallTool:
    return CallTool(NodeParts(tools=FixedTools(tools)))


async def called(tool: Does, turn: Turn, *calls: CallModel) -> CallToolOutput:
    return await caller(tool).process(CallToolInput(calls=calls or (CALL,)), turn.run)


async def test_a_call_is_told_made_and_told_again() -> None:
    tool, turn = Does(), Turn()
    output = await called(tool, turn)
    assert turn.events == [CALLING, CALLED, RETURNED]
    assert tool.calls == [(f"{TURN}/tool-1", {"text": "x"})]
    assert output == CallToolOutput(
        calls=(), results=(ResultModel(call=CALL, outcome=ToolOutcome.OK, content="done", id="tool-1"),)
    )
    assert turn.places.passed == [
        (Fault.BEFORE_TOOL, TURN),
        (Fault.INSIDE_TOOL, TURN),
        (Fault.AFTER_TOOL, TURN),
    ]


async def test_a_tool_is_not_called_before_its_call_is_committed() -> None:
    tool, turn = Does(), Turn(holds=True)
    calling = asyncio.create_task(called(tool, turn))
    await turn.has_told(2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert turn.held is not None
    assert (turn.events, tool.calls) == ([CALLING, CALLED], [])
    turn.held.passed.set()
    await calling
    assert len(tool.calls) == 1


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_call_that_ended_in_an_earlier_attempt_is_neither_made_nor_told_again(effect: Effect) -> None:
    tool, turn = Does(effect), Turn({"tool-1": ToolRecord(ToolOutcome.ERROR, "no")})
    output = await called(tool, turn)
    assert (tool.calls, turn.events) == ([], [])
    assert output.results == (ResultModel(call=CALL, outcome=ToolOutcome.ERROR, content="no", id="tool-1"),)


async def test_a_call_that_was_begun_and_counts_once_is_told_as_unknown() -> None:
    tool, turn = Does(Effect.ONCE), Turn({"tool-1": ToolRecord(None, "")})
    output = await called(tool, turn)
    assert tool.calls == []
    assert turn.events == [ToolReturned("tool-1", ToolOutcome.UNKNOWN, UNKNOWN_CONTENT, fault=ToolFault.LOST)]
    assert output.results[0].outcome is ToolOutcome.UNKNOWN


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT, Effect.NONE])
async def test_a_call_that_was_begun_and_may_be_repeated_is_made_under_the_same_key(effect: Effect) -> None:
    tool, turn = Does(effect), Turn({"tool-1": ToolRecord(None, "")})
    await called(tool, turn)
    assert tool.calls == [(f"{TURN}/tool-1", {"text": "x"})]
    assert turn.events == [CALLING, RETURNED]


async def test_several_calls_are_numbered_through_the_turn() -> None:
    tool = Does()
    turn = Turn({"tool-1": ToolRecord(ToolOutcome.OK, "before"), "tool-2": ToolRecord(None, "")})
    output = await called(tool, turn, CALL, CALL, CALL)
    assert [one.content for one in output.results] == ["before", UNKNOWN_CONTENT, "done"]
    assert [key for key, _ in tool.calls] == [f"{TURN}/tool-3"]
    later = CallToolInput(calls=(CALL,), results=output.results)
    await caller(tool).process(later, turn.run)
    assert [key for key, _ in tool.calls] == [f"{TURN}/tool-3", f"{TURN}/tool-4"]


async def test_a_tool_that_is_not_there_is_an_error_for_the_model_and_no_event() -> None:
    turn = Turn()
    output = await called(Does(), turn, CALL.model_copy(update={"tool": "other"}))
    assert turn.events == []
    assert output.results[0].outcome is ToolOutcome.ERROR


async def test_a_result_is_cut_at_a_character() -> None:
    turn = Turn()
    await called(Does(result=ToolResult(ToolOutcome.OK, "x" + "ü" * MAX_RESULT_BYTES)), turn)
    returned = turn.events[-1]
    assert isinstance(returned, ToolReturned)
    assert returned.content.endswith("ü\n[The result was longer. The rest is left out.]")
    assert MAX_RESULT_BYTES - 1 <= len(returned.content.encode()) <= MAX_RESULT_BYTES


async def test_what_no_ledger_keeps_is_replaced_before_a_result_is_cut() -> None:
    turn, text = Turn(), "x" * (MAX_RESULT_BYTES - 4)
    output = await called(Does(result=ToolResult(ToolOutcome.OK, "\x00\ud800" + text)), turn)
    returned = turn.events[-1]
    assert isinstance(returned, ToolReturned)
    assert returned.content.startswith("\ufffd\ufffd")
    assert len(returned.content.encode()) == MAX_RESULT_BYTES
    assert output.results[0].content == returned.content
