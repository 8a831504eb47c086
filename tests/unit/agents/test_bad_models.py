"""Models that fail in every way that the scripts know. The turn always ends with a typed result and reports its fallbacks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import date

import pytest

from responsa_lab.scripted.strong import Broken, FailureKind
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    Answered,
    AnswerOutcome,
    Fallback,
    FallbackKind,
    ModelUsed,
    RefusalReason,
    Refused,
    Usage,
)
from responsa_server.domain.models import ChatModel, Ended, Price, Spent, Stop, TextPiece
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits
from tests.agent_streams import stream
from tests.raising import raises
from tests.unit.agents.shipping import SHOWN, parts_of, shipped, task_for
from tests.unit.agents.speaking import Says, answer_in, refusal_in, text, told_by

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


@BOTH
async def test_endless_text_is_cut_and_says_so(agent: str) -> None:
    told, task = await ended(agent, broken(FailureKind.ENDLESS))
    end = answer_in(told)
    assert end.outcome is AnswerOutcome.OUTPUT_LIMIT
    assert 0 < len(end.text.encode()) <= MAX_ANSWER_BYTES
    assert end.text == text(told)
    # The model's usage stays far below the turn's limit on tokens.
    assert task.meter.usage.input_tokens + task.meter.usage.output_tokens <= 12_001


@BOTH
@pytest.mark.parametrize(("kind", "cause"), [(FailureKind.CUT, "cut"), (FailureKind.HANG, "timeout")])
async def test_a_stream_that_breaks_off_fails_the_turn_which_may_be_tried_again(
    agent: str, kind: FailureKind, cause: str
) -> None:
    task = task_for(agent)
    error = await raises(Unavailable, ended(agent, broken(kind), task))
    assert (error.reason, error.metadata) == (
        Reason.MODEL_UNAVAILABLE,
        {"model": f"broken-{kind}", "cause": cause},
    )
    # The failed turn still counts the earlier fallback to a classifier.
    assert task.meter.fallbacks[0].kind is FallbackKind.CLASSIFIER


@BOTH
@pytest.mark.parametrize("kind", [FailureKind.CUT, FailureKind.HANG, FailureKind.ENDLESS])
async def test_a_call_that_ends_early_has_its_usage_told(agent: str, kind: FailureKind) -> None:
    task, told = task_for(agent), list[AgentEvent]()
    with suppress(Unavailable):
        async with aclosing(stream(shipped(agent, parts_of(broken(kind))), task)) as events:
            async for event in events:
                told.append(event)
    used = [found.usage for found in told if isinstance(found, ModelUsed)]
    assert sum(used, Usage()) == replace(task.meter.usage, embedding_tokens=0)
    assert used[-1].output_tokens


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
async def test_a_model_that_will_not_answer_refuses_the_turn(agent: str) -> None:
    told, _ = await ended(agent, broken(FailureKind.UNSAFE))
    end = refusal_in(told)
    assert end.reason is RefusalReason.UNSAFE
    assert text(told) == ""


@BOTH
@pytest.mark.parametrize("stop", list(Stop))
async def test_a_model_that_is_stopped_in_mid_answer_leaves_nothing_half_written(
    agent: str, stop: Stop
) -> None:
    pieces = [TextPiece("The Nile"), TextPiece(" is"), Ended(complete=stop is Stop.END, stop=stop)]
    events, task = await ended(agent, Says(pieces))
    end = events[-1]
    if stop is not Stop.UNSAFE:
        assert isinstance(end, Answered)
        return
    assert isinstance(end, Refused)
    assert (end.reason, text(events)) == (RefusalReason.UNSAFE, "The Nile is")
    assert "middle of its answer" in end.message
    assert FallbackKind.PROVIDER not in {found.kind for found in end.fallbacks}
    assert end.usage == task.meter.usage
