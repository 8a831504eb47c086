"""The other side of the campaign of tools' effects: an HTTP API, MCP servers and a search service that count what was
done, by the key of the call.

They run in the process of the campaign, so they remember everything when a worker dies.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.tools import Declaration, Effect
from responsa_server.tools.mcp_target import Pinned, write_pinned
from tests.faults.placed import passing
from tests.wire.searching import SearchService

Json = dict[str, Any]

PYTHON: Final = "/usr/bin/python3"
EFFECTS: Final = tuple(effect.value for effect in Effect)
WAYS: Final = ("api", "mcphttp", "mcpstdio")
"""How a call arrives: from `http_api`, or from `mcp` over HTTP or through a program."""
SEARCH: Final = "search"
TOOLS: Final[Mapping[str, Effect]] = {
    **{
        f"{way}_{effect.value}" + ("" if way == "api" else "_act"): effect
        for way in WAYS
        for effect in Effect
    },
    SEARCH: Effect.NONE,
}
"""The tools of the campaign, and their effects."""
_SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {"note": {"type": "string"}},
    "required": ["note"],
    "additionalProperties": False,
}
_KEY: Final = "responsa/idempotency-key"
# A confined program reads no file of the tests, so its source is an argument. It passes each call on, so that its effect outlives it.
_PROGRAM: Final = """
import json, sys, urllib.request
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    request = urllib.request.Request(sys.argv[1], line.encode(), {"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    print(opener.open(request).read().decode(), flush=True)
"""


@dataclass
class Done:
    """The calls with one key. effects: how often the effect happened. notes: the different notes that were asked for."""

    calls: int = 0
    effects: int = 0
    notes: set[str] = field(default_factory=set[str])


@dataclass
class Effects:
    """What was done, by tool and key. settings: the environment that declares the tools and their agent."""

    dice: random.Random
    done: dict[str, dict[str, Done]] = field(
        default_factory=lambda: defaultdict[str, dict[str, Done]](lambda: defaultdict(Done))
    )
    settings: dict[str, str] = field(default_factory=dict[str, str])

    async def act(self, tool: str, key: str, note: str) -> str:
        """Do what a call asks for, and answer after a while. A worker that dies meanwhile does not learn of it."""
        record = self.done[tool][key]
        record.calls += 1
        record.notes.add(note)
        effect = TOOLS[tool]
        if effect is Effect.ONCE or (effect is Effect.IDEMPOTENT and not record.effects):
            record.effects += 1
        await passing(self.dice.uniform(0, 0.04))
        return f"{note} is done"

    async def api(self, exchange: LoopbackExchange) -> None:
        """Serve `http_api`."""
        effect = exchange.request.path.removeprefix("/api/").partition("?")[0]
        key = exchange.request.headers["idempotency-key"]
        _, given, note = exchange.request.path.partition("?note=")
        if not given:
            note = json.loads(exchange.request.body)["note"]
        text = await self.act(f"api_{effect}", key, note)
        await exchange.reply(200, json.dumps(text).encode())

    async def mcp(self, exchange: LoopbackExchange) -> None:
        """Serve `mcp` over HTTP, and the programs."""
        way, effect = exchange.request.path.removeprefix("/").split("/")
        if exchange.request.method != "POST":
            await exchange.reply(405, b"")
            return
        message = json.loads(exchange.request.body)
        if "id" not in message:
            await exchange.reply(202, b"")
            return
        result: Json
        match message["method"]:
            case "initialize":
                result = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "acting", "version": "1"},
                }
            case "tools/list":
                result = {"tools": [{"name": "act", "description": "Acts.", "inputSchema": _SCHEMA}]}
            case "tools/call":
                given = message["params"]
                text = await self.act(f"{way}_{effect}_act", given["_meta"][_KEY], given["arguments"]["note"])
                result = {"content": [{"type": "text", "text": text}]}
            case _:  # a newer method, which the client tries first
                missing = {"code": -32601, "message": "Method not found"}
                await self._say(exchange, {"id": message["id"], "error": missing})
                return
        await self._say(exchange, {"id": message["id"], "result": result})

    async def _say(self, exchange: LoopbackExchange, message: Json) -> None:
        await exchange.reply(200, json.dumps({"jsonrpc": "2.0", **message}).encode())


def _declared(folder: Path, url: str) -> None:
    """Write the declarations."""
    folder.mkdir()
    private = 'allow_private = ["127.0.0.1"]'
    for effect in EFFECTS:
        method = "GET" if effect == "none" else "POST"
        query = 'query = { note = "{note}" }\n' if effect == "none" else ""
        (folder / f"api_{effect}.toml").write_text(
            f'kind = "http_api"\nurl = "{url}/api/{effect}"\nmethod = "{method}"\neffect = "{effect}"\n{query}{private}\n\n'
            '[parameters.note]\ntype = "string"\n',
            encoding="utf-8",
        )
        program = json.dumps([PYTHON, "-I", "-S", "-c", _PROGRAM, f"{url}/mcpstdio/{effect}"])
        for way, where in (
            ("mcphttp", f'url = "{url}/mcphttp/{effect}"\n{private}'),
            ("mcpstdio", f"command = {program}"),
        ):
            name = f"{way}_{effect}"
            (folder / f"{name}.toml").write_text(
                f'kind = "mcp"\neffect = "{effect}"\n{where}\n', encoding="utf-8"
            )
            declaration = Declaration(name, "mcp", "", "", None, folder=str(folder))
            write_pinned(declaration, [Pinned("act", "", "Acts.", _SCHEMA, None)])
    (folder / f"{SEARCH}.toml").write_text(
        f'kind = "web_search"\nprovider = "searxng"\nurl = "{url}"\n{private}\n', encoding="utf-8"
    )


def _agent(folder: Path) -> None:
    home = folder / "actor"
    (home / "prompts").mkdir(parents=True)
    (home / "agent.toml").write_text(
        f"""name = "Actor"
description = "Calls the tools that a question names."
start = "write"
model = {{ chain = ["scripted:calling"], max_output_tokens = 500 }}
history = {{ messages = 0 }}
limits = {{ seconds = 900 }}

[tools]
use = {json.dumps([*(f"{way}_{effect}" for way in WAYS for effect in EFFECTS), SEARCH])}
calls = 20

[nodes]
write = {{ kind = "prompt", prompt = "reply", tools = true }}
call = {{ kind = "tool_caller" }}
end = {{ kind = "prompt", prompt = "reply" }}

[graph]
edges = [
  {{ from = "write", to = "finish", when = {{ field = "calls", empty = true }} }},
  {{ from = "write", to = "call" }},
  {{ from = "call", to = "end" }},
]
""",
        encoding="utf-8",
    )
    (home / "prompts" / "reply.md").write_text(
        '+++\nvariables = { question = "what was asked" }\n+++\nAnswer.\n=== user\n{{ question }}\n',
        encoding="utf-8",
    )


def question(dice: random.Random) -> str:
    """A question that calls three tools at once, of which at least one has an effect."""
    acting = [name for name, effect in TOOLS.items() if effect is not Effect.NONE]
    first = dice.choice(acting)
    others = dice.sample([name for name in TOOLS if name != first], 2)
    lines: list[str] = []
    for name in dice.sample([first, *others], 3):
        note = f"note{dice.randrange(1 << 30)}"
        lines.append(f"call {name} {json.dumps({'query' if name == SEARCH else 'note': note})}")
    return "\n".join(lines)


@asynccontextmanager
async def effects(folder: Path, dice: random.Random) -> AsyncGenerator[Effects]:
    """The servers, running, and the files that declare them and their agent, in this folder."""
    served = Effects(dice)
    pages = [{"uri": "https://example.org/", "title": "A page", "snippet": "It is so.", "date": ""}]
    service = SearchService("searxng", "", pages)

    async def handle(exchange: LoopbackExchange) -> None:
        path = exchange.request.path
        if path.startswith("/search"):
            await service.handle(exchange)
            return
        await (served.api if path.startswith("/api/") else served.mcp)(exchange)

    server = LoopbackServer(handle)
    await server.start()
    try:
        _declared(folder / "tools", server.url)
        _agent(folder / "agents")
        served.settings |= {
            "RESPONSA_MODELS__SCRIPTED": "true",
            "RESPONSA_TOOLS__FOLDER": str(folder / "tools"),
            "RESPONSA_AGENTS__FOLDER": str(folder / "agents"),
            "RESPONSA_AGENTS__WATCH": "false",
        }
        yield served
    finally:
        await server.close()
