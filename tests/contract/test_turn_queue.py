"""Questions that wait for the previous question of their conversation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from responsa_server.domain.agents import AnswerTask, Emit
from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.domain.events import Terminal
from responsa_server.domain.turns import Accepted, Heartbeat, LogRow, OnBusy, Question, TurnState
from tests.contract.turn_harness import (
    IDLE,
    QUICK,
    RIVER,
    SEARCHING,
    Cast,
    Script,
    Services,
    answer,
    followed,
)
from tests.plain_codec import events_of
from tests.raising import raises


async def test_they_are_answered_in_the_order_of_asking_each_with_what_was_said_before(
    services: Services,
) -> None:
    gate = asyncio.Event()
    script = Script([SEARCHING, gate, answer()])
    async with services.turns(script, QUICK) as turns, services.turns(options=IDLE) as other:
        first = await turns.accept(services.ann, RIVER, None)
        behind: list[Accepted] = []
        for number, place in enumerate((turns, other, turns, other)):
            question = Question(f"question {number}", first.conversation_id, on_busy=OnBusy.QUEUE)
            accepted = await place.accept(services.ann, question, None)
            assert accepted.state is TurnState.QUEUED
            behind.append(accepted)
        following = [asyncio.create_task(followed(other, services.ann, one.turn_id)) for one in behind]
        gate.set()
        for rows in await asyncio.gather(*following):
            assert [event["kind"] for event in events_of(rows)] == ["started", "status", "answered"]
    asked = [task.question.text for task in script.tasks]
    assert asked == [RIVER.text, *(f"question {number}" for number in range(4))]
    assert [len(task.history) for task in script.tasks] == [0, 2, 4, 6, 8]


async def test_their_place_is_told_as_it_changes(services: Services) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    scripts = iter(gates)

    class InTurn(Script):
        async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
            return await Script([SEARCHING, next(scripts), answer()]).answer(task, emit)

    async with services.turns(InTurn(), QUICK) as turns:
        first = await turns.accept(services.ann, RIVER, None)
        second, third = [
            await turns.accept(
                services.ann, Question(text, first.conversation_id, on_busy=OnBusy.QUEUE), None
            )
            for text in ("second", "third")
        ]
        places: list[int] = []
        rows: list[LogRow] = []
        async with aclosing(turns.follow(services.ann, third.turn_id)) as news:
            async for one in news:
                if isinstance(one, LogRow):
                    rows.append(one)
                elif isinstance(one, Heartbeat) and (not places or places[-1] != one.queue_place):
                    places.append(one.queue_place)
                    # The place is 2, then 1 when the first turn has ended, then 0 when the question's turn runs.
                    gates[len(places) - 1].set()
        assert places == [2, 1, 0]
        assert [event["kind"] for event in events_of(rows)] == ["started", "status", "answered"]
        assert (await turns.wait(services.ann, second.turn_id)).state is TurnState.ANSWERED


async def test_a_worker_with_as_many_questions_without_a_model_as_it_answers_in_time_still_takes_turns_over(
    services: Services,
) -> None:
    gate = asyncio.Event()
    plain = Script([SEARCHING, gate, answer()], asks_models=False)
    writes = Script([SEARCHING, gate, answer()], version="agents/writer/versions/1")
    cast = Cast({"": plain, "writer": writes})
    full = replace(QUICK, slots=1, answer_seconds=0.01)

    async def running(accepted: Accepted) -> None:
        # Only the database shows this.
        while (await worker.store.get(services.ann, accepted.turn_id)).state is not TurnState.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async with services.turns(cast, IDLE) as accepting, services.turns(cast, full) as worker:
        turns = [await worker.accept(services.ann, RIVER, None)]
        assert (await raises(Exhausted, worker.accept(services.ann, RIVER, None))).reason is Reason.OVERLOADED
        # It takes as many as it has slots, and leaves the next to others; turns that wait for a model have a limit of their own.
        turns.append(await accepting.accept(services.ann, RIVER, None))
        await running(turns[-1])
        left = await accepting.accept(services.ann, RIVER, None)
        turns.append(await accepting.accept(services.ann, replace(RIVER, agent="writer"), None))
        await running(turns[-1])
        assert (await worker.store.get(services.ann, left.turn_id)).state is TurnState.PENDING
        assert len(plain.tasks) == 1
        gate.set()
        for one in (*turns, left):
            assert (await accepting.wait(services.ann, one.turn_id)).state is TurnState.ANSWERED
