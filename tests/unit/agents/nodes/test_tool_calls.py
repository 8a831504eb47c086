"""The node that calls tools: the ledger decides which calls are made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import JsonValue

from responsa_server.agents.engine.calling import (
    UNKNOWN_CONTENT,
    CallModel,
    ResultModel,
    check_result,
    event_of_result,
)
from responsa_server.agents.engine.config import CallLimits, Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import TurnLimits
from responsa_server.agents.nodes.tool_calls import CallTool, CallToolInput, CallToolOutput
from responsa_server.calls.frames import AskFrames
from responsa_server.domain.events import (
    ByteRange,
    NumberedEvent,
    SourcePassage,
    Status,
    Step,
    ToolCalled,
    ToolFault,
    ToolOutcome,
    ToolReturned,
    ToolSource,
    Usage,
    VersionRead,
    versions_read,
)
from responsa_server.domain.faults import Fault
from responsa_server.domain.tools import (
    MAX_DATA_BYTES,
    MAX_RESULT_BYTES,
    MAX_SOURCES,
    MAX_SOURCES_BYTES,
    Effect,
    FixedTools,
    Tool,
    ToolCall,
    ToolCard,
    ToolResult,
)
from responsa_server.domain.turns import ToolRecord
from responsa_server.turns.writer import MAX_EVENT_BYTES
from tests.unit.agents.speaking import TURN, Does, Turn

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
    done = ResultModel(call=CALL, outcome=ToolOutcome.OK, content="done", id="tool-1", direct=True)
    assert output == CallToolOutput(calls=(), results=(done,), direct=1, found=0, failed=0)
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


async def test_another_call_than_that_of_the_ledger_is_made_under_a_number_of_its_own() -> None:
    known = ToolRecord(ToolOutcome.OK, "of y", tool=CALL.tool, arguments={"text": "y"})
    tool, turn = Does(Effect.ONCE), Turn({"tool-1": known})
    output = await called(tool, turn)
    assert tool.calls == [(f"{TURN}/tool-2", {"text": "x"})]
    assert [result.id for result in output.results] == ["tool-2"]
    same, turn = Does(Effect.ONCE), Turn({"tool-1": replace(known, arguments=CALL.arguments)})
    output = await called(same, turn)
    assert (same.calls, [result.content for result in output.results]) == ([], ["of y"])


@pytest.mark.parametrize(
    ("then", "now", "made"),
    [
        (Effect.ONCE, Effect.NONE, False),
        (Effect.ONCE, Effect.IDEMPOTENT, False),
        (Effect.NONE, Effect.ONCE, False),
        (Effect.NONE, Effect.IDEMPOTENT, True),
        (None, Effect.ONCE, False),
        (None, Effect.IDEMPOTENT, True),
        (None, Effect.NONE, True),
    ],
)
async def test_a_call_that_was_begun_is_made_under_the_same_key_if_its_effect_then_and_now_allow_it(
    then: Effect | None, now: Effect, made: bool
) -> None:
    tool, turn = Does(now), Turn({"tool-1": ToolRecord(None, "", effect=then)})
    output = await called(tool, turn)
    assert tool.calls == ([(f"{TURN}/tool-1", {"text": "x"})] if made else [])
    lost = ToolReturned("tool-1", ToolOutcome.UNKNOWN, UNKNOWN_CONTENT, fault=ToolFault.LOST)
    assert turn.events == ([CALLING, RETURNED] if made else [lost])
    assert output.results[0].outcome is (ToolOutcome.OK if made else ToolOutcome.UNKNOWN)


@pytest.mark.parametrize(
    ("then", "now", "fault", "outcome"),
    [
        (Effect.IDEMPOTENT, Effect.IDEMPOTENT, ToolFault.UNREACHABLE, ToolOutcome.UNKNOWN),
        (Effect.IDEMPOTENT, Effect.NONE, ToolFault.UNREACHABLE, ToolOutcome.UNKNOWN),
        (Effect.IDEMPOTENT, Effect.IDEMPOTENT, ToolFault.STATUS, ToolOutcome.ERROR),
        (Effect.NONE, Effect.NONE, ToolFault.UNREACHABLE, ToolOutcome.ERROR),
    ],
)
async def test_a_repetition_that_does_not_reach_the_tool_leaves_the_outcome_unknown(
    then: Effect, now: Effect, fault: ToolFault, outcome: ToolOutcome
) -> None:
    tool = Does(now, ToolResult(ToolOutcome.ERROR, "It was not called.", error=fault))
    turn = Turn({"tool-1": ToolRecord(None, "", effect=then)})
    output = await called(tool, turn)
    assert [result.outcome for result in output.results] == [outcome]
    assert [event.outcome for event in turn.events if isinstance(event, ToolReturned)] == [outcome]


async def test_several_calls_are_numbered_through_the_turn() -> None:
    tool = Does()
    turn = Turn({"tool-1": ToolRecord(ToolOutcome.OK, "before"), "tool-2": ToolRecord(None, "")})
    output = await called(tool, turn, CALL, CALL, CALL)
    assert [result.content for result in output.results] == ["before", UNKNOWN_CONTENT, "done"]
    assert [key for key, _ in tool.calls] == [f"{TURN}/tool-3"]
    later = CallToolInput(calls=(CALL,), results=output.results)
    await caller(tool).process(later, turn.run)
    assert [key for key, _ in tool.calls] == [f"{TURN}/tool-3", f"{TURN}/tool-4"]


async def test_a_tool_that_is_not_there_is_an_error_for_the_model_and_no_event() -> None:
    turn = Turn()
    output = await called(Does(), turn, CALL.model_copy(update={"tool": "other"}))
    assert turn.events == []
    assert output.results[0].outcome is ToolOutcome.ERROR


@pytest.mark.parametrize(
    ("content", "begins", "last", "least"),
    [
        ("x" + "ü" * MAX_RESULT_BYTES, "xü", "ü", MAX_RESULT_BYTES - 1),
        # What no ledger keeps is replaced before the result is cut.
        ("\x00\ud800" + "x" * (MAX_RESULT_BYTES - 4), "\ufffd\ufffd", "x", MAX_RESULT_BYTES),
    ],
    ids=["long", "characters that take more bytes"],
)
async def test_a_result_is_cut_at_a_character(content: str, begins: str, last: str, least: int) -> None:
    turn = Turn()
    output = await called(Does(result=ToolResult(ToolOutcome.OK, content)), turn)
    event = turn.events[-1]
    assert isinstance(event, ToolReturned)
    assert event.content == output.results[0].content
    assert event.content.startswith(begins)
    assert event.content.endswith(f"{last}\n[The result was longer. The rest is left out.]")
    assert least <= len(event.content.encode()) <= MAX_RESULT_BYTES


# Several calls at once


class Waits(Does):
    """A tool whose calls wait until `going` of them have begun, or for ever."""

    def __init__(self, effect: Effect = Effect.NONE, going: int = 1, *, hangs: bool = False) -> None:
        super().__init__(effect)
        self.hangs = hangs
        self.going = going
        self.begun, self.never = asyncio.Event(), asyncio.Event()
        self.cancelled = 0

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls.append((call.key, call.arguments))
        await call.sent()
        if len(self.calls) == self.going:
            self.begun.set()
        try:
            await (self.never if self.hangs else self.begun).wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ToolResult(ToolOutcome.OK, str(call.arguments["text"]))


def text(value: str) -> CallModel:
    return CallModel(call_id=value, tool="note", arguments={"text": value})


async def test_calls_that_are_requested_together_run_side_by_side_after_one_commit() -> None:
    tool, turn = Waits(going=3), Turn()
    output = await called(tool, turn, text("a"), text("b"), text("c"))
    assert [result.content for result in output.results] == ["a", "b", "c"]
    kinds = [type(event) for event in turn.events]
    assert kinds == [*[Status, ToolCalled] * 3, *[ToolReturned] * 3]


async def test_a_call_without_effect_is_made_once_in_a_turn() -> None:
    tool, turn = Does(Effect.NONE), Turn()
    output = await called(tool, turn, text("a"), text("b"), text("a"))
    later = CallToolInput(calls=(text("b"),), results=output.results)
    after = await caller(tool).process(later, turn.run)
    assert [arguments["text"] for _, arguments in tool.calls] == ["a", "b"]
    assert [result.id for result in after.results] == ["tool-1", "tool-2", "tool-1", "tool-2"]
    failing = Does(Effect.NONE, ToolResult(ToolOutcome.ERROR, "no", error=ToolFault.STATUS))
    failed = await called(failing, Turn(), text("a"))
    await caller(failing).process(CallToolInput(calls=(text("a"),), results=failed.results), turn.run)
    assert len(failing.calls) == 2, "a failed call may succeed later"


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [
        (Effect.NONE, ToolOutcome.ERROR),
        (Effect.IDEMPOTENT, ToolOutcome.UNKNOWN),
        (Effect.ONCE, ToolOutcome.UNKNOWN),
    ],
)
async def test_calls_that_are_made_together_have_one_deadline(effect: Effect, outcome: ToolOutcome) -> None:
    hangs, turn = Waits(effect, hangs=True), Turn()
    node = CallTool(NodeParts(tools=FixedTools([hangs]), traits=Traits(calls=CallLimits(seconds=0.01))))
    output = await node.process(CallToolInput(calls=(text("a"), text("b"))), turn.run)
    assert [(result.outcome, result.fault) for result in output.results] == [(outcome, ToolFault.TIMEOUT)] * 2
    assert hangs.cancelled == 2


async def test_a_cancelled_turn_cancels_all_its_calls() -> None:
    hangs, turn = Waits(going=3, hangs=True), Turn()
    calling = asyncio.create_task(called(hangs, turn, text("a"), text("b"), text("c")))
    await hangs.begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert hangs.cancelled == 3


# What models get wrong, and what tools return


STRICT = ToolCard(
    "note",
    "Notes.",
    {
        "type": "object",
        "properties": {"text": {"type": "string", "maxLength": 5}},
        "required": ["text"],
        "additionalProperties": False,
    },
    returns={"type": "array", "items": {"type": "integer"}},
)


def deep(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("arguments", "problem", "says"),
    [
        ({}, "they are not a JSON object", "The arguments cannot be read: they are not a JSON object."),
        ({}, "", '"text" is a required property'),
        ({"text": 1}, "", "text: 1 is not of type"),
        ({"text": "x", "y": 1}, "", "'y' was unexpected"),
        ({"text": "x" * 40_000}, "", "40,"),
        ({"text": "\ud800"}, "", "not valid Unicode"),
        ({"text": "x", "y": deep(50)}, "", "nested"),
    ],
)
async def test_wrong_arguments_go_back_to_the_model_and_call_nothing(
    arguments: dict[str, JsonValue], problem: str, says: str
) -> None:
    tool, turn = Does(card=STRICT), Turn()
    call = CallModel(call_id="c", tool="note", arguments=arguments, problem=problem)
    output = await called(tool, turn, call)
    (result,) = output.results
    assert (result.outcome, result.fault, result.id) == (ToolOutcome.ERROR, ToolFault.ARGUMENTS, "")
    assert says in result.content
    assert len(result.content) < 600
    assert (tool.calls, turn.events) == ([], [])


async def test_a_turn_may_call_tools_so_often_and_no_more() -> None:
    tool = Does()
    node = CallTool(NodeParts(tools=FixedTools([tool]), traits=Traits(calls=CallLimits(calls=2))))
    output = await node.process(CallToolInput(calls=(CALL, CALL, CALL)), Turn().run)
    assert [result.fault for result in output.results] == [None, None, ToolFault.REFUSED]
    after = await node.process(CallToolInput(calls=(CALL,), results=output.results), Turn().run)
    assert (len(tool.calls), after.results[-1].fault) == (2, ToolFault.REFUSED)


async def test_after_the_budget_is_spent_nothing_is_called() -> None:
    first = Turn()
    done = await called(Does(Effect.NONE), first, text("a"))
    tool, turn = Does(Effect.NONE), Turn({"tool-3": ToolRecord(None, "", effect=Effect.NONE)})
    run = replace(turn.run, limits=TurnLimits(tokens=7), spent=lambda: Usage(input_tokens=4, output_tokens=3))
    given = CallToolInput(calls=(text("b"), text("c"), text("a")), results=done.results)
    output = await caller(tool).process(given, run)
    assert tool.calls == []
    # Neither a call that was announced before is made, and an answer of the ledger stays one.
    assert [(result.outcome, result.fault) for result in output.results[1:]] == [
        (ToolOutcome.ERROR, ToolFault.REFUSED),
        (ToolOutcome.UNKNOWN, ToolFault.LOST),
        (ToolOutcome.OK, None),
    ]
    assert [event.call_id for event in turn.events if isinstance(event, ToolReturned)] == ["tool-3"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ([1, 2], None),
        (["x"], ToolFault.SCHEMA),
        (None, ToolFault.SCHEMA),
        ([1] * 9000, ToolFault.TOO_LARGE),
        ([float("nan")], ToolFault.MALFORMED),
        ([b"x"], ToolFault.MALFORMED),
        (deep(40), ToolFault.MALFORMED),
    ],
)
@pytest.mark.parametrize("effect", [Effect.NONE, Effect.ONCE])
async def test_data_that_does_not_fit_is_a_typed_failure(
    data: object, fault: ToolFault | None, effect: Effect
) -> None:
    tool, turn = Does(effect, ToolResult(ToolOutcome.OK, "done", data), STRICT), Turn()
    await called(tool, turn)
    event = turn.events[-1]
    assert isinstance(event, ToolReturned)
    failed = ToolOutcome.ERROR if effect is Effect.NONE else ToolOutcome.UNKNOWN
    assert (event.outcome, event.fault) == (failed if fault else ToolOutcome.OK, fault)
    assert event.data == (None if fault else data)


async def test_sources_are_bounded_and_a_cut_passage_ends_where_its_text_does() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    place = SourcePassage(UUID(int=1), UUID(int=2), 3, ByteRange(100, 100 + 2 * MAX_SOURCES_BYTES))
    sources = [
        ToolSource("x" * 3000, "a\x00b", now, "short"),
        ToolSource("https://example.org", "", now, "ü" * MAX_SOURCES_BYTES, place),
        ToolSource("", "", now, "left out"),
    ]
    turn = Turn()
    await called(Does(result=ToolResult(ToolOutcome.OK, "done", sources=sources)), turn)
    event = next(one for one in turn.events if isinstance(one, ToolReturned))
    first, second = event.sources
    assert (first.uri, first.title, first.text) == ("", "a\ufffdb", "short")
    assert second.passage is not None
    assert second.passage.range.end - second.passage.range.start == len(second.text.encode())
    assert (
        sum(len((source.uri + source.title + source.text).encode()) for source in event.sources)
        <= MAX_SOURCES_BYTES
    )
    assert versions_read(event) == [VersionRead(UUID(int=2), 3)]


def test_the_largest_result_fits_into_an_event_of_the_log() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    size = MAX_SOURCES_BYTES // MAX_SOURCES
    place = SourcePassage(UUID(int=1), UUID(int=2), 3, ByteRange(0, size))
    sources = [ToolSource("", "", now, "x" * size, place)] * MAX_SOURCES
    numbers = [1.5] * (MAX_DATA_BYTES // 12 - 1)
    result = check_result(ToolResult(ToolOutcome.OK, "x" * MAX_RESULT_BYTES, numbers, sources), Does())
    assert (result.error, len(result.sources)) == (None, MAX_SOURCES)
    event = NumberedEvent(1, 1, now, event_of_result("tool-1", result))
    assert len(AskFrames().event(event)) <= MAX_EVENT_BYTES


class Ending:
    """A pause that has ended, as far as the database knows, if `ended`; this process has not noticed it yet."""

    def __init__(self, *, ended: bool) -> None:
        self._ended = ended

    def paused(self) -> bool:
        return True

    async def still(self) -> bool:
        return not self._ended


@pytest.mark.parametrize(
    ("effect", "ended", "made"),
    [
        (Effect.NONE, False, True),
        (Effect.IDEMPOTENT, False, False),
        (Effect.ONCE, False, False),
        (Effect.IDEMPOTENT, True, True),
    ],
)
async def test_a_paused_instance_calls_no_tool_with_effects(effect: Effect, ended: bool, made: bool) -> None:
    tool, turn = Does(effect), Turn(pause=Ending(ended=ended))
    output = await called(tool, turn)
    assert len(tool.calls) == made
    fault = None if made else ToolFault.PAUSED
    assert [event.fault for event in turn.events if isinstance(event, ToolReturned)] == [fault]
    assert output.results[0].fault is fault
