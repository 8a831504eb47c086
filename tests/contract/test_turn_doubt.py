"""A connection that breaks off around a commit: whether it came through or not, the turn is the same."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.ports.agents import Milestone
from responsa_server.domain.ports.faults import Fault
from responsa_server.domain.turns import Delta, OnBusy, Question, TurnState
from responsa_server.stores.postgres.database import Database
from tests.contract.conftest import People
from tests.contract.turn_house import QUICK, SEARCHING, House, Script, answer, followed
from tests.plain_codec import events_of

RIVER = Question("How long is the river?")


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


class Broken:
    """Faults: the first so many times that a turn comes by a place, the connection is gone."""

    def __init__(self, place: Fault, times: int) -> None:
        self.place = place
        self.left = times

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        if place is self.place and self.left:
            self.left -= 1
            raise Unavailable(Reason.PART_UNAVAILABLE, f"gone at {place} of {turn_id}")


@pytest.mark.parametrize(
    "place",
    [
        Fault.BEFORE_ACCEPT,
        Fault.AFTER_ACCEPT,
        Fault.BEFORE_APPEND,
        Fault.AFTER_APPEND,
        Fault.BEFORE_FINISH,
        Fault.AFTER_FINISH,
    ],
)
async def test_a_turn_has_one_log_one_reply_and_one_successor(
    house: House, people: People, place: Fault
) -> None:
    gate = asyncio.Event()
    script = Script(
        [SEARCHING, Delta("It ", 0), Milestone(b"found"), gate, Delta("is.", 3), answer("It is.")]
    )
    faults = Broken(place, 3)
    async with house.turns(script, QUICK, faults=faults) as turns:
        request_id = uuid7()
        first = await turns.accept(people.ann, RIVER, request_id)
        second = await turns.accept(
            people.ann, Question("And?", first.conversation_id, on_busy=OnBusy.QUEUE), None
        )
        following = asyncio.create_task(followed(turns, people.ann, first.turn_id))
        gate.set()
        events = events_of(await following)
        assert (await turns.accept(people.ann, RIVER, request_id)).turn_id == first.turn_id
        assert (await turns.wait(people.ann, second.turn_id)).state is TurnState.ANSWERED
        assert events_of(await followed(turns, people.ann, first.turn_id)) == events
    assert faults.left == 0
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert events[-1]["kind"] == "answered"
    assert "".join(one["text"] for one in events if one["kind"] == "delta") == "It is."
    history = await house.conversations.history(people.ann, first.conversation_id, 10)
    assert [one.text for one in history] == [RIVER.text, "It is.", "And?", "It is."]
    assert len(script.tasks) == 2


@pytest.mark.parametrize("place", [Fault.BEFORE_CANCEL, Fault.AFTER_CANCEL])
async def test_a_cancel_ends_a_turn_once(house: House, people: People, place: Fault) -> None:
    script = Script([SEARCHING, asyncio.Event()])
    async with house.turns(script, QUICK, faults=Broken(place, 2)) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        await script.waiting.wait()
        turn = await turns.cancel(people.ann, accepted.turn_id)
        await script.closed.wait()
        events = events_of(await followed(turns, people.ann, accepted.turn_id))
        assert [one["kind"] for one in events].count("cancelled") == 1
        assert (turn.state, turn.last_seq) == (TurnState.CANCELLED, events[-1]["seq"])
