"""The interface to tools, through which a turn acts on other systems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from responsa_server.domain.events import ToolOutcome

MAX_RESULT_BYTES: Final = 8 * 1024


class Effect(StrEnum):
    """The effect of a tool's calls. NONE: a call changes nothing. IDEMPOTENT: several calls with the same key have the
    effect of one call. ONCE: every call has an effect.
    """

    NONE = "none"
    IDEMPOTENT = "idempotent"
    ONCE = "once"


@dataclass(frozen=True, slots=True)
class ToolCard:
    """A tool's description for a model. id: characters of [a-z0-9-]. parameters: a JSON schema of the arguments."""

    id: str
    description: str
    parameters: Mapping[str, object] = field(default_factory=lambda: {"type": "object"})


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call.

    content: the tool's output, or a sentence about the failure; at most 8 KiB. outcome: ERROR if the tool reports a
    failure or cannot be reached; UNKNOWN if the call began and its response was lost.
    """

    outcome: ToolOutcome
    content: str


Sent = Callable[[], Awaitable[None]]
"""During a call, a tool awaits this function after the tool has sent the request and before the tool reads the
response. A request that has been sent may take effect.
"""


class Tool(Protocol):
    """A configured tool."""

    @property
    def card(self) -> ToolCard:
        """The tool's description for models."""
        ...

    @property
    def effect(self) -> Effect:
        """The effect of the tool's calls. A call with an unknown outcome may be repeated, unless the effect is ONCE."""
        ...

    async def call(self, key: str, arguments: Mapping[str, object], sent: Sent) -> ToolResult:
        """Call the tool. A failed call returns a result and raises no exception.

        key: a text that is the same for all attempts at one call, and different for every other call. An idempotent
        tool uses the key to recognise repeated calls.
        """
        ...
