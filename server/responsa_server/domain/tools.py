"""What the graph needs of a tool: something in the world that a turn may act on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from responsa_server.domain.events import ToolOutcome

MAX_RESULT_BYTES: Final = 8 * 1024


class Effect(StrEnum):
    """What doing something twice comes to. NONE: it changes nothing in the world. IDEMPOTENT: with the same key it counts once. ONCE: it counts twice."""

    NONE = "none"
    IDEMPOTENT = "idempotent"
    ONCE = "once"


@dataclass(frozen=True, slots=True)
class ToolCard:
    """A tool's description for a model. id: [a-z0-9-]. parameters: a JSON schema of the arguments."""

    id: str
    description: str
    parameters: Mapping[str, object] = field(default_factory=lambda: {"type": "object"})


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What became of a call. content: what the tool gave back, or a sentence on what went wrong; at most 8 KiB.

    ERROR: the tool says that it failed, or was not reached at all. UNKNOWN: begun, and its answer was lost.
    """

    outcome: ToolOutcome
    content: str


Sent = Callable[[], Awaitable[None]]
"""Awaited by a tool in the midst of a call: the request has left, and may have its effect; the answer was not read."""


class Tool(Protocol):
    """A tool as it is configured."""

    @property
    def card(self) -> ToolCard:
        """Its description for models."""
        ...

    @property
    def effect(self) -> Effect:
        """Whether a call whose outcome is unknown may be made again: only one that is not ONCE."""
        ...

    async def call(self, key: str, arguments: Mapping[str, object], sent: Sent) -> ToolResult:
        """Call it. key: the same for all tries at one call, and no other; an idempotent tool goes by it. Does not raise for what may happen to a call."""
        ...
