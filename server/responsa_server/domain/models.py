"""What the graph needs of language models: an answer, piece by piece; which there are; what they cost."""

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
    """Who speaks in a prompt."""

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
    """A model wants a tool to be called. call_id: names the request within the prompt's messages; tool: the id on its card; arguments: plain JSON values.

    signature: an opaque value that the provider requires back with the tool's outcome, or "".
    """

    call_id: str
    tool: str
    arguments: Mapping[str, object]
    signature: str = ""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt. requests: what an ASSISTANT message asked for; answers: the call_id that a TOOL message answers.

    place: of a USER message USER or RETRIEVED, which never share a message; the other roles have one place each, and take it whatever is said here.
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
    """A request to a model. label: names the request in the provider's own logs. tools: what it may ask for; none forbids it.

    schema: a JSON schema (an object's) that the text has to fit, asked of providers that can; whoever asks checks it all the same. max_tokens: of the answer.
    temperature: 0 to 2, None for the provider's own. purpose: which prompt this is ("response_synthesis"), for scripted models and logs. cites: whether `[1]` in
    the text marks a passage, and is not text itself. patience_seconds: how long is waited for the first word, of all models of a chain together; None: as
    long as the chain does.
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
    """The next of the text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What the call has cost so far, as the provider counts; a later one replaces it.

    model: `provider:name`, "" from an adapter, which does not know how it is called. Of usage.input_tokens, cached_input_tokens were read from the provider's
    cache and cache_write_tokens were written to it. usage.cost_micros is 0 until a chain has priced it.
    """

    usage: Usage
    model: str = ""
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0


class Stop(StrEnum):
    """Why a model ended. LIMIT: its own limit, or the prompt's. UNSAFE: it, or its provider, will not say it (on)."""

    END = "end"
    LIMIT = "limit"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Ended:
    """The last piece. complete: False when something cut it, by default the model's own limit."""

    complete: bool
    stop: Stop = Stop.END

    def __post_init__(self) -> None:
        if not self.complete and self.stop is Stop.END:
            object.__setattr__(self, "stop", Stop.LIMIT)


class ModelFault(StrEnum):
    """What went wrong with a model's server.

    UNREACHABLE: no answer began. TIMEOUT: it fell silent. REFUSED: it will not have this request. MALFORMED: it answered something else than agreed. CUT: not to
    the end. CREDENTIAL: it does not take the key, or the key's account may not spend. RATE_LIMITED, OVERLOADED: not now. EMPTY: neither text nor a request.
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
    """A model's answer did not come, or not to its end.

    detail: for the log alone, without keys. retry_after: seconds that the provider wants to be left alone, None where it did not say. model: `provider:name`, ""
    from an adapter. passing: whether the same server can answer the same request later, when nothing of an answer has come. own: of a CREDENTIAL, whether
    the key is good for other models. status: HTTP's, 0 where there was none, or where the error came within an answer. kind: the provider's own word for it,
    "" where it has none that may be shown. tried: the how manieth try it was.
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
    """`source` failed before it said anything, and `target` is asked now. Both `provider:name`."""

    source: str
    target: str
    fault: ModelFault


ModelPiece = TextPiece | ToolRequest | Spent | Switched | Ended


class ChatModel(Protocol):
    """A language model behind some provider."""

    @property
    def name(self) -> str:
        """As the provider calls it; of a chain, its first as `provider:name`."""
        ...

    def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """The answer as it comes, `Ended` last. Raises ModelError, also after pieces have come. Closing the iterator, or cancelling who reads it, closes the
        connection, so that the provider stops its work.
        """
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens: read, read from the provider's cache, written to it, said."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal


class PriceTable(Protocol):
    """What models cost."""

    def price(self, model: str, at: date) -> Price | None:
        """Of `provider:name` on that day, None where none is known."""
        ...

    def cost_micros(self, spent: Spent, at: date) -> int | None:
        """Millionths of a US dollar, rounded up; None where no price is known for spent.model."""
        ...


class Models(Protocol):
    """The language models that may be had here. Names are `provider:name`; `extractive` stands for none."""

    def chain(self, names: Sequence[str]) -> ChatModel | None:
        """One model of several, asked in this order. None: there is nothing but `extractive`. Raises KeyError for what `problem` tells."""
        ...

    def problem(self, name: str) -> str | None:
        """Why a model cannot be had here, as a sentence with the remedy; None where it can."""
        ...

    def price(self, model: str) -> Price | None:
        """Today's, None where none is known."""
        ...

    def small(self, names: Sequence[str]) -> frozenset[str]:
        """The small models of this chain: they make no decisions, and their answers are checked before they are sent.

        As `provider:model`. Raises KeyError as `chain` does.
        """
        ...

    def window(self, names: Sequence[str]) -> int | None:
        """How many tokens a prompt and its answer may have together, with any model of this chain; None: nobody said. Raises KeyError as `chain` does."""
        ...
