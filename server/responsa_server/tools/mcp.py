"""The kind `mcp`: the tools of an MCP server, over Streamable HTTP or as a program (Model Context Protocol,
https://modelcontextprotocol.io/specification).

What a server says of its tools goes to models, so the owner agrees to it first: `responsa tools trust NAME` writes the
descriptions to `NAME.pinned.json`, and the tools are made of that file. Each session compares what the server says with
the file; a tool that differs is withheld. `mcp_server` speaks with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from responsa_server.domain.tools import Declaration, Effect, Tool, ToolCall, ToolCard, ToolResult, ToolUnfit
from responsa_server.tools.kinds import ToolContext, ToolKind, describe
from responsa_server.tools.mcp_target import McpOptions, McpTarget, Pinned, read_pinned, target_of

if TYPE_CHECKING:
    # The SDK takes seconds to load, so the first call loads it, in a thread.
    from responsa_server.tools import mcp_server

_MOST_ID: Final = 63


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
            return await (await self.sessions()).call(tool, tool.pinned, call)
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()
                if self._closed and self._sessions is not None:
                    self._sessions.end()

    async def sessions(self) -> mcp_server.McpSessions:
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
            describe(KIND, declaration, pinned.description),
            pinned.parameters,
            pinned.title or declaration.title,
            pinned.returns,
        )
        self.effect = effect
        self.timeout_seconds = declaration.timeout_seconds
        self.pinned = pinned
        self._server = server

    async def close(self) -> None:
        await self._server.close()

    async def call(self, call: ToolCall) -> ToolResult:
        return await self._server.call(self, call)


async def ask_server(declaration: Declaration, parts: ToolContext) -> Sequence[Pinned]:
    """Ask a declaration's server for its tools. Raises ToolUnfit if it does not answer as it should."""
    server = McpServer(target_of(declaration, cast("McpOptions", declaration.options), parts))
    try:
        return await (await server.sessions()).ask()
    finally:
        await server.close()


def _make(declaration: Declaration, options: McpOptions, parts: ToolContext) -> Sequence[Tool]:
    server = McpServer(target_of(declaration, options, parts))
    pinned = {tool.name: tool for tool in read_pinned(declaration)}
    wanted = options.tools or list(pinned)
    missing = [name for name in wanted if name not in pinned]
    if missing:
        raise ToolUnfit(
            f"its server has no tool “{missing[0]}”, or nobody has agreed to it; run “responsa tools trust {declaration.name}”",
            ("tools", wanted.index(missing[0])),
            unknown=missing[0],
            known=list(pinned),
        )
    # What a server says of a tool's effects is not believed.
    effect = declaration.effect or Effect.ONCE
    return [McpTool(server, pinned[name], effect) for name in wanted]


KIND: Final = ToolKind(
    McpOptions,
    _make,
    effect=Effect.ONCE,
    description="A tool of an MCP server.",
)
