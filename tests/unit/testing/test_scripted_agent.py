"""The testing agent with its real sockets: its events, and how it continues after a crash at any place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from uuid_utils.compat import uuid7

from responsa_lab.testing.agent import NO_SOCKET, ScriptedAgent, scripted_agent
from responsa_lab.testing.script import Script, ToolFailure, golden_events, golden_text, golden_usage
from responsa_lab.testing.servers import ModelServer, ToolSink
from responsa_server.domain.agents import (
    AgentEvent,
    AnswerTask,
    Barrier,
    DocumentsRead,
    Meter,
    Milestone,
    Withdrawal,
)
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Answered, Delta, Event, ToolCalled, ToolOutcome, ToolReturned, Usage
from responsa_server.domain.faults import Fault
from responsa_server.domain.tools import Effect
from responsa_server.domain.turns import Question
from tests.agent_streams import stream
from tests.raising import raises
from tests.unit.agents.evidence import WHO
from tests.unit.agents.speaking import Places, ledger, told_by


@dataclass
class House:
    """The agent and its parts."""

    agent: ScriptedAgent
    model: ModelServer
    sink: ToolSink
    places: Places


@asynccontextmanager
async def housed() -> AsyncGenerator[House]:
    model, sink, places = ModelServer(), ToolSink(), Places()
    await model.start()
    await sink.start()
    try:
        async with scripted_agent(model.url, sink.url, faults=places) as agent:
            yield House(agent, model, sink, places)
    finally:
        await model.close()
        await sink.close()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with housed() as house:
        yield house


def task_for(script: Script | str) -> AnswerTask:
    text = script if isinstance(script, str) else script.question
    return AnswerTask(uuid7(), WHO, Question(text, agent="testing"), ())


def events_of(events: Sequence[AgentEvent]) -> list[Event]:
    return [one for one in events if not isinstance(one, (Milestone, Barrier, DocumentsRead, Withdrawal))]


@pytest.mark.parametrize(
    "script",
    [
        Script(tokens=1, pace_ms=0),
        Script(tokens=64, pace_ms=0, opening=3),
        Script(tokens=5, pace_ms=1, first_ms=1, tool=Effect.ONCE, tool_ms=1, seed=9),
        Script(tokens=5, pace_ms=0, tool=Effect.IDEMPOTENT, opening=2),
        Script(tokens=5, pace_ms=0, tool=Effect.ONCE, tool_fail=ToolFailure.ERROR),
        Script(tokens=5, pace_ms=0, tool=Effect.ONCE, tool_fail=ToolFailure.CUT),
        Script(tokens=5, pace_ms=0, tool=Effect.IDEMPOTENT, tool_fail=ToolFailure.CUT),
    ],
)
async def test_a_turn_is_what_its_script_promises(house: House, script: Script) -> None:
    task = task_for(script)
    assert events_of(await told_by(house.agent, task)) == list(golden_events(script))
    assert task.meter.usage == golden_usage(script)
    tries = 3 if script.tool_fail is ToolFailure.CUT and script.tool is Effect.IDEMPOTENT else 1
    calls = {} if script.tool is Effect.NONE else {f"{task.turn_id}/tool-1": tries}
    assert {key: one.calls for key, one in house.sink.calls.items()} == calls
    assert house.model.requests == {f"turns/{task.turn_id}": 2}
    passed = [place for place, _ in house.places.passed]
    assert passed.count(Fault.BETWEEN_CHUNKS) == script.tokens + script.opening


async def test_going_on_from_a_milestone_tells_exactly_what_came_after_it(house: House) -> None:
    script = Script(tokens=12, pace_ms=0, opening=4, tool=Effect.ONCE)
    first = task_for(script)
    told = await told_by(house.agent, first)
    for place, one in enumerate(told):
        if isinstance(one, Milestone):
            again = replace(first, resume=one.state, tools=ledger(told[:place]), meter=Meter())
            after = await told_by(house.agent, again)
            assert [stateless(x) for x in after] == [stateless(x) for x in told[place + 1 :]]
    # The uninterrupted turn calls the tool once. The attempt that continues from the previous milestone calls the tool
    # again, because this attempt's ledger has no call.
    assert [call.calls for call in house.sink.calls.values()] == [2]


def stateless(event: AgentEvent) -> object:
    """An event without the fields that differ between equal attempts: a barrier's identity and the turn's cost."""
    if isinstance(event, Barrier):
        return Barrier
    return replace(event, usage=Usage()) if isinstance(event, Answered) else event


def shown(first: Sequence[AgentEvent], second: Sequence[AgentEvent], keep_bytes: int) -> str:
    """The text that a reader of both attempts has, with the first attempt's unfinished step withdrawn."""
    text = b"".join(one.text.encode() for one in first if isinstance(one, Delta))[:keep_bytes]
    for one in second:
        if isinstance(one, Delta):
            assert one.byte_offset == len(text)
            text += one.text.encode()
    return text.decode()


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_death_at_any_place_changes_neither_the_text_nor_what_was_done(effect: Effect) -> None:
    script = Script(tokens=3, pace_ms=0, opening=2, tool=effect)
    async with housed() as house:
        whole = await told_by(house.agent, task_for(script))
        for most in range(1, len(whole)):
            task = task_for(script)
            before = await told_by(house.agent, task, most)
            places = [place for place, one in enumerate(before) if isinstance(one, Milestone)]
            state, keep_bytes = None, 0
            if places:
                last = before[places[-1]]
                assert isinstance(last, Milestone)
                state = last.state
                keep_bytes = sum(
                    len(one.text.encode()) for one in before[: places[-1]] if isinstance(one, Delta)
                )
            begun = ledger(before)
            after = await told_by(house.agent, replace(task, resume=state, tools=begun))
            end = after[-1]
            assert isinstance(end, Answered), most
            assert end.text == shown(before, after, keep_bytes) == golden_text(script)
            both = [*before, *after]
            called = [one for one in both if isinstance(one, ToolCalled)]
            returned = [one for one in both if isinstance(one, ToolReturned)]
            counted = house.sink.calls.get(f"{task.turn_id}/tool-1")
            assert len(called) == len(returned) == (effect is not Effect.NONE)
            if effect is Effect.ONCE:
                lost = begun.get("tool-1") is not None and begun["tool-1"].outcome is None
                assert returned[0].outcome is (ToolOutcome.UNKNOWN if lost else ToolOutcome.OK)
                assert (counted.calls if counted else 0) in ((0, 1) if lost else (1,))
            elif effect is Effect.IDEMPOTENT:
                assert counted is not None
                assert (counted.effects, returned[0].outcome) == (1, ToolOutcome.OK)


async def test_cancelling_who_reads_a_turn_closes_the_models_socket(house: House) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(
            stream(house.agent, task_for(Script(tokens=9, pace_ms=0, stall_after=4)))
        ) as events:
            async for event in events:
                if isinstance(event, Delta):
                    begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    await raises(asyncio.CancelledError, reading)
    await house.model.left()
    assert house.model.streaming == 0


async def test_a_model_that_breaks_off_makes_the_turn_fail_after_what_it_said(house: House) -> None:
    script = Script(tokens=9, pace_ms=0, fail_after=3)
    emitted: list[AgentEvent] = []

    async def read() -> None:
        async with aclosing(stream(house.agent, task_for(script))) as events:
            async for event in events:
                emitted.append(event)

    caught = await raises(Unavailable, read())
    assert events_of(emitted) == list(golden_events(script))
    assert caught.reason is Reason.MODEL_UNAVAILABLE
    assert caught.metadata == {"model": "scripted", "cause": "cut"}


@pytest.mark.parametrize("model_url", ["", NO_SOCKET])
async def test_the_agent_can_bring_its_own_parts(model_url: str) -> None:
    script = Script(tokens=3, pace_ms=1, opening=2, tool=Effect.ONCE)
    async with scripted_agent(model_url) as agent:
        assert (agent.version, agent.history_messages) == ("agents/testing/versions/1", 0)
        assert events_of(await told_by(agent, task_for(script))) == list(golden_events(script))
        await raises(Unavailable, told_by(agent, task_for(Script(tokens=3, pace_ms=0, fail_after=1))))
        before = await told_by(agent, task_for(Script(tokens=3, pace_ms=0, stall_after=2)), most=4)
        assert len(events_of(before)) == 3
