"""A model's server accepts the question but sends nothing. The turn is answered without this model, well within the
turn's time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.asking import patience
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.events import Answered, Fallback, FallbackKind
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
)
from responsa_server.providers.chain import Barred, ChainModel, ModelChain, Retrying, RetryPolicy
from tests.unit.agents.evidence import Shelf
from tests.unit.agents.shipping import CLASSIFIERS, Judge, Staff
from tests.unit.agents.speaking import Turn, told_by
from tests.unit.agents.test_bad_models import AGENTS, NILE, QUOTE, SHOWN, Free, asked
from tests.wire.openai import OpenAi
from tests.wire.speaking import Staying, speaking

QUOTED = Fallback(FallbackKind.PASSAGES, "model", "passages", "model_unavailable:timeout")


def agent(name: str, model: ChatModel, seconds: float) -> PlannedAgent:
    """A shipped agent with this model and this time limit for a turn."""
    found = examine(SHIPPED / name, Surroundings())
    assert found.config is not None
    limits = found.config.limits.model_copy(update={"seconds": seconds})
    config = found.config.model_copy(update={"limits": limits})
    shelf = Shelf(NILE)
    parts = NodeParts(shelf, Judge([QUOTE]), Staff(), model=model, classifiers=CLASSIFIERS)
    return PlannedAgent(
        plan(config, parts, found.prompts, KINDS), agent_options(config, f"agents/{name}/versions/1")
    )


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("members", [1, 2])
async def test_a_server_that_accepts_and_says_nothing_ends_in_a_quoted_answer(
    name: str, members: int
) -> None:
    silent = Staying([])
    async with speaking(OpenAi(), silent.handle, idle_seconds=3600.0) as model:
        chain = ModelChain(
            [
                ChainModel(f"p{place}:m", f"p{place}", Retrying(model, RetryPolicy(retries=2)))
                for place in range(members)
            ],
            Free(),
            Barred(),
            patience_seconds=0.2,
        )
        async with asyncio.timeout(30):
            told = await told_by(agent(name, chain, 60.0), asked(name))
    assert silent.asked.is_set()
    end = told[-1]
    assert isinstance(end, Answered)
    assert (end.text, end.model) == (SHOWN, "passages")
    assert QUOTED in end.fallbacks


class Hears:
    """A model that records each prompt's `patience_seconds` and fails with a timeout."""

    name = "p:m"

    def __init__(self) -> None:
        self.patience: list[float | None] = []

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.patience.append(prompt.patience_seconds)
        raise ModelError(ModelFault.TIMEOUT, "as told")
        yield Ended(complete=True)


@pytest.mark.parametrize("name", AGENTS)
async def test_no_call_may_take_more_than_half_of_what_is_left_of_the_turn(name: str) -> None:
    model = Hears()
    one = replace(asked(name), age_seconds=40.0)
    await told_by(agent(name, model, 60.0), one)
    *small, write = model.patience
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
