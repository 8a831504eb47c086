"""Models that fail in every way that the scripts know. The turn always ends with a typed result and reports its fallbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from responsa_lab.scripted.strong import Broken, FailureKind
from responsa_server.agents.engine.asking import patience
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    AnswerOutcome,
    Fallback,
    FallbackKind,
    ModelUsed,
    ProviderSwitched,
    RefusalReason,
    Status,
    Step,
    Usage,
)
from responsa_server.domain.models import ChatModel, Ended, ModelFault, Price, Spent, Stop, TextPiece
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits, Retrying, RetryPolicy
from tests.raising import raises
from tests.unit.agents.shipping import SHOWN, parts_of, shipped, task_for
from tests.unit.agents.speaking import Says, Turn, answer_in, refusal_in, text, told_by
from tests.unit.providers.told import Told, failing
from tests.wire.openai import OpenAi
from tests.wire.speaking import Staying, speaking

CAUSES = {
    FailureKind.EMPTY: "empty",
    FailureKind.UNREACHABLE: "unreachable",
    FailureKind.CREDENTIAL: "credential",
    FailureKind.RATE_LIMITED: "rate_limited",
    FailureKind.OVERLOADED: "overloaded",
    FailureKind.STALL: "timeout",
}
AGENTS = ["chat", "tutor"]
BOTH = pytest.mark.parametrize("agent", AGENTS)
DECIDED = {"chat": "intent", "tutor": "need"}
"""For each agent, the first node that asks a model and falls back to a classifier."""


class Free:
    """A PriceTable without prices."""

    def price(self, model: str, at: date) -> Price | None:
        return None

    def cost_micros(self, spent: Spent, at: date) -> int | None:
        return None


def broken(kind: FailureKind) -> Broken:
    return Broken(kind, idle_seconds=0.0)


def chain(*models: ChatModel) -> ModelChain:
    return ModelChain(
        [ChainModel(f"p{place}:m", f"p{place}", one) for place, one in enumerate(models)],
        Free(),
        ModelCircuits(),
        patience_seconds=30.0,
    )


async def ended(
    agent: str, model: ChatModel, question: AnswerTask | None = None
) -> tuple[list[AgentEvent], AnswerTask]:
    one = question or task_for(agent)
    return await told_by(shipped(agent, parts_of(model)), one), one


@BOTH
@pytest.mark.parametrize("kind", CAUSES)
async def test_a_model_that_says_nothing_gives_way_to_passages(agent: str, kind: FailureKind) -> None:
    told, _ = await ended(agent, broken(kind))
    end = answer_in(told)
    assert end.text == text(told) == SHOWN
    assert (end.model, end.outcome) == ("passages", AnswerOutcome.COMPLETE)
    cause = f"model_unavailable:{CAUSES[kind]}"
    assert Fallback(FallbackKind.PASSAGES, "model", "passages", cause) in end.fallbacks
    assert end.fallbacks[0] == Fallback(FallbackKind.CLASSIFIER, f"broken-{kind}", DECIDED[agent], cause)


@BOTH
async def test_a_model_that_cannot_write_json_still_writes_the_answer(agent: str) -> None:
    told, _ = await ended(agent, broken(FailureKind.INVALID_JSON))
    end = answer_in(told)
    assert (end.model, end.text) == ("broken-invalid-json", text(told))
    assert {fallback.cause for fallback in end.fallbacks} == {"structured_invalid"}
    kinds = {fallback.kind for fallback in end.fallbacks}
    # Only the tutor searches with expansions. Without valid expansions, it searches for the question alone.
    assert kinds == {FallbackKind.CLASSIFIER} | ({FallbackKind.RULE} if agent == "tutor" else set())


def check_usage(events: Sequence[AgentEvent], task: AnswerTask) -> Usage:
    """What the last of the calls has used. The events tell what all of them have used."""
    used = [found.usage for found in events if isinstance(found, ModelUsed)]
    assert sum(used, Usage()) == replace(task.meter.usage, embedding_tokens=0)
    return used[-1]


@BOTH
async def test_endless_text_is_cut_and_says_so(agent: str) -> None:
    told, task = await ended(agent, broken(FailureKind.ENDLESS))
    end = answer_in(told)
    assert end.outcome is AnswerOutcome.OUTPUT_LIMIT
    assert 0 < len(end.text.encode()) <= MAX_ANSWER_BYTES
    assert end.text == text(told)
    assert check_usage(told, task).output_tokens
    # The model's usage stays far below the turn's limit on tokens.
    assert task.meter.usage.input_tokens + task.meter.usage.output_tokens <= 12_001


@BOTH
@pytest.mark.parametrize(("kind", "cause"), [(FailureKind.CUT, "cut"), (FailureKind.HANG, "timeout")])
async def test_a_stream_that_breaks_off_fails_the_turn_which_may_be_tried_again(
    agent: str, kind: FailureKind, cause: str
) -> None:
    task, events = task_for(agent), list[AgentEvent]()
    error = await raises(Unavailable, shipped(agent, parts_of(broken(kind))).answer(task, events.append))
    assert (error.reason, error.metadata) == (
        Reason.MODEL_UNAVAILABLE,
        {"model": f"broken-{kind}", "cause": cause},
    )
    assert check_usage(events, task).output_tokens
    # The failed turn still counts the earlier fallback to a classifier.
    assert task.meter.fallbacks[0].kind is FallbackKind.CLASSIFIER


async def test_a_call_that_is_stopped_with_its_turn_emits_its_usage() -> None:
    task = task_for("tutor")
    silent = asyncio.Event()

    class Hanging(Broken):
        async def _silence(self) -> None:
            silent.set()
            await super()._silence()

    agent = shipped("tutor", parts_of(Hanging(FailureKind.HANG, idle_seconds=3600.0)))
    emitted = list[AgentEvent]()
    running = asyncio.create_task(agent.answer(task, emitted.append))
    await silent.wait()
    before = len(emitted)
    running.cancel()
    await raises(asyncio.CancelledError, running)
    (left,) = [event for event in emitted[before:] if isinstance(event, ModelUsed)]
    assert left.model == "broken-hang"
    assert 0 < left.usage.output_tokens <= task.meter.usage.output_tokens


@BOTH
@pytest.mark.parametrize(
    ("model", "begun"),
    [
        (broken(FailureKind.UNSAFE), ""),
        (Says([TextPiece("The Nile is"), Ended(complete=False, stop=Stop.UNSAFE)]), "The Nile is"),
    ],
    ids=["before", "in the middle"],
)
async def test_a_model_that_will_not_answer_refuses_the_turn(
    agent: str, model: ChatModel, begun: str
) -> None:
    events, task = await ended(agent, model)
    end = refusal_in(events)
    assert (end.reason, text(events)) == (RefusalReason.UNSAFE, begun)
    assert ("middle of its answer" in end.message) is bool(begun)
    assert FallbackKind.PROVIDER not in {found.kind for found in end.fallbacks}
    assert end.usage == task.meter.usage


@BOTH
async def test_a_text_that_a_model_ends_at_its_limit_is_an_answer(agent: str) -> None:
    limited = Says([TextPiece("The Nile is"), Ended(complete=False, stop=Stop.LIMIT)])
    assert answer_in((await ended(agent, limited))[0]).outcome is AnswerOutcome.OUTPUT_LIMIT


# A model's server accepts the question but sends nothing. The turn is answered without this model, well within the turn's
# time limit, which is a minute for both agents.
QUOTED = Fallback(FallbackKind.PASSAGES, "model", "passages", "model_unavailable:timeout")


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("members", [1, 2])
async def test_a_server_that_accepts_and_says_nothing_ends_in_a_quoted_answer(
    name: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responsa_server.providers.chain.LOADING_SECONDS", 0.2)
    silent = Staying([])
    async with speaking(OpenAi(), silent.handle, idle_seconds=3600.0) as model:
        chain = ModelChain(
            [
                ChainModel(f"p{place}:m", f"p{place}", Retrying(model, RetryPolicy(retries=2)))
                for place in range(members)
            ],
            Free(),
            ModelCircuits(),
            patience_seconds=0.2,
        )
        async with asyncio.timeout(30):
            told = await told_by(shipped(name, parts_of(chain)), task_for(name))
    assert silent.asked.is_set()
    assert name == "tutor" or Step.LOADING in {one.step for one in told if isinstance(one, Status)}
    end = answer_in(told)
    assert (end.text, end.model) == (SHOWN, "passages")
    assert QUOTED in end.fallbacks


async def test_the_second_of_four_models_goes_on_when_the_first_falls_silent_in_mid_answer() -> None:
    begun = Staying(OpenAi().unfinished("It opens at ", "six"))
    others = [
        Told([TextPiece("It opens at seven."), Ended(complete=True)], name=f"{name}:m") for name in "bcd"
    ]
    async with speaking(OpenAi(), begun.handle, idle_seconds=3600.0) as first:
        members = [ChainModel("a:m", "a", first), *(ChainModel(one.name, one.name[0], one) for one in others)]
        chain = ModelChain(members, Free(), ModelCircuits(), patience_seconds=3600.0)
        # Eight seconds are left, so the first model may be silent for half of them, divided by four.
        task = replace(task_for("chat"), age_seconds=52.0)
        async with asyncio.timeout(120):
            told = await told_by(shipped("chat", parts_of(chain)), task)
    assert [one.calls > 0 for one in others] == [True, False, False]
    end = answer_in(told)
    assert (end.text, end.model) == ("It opens at seven.", "b:m")
    assert {one.cause for one in told if isinstance(one, ProviderSwitched)} == {ModelFault.TIMEOUT.value}


@pytest.mark.parametrize("name", AGENTS)
async def test_no_call_may_take_more_than_half_of_what_is_left_of_the_turn(name: str) -> None:
    model = Told([failing(ModelFault.TIMEOUT)], name="p:m")
    one = replace(task_for(name), age_seconds=40.0)
    await told_by(shipped(name, parts_of(model)), one)
    *small, write = [prompt.patience_seconds for prompt in model.prompts]
    # The tutor makes three small calls: whether documents are needed, the question's category, and the expansions.
    assert len(small) == {"chat": 1, "tutor": 3}[name]
    assert all(one is not None and one <= 9.0 for one in small)
    assert write is not None
    assert 5.0 < write <= 10.0


async def test_without_a_time_limit_there_is_no_share_of_it() -> None:
    assert patience(Turn().run) is None
    assert patience(Turn().run, 7.0) == 7.0
    now = asyncio.get_running_loop().time()
    assert patience(replace(Turn().run, until=now - 1), 7.0) == 0.0
