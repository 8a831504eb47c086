"""The interface to language models: an answer, piece by piece; the available models; their prices."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from responsa_server.domain.events import Usage
from responsa_server.domain.tools import ToolCard


class Role(StrEnum):
    """The speaker of a message in a prompt."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Place(StrEnum):
    """Where a message's text comes from: a model should follow INSTRUCTION only; all other places are data that people or models wrote."""

    INSTRUCTION = "instruction"
    USER = "user"
    RETRIEVED = "retrieved"
    MODEL = "model"
    TOOL = "tool"


_PLACES: Final = {Role.SYSTEM: Place.INSTRUCTION, Role.ASSISTANT: Place.MODEL, Role.TOOL: Place.TOOL}


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A model's request for a tool call. call_id: names the request within the prompt's messages; tool: the id on its card; arguments: plain JSON values.

    signature: an opaque value that the provider requires back with the tool's result, or "".
    """

    call_id: str
    tool: str
    arguments: Mapping[str, object]
    signature: str = ""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt. requests: the tool calls that an ASSISTANT message requests; answers: the call_id that a TOOL message answers.

    place: for a USER message USER or RETRIEVED, which never share a message; the other roles have one place each, whatever this field says.
    """

    role: Role
    text: str
    requests: Sequence[ToolRequest] = ()
    answers: str = ""
    place: Place = Place.USER

    def __post_init__(self) -> None:
        if self.role in _PLACES:
            object.__setattr__(self, "place", _PLACES[self.role])


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """A request to a model. label: names the request in the provider's own logs. tools: the tools that it may request; an empty list forbids requests.

    schema: a JSON schema (of an object) for the text, sent to providers that support it; the caller checks
    the text in any case. max_tokens: of the answer. temperature: 0 to 2, None for the provider's default.
    purpose: the prompt's role ("response_synthesis"), for scripted models and logs. cites: whether `[1]` in
    the text marks a passage instead of being text. patience_seconds: how long all models of a chain together
    may take until the first word; None: the chain's default.
    """

    messages: Sequence[PromptMessage]
    label: str
    tools: Sequence[ToolCard] = ()
    schema: Mapping[str, object] | None = None
    max_tokens: int = 1024
    temperature: float | None = None
    purpose: str = ""
    cites: bool = False
    patience_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of the text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of the call so far, as the provider counts it; a later one replaces it.

    model: `provider:name`, "" from an adapter, which does not know its name. Of usage.input_tokens,
    cached_input_tokens were read from the provider's
    cache and cache_write_tokens were written to it. usage.cost_micros is 0 until a chain has priced it.
    """

    usage: Usage
    model: str = ""
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0


class Stop(StrEnum):
    """Why a model ended. LIMIT: its own limit, or the prompt's. UNSAFE: the model or its provider refuses to answer (further)."""

    END = "end"
    LIMIT = "limit"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Ended:
    """The last piece. complete: False if the text was cut, by default by the model's own limit."""

    complete: bool
    stop: Stop = Stop.END

    def __post_init__(self) -> None:
        if not self.complete and self.stop is Stop.END:
            object.__setattr__(self, "stop", Stop.LIMIT)


class ModelFault(StrEnum):
    """The kind of failure of a model's server.

    UNREACHABLE: no answer began. TIMEOUT: it fell silent. REFUSED: it rejects this request. MALFORMED: its
    response does not follow the protocol. CUT: the response ended early. CREDENTIAL: it rejects the key, or
    the key's account has no credit. RATE_LIMITED, OVERLOADED: not now. EMPTY: the response has neither text nor a tool request.
    """

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    MALFORMED = "malformed"
    CUT = "cut"
    CREDENTIAL = "credential"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    EMPTY = "empty"


class ModelError(Exception):
    """A model gave no answer, or only part of one.

    detail: for the log only, without keys. retry_after: seconds that the provider asks callers to wait, None
    if it did not say. model: `provider:name`, "" from an adapter. passing: whether the same server can answer
    the same request later, if no part of an answer has arrived. own: for a CREDENTIAL, whether the key is
    valid for other models. status: HTTP's, 0 if there was none, or if the error came within an answer. kind:
    the provider's own word for it, "" if it has none that may be shown. tried: the number of the try, from 1.
    """

    def __init__(
        self,
        fault: ModelFault,
        detail: str,
        *,
        retry_after: float | None = None,
        model: str = "",
        passing: bool = False,
        own: bool = False,
        status: int = 0,
        kind: str = "",
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.retry_after = retry_after
        self.model = model
        self.passing = passing
        self.own = own
        self.status = status
        self.kind = kind
        self.tried = 1


@dataclass(frozen=True, slots=True)
class Switched:
    """`source` failed before its first output, and `target` is asked now. Both `provider:name`."""

    source: str
    target: str
    fault: ModelFault


ModelPiece = TextPiece | ToolRequest | Spent | Switched | Ended


class ChatModel(Protocol):
    """A language model behind some provider."""

    @property
    def name(self) -> str:
        """The provider's name for the model; for a chain, `provider:name` of its first model."""
        ...

    def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """The answer piece by piece, with `Ended` last. Raises ModelError, possibly after some pieces. Closing the iterator, or cancelling its reader, closes the connection, so that the provider stops its work."""
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens: read, read from the provider's cache, written to it, generated."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal


class PriceTable(Protocol):
    """What models cost."""

    def price(self, model: str, at: date) -> Price | None:
        """The price of `provider:name` on that day, None if it is not known."""
        ...

    def cost_micros(self, spent: Spent, at: date) -> int | None:
        """Millionths of a US dollar, rounded up; None if the price of spent.model is not known."""
        ...


class Models(Protocol):
    """The available language models. Names are `provider:name`; `extractive` means no model."""

    def chain(self, names: Sequence[str]) -> ChatModel | None:
        """A chain of models, asked in this order. None: the chain has only `extractive`. Raises KeyError for
        a model that `problem` reports.
        """
        ...

    def problem(self, name: str) -> str | None:
        """Why a model is not available, as a sentence with the remedy; None if it is available."""
        ...

    def price(self, model: str) -> Price | None:
        """Today's price, None if it is not known."""
        ...

    def small(self, names: Sequence[str]) -> frozenset[str]:
        """The small models of this chain: they make no decisions, and their answers are checked before they are sent.

        As `provider:model`. Raises KeyError as `chain` does.
        """
        ...

    def window(self, names: Sequence[str]) -> int | None:
        """The most tokens that a prompt and its answer may have together, with any model of this chain; None:
        not configured. Raises KeyError as `chain` does.
        """
        ...
