"""`responsa tools`: requests, output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from responsa.chat.v1 import chat_service_pb2, tool_pb2
from tests.clients.agents_served import struct
from tests.clients.command_line import CommandLine
from tests.clients.scripted import CHAT, Context, Scripted

CALCULATOR = tool_pb2.Tool(
    name="tools/calculator",
    title="the calculator",
    description="Computes.",
    kind="calculator",
    effect=tool_pb2.TOOL_EFFECT_NONE,
    parameters_schema=struct(
        {
            "type": "object",
            "required": ["expression"],
            "properties": {
                "expression": {"type": "string", "description": "E.g. 1 + 1"},
                "places": {"type": "integer"},
            },
        }
    ),
    timeout=Duration(seconds=20),
    agents=["agents/chat", "agents/tutor"],
)
WEATHER = tool_pb2.Tool(
    name="tools/weather",
    title="the weather",
    problems=[
        tool_pb2.ToolProblem(
            file="weather.toml", line=3, key="kind", message="there is no such kind", suggestion="http_api"
        )
    ],
)


@pytest.fixture
def served(server: Scripted) -> Scripted:
    async def listed(
        request: chat_service_pb2.ListToolsRequest, _: Context
    ) -> chat_service_pb2.ListToolsResponse:
        return chat_service_pb2.ListToolsResponse(tools=[CALCULATOR, WEATHER])

    async def got(request: chat_service_pb2.GetToolRequest, _: Context) -> tool_pb2.Tool:
        assert request.name == "tools/calculator"
        return CALCULATOR

    server.on(f"{CHAT}/ListTools", listed)
    server.on(f"{CHAT}/GetTool", got)
    return server


async def test_tools_are_listed_and_shown(served: Scripted, responsa: CommandLine) -> None:
    done = await responsa("tools", "list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "calculator           Computes.",
        "weather              the weather",
        "  weather.toml:3: kind: there is no such kind. Did you mean “http_api”?",
    ]
    assert [one["name"] for one in (await responsa("tools", "list", "--json")).lines] == [
        "tools/calculator",
        "tools/weather",
    ]
    done = await responsa("tools", "show", "calculator")
    assert done.out.splitlines() == [
        "calculator: the calculator",
        "Computes.",
        "kind       calculator",
        "effect     none: a call changes nothing",
        "timeout    20 seconds",
        "agents     chat, tutor",
        "arguments",
        "  expression   E.g. 1 + 1",
        "  places       integer (optional)",
    ]


async def test_declarations_are_checked_without_a_server(
    server: Scripted, responsa: CommandLine, tmp_path: Path
) -> None:
    await server.stop()
    folder = tmp_path / "home" / "tools"
    folder.mkdir(parents=True)
    (folder / "berlin.toml").write_text('kind = "time"\ntitel = "Berlin"\n')
    line = "berlin.toml:2: titel: the kind time has no key “titel”. Did you mean “title”?"
    for named in ((), (str(folder),)):
        done = await responsa("tools", "check", *named, RESPONSA_API_KEY="")
        assert done.code == 2
        assert line in done.out.splitlines()
        assert "calculator: ok" in done.out.splitlines()
    done = await responsa("tools", "check", "--json")
    assert [json.loads(one)["key"] for one in done.out.splitlines()] == ["titel"]
    assert done.err == ""
    done = await responsa("agents", "check", "chat", RESPONSA_API_KEY="")
    assert done.out == "chat: ok\n"
    (folder / "berlin.toml").write_text('kind = "time"\ntitle = "Berlin"\n')
    done = await responsa("tools", "check", "--json")
    assert (done.code, done.out) == (0, "")
    done = await responsa("tools", "check", str(folder / "none"))
    assert (done.code, done.out) == (2, "")
    assert "is not a folder" in done.err
