"""Makes tools of declarations, as the server does, with servers on the loopback interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.agents.config.declarations import declare
from responsa_server.agents.engine.calling import CallModel, argument_problem
from responsa_server.domain.tools import SecretPlace, Sent, Tool, ToolCall, ToolUnfit, do_nothing
from responsa_server.tools.kinds import ToolContext
from responsa_server.tools.table import KINDS
from tests.unit.agents.evidence import WHO

Handler = Callable[[LoopbackExchange], Awaitable[None]]

SECRET = 's3cret/with-"signs" & more'
"""The value of every secret."""


def secret(place: SecretPlace) -> str:
    if place.env == "MISSING":
        raise ToolUnfit("Set MISSING.")
    return SECRET


def made(
    raw: Mapping[str, Any],
    folder: Path = Path(),
    secret: Callable[[SecretPlace], str] = secret,
    **parts: Any,
) -> Sequence[Tool]:
    """The tools of a declaration named `note`. Raises ToolUnfit; the declaration must be valid."""
    declaration, problems = declare("note", raw, KINDS, folder)
    assert declaration is not None, problems
    return KINDS[declaration.kind].make(declaration, declaration.options, ToolContext(secret=secret, **parts))


@asynccontextmanager
async def served(handler: Handler) -> AsyncGenerator[str]:
    """The URL of a server with this handler."""
    server = LoopbackServer(handler)
    await server.start()
    try:
        yield server.url
    finally:
        await server.close()


def complaint(tool: Tool, arguments: dict[str, Any]) -> str:
    """What the server says of these arguments before a call; "" if they fit."""
    return argument_problem(tool.card, CallModel(call_id="c", tool=tool.card.id, arguments=arguments))


def request(
    arguments: Mapping[str, object] | None = None,
    *,
    key: str = "k",
    sent: Sent = do_nothing,
    seconds: float = 20.0,
) -> ToolCall:
    return ToolCall(key, arguments or {}, WHO, sent=sent, seconds=seconds)
