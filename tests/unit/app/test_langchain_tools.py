"""Responsa's declared tools as tools of LangChain, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.app.langchain_tools import declared_tools
from tests.unit.tools.declaring import served


async def called(tool: BaseTool, **arguments: object) -> ToolMessage:
    return await tool.ainvoke(ToolCall(name=tool.name, args=arguments, id="c1", type="tool_call"))


async def test_a_declared_tool_is_called_by_the_rules_of_the_server(tmp_path: Path) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        assert exchange.request.headers["idempotency-key"]
        status = 200 if exchange.request.path == "/Bergen" else 500
        await exchange.reply(status, b'"It rains."')

    async with served(handle) as url:
        text = (
            f'kind = "http_api"\ndescription = "The weather."\nurl = "{url}/{{city}}"\nallow_private '
            '= ["127.0.0.1"]\n[parameters.city]\ntype = "string"\n'
        )
        (tmp_path / "weather.toml").write_text(text)
        async with declared_tools(tmp_path) as tools:
            named = {tool.name: tool for tool in tools}
            assert set(named) == {"weather"}
            assert named["weather"].description == "The weather."
            found = await called(named["weather"], city="Bergen")
            assert (found.content, found.artifact.sources[0].uri) == ("It rains.", f"{url}/Bergen")
            failed = await called(named["weather"], city="Oslo")
            assert (failed.status, "500" in str(failed.content)) == ("error", True)
            wrong = await called(named["weather"], town="Bergen")
            assert (wrong.status, "do not fit" in str(wrong.content)) == ("error", True)


async def test_a_declaration_with_a_mistake_is_not_left_out_in_silence(tmp_path: Path) -> None:
    (tmp_path / "weather.toml").write_text('kind = "http_api"\n')
    with pytest.raises(ValueError, match=r"weather\.toml: .*url"):
        async with declared_tools(tmp_path):
            pass
