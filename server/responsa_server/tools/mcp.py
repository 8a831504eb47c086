"""The kind `mcp`: the tools of an MCP server, over Streamable HTTP or as a program (Model Context Protocol, https://modelcontextprotocol.io/specification).

What a server says of its tools goes to models, so the owner agrees to it first: `responsa tools trust NAME` writes the descriptions to `NAME.pinned.json`, and the tools are made of
that file. Each session compares what the server says with the file; a tool that differs is withheld. `mcp_server` speaks with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import Field

from responsa_server.domain.tools import Declaration, Effect, Tool, ToolCall, ToolCard, ToolResult, ToolUnfit
from responsa_server.outbound.connector import Reach
from responsa_server.tools.endpoint import AllowPrivate, Auth, Credential, Url, credential_of, reach_of
from responsa_server.tools.kinds import ToolKind, ToolOptions, ToolParts, described

if TYPE_CHECKING:
    # The SDK takes seconds to load, so the first call loads it, in a thread.
    from responsa_server.tools import mcp_server

PINNED_SUFFIX: Final = ".pinned.json"
MOST_TOOLS: Final = 200
_MOST_ID: Final = 63


class McpOptions(ToolOptions):
    """The keys of a declaration with `kind = "mcp"`."""

    url: Url | None = Field(
        default=None, description="The server's address for Streamable HTTP. Set either `url` or `command`."
    )
    command: list[str] = Field(
        default=[],
        max_length=100,
        description="The program of a server that speaks over its standard input and output, and its arguments. Give the program as an absolute path.",
    )
    environment: dict[str, str] = Field(
        default={},
        description="The program's environment variables. The program gets no variables of Responsa's own environment.",
    )
    secret_environment: dict[str, str] = Field(
        default={},
        description="Further environment variables of the program, whose values are secrets: for each variable, the name of its secret.",
    )
    memory_mb: int = Field(
        default=1024, ge=64, le=65_536, description="The maximum size of the program's address space, in MiB."
    )
    tools: list[str] = Field(
        default=[], max_length=MOST_TOOLS, description="The server's tools to offer, by name; empty: all."
    )
    auth: Auth | None = Field(default=None, description="How a call over HTTP authenticates itself.")
    allow_private: AllowPrivate = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """What the owner agreed to: a tool as its server described it."""

    name: str
    title: str
    description: str
    parameters: Mapping[str, object]
    returns: Mapping[str, object] | None

    @property
    def digest(self) -> str:
        """A hash of everything that a model may see, and of the forms of arguments and results."""
        said = [self.name, self.title, self.description, self.parameters, self.returns]
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def pinned_path(declaration: Declaration) -> Path:
    """The file with the descriptions that the owner agreed to."""
    return Path(declaration.folder) / f"{declaration.name}{PINNED_SUFFIX}"


def read_pinned(declaration: Declaration) -> Sequence[Pinned]:
    """Read the descriptions that the owner agreed to. Raises ToolUnfit."""
    path = pinned_path(declaration)
    remedy = f"run “responsa tools trust {declaration.name}”"
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
        entries = cast("list[dict[str, Any]]", cast("dict[str, Any]", found)["tools"])
        made = [
            Pinned(
                str(one["name"]),
                str(one["title"]),
                str(one["description"]),
                one["parameters"],
                one["returns"],
            )
            for one in entries
        ]
        good = all(one.digest == entry["sha256"] for one, entry in zip(made, entries, strict=True))
    except FileNotFoundError:
        raise ToolUnfit(f"nobody has agreed to the descriptions of its tools; {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolUnfit(f"{path.name} cannot be read; {remedy}") from error
    if not good:
        raise ToolUnfit(f"{path.name} was changed by hand; {remedy}")
    return made


def write_pinned(declaration: Declaration, tools: Sequence[Pinned]) -> Path:
    """Write the descriptions to which the owner agrees, and return the file's path. Raises OSError."""
    entries = [
        {
            "name": one.name,
            "title": one.title,
            "description": one.description,
            "parameters": one.parameters,
            "returns": one.returns,
            "sha256": one.digest,
        }
        for one in tools
    ]
    path = pinned_path(declaration)
    path.write_text(json.dumps({"tools": entries}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class McpTarget:
    """A declaration's server and what is needed to reach it. reach: what a connection may reach; None for a program. environment: all variables of the program."""

    declaration: Declaration
    options: McpOptions
    credential: Credential
    reach: Reach | None
    environment: Mapping[str, str]
    parts: ToolParts

    def __repr__(self) -> str:
        return f"McpTarget({self.declaration.name!r})"


def target_of(declaration: Declaration, options: McpOptions, parts: ToolParts) -> McpTarget:
    """Check a declaration. Raises ToolUnfit."""
    if bool(options.url) == bool(options.command):
        wrong = (
            "has both url and command; remove one of them" if options.url else "needs either url or command"
        )
        raise ToolUnfit(wrong, ("command",) if options.url else ())
    credential = credential_of(options.auth, declaration, parts)
    if options.url:
        reach = reach_of(options.url, options.allow_private, credential)
        return McpTarget(declaration, options, credential, reach, {}, parts)
    _check_program(options.command[0])
    secrets = {
        variable: parts.secret_of(declaration, name, ("secret_environment", variable))
        for variable, name in options.secret_environment.items()
    }
    return McpTarget(declaration, options, credential, None, {**options.environment, **secrets}, parts)


def _check_program(program: str) -> None:
    """Raises ToolUnfit if this is not the path of a program."""
    path = Path(program)
    if not path.is_absolute():
        where = shutil.which(program)
        wrong = "is not an absolute path; write " + (f"“{where}”" if where else "where the program is")
    elif not path.exists():
        wrong = "does not exist on this machine; install the program, or correct the path"
    elif not shutil.which(program):
        wrong = "is not a program that this user may run; name a program, or make the file executable"
    else:
        return
    raise ToolUnfit(f"“{program}” {wrong}", ("command", 0))


class McpServer:
    """The server of a declaration, of which all its tools are. The first call begins a session."""

    def __init__(self, target: McpTarget) -> None:
        self.target = target
        self._sessions: mcp_server.McpSessions | None = None
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def call(self, tool: McpTool, call: ToolCall) -> ToolResult:
        """Call a tool of the server, as `Tool.call` says. After `close`, the sessions that the call began end with it."""
        self._calls += 1
        self._idle.clear()
        try:
            return await (await self.sessions()).call(tool, call)
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()
                if self._closed and self._sessions is not None:
                    self._sessions.end()

    async def sessions(self) -> mcp_server.McpSessions:
        """The sessions with the server."""
        if self._sessions is None:
            module = await asyncio.to_thread(import_module, "responsa_server.tools.mcp_server")
            self._sessions = self._sessions or cast("mcp_server.McpSessions", module.McpSessions(self.target))
        return self._sessions

    async def close(self) -> None:
        """End all sessions when the calls have ended, or when they have had their time."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.target.declaration.timeout_seconds):
                await self._idle.wait()
        if self._sessions is not None:
            await self._sessions.close()


class McpTool:
    """A tool of an MCP server. Implements `Tool`."""

    def __init__(self, server: McpServer, pinned: Pinned, effect: Effect) -> None:
        declaration = server.target.declaration
        words = re.sub(r"[^a-z0-9]+", "_", pinned.name.lower()).strip("_")
        self.card = ToolCard(
            f"{declaration.name}_{words}"[:_MOST_ID].rstrip("_"),
            described(KIND, declaration, pinned.description),
            pinned.parameters,
            pinned.title or declaration.title,
            pinned.returns,
        )
        self.effect = effect
        self.timeout_seconds = declaration.timeout_seconds
        self.pinned = pinned
        self._server = server

    async def close(self) -> None:
        """See `Tool.close`."""
        await self._server.close()

    async def call(self, call: ToolCall) -> ToolResult:
        """See `Tool.call`."""
        return await self._server.call(self, call)


async def offered(declaration: Declaration, parts: ToolParts) -> Sequence[Pinned]:
    """Ask a declaration's server for its tools. Raises ToolUnfit if it does not answer as it should."""
    server = McpServer(target_of(declaration, cast("McpOptions", declaration.options), parts))
    try:
        return await (await server.sessions()).offered()
    finally:
        await server.close()


def _make(declaration: Declaration, options: McpOptions, parts: ToolParts) -> Sequence[Tool]:
    server = McpServer(target_of(declaration, options, parts))
    pinned = {one.name: one for one in read_pinned(declaration)}
    wanted = options.tools or list(pinned)
    missing = [one for one in wanted if one not in pinned]
    if missing:
        raise ToolUnfit(
            f"its server has no tool “{missing[0]}”, or nobody has agreed to it; run “responsa tools trust {declaration.name}”",
            ("tools", wanted.index(missing[0])),
            given=missing[0],
            known=list(pinned),
        )
    # What a server says of a tool's effects is not believed.
    effect = declaration.effect or Effect.ONCE
    return [McpTool(server, pinned[one], effect) for one in wanted]


KIND: Final = ToolKind(
    McpOptions,
    _make,
    effect=Effect.ONCE,
    description="A tool of an MCP server.",
)
