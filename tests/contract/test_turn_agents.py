"""What an agent decides in addition to its answers: which questions it accepts, its input, the conversation's title, and its fallbacks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    Delta,
    Fallback,
    FallbackKind,
    ModelUsed,
    ProviderSwitched,
    RefusalReason,
    Refused,
    Usage,
)
from responsa_server.domain.turns import Claim, Question, TurnState
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.contract.turn_harness import QUICK, SEARCHING, Cast, Script, Services, answer, followed
from tests.contract.turn_steps import Store, new_turn
from tests.plain_codec import events_of
from tests.raising import raises

TAUGHT = Question("How long is the river?", parameters='{"teacher_id":"x"}', max_cost_micros=900)
GONE = NotFound(Reason.TEACHER_NOT_FOUND, "Teacher not found or access denied")
MALFORMED = InvalidRequest(Reason.TEACHER_ID_MALFORMED, "teacher_id: not a UUID")
GIVEN_UP = "agents/default/versions/7"
AWAY = Unavailable(Reason.PART_UNAVAILABLE, "away", retry_after=1.0)


@pytest.mark.parametrize("objection", [GONE, MALFORMED])
async def test_what_an_agent_objects_to_is_no_turn(services: Services, objection: ResponsaError) -> None:
    script = Script(objections=[objection, objection])
    async with services.turns(script) as turns:
        for request_id in (None, uuid7()):
            assert (
                await raises(type(objection), turns.accept(services.ann, TAUGHT, request_id))
            ) is objection
        assert script.admitted == [(services.ann, TAUGHT)] * 2
        assert services.urls.value("SELECT count(*) FROM responsa.conversation") == 0
        # A refused question does not occupy a place, so a further question is accepted.
        accepted = await turns.accept(services.ann, TAUGHT, uuid7())
        turn = await turns.wait(services.ann, accepted.turn_id)
    assert (turn.state, turn.question) == (TurnState.ANSWERED, TAUGHT)
    assert [task.question for task in script.tasks] == [TAUGHT]


async def test_a_turn_is_attached_to_whatever_its_agent_objects_to_since(services: Services) -> None:
    request_id = uuid7()
    script = Script()
    async with services.turns(script) as turns:
        first = await turns.accept(services.ann, TAUGHT, request_id)
        await turns.wait(services.ann, first.turn_id)
        for objection in (GONE, MALFORMED):
            script.objections.append(objection)
            again = await turns.accept(services.ann, TAUGHT, request_id)
            assert (again.turn_id, again.attached, again.state) == (first.turn_id, True, TurnState.ANSWERED)
        for other, difference in (
            (replace(TAUGHT, parameters='{"teacher_id":"y"}'), "options.parameters"),
            (replace(TAUGHT, max_cost_micros=0), "options.max_cost_usd_micros"),
        ):
            script.objections.append(GONE)
            caught = await raises(AlreadyExists, turns.accept(services.ann, other, request_id))
            assert caught.metadata["difference"] == difference


async def test_an_agent_that_cannot_look_at_the_moment_is_asked_again(services: Services) -> None:
    script = Script(objections=[AWAY, AWAY])
    async with services.turns(script) as turns:
        accepted = await turns.accept(services.ann, TAUGHT, None)
        await turns.wait(services.ann, accepted.turn_id)
    assert len(script.admitted) == 3


@dataclass
class Forgetful(Cast):
    """Agents of which some versions are removed while their turns are claimed."""

    forgotten: list[str] = field(default_factory=lambda: [GIVEN_UP])

    @property
    def versions(self) -> Sequence[str]:
        return [*super().versions, *self.forgotten]


class Unreleasing(PostgresTurnStore):
    """A store that releases no turn."""

    def __init__(self, store: PostgresTurnStore) -> None:
        self.__dict__.update(store.__dict__)

    async def release(self, claims: Sequence[Claim]) -> None:
        raise AWAY


async def test_a_turn_whose_version_is_given_up_while_it_is_claimed_goes_back_and_holds_up_no_other(
    store: Store, services: Services
) -> None:
    old, new = new_turn(version=GIVEN_UP, pending=True), new_turn(pending=True)
    await store.take_all(old, new)
    cast = Forgetful({"": Script()})
    async with services.turns(cast, QUICK) as turns:
        assert (await turns.wait(store.ann, new.id)).state is TurnState.ANSWERED
        cast.forgotten.clear()
        elsewhere = Script(version=GIVEN_UP)
        async with services.turns(elsewhere, QUICK) as other:
            turn = await other.wait(store.ann, old.id)
    assert (turn.state, turn.agent_version) == (TurnState.ANSWERED, elsewhere.version)
    assert await services.value("SELECT losses FROM responsa.turn WHERE id = %s", old.id) == 0


async def test_a_turn_that_cannot_be_given_back_holds_up_no_other(store: Store, services: Services) -> None:
    old, new = new_turn(version=GIVEN_UP, pending=True), new_turn(pending=True)
    await store.take_all(old, new)
    async with services.turns(Forgetful({"": Script()}), QUICK, store=Unreleasing) as turns:
        async with asyncio.timeout(20):  # this is shorter than a lease
            assert (await turns.wait(store.ann, new.id)).state is TurnState.ANSWERED
        assert (await turns.store.get(store.ann, old.id)).state is TurnState.RUNNING


async def test_an_agent_that_names_no_conversation_leaves_it_its_time(services: Services) -> None:
    refusal = Refused(RefusalReason.OUT_OF_SCOPE, "That is not for me.", Usage())
    talks = Cast(
        {"": Script(), "chat": Script(titles=False), "strict": Script([refusal], titles=False)},
    )
    by_id = {"": "agents/a/versions/1", "chat": "agents/b/versions/1", "strict": "agents/c/versions/1"}
    for identity, version in by_id.items():
        agent = talks.by_id[identity]
        assert isinstance(agent, Script)
        agent.version = version
    async with services.turns(talks) as turns:
        titles: dict[str, str] = {}
        for identity in by_id:
            accepted = await turns.accept(services.ann, replace(TAUGHT, agent=identity), None)
            await turns.wait(services.ann, accepted.turn_id)
            titles[identity] = (
                await services.conversations.get(services.ann, accepted.conversation_id)
            ).title
            if identity == "chat":
                # The next question goes to an agent that gives conversations a title.
                other = await turns.accept(
                    services.ann, replace(TAUGHT, text="Why?", conversation_id=accepted.conversation_id), None
                )
                await turns.wait(services.ann, other.turn_id)
                named = await services.conversations.get(services.ann, accepted.conversation_id)
                assert named.title == "Why?"
    assert titles[""] == TAUGHT.text
    for identity in ("chat", "strict"):
        assert re.fullmatch(r"Chat \d{4}-\d\d-\d\d \d\d:\d\d", titles[identity])


async def test_an_agent_that_sums_up_reads_further_back(services: Services) -> None:
    script = Script(history_messages=2, older_messages=3)
    async with services.turns(script) as turns:
        conversation = None
        for number in range(4):
            question = Question(f"{number}?", conversation)
            accepted = await turns.accept(services.ann, question, None)
            conversation = accepted.conversation_id
            await turns.wait(services.ann, accepted.turn_id)
    assert [one.text for one in script.tasks[3].history] == ["It is.", "1?", "It is.", "2?", "It is."]
    assert {task.conversation_id for task in script.tasks} == {conversation}


async def test_a_switch_and_a_price_are_told_and_kept_in_their_place(services: Services) -> None:
    used = Usage(0, 10, 5, 70, 0)
    script = Script(
        [
            SEARCHING,
            ProviderSwitched("openai:a", "gemini:b", "rate_limited"),
            Delta("It ", 0),
            Delta("is.", 3),
            ModelUsed("gemini:b", used),
            answer(),
        ]
    )
    async with services.turns(script) as turns:
        accepted = await turns.accept(services.ann, TAUGHT, None)
        live = await followed(turns, services.ann, accepted.turn_id)
        assert await followed(turns, services.ann, accepted.turn_id) == live
    events = events_of(live)
    kinds = ["started", "status", "switched", "delta", "delta", "used", "answered"]
    assert [event["kind"] for event in events] == kinds
    assert events[2] | {"from": "openai:a", "to": "gemini:b", "cause": "rate_limited"} == events[2]
    assert events[5] | {"model": "gemini:b", "cost": 70} == events[5]


@pytest.mark.parametrize("error", [AWAY, RuntimeError("secret detail")])
async def test_a_failure_tells_what_the_turn_had_to_do_without_and_what_it_cost(
    services: Services, error: Exception
) -> None:
    fallbacks = [
        Fallback(FallbackKind.PROVIDER, f"openai:{number}", "gemini:b", "rate_limited")
        for number in range(MAX_FALLBACKS + 1)
    ]
    spent = Usage(1, 2, 3, 40, 5)
    async with services.turns(Script([SEARCHING, spent, *fallbacks, error]), QUICK) as turns:
        accepted = await turns.accept(services.ann, TAUGHT, None)
        turn = await turns.wait(services.ann, accepted.turn_id)
        end = events_of(await followed(turns, services.ann, accepted.turn_id))[-1]
    assert (turn.state, turn.usage) == (TurnState.FAILED, spent)
    assert end["fallbacks"] == [
        ["provider", fallback.source, "gemini:b", "rate_limited"] for fallback in fallbacks[:MAX_FALLBACKS]
    ]
