"""Tools of LangChain by their import paths. The tools are in this module."""

from __future__ import annotations

import pytest
from langchain_core.tools import StructuredTool, ToolException, tool

from responsa_server.agents.engine.calling import check_result
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import ToolUnfit
from tests.unit.tools.declaring import complaint, made, request

HERE = "tests.unit.tools.test_langchain"


@tool
def price(name: str, pieces: int = 1) -> dict[str, float]:
    """The price of a product."""
    if name == "none":
        raise ToolException("no such product")
    if name == "broken":
        raise RuntimeError("password hunter2")
    return {"euros": 3.5 * pieces}


async def test_a_langchain_tool_is_called_with_checked_arguments() -> None:
    (price_tool,) = made({"kind": "langchain", "tool": f"{HERE}:price", "effect": "none"})
    assert price_tool.card.description == "The price of a product."
    assert complaint(price_tool, {"name": "x", "pieces": 2}) == ""
    assert complaint(price_tool, {"pieces": 2})
    result = check_result(await price_tool.call(request({"name": "x", "pieces": 2})), price_tool)
    assert (result.outcome, result.content) == (ToolOutcome.OK, '{"euros": 7.0}')
    assert result.sources[0].text == result.content
    failed = await price_tool.call(request({"name": "none"}))
    assert (failed.outcome, failed.error, failed.content) == (
        ToolOutcome.ERROR,
        ToolFault.STATUS,
        "no such product",
    )
    broken = await price_tool.call(request({"name": "broken"}))
    assert (broken.outcome, "hunter2" in broken.content) == (ToolOutcome.ERROR, False)


async def test_a_langchain_tool_that_fails_may_have_acted() -> None:
    (found,) = made({"kind": "langchain", "tool": f"{HERE}:price"})
    broken = await found.call(request({"name": "broken"}))
    assert (broken.outcome, "hunter2" in broken.content) == (ToolOutcome.UNKNOWN, False)
    assert (await found.call(request({"name": "none"}))).outcome is ToolOutcome.ERROR


def test_a_langchain_tool_cannot_be_idempotent() -> None:
    with pytest.raises(ToolUnfit, match="key of the call"):
        made({"kind": "langchain", "tool": f"{HERE}:price", "effect": "idempotent"})


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere.at.all:x", "cannot be imported"),
        (f"{HERE}:missing", "cannot be imported"),
        (f"{HERE}:HERE", "not a LangChain tool"),
    ],
)
def test_an_import_path_that_leads_to_no_tool_says_so(path: str, said: str) -> None:
    with pytest.raises(ToolUnfit, match=said):
        made({"kind": "langchain", "tool": path})


ORDER = StructuredTool(
    name="order",
    description="An order.",
    args_schema={"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    func=lambda number: number,
)


def test_the_arguments_of_a_langchain_tool_may_be_a_json_schema() -> None:
    (imported,) = made({"kind": "langchain", "tool": f"{HERE}:ORDER"})
    assert imported.card.parameters["required"] == ["number"]
