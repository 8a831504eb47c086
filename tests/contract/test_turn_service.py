"""Turns from a caller's view: accepted, followed, waited for, drained, swept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import AgentEvent, AnswerTask, Emit
from responsa_server.domain.errors import (
    AlreadyExists,
    Exhausted,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Reason,
    Unavailable,
)
from responsa_server.domain.events import (
    Cited,
    Delta,
    ModelUsed,
    Terminal,
    Usage,
)
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Heartbeat, LogRow, Question, TurnState
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import Database
from responsa_server.turns import worker
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions
from tests.contract.conftest import People
from tests.contract.turn_house import SEARCHING, Cast, House, Line, Script, answer, citation, followed
from tests.plain_codec import events_of

RIVER = Question("How long is the river?")


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


async def test_a_question_is_answered_and_followed_to_its_end(house: House, people: People) -> None:
    cited = citation()
    script = Script([SEARCHING, Delta("It ", 0), Delta("is.", 3), Cited(cited), answer()])
    async with house.turns(script) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        events = events_of(await followed(turns, people.ann, accepted.turn_id))
        assert [event["kind"] for event in events] == [
            "started",
            "status",
            "delta",
            "delta",
            "cited",
            "answered",
        ]
        assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
        assert events[0]["created"] is True
        turn = await turns.wait(people.ann, accepted.turn_id)
        assert (turn.state, turn.usage, turn.question) == (TurnState.ANSWERED, Usage(5), RIVER)
        # A late follower gets the same events. After the last seq the stream is empty. A resume from beyond the last seq
        # fails.
        assert events_of(await followed(turns, people.ann, accepted.turn_id)) == events
        assert await followed(turns, people.ann, accepted.turn_id, 6) == []
        with pytest.raises(InvalidRequest) as caught:
            await followed(turns, people.ann, accepted.turn_id, 7)
        assert caught.value.reason is Reason.AFTER_SEQ_BEYOND_END
        assert caught.value.metadata == {"turn": f"turns/{accepted.turn_id}", "last_seq": "6"}
    assert script.tasks[0].history == ()


async def test_the_next_question_gets_the_history_and_the_same_request_id_the_same_turn(
    house: House, people: People
) -> None:
    script = Script()
    async with house.turns(script) as turns:
        request_id = uuid7()
        first = await turns.accept(people.ann, RIVER, request_id)
        await turns.wait(people.ann, first.turn_id)
        second = await turns.accept(people.ann, Question("Why?", first.conversation_id), None)
        await turns.wait(people.ann, second.turn_id)
        again = await turns.accept(people.ann, RIVER, request_id)
    assert (again.turn_id, again.attached) == (first.turn_id, True)
    assert len(script.tasks) == 2
    assert [one.text for one in script.tasks[1].history] == ["How long is the river?", "It is."]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_followers_see_exactly_the_log_whenever_they_come(
    house: House, people: People, elsewhere: bool
) -> None:
    gates = [asyncio.Event() for _ in range(12)]
    steps: list[Line] = []
    offset = 0
    for gate in gates:
        steps.extend([Delta("ab", offset), Delta("cd", offset + 2), SEARCHING, gate])
        offset += 4
    script = Script([*steps, answer()])
    options = TurnOptions(poll_seconds=0.02)
    async with house.turns(script, options) as turns, house.turns(Script(), options) as other:
        accepted = await turns.accept(people.ann, RIVER, None)
        place = other if elsewhere else turns
        followers: list[asyncio.Task[list[LogRow]]] = []
        chance = random.Random(4)
        for gate in gates:
            followers.append(asyncio.create_task(followed(place, people.ann, accepted.turn_id)))
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            gate.set()
            if chance.random() < 0.5:
                followers.append(asyncio.create_task(followed(place, people.ann, accepted.turn_id)))
        turn = await place.wait(people.ann, accepted.turn_id)
        followers.append(asyncio.create_task(followed(place, people.ann, accepted.turn_id)))
        seen = await asyncio.gather(*followers)
        log = seen[-1]
    assert log[-1].last_seq == turn.last_seq
    assert all(rows == log for rows in seen)
    text = "".join(event["text"] for event in events_of(log) if event["kind"] == "delta")
    assert text == "abcd" * 12


async def test_a_reader_that_leaves_everything_lying_gets_it_from_the_log(
    house: House, people: People
) -> None:
    steps: list[Line] = []
    for _ in range(150):
        steps.extend([SEARCHING, Delta("", 0)])
    script = Script([*steps, answer()])
    async with house.turns(script) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        async with aclosing(turns.follow(people.ann, accepted.turn_id)) as rows:
            first = await anext(rows)
            await turns.wait(people.ann, accepted.turn_id)
            seen = [first, *[row async for row in rows]]
    events = events_of([row for row in seen if isinstance(row, LogRow)])
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["kind"] == "answered"


async def test_a_silent_turn_sends_heartbeats(house: House, people: People) -> None:
    gate = asyncio.Event()
    options = TurnOptions(heartbeat_seconds=0.05)
    async with house.turns(Script([SEARCHING, gate, answer()]), options) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        beats, rows = 0, list[LogRow]()
        async with aclosing(turns.follow(people.ann, accepted.turn_id)) as news:
            async for one in news:
                if isinstance(one, LogRow):
                    rows.append(one)
                    continue
                assert one == Heartbeat(0)
                beats += 1
                if beats == 3:
                    gate.set()
    assert [event["kind"] for event in events_of(rows)] == ["started", "status", "answered"]


async def test_who_asks_may_leave_and_the_turn_goes_on(house: House, people: People) -> None:
    gate = asyncio.Event()
    script = Script([SEARCHING, gate, answer()])
    async with house.turns(script) as turns:
        request_id = uuid7()

        async def ask() -> None:
            accepted = await turns.accept(people.ann, RIVER, request_id)
            async with aclosing(turns.follow(people.ann, accepted.turn_id)) as rows:
                async for _ in rows:
                    pass

        call = asyncio.create_task(ask())
        await script.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.set()
        attached = await turns.accept(people.ann, RIVER, request_id)
        assert attached.attached
        assert (await turns.wait(people.ann, attached.turn_id)).state is TurnState.ANSWERED


async def test_a_caller_that_leaves_during_acceptance_leaves_a_turn_that_runs(
    house: House, people: People
) -> None:
    script = Script()
    async with house.turns(script) as turns:
        request_id = uuid7()
        call = asyncio.create_task(turns.accept(people.ann, RIVER, request_id))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await script.begun.wait()
        attached = await turns.accept(people.ann, RIVER, request_id)
        assert attached.attached
        assert (await turns.wait(people.ann, attached.turn_id)).state is TurnState.ANSWERED


async def failure(turns: Turns, who: Principal) -> dict[str, Any]:
    accepted = await turns.accept(who, RIVER, None)
    turn = await turns.wait(who, accepted.turn_id)
    assert turn.state is TurnState.FAILED
    return events_of(await followed(turns, who, accepted.turn_id))[-1]


async def test_an_error_ends_the_turn_typed_and_nothing_enters_the_conversation(
    house: House, people: People
) -> None:
    for raised, reason, retriable in (
        (Unavailable(Reason.PART_UNAVAILABLE, "away"), "PART_UNAVAILABLE", True),
        (NotPermitted(Reason.ROLE_REQUIRED, "no"), "ROLE_REQUIRED", False),
        (RuntimeError("secret detail"), "INTERNAL", True),
    ):
        async with house.turns(Script([SEARCHING, raised])) as turns:
            end = await failure(turns, people.ann)
            assert (end["kind"], end["reason"], end["retriable"]) == ("failed", reason, retriable)
    async with house.turns(Script([SEARCHING])) as turns:  # the agent sends no terminal event
        assert (await failure(turns, people.ann))["reason"] == "INTERNAL"
    async with house.turns(Script([answer("nul \x00")])) as turns:  # PostgreSQL cannot store this text
        assert (await failure(turns, people.ann))["reason"] == "INTERNAL"


async def test_a_turn_is_attached_to_whatever_became_of_its_collection_and_its_agent(
    house: House, people: People
) -> None:
    collections = CollectionStore(house.database)
    await collections.create(people.ann, "rivers", "Rivers", Chunking(), "minilm", None)
    question, request_id = replace(RIVER, collections=("rivers",), agent="guide"), uuid7()
    async with house.turns(Cast({"guide": Script()})) as turns:
        first = await turns.accept(people.ann, question, request_id)
        assert (await turns.accept(people.ann, question, request_id)).turn_id == first.turn_id
        await turns.wait(people.ann, first.turn_id)
        await collections.delete(people.ann, "rivers", "", force=True)
        again = await turns.accept(people.ann, question, request_id)
        assert (again.turn_id, again.attached, again.state) == (first.turn_id, True, TurnState.ANSWERED)
        with pytest.raises(NotFound, match="Collection not found"):
            await turns.accept(people.ann, question, uuid7())
    async with house.turns() as turns:
        again = await turns.accept(people.ann, question, request_id)
        assert (again.turn_id, again.attached) == (first.turn_id, True)
        with pytest.raises(NotFound, match="Agent not found"):
            await turns.accept(people.ann, question, uuid7())
        with pytest.raises(AlreadyExists):
            await turns.accept(people.ann, replace(question, text="How deep is it?"), request_id)


async def test_a_turn_that_takes_too_long_is_stopped(house: House, people: People) -> None:
    script = Script([SEARCHING, asyncio.Event()], time_limit_seconds=0.05)
    async with house.turns(script) as turns:
        end = await failure(turns, people.ann)
        assert (end["reason"], end["retriable"]) == ("TURN_TIME_LIMIT", True)
        assert script.closed.is_set()


class Costly(Script):
    """An agent that is stopped during a model call."""

    used = ModelUsed("a:m", Usage(input_tokens=7, output_tokens=2))

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        task.meter.add(self.used.usage)
        try:
            return await super().answer(task, emit)
        finally:
            emit(self.used)


async def test_what_a_call_has_cost_that_the_time_limit_stopped_is_told_before_the_end(
    house: House, people: People
) -> None:
    async with house.turns(Costly([SEARCHING, asyncio.Event()], time_limit_seconds=0.05)) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        await turns.wait(people.ann, accepted.turn_id)
        told = events_of(await followed(turns, people.ann, accepted.turn_id))
    assert [one["kind"] for one in told] == ["started", "status", "used", "failed"]


async def test_what_one_process_has_no_room_for_waits_and_beyond_that_is_refused_but_attaching_is_not(
    house: House, people: People
) -> None:
    gate = asyncio.Event()
    script = Script([gate, answer()])
    async with house.turns(script, TurnOptions(max_running=2, max_pending=1)) as turns:
        request_id = uuid7()
        first = await turns.accept(people.ann, RIVER, request_id)
        second = await turns.accept(people.bob, RIVER, None)
        third = await turns.accept(people.bob, RIVER, None)
        states = [one.state for one in (first, second, third)]
        assert states == [TurnState.RUNNING, TurnState.RUNNING, TurnState.PENDING]
        with pytest.raises(Exhausted) as caught:
            await turns.accept(people.eve, RIVER, uuid7())
        assert (caught.value.reason, caught.value.metadata) == (Reason.OVERLOADED, {"limit": "1"})
        assert caught.value.retry_after is not None
        assert (await turns.accept(people.ann, RIVER, request_id)).attached
        assert len(script.tasks) <= 2
        gate.set()
        for who, accepted in ((people.ann, first), (people.bob, second), (people.bob, third)):
            assert (await turns.wait(who, accepted.turn_id)).state is TurnState.ANSWERED
        fourth = await turns.accept(people.eve, RIVER, None)
        await turns.wait(people.eve, fourth.turn_id)


async def test_a_lease_is_kept_while_the_agent_says_nothing(house: House, people: People) -> None:
    gate = asyncio.Event()
    options = TurnOptions(lease_seconds=3.0, sweep_seconds=0.05)
    async with house.turns(Script([gate, answer()]), options) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        async with house.database.log() as connection:
            lease = "SELECT lease_until FROM responsa.turn WHERE id = %s"
            first = await (await connection.execute(lease, (accepted.turn_id,))).fetchone()
        renewed = first
        while renewed == first:
            async with house.database.log() as connection:
                renewed = await (await connection.execute(lease, (accepted.turn_id,))).fetchone()
        gate.set()
        assert (await turns.wait(people.ann, accepted.turn_id)).state is TurnState.ANSWERED


@dataclass
class Stubborn(Script):
    """An agent that ignores a cancel and finally fails."""

    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def played(self, task: AnswerTask) -> AsyncGenerator[AgentEvent, None]:
        self.begun.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        yield SEARCHING
        raise RuntimeError("too late for anybody")


async def test_an_agent_that_ignores_its_cancel_is_left_behind_and_told(
    house: House, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_STOP_SECONDS", 0.05)
    script = Stubborn(time_limit_seconds=0.05)
    with capture_logs() as logs:
        async with house.turns(script) as turns:
            accepted = await turns.accept(people.ann, RIVER, None)
            turn = await turns.wait(people.ann, accepted.turn_id)
            assert turn.state is TurnState.FAILED
            (left,) = [log for log in logs if log["event"] == "agent_left_behind"]
            assert left["turn"] == f"turns/{accepted.turn_id}"
            script.let_go.set()
            async with asyncio.timeout(30):
                while not (late := [log for log in logs if log["event"] == "agent_ended_late"]):  # noqa: ASYNC110  only the log shows this
                    await asyncio.sleep(0)
    assert (late[0]["turn"], late[0]["log_level"]) == (f"turns/{accepted.turn_id}", "warning")
