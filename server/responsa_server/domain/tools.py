"""The port of tools, through which a turn acts on other systems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from responsa_server.domain.events import ToolOutcome

MAX_RESULT_BYTES: Final = 8 * 1024


class Effect(StrEnum):
    """The effect of a repeated call. NONE: a call changes nothing. IDEMPOTENT: calls with the same key count once. ONCE: each call counts."""

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
    """The result of a call. content: the tool's output, or a sentence about the failure; at most 8 KiB.

    ERROR: the tool reports a failure, or could not be reached. UNKNOWN: the call began, and its answer was lost.
    """

    outcome: ToolOutcome
    content: str


Sent = Callable[[], Awaitable[None]]
"""A tool awaits this during a call, after the request is sent and may take effect, and before the response is read."""


class Tool(Protocol):
    """A tool as it is configured."""

    @property
    def card(self) -> ToolCard:
        """Its description for models."""
        ...

    @property
    def effect(self) -> Effect:
        """Whether a call with an unknown outcome may be repeated: not when it is ONCE."""
        ...

    async def call(self, key: str, arguments: Mapping[str, object], sent: Sent) -> ToolResult:
        """Call the tool. key: the same for all attempts at one call, and different for every other call; an idempotent tool counts by it. Failures of a call are results, not exceptions."""
        ...
