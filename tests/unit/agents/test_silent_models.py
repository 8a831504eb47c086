"""A model's server accepts the question but sends nothing. The turn is answered without this model, well within the
turn's time limit.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.asking import patience
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.events import Fallback, FallbackKind, ProviderSwitched, Status, Step
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelFault,
    TextPiece,
)
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits, Retrying, RetryPolicy
from tests.unit.agents.shipping import SHOWN, parts_of, task_for
from tests.unit.agents.speaking import Turn, answer_in, told_by
from tests.unit.agents.test_bad_models import AGENTS, Free
from tests.unit.providers.told import Told, failing
from tests.wire.openai import OpenAi
from tests.wire.speaking import Staying, speaking

QUOTED = Fallback(FallbackKind.PASSAGES, "model", "passages", "model_unavailable:timeout")


def agent(name: str, model: ChatModel, seconds: float) -> PlannedAgent:
    """A shipped agent with this model and this time limit for a turn."""
    found = examine(SHIPPED / name, Surroundings())
    assert found.config is not None
    limits = found.config.limits.model_copy(update={"seconds": seconds})
    config = found.config.model_copy(update={"limits": limits})
    return PlannedAgent(
        plan(config, parts_of(model), found.prompts, KINDS),
        agent_options(config, f"agents/{name}/versions/1"),
    )


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
            told = await told_by(agent(name, chain, 60.0), task_for(name))
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
            told = await told_by(agent("chat", chain, 60.0), task)
    assert [one.calls > 0 for one in others] == [True, False, False]
    end = answer_in(told)
    assert (end.text, end.model) == ("It opens at seven.", "b:m")
    assert {one.cause for one in told if isinstance(one, ProviderSwitched)} == {ModelFault.TIMEOUT.value}


@pytest.mark.parametrize("name", AGENTS)
async def test_no_call_may_take_more_than_half_of_what_is_left_of_the_turn(name: str) -> None:
    model = Told([failing(ModelFault.TIMEOUT)], name="p:m")
    one = replace(task_for(name), age_seconds=40.0)
    await told_by(agent(name, model, 60.0), one)
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
