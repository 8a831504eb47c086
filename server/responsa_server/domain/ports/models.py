"""What the graph needs of a language model: an answer, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from responsa_server.domain.ports.tools import ToolCard
from responsa_server.domain.turns import Usage


class Role(StrEnum):
    """Who speaks in a prompt."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A model wants a tool to be called. call_id: names the request within the prompt's messages; tool: the id on its card; arguments: plain JSON values."""

    call_id: str
    tool: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt. requests: what an ASSISTANT message asked for; answers: the call_id that a TOOL message answers."""

    role: Role
    text: str
    requests: Sequence[ToolRequest] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """What a model is asked. label: names the request in the provider's own logs. tools: what it may ask for; none forbids it."""

    messages: Sequence[PromptMessage]
    label: str
    tools: Sequence[ToolCard] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next of the text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What the call has cost so far, as the provider counts; a later one replaces it."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Ended:
    """The last piece. complete: False when the model's own limit cut it."""

    complete: bool


ModelPiece = TextPiece | ToolRequest | Spent | Ended


class ModelFault(StrEnum):
    """What went wrong with a model's server. REFUSED: it answered with an error; MALFORMED: with something else than agreed; CUT: not to the end."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    MALFORMED = "malformed"
    CUT = "cut"


class ModelError(Exception):
    """A model's answer did not come, or not to its end. detail: for the log alone."""

    def __init__(self, fault: ModelFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class ChatModel(Protocol):
    """A language model behind some provider."""

    @property
    def name(self) -> str:
        """As the provider calls it."""
        ...

    def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """The answer as it comes, `Ended` last. Raises ModelError, also after pieces have come. Closing the iterator, or cancelling who reads it, closes the
        connection, so that the provider stops its work.
        """
        ...
