"""Turns from a caller's view: accepted, followed, waited for, drained, swept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import AgentEvent, AnswerTask, Emit
from responsa_server.domain.errors import (
    AlreadyExists,
    Exhausted,
    NotFound,
    NotPermitted,
    Reason,
    Unavailable,
)
from responsa_server.domain.events import (
    Delta,
    Fallback,
    FallbackKind,
    ModelUsed,
    RefusalReason,
    Refused,
    Terminal,
    Usage,
)
from responsa_server.domain.faults import Fault
from responsa_server.domain.knowledge import Chunking, CollectionFields
from responsa_server.domain.listing import ListQuery
from responsa_server.domain.lists import CONVERSATIONS, TURNS
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import TurnState
from responsa_server.stores.postgres.backlog import BacklogReader
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.dump import note_backup
from responsa_server.turns import worker
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions
from tests.conftest import DatabaseUrls
from tests.contract.turn_harness import RIVER, SEARCHING, Cast, Script, Services, answer, followed
from tests.plain_codec import events_of
from tests.raising import raises


@dataclass
class UntilBegun:
    """Holds up the commit that accepts a question until the agent has begun."""

    script: Script

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        if place is Fault.BEFORE_ACCEPT:
            await self.script.waiting.wait()


async def test_an_agent_without_a_model_begins_while_its_question_is_accepted(services: Services) -> None:
    goes_on = asyncio.Event()
    script = Script([SEARCHING, Delta("It ", 0), Delta("is.", 3), goes_on, answer()], asks_models=False)
    async with services.turns(script, faults=UntilBegun(script)) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        goes_on.set()
        rows = await followed(turns, services.ann, accepted.turn_id)
    assert [event["kind"] for event in events_of(rows)] == ["started", "status", "delta", "delta", "answered"]


async def test_an_agent_that_began_for_a_question_that_is_refused_is_stopped(services: Services) -> None:
    script = Script([SEARCHING, asyncio.Event(), answer()], asks_models=False)
    async with services.turns(script, faults=UntilBegun(script)) as turns:
        await raises(NotFound, turns.accept(services.ann, replace(RIVER, collections=("nowhere",)), None))
        await script.closed.wait()
        assert turns.running == 0
        assert (await turns.store.list(services.ann, ListQuery(10, TURNS.orders[0]))).items == []


async def test_a_caller_that_leaves_during_acceptance_leaves_a_turn_that_runs(services: Services) -> None:
    script = Script()
    async with services.turns(script) as turns:
        request_id = uuid7()
        call = asyncio.create_task(turns.accept(services.ann, RIVER, request_id))
        await asyncio.sleep(0)
        call.cancel()
        await raises(asyncio.CancelledError, call)
        await script.begun.wait()
        attached = await turns.accept(services.ann, RIVER, request_id)
        assert attached.attached
        assert (await turns.wait(services.ann, attached.turn_id)).state is TurnState.ANSWERED


async def failure(turns: Turns, caller: Principal) -> dict[str, Any]:
    accepted = await turns.accept(caller, RIVER, None)
    turn = await turns.wait(caller, accepted.turn_id)
    assert turn.state is TurnState.FAILED
    return events_of(await followed(turns, caller, accepted.turn_id))[-1]


async def test_an_error_ends_the_turn_typed_and_nothing_enters_the_conversation(services: Services) -> None:
    for raised, reason, retriable in (
        (Unavailable(Reason.PART_UNAVAILABLE, "away"), "PART_UNAVAILABLE", True),
        (NotPermitted(Reason.ROLE_REQUIRED, "no"), "ROLE_REQUIRED", False),
        (RuntimeError("secret detail"), "INTERNAL", True),
    ):
        async with services.turns(Script([SEARCHING, raised])) as turns:
            end = await failure(turns, services.ann)
            assert (end["kind"], end["reason"], end["retriable"]) == ("failed", reason, retriable)
    async with services.turns(Script([SEARCHING])) as turns:  # the agent sends no terminal event
        assert (await failure(turns, services.ann))["reason"] == "INTERNAL"
    async with services.turns(Script([answer("nul \x00")])) as turns:  # PostgreSQL cannot store this text
        assert (await failure(turns, services.ann))["reason"] == "INTERNAL"


async def test_a_conversation_in_which_only_a_question_failed_is_not_listed(services: Services) -> None:
    async def listed() -> set[UUID]:
        query = ListQuery(200, CONVERSATIONS.orders[0])
        return {one.id for one in (await services.conversations.list(services.ann, query)).items}

    gate = asyncio.Event()
    failing = Script([SEARCHING, gate, Unavailable(Reason.MODEL_UNAVAILABLE, "away")])
    made = await services.conversations.create(services.ann, uuid7(), "", {}, None, limit=1000)
    async with services.turns(failing) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        assert accepted.conversation_id in await listed()
        gate.set()
        assert (await turns.wait(services.ann, accepted.turn_id)).state is TurnState.FAILED
    assert accepted.conversation_id not in await listed()
    assert made.id in await listed()
    assert (await services.conversations.get(services.ann, accepted.conversation_id)).id
    async with services.turns(Script([SEARCHING, answer()])) as turns:
        again = replace(RIVER, conversation_id=accepted.conversation_id)
        later = await turns.accept(services.ann, again, None)
        assert (await turns.wait(services.ann, later.turn_id)).state is TurnState.ANSWERED
    assert accepted.conversation_id in await listed()


async def test_a_turn_is_attached_to_whatever_became_of_its_collection_and_its_agent(
    services: Services,
) -> None:
    collections = CollectionStore(services.database)
    await collections.create(services.ann, "rivers", CollectionFields("Rivers"), Chunking(), "minilm", None)
    question, request_id = replace(RIVER, collections=("rivers",), agent="guide"), uuid7()
    async with services.turns(Cast({"guide": Script()})) as turns:
        first = await turns.accept(services.ann, question, request_id)
        assert (await turns.accept(services.ann, question, request_id)).turn_id == first.turn_id
        await turns.wait(services.ann, first.turn_id)
        await collections.delete(services.ann, "rivers", "", force=True)
        again = await turns.accept(services.ann, question, request_id)
        assert (again.turn_id, again.attached, again.state) == (first.turn_id, True, TurnState.ANSWERED)
        await raises(NotFound, turns.accept(services.ann, question, uuid7()), "Collection not found")
    async with services.turns() as turns:
        again = await turns.accept(services.ann, question, request_id)
        assert (again.turn_id, again.attached) == (first.turn_id, True)
        await raises(NotFound, turns.accept(services.ann, question, uuid7()), "Agent not found")
        await raises(
            AlreadyExists, turns.accept(services.ann, replace(question, text="How deep is it?"), request_id)
        )


async def test_a_turn_that_takes_too_long_is_stopped(services: Services) -> None:
    script = Script([SEARCHING, asyncio.Event()], time_limit_seconds=0.05)
    async with services.turns(script) as turns:
        end = await failure(turns, services.ann)
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
    services: Services,
) -> None:
    async with services.turns(Costly([SEARCHING, asyncio.Event()], time_limit_seconds=0.05)) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        await turns.wait(services.ann, accepted.turn_id)
        told = events_of(await followed(turns, services.ann, accepted.turn_id))
    assert [one["kind"] for one in told] == ["started", "status", "used", "failed"]


async def test_what_one_process_has_no_room_for_waits_and_beyond_that_is_refused_but_attaching_is_not(
    services: Services,
) -> None:
    gate = asyncio.Event()
    script = Script([gate, answer()])
    async with services.turns(script, TurnOptions(max_running=2, max_pending=1)) as turns:
        request_id = uuid7()
        first = await turns.accept(services.ann, RIVER, request_id)
        second = await turns.accept(services.bob, RIVER, None)
        third = await turns.accept(services.bob, RIVER, None)
        states = [one.state for one in (first, second, third)]
        assert states == [TurnState.RUNNING, TurnState.RUNNING, TurnState.PENDING]
        caught = await raises(Exhausted, turns.accept(services.eve, RIVER, uuid7()))
        assert (caught.reason, caught.metadata) == (Reason.OVERLOADED, {"limit": "1"})
        assert caught.retry_after is not None
        assert (await turns.accept(services.ann, RIVER, request_id)).attached
        assert len(script.tasks) <= 2
        gate.set()
        for who, accepted in ((services.ann, first), (services.bob, second), (services.bob, third)):
            assert (await turns.wait(who, accepted.turn_id)).state is TurnState.ANSWERED
        fourth = await turns.accept(services.eve, RIVER, None)
        await turns.wait(services.eve, fourth.turn_id)


async def test_a_lease_is_kept_while_the_agent_says_nothing(services: Services) -> None:
    gate = asyncio.Event()
    options = TurnOptions(lease_seconds=3.0, sweep_seconds=0.05)
    async with services.turns(Script([gate, answer()]), options) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        async with services.database.log() as connection:
            lease = "SELECT lease_until FROM responsa.turn WHERE id = %s"
            first = await (await connection.execute(lease, (accepted.turn_id,))).fetchone()
        renewed = first
        while renewed == first:
            async with services.database.log() as connection:
                renewed = await (await connection.execute(lease, (accepted.turn_id,))).fetchone()
        gate.set()
        assert (await turns.wait(services.ann, accepted.turn_id)).state is TurnState.ANSWERED


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
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_STOP_SECONDS", 0.05)
    script = Stubborn(time_limit_seconds=0.05)
    with capture_logs(processors=[merge_contextvars]) as logs:
        async with services.turns(script) as turns:
            accepted = await turns.accept(services.ann, RIVER, None)
            turn = await turns.wait(services.ann, accepted.turn_id)
            assert turn.state is TurnState.FAILED
            (left,) = [log for log in logs if log["event"] == "agent_left_behind"]
            assert left["turn"] == f"turns/{accepted.turn_id}"
            script.let_go.set()
            async with asyncio.timeout(30):
                while not (late := [log for log in logs if log["event"] == "agent_ended_late"]):  # noqa: ASYNC110  only the log shows this
                    await asyncio.sleep(0)
    assert (late[0]["turn"], late[0]["log_level"]) == (f"turns/{accepted.turn_id}", "warning")


PASSAGES = Fallback(FallbackKind.PASSAGES, "lab:m", "passages", "timeout")


@pytest.mark.parametrize(
    ("end", "facts"),
    [
        (
            replace(answer(), model="lab:m", support=0.5, usage=Usage(5, cost_micros=70)),
            {"outcome": "answered", "passages": 1, "support": 0.5, "model": "lab:m", "cost_usd_micros": 70},
        ),
        (
            Refused(RefusalReason.NO_SUPPORT, "No.", Usage(5), 0.12, fallbacks=(PASSAGES,)),
            {"outcome": "refused", "reason": "NO_SUPPORT", "support": 0.12, "fallbacks": ("passages",)},
        ),
        (
            Exhausted(Reason.QUOTA_EXHAUSTED, "No more."),
            {"outcome": "failed", "reason": "QUOTA_EXHAUSTED", "cost_usd_micros": 0},
        ),
    ],
)
async def test_the_line_of_a_turns_end_says_why_it_ended_so_and_when(
    services: Services, end: Terminal | Exception, facts: dict[str, object]
) -> None:
    script = Script([SEARCHING, Delta("It is.", 0), end])
    with capture_logs(processors=[merge_contextvars]) as logs:
        async with services.turns(script) as turns:
            with bound_contextvars(call_id="call-1"):
                accepted = await turns.accept(services.ann, RIVER, None)
            await turns.wait(services.ann, accepted.turn_id)
    (line,) = [log for log in logs if log["event"] == "turn_ended"]
    assert facts.items() <= line.items(), line
    assert ids_of(line) == {
        "call_id": "call-1",
        "tenant": "acme",
        "turn": f"turns/{accepted.turn_id}",
        "agent": "default",
        "version": "agents/default/versions/1",
    }
    assert 0 <= line["waited_ms"] <= line["first_words_ms"] <= line["duration_ms"]


def ids_of(line: Mapping[str, object]) -> dict[str, object]:
    return {name: line.get(name) for name in ("call_id", "tenant", "turn", "agent", "version")}


async def test_users_who_have_just_asked_are_counted_once(services: Services, database: Database) -> None:
    async with services.turns() as turns:
        for user in (services.ann, services.ann, services.bob):
            await turns.wait(user, (await turns.accept(user, RIVER, None)).turn_id)
        assert (await BacklogReader(database).read()).users == 2


async def test_the_age_of_the_last_backup_is_that_of_the_database_until_there_is_one(
    database: Database, database_urls: DatabaseUrls
) -> None:
    assert 0 < (await BacklogReader(database).read()).backup_age < 86_400
    with psycopg.connect(database_urls.owner) as connection:
        note_backup(connection, datetime.now(UTC) - timedelta(days=5))
    assert 5 * 86_400 <= (await BacklogReader(database).read()).backup_age < 6 * 86_400
