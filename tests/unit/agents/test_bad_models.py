"""Models that fail in every way that the scripts know. The turn always ends with a typed result and reports its fallbacks."""

from __future__ import annotations

from datetime import date

import pytest

from responsa_lab.scripted.strong import Broken, FailureKind
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.events import (
    AnswerOutcome,
    Fallback,
    FallbackKind,
)
from responsa_server.domain.models import ChatModel, Price, Spent
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits
from tests.unit.agents.shipping import SHOWN, parts_of, shipped, task_for
from tests.unit.agents.speaking import answer_in, text, told_by

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
