"""Models whose server is declared without tool calls, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.prompt import Prompt, PromptInput, PromptOptions
from responsa_server.agents.nodes.tool_calls import CallTool, CallToolInput
from responsa_server.app.models import model_table
from responsa_server.domain.events import ToolOutcome
from responsa_server.domain.models import ModelPrompt, PromptMessage, Role
from responsa_server.domain.tools import Effect, FixedTools, ToolCard, ToolResult
from responsa_server.providers.settings import ModelSettings
from responsa_server.providers.table import ProviderTable
from tests.unit.agents.speaking import Does, Turn
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Scene, telling

QUESTION = "What is 17 % of 240?"
FIGURES = Does(Effect.NONE, ToolResult(ToolOutcome.OK, "40.8"), ToolCard("figures", "Computes."))


@asynccontextmanager
async def lab(*answers: str) -> AsyncGenerator[tuple[ProviderTable, Sequence[Mapping[str, Any]]]]:
    """The models of a server without tool calls, `lab:m`, and of one with them, `full:m`; and the bodies of the
    requests. answers: one for each request."""
    wire, bodies, left = OpenAi(), list[Mapping[str, Any]](), list(answers)

    async def handle(exchange: LoopbackExchange) -> None:
        bodies.append(wire.check(exchange))
        await telling(wire, wire.events(Scene([left.pop(0)])))(exchange)

    server = LoopbackServer(handle)
    await server.start()
    full = {"url": f"{server.url}{wire.root}", "api_key": KEY}
    models = model_table(
        ModelSettings.model_validate({"servers": {"lab": {**full, "tools": False}, "full": full}})
    )
    try:
        yield models, bodies
    finally:
        await models.close()
        await server.close()


async def test_tools_are_chosen_by_a_prompt_for_a_model_that_requests_none() -> None:
    arguments = '{"possible": true, "arguments": {"expression": "240 * 17 / 100"}}'
    async with lab('{"tools": ["figures"]}', arguments, "It is 40.8.") as (models, bodies):
        model = models.chain(["lab:m"])
        parts = NodeParts(
            model=model,
            larger=model,
            requests_tools=models.requests_tools(["lab:m"]),
            prompts=examine(SHIPPED / "default", Surroundings()).prompts,
            tools=FixedTools([FIGURES]),
            traits=Traits(agent="guide", tools=("figures",)),
        )
        node, run = Prompt(parts, "write", PromptOptions(tools=True)), Turn().run
        asked = await node.process(PromptInput(question=QUESTION), run)
        assert [(call.tool, call.arguments) for call in asked.calls] == [
            ("figures", {"expression": "240 * 17 / 100"})
        ]
        assert asked.complete
        made = await CallTool(parts).process(CallToolInput(calls=asked.calls), run)
        end = await node.process(PromptInput(question=QUESTION, results=made.results), run)
    assert (end.text, end.calls) == ("It is 40.8.", ())
    chosen, _, written = bodies
    assert "figures" in chosen["messages"][0]["content"]
    assert written["messages"][-1]["content"].endswith(
        'The result of the tool figures, called with {"expression": "240 * 17 / 100"}:\n\n'
        + made.results[0].content
    )
    assert all("tools" not in body for body in bodies)


async def test_only_a_model_that_can_request_tools_is_offered_them() -> None:
    prompt = ModelPrompt([PromptMessage(Role.USER, QUESTION)], "", [ToolCard("time", "Tells the time.")])
    async with lab("a", "b") as (models, bodies):
        chain = ["lab:m", "full:m"]
        assert models.requests_tools(chain)
        assert not models.requests_tools(chain[:1])
        for name in chain:
            model = models.chain([name])
            assert model is not None
            async with aclosing(model.stream(prompt)) as pieces:
                assert [piece async for piece in pieces]
    assert ["tools" in body for body in bodies] == [False, True]
