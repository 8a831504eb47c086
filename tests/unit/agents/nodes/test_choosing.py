"""The node with which a model that cannot request tools chooses them by prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.config.tools import LiveTools
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.failed_tools import MOST_REPORTED
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Run
from responsa_server.agents.engine.state import StateMessage
from responsa_server.agents.nodes.choosing import SELECTION, ChooserInput, ChooserOptions, ToolChooser
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.models import Ended, ModelError, ModelFault, TextPiece
from responsa_server.domain.tools import Effect, FixedTools, ToolCard
from tests.unit.agents.config.test_tools import tools
from tests.unit.agents.speaking import Does, Says, Turn, says

PROMPTS = examine(SHIPPED / "default", Surroundings()).prompts
ORDERS = """
kind = "http_api"
url = "https://orders.example/{number}"
parameters = { number = { type = "string", pattern = "^FH-[0-9]{5}$" } }
"""
SECRET_ORDERS = ORDERS + '[allow]\nagents = ["other"]\n'
USED = ("orders", "knowledge_search")


def chooser(
    live: LiveTools, model: Says | None, options: ChooserOptions = SELECTION, use: Sequence[str] = USED
) -> ToolChooser:
    assert live.problems() == []
    parts = NodeParts(
        model=model,
        larger=model,
        prompts=PROMPTS,
        tools=live,
        traits=Traits(agent="guide", tools=use),
    )
    return ToolChooser(parts, "choose", options)


async def chosen(
    node: ToolChooser, text: str, run: Run | None = None, *history: str
) -> list[tuple[str, object]]:
    said = [
        StateMessage.model_validate({"speaker": ("user", "assistant")[place % 2], "text": one})
        for place, one in enumerate(history)
    ]
    found = await node.process(ChooserInput(question=text, history=tuple(said)), run or Turn().run)
    return [(call.tool, call.arguments) for call in found.calls]


async def test_without_a_model_nothing_is_called_and_the_turn_says_so(tmp_path: Path) -> None:
    run = Turn().run
    assert (
        await chosen(chooser(tools(tmp_path, orders=ORDERS), None), "Where is my order FH-10382?", run) == []
    )
    # The agent searches the documents without the tool.
    assert run.fallen == [Fallback(FallbackKind.WITHOUT_TOOL, "orders", "", "no_model")]


async def test_a_turn_reports_a_limited_number_of_tools() -> None:
    many = [Does(Effect.NONE, card=ToolCard(f"tool-{place}", "")) for place in range(2 * MOST_REPORTED)]
    parts = NodeParts(tools=FixedTools(many), traits=Traits(tools=["*"]))
    node = ToolChooser(parts, "choose", SELECTION)
    run = Turn().run
    assert await chosen(node, "What time is it?", run) == []
    assert len(run.fallen) == MOST_REPORTED


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (says('{"tools": "orders"}'), "structured_invalid"),
        (Says([ModelError(ModelFault.UNREACHABLE, "")]), "model_unavailable:unreachable"),
    ],
    ids=["wrong JSON", "away"],
)
async def test_without_the_models_answer_nothing_is_called(tmp_path: Path, model: Says, cause: str) -> None:
    run = Turn().run
    node = chooser(tools(tmp_path, orders=ORDERS), model, SELECTION, ("orders",))
    assert await chosen(node, "Where is my order FH-10382?", run) == []
    assert run.fallen == [Fallback(FallbackKind.WITHOUT_TOOL, "orders", "", cause)]


@pytest.mark.parametrize("use", [("knowledge_search",), ("orders",)], ids=["not used", "not allowed"])
async def test_a_tool_that_was_not_granted_is_never_offered(tmp_path: Path, use: Sequence[str]) -> None:
    model = says('{"tools": ["orders"]}')
    node = chooser(tools(tmp_path, orders=SECRET_ORDERS), model, SELECTION, use)
    assert await chosen(node, "Where is my order FH-10382?") == []
    assert all("orders" not in one.messages[0].text for one in model.prompts)


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        ({"possible": True, "arguments": {"number": "FH-10382"}}, [("orders", {"number": "FH-10382"})]),
        ({"possible": False, "arguments": {}}, []),
        ({"possible": True, "arguments": {"number": "the last one"}}, []),
    ],
    ids=["whole", "impossible", "unfit"],
)
async def test_a_model_chooses_and_writes_the_arguments(
    tmp_path: Path, answer: Mapping[str, object], calls: Sequence[tuple[str, object]]
) -> None:
    answers = {
        "tool_selection": '{"tools": ["orders", "knowledge_search", "orders"]}',
        "api_query_builder": json.dumps(answer),
        "kb_search_query": '{"query": "returning a stove"}',
    }
    model = Says(lambda prompt: [TextPiece(answers[prompt.purpose]), Ended(complete=True)])
    node = chooser(tools(tmp_path, orders=ORDERS), model)
    history = ("I bought the stove of order FH-10382.", "Good.")
    found = await chosen(node, "Where is it? And how would I give it back?", None, *history)
    assert found == [*calls, ("knowledge_search", {"query": "returning a stove"})]
    schema = json.dumps(next(one.schema for one in model.prompts if one.purpose == "api_query_builder"))
    assert "^FH-[0-9]{5}$" in schema


async def test_a_search_without_a_written_query_is_for_the_message_itself(tmp_path: Path) -> None:
    model = says('{"tools": ["knowledge_search", "orders"]}')
    live = tools(tmp_path, orders=ORDERS)
    node = chooser(live, model, ChooserOptions(prompt="tool_selection"))
    assert await chosen(node, "How do I return it?", None, "I bought a stove.", "Good.") == [
        ("knowledge_search", {"query": "How do I return it?"})
    ]
    searched = chooser(live, model, ChooserOptions(prompt="tool_selection", documents=False))
    assert await chosen(searched, "How do I return it?") == []


async def test_a_call_that_has_a_result_is_not_requested_again(tmp_path: Path) -> None:
    node = chooser(tools(tmp_path), says('{"tools": ["knowledge_search"]}'))
    asked = ChooserInput(question="How do I return a stove?")
    first = await node.process(asked, Turn().run)
    result = {"call": first.calls[0].model_dump(), "outcome": "ok", "content": "By post.", "id": "call-1"}
    again = ChooserInput.model_validate({**asked.model_dump(), "results": [result]})
    assert (await node.process(again, Turn().run)).calls == ()
