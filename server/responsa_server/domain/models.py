"""The interface to language models: prompts, answers that arrive piece by piece, the available models, and their
prices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from responsa_server.domain.events import Usage

_NUMBER: Final = r"(?:passages? )?[1-9][0-9]?"
_NUMBERS: Final = rf"{_NUMBER}(?:, ?{_NUMBER}){{0,3}}"
MOST_QUOTED: Final = 260
"""The maximum number of characters that a mark copies."""
# The words that a mark copies stand in quotation marks, or after a colon.
_QUOTED: Final = rf"(?:(?::|,)? ?[\"“„«][^\n]{{1,{MOST_QUOTED}}}?[\"“”»]|: ?[^\[\]\n\"“„«][^\[\]\n]{{0,{MOST_QUOTED - 1}}}) ?"
MARK: Final = rf"(?i:\[{_NUMBERS}(?:{_QUOTED})?\](?!\()|【{_NUMBERS}】)"
"""A pattern for a mark with which a model names passages: `[2]`, `[1, 3]`, `【2】` or `[Passage 2]`, or also copies words
of one: `[2: "the words"]`. The text of a link is not a mark."""
MARK_BEGUN: Final = (
    r"(?i:[\[【](?:p[asge]*+ ?|[0-9]{1,2}+,? ?)*+[\]】]?"
    rf"|\[{_NUMBERS}(?:[:,]? ?[\"“„«][^\n]*+|: ?[^\[\]\n\"“„«]*+\]?))"
)
"""A pattern for what may become a mark when more text follows."""
EMBEDDING_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,31}:[\w./@:+-]{1,200}\Z"
"""The pattern of an embedding model's name in settings, `provider:model`, for Python's `re`. Pydantic's own engine
takes 0.1 s to compile it."""
LOADING_SECONDS: Final = 60.0
"""For how much longer than usual the first word of the last model of a chain is waited for, because it may be loading."""
INDEXED_DIMENSIONS: Final = (256, 384, 512, 768, 1024, 1536, 3072)
"""The lengths of vectors for which the database has an index."""


@dataclass(frozen=True, slots=True)
class ToolCard:
    """A tool's description, for models and people.

    id: at most 63 characters of [a-z0-9_-], a letter first. title: the name that people see. parameters: a JSON Schema of the arguments,
    an object. returns: a JSON Schema of the result's data; None if results have no data, or data of any form.
    written: whether a model may request it in its text; not if a call takes effect once.
    """

    id: str
    description: str
    parameters: Mapping[str, object] = field(default_factory=lambda: {"type": "object"})
    title: str = ""
    returns: Mapping[str, object] | None = None
    written: bool = field(default=True, compare=False)


class Role(StrEnum):
    """The role of a message's author in a prompt."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Provenance(StrEnum):
    """Where a message's text comes from. A model should follow only INSTRUCTION texts; all other texts are data that
    people or models wrote.
    """

    INSTRUCTION = "instruction"
    USER = "user"
    RETRIEVED = "retrieved"
    MODEL = "model"
    TOOL = "tool"


_PLACES: Final = {
    Role.SYSTEM: Provenance.INSTRUCTION,
    Role.ASSISTANT: Provenance.MODEL,
    Role.TOOL: Provenance.TOOL,
}


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A model's request for a tool call.

    call_id: the request's id, unique among the prompt's messages. tool: the id on the tool's card. arguments: plain
    JSON values. signature: an opaque value that must be returned to the provider with the tool's result, or "".
    problem: why the model's arguments cannot be read, as a clause; `arguments` is then empty.
    """

    call_id: str
    tool: str
    arguments: Mapping[str, object]
    signature: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt.

    requests: the tool calls that an ASSISTANT message requests. answers: the call_id that a TOOL message answers.
    place: USER or RETRIEVED for a USER message; one message never holds texts of both places. For every other role, the
    role determines the place, and a given place is ignored. documents: the passages of a RETRIEVED message, in the
    order of their numbers, for an adapter whose provider cites documents itself; `text` has them too. history: whether it is an
    earlier message, which may be left out for a small window. Texts of the places RETRIEVED and TOOL may be cut for one.
    """

    role: Role
    text: str
    requests: Sequence[ToolRequest] = ()
    answers: str = ""
    place: Provenance = Provenance.USER
    documents: Sequence[str] = ()
    history: bool = False

    def __post_init__(self) -> None:
        if self.role in _PLACES:
            object.__setattr__(self, "place", _PLACES[self.role])


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """A request to a model.

    label: the request's name in the provider's logs. tools: the tools that the model may request; if empty, it may
    request no tools. schema: a JSON schema (of an object) that the answer's text must match. The schema is sent to
    providers that support schemas; the caller checks the text in any case. max_tokens: the maximum length of the
    answer. temperature: 0 to 2, or None for the provider's default. purpose: what the prompt is for (such as
    "response_synthesis"), for scripted models and logs. cites: whether a marker such as `[1]` in the answer refers to a
    passage. patience_seconds: the time limit until the first word, for all models of a chain together; None means the
    chain's default. prefix: the beginning of the answer, which the model continues; "" except for an adapter that
    `takes_prefix`. takeover: how another model takes up an answer that breaks off; None if no other model may.
    silence_seconds: for how long the server may send nothing within an answer, asked when a silence begins; None means
    no limit beside the server's own. without: the names of what the request leaves out (`providers/learned.py`).
    loading: called when the first word of a chain's last model is late, which may then take LOADING_SECONDS more; None: it may not.
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
    prefix: str = ""
    takeover: Takeover | None = None
    silence_seconds: Callable[[], float | None] = field(default=lambda: None, compare=False)
    without: frozenset[str] = frozenset()
    loading: Callable[[], None] | None = field(default=None, compare=False)


class Fit(StrEnum):
    """How the text of a model that takes up an answer fits the text that was kept of this answer.

    OPEN: this cannot be decided yet. FITS: the text has fitted so far. RESTARTS: the model writes the answer again from its
    beginning. REPEATS: the model says again what the kept text says.
    """

    OPEN = "open"
    FITS = "fits"
    RESTARTS = "restarts"
    REPEATS = "repeats"


class Seam(Protocol):
    """Compares the text that was kept of an answer with the text of the model that takes the answer up."""

    def add(self, text: str) -> Fit:
        """Compare the next piece too. After RESTARTS or REPEATS, nothing more is compared."""
        ...

    def end(self) -> Fit:
        """Compare the whole text, which has ended; never OPEN."""
        ...


class Takeover(Protocol):
    """How another model takes up an answer that broke off. All texts are as the models wrote them."""

    def keeps(self, text: str, *, prefix: bool) -> int:
        """Return how many characters of a broken-off text stay; 0 if the next model must write the whole answer.
        prefix: whether the next model continues the text itself. If not, the text is cut after its last whole sentence.
        """
        ...

    def prompt(self, stands: str, *, prefix: bool) -> ModelPrompt | None:
        """Return the prompt for the next model, or None if the turn's budget allows no further call. stands: what stays
        of the answer; "" for a prompt for the whole answer.
        """
        ...

    def seam(self, stands: str) -> Seam:
        """Return a comparison with the text that was kept."""
        ...


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of the text, never empty. pieces: of how many pieces of the model it consists."""

    text: str
    pieces: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of the call so far, as the provider counts it. A later `Spent` replaces an earlier one.

    model: `provider:name`. An adapter does not know this name and sets the model to "". usage: the cost so far;
    usage.cost_micros is 0 until a chain computes the price. cached_input_tokens: the part of usage.input_tokens that
    the provider read from its cache. cache_write_tokens: the part of usage.input_tokens that the provider wrote to its
    cache. searches: the units that the provider of a reranking model bills instead of tokens.
    """

    usage: Usage
    model: str = ""
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    searches: int = 0


class Stop(StrEnum):
    """Why a model stopped. END: the answer is complete. LIMIT: the model reached its own limit or the prompt's limit.
    UNSAFE: the model or its provider refuses to begin or continue the answer.
    """

    END = "end"
    LIMIT = "limit"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Ended:
    """The last piece. complete: False if the text was cut off. stop: the reason; for a text that was cut off, the
    default is LIMIT. model: the model that has answered as its provider names it, which may be more exact than the
    model that was asked; "" if the provider does not say.
    """

    complete: bool
    stop: Stop = Stop.END
    model: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.complete and self.stop is Stop.END:
            object.__setattr__(self, "stop", Stop.LIMIT)


class ModelFault(StrEnum):
    """The kind of failure of a model's server.

    UNREACHABLE: the server did not begin to respond. TIMEOUT: the server stopped sending. REFUSED: the server rejects
    this request. MALFORMED: the response does not follow the protocol. CUT: the response ended early. CREDENTIAL: the
    server rejects the key, or the key's account has no credit. RATE_LIMITED, OVERLOADED: the server does not accept the
    request at the moment. EMPTY: the response has neither text nor a tool request.
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

    detail: a description for the log only; it contains no keys. retry_after: the number of seconds that the provider
    asks callers to wait, or None. model: `provider:name`, or "" if the error comes from an adapter, which does not know
    this name. passing: whether the failure is temporary and no part of an answer has arrived, so that the same request
    can succeed later. own: for a CREDENTIAL fault, whether the key is valid for other models. status: the HTTP status,
    or 0 if there was no response or the error came within an answer. kind: the provider's name for the error, or "" if
    there is no name that may be shown. received: what came instead of an answer, for administrators; "" if an answer had begun.
    tried: the number of the attempt, from 1.
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
        received: str = "",
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
        self.received = received
        self.tried = 1


@dataclass(frozen=True, slots=True)
class Switched:
    """The model `source` failed, and the model `target` is called next. Both are `provider:name`. begun: whether a part
    of the answer that `source` or an earlier model has sent still stands.
    """

    source: str
    target: str
    fault: ModelFault
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Text of the call is withdrawn: another model takes the answer up, or the text was reasoning.

    keep: the number of characters of the call's text that stay. again: whether the model that wrote last is called once more.
    """

    keep: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Alive:
    """The model reasons. Chains do not send it on."""


ModelPiece = TextPiece | ToolRequest | Spent | Switched | Withdrawn | Alive | Ended


class ChatModel(Protocol):
    """A language model of a provider, or a chain of such models."""

    @property
    def name(self) -> str:
        """The provider's name for the model; for a chain, `provider:name` of its first model."""
        ...

    def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """Return the answer piece by piece; the last piece is `Ended`. Raises ModelError, possibly after some pieces.

        If the iterator is closed or its reader is cancelled, the connection is closed, so that the provider stops its
        work.
        """
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """Prices in US dollars per million tokens.

    input: tokens that the model reads. cached_input: tokens that the provider reads from its cache. cache_write: tokens
    that the provider writes to its cache. output: tokens that the model generates. search: a million search units of a reranking model.
    unpriced: among several models, the first whose price is not known; "" if there is none.
    """

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal
    search: Decimal = Decimal(0)
    unpriced: str = field(default="", kw_only=True)


FREE: Final = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
"""The price of models that cost nothing."""


class PriceTable(Protocol):
    """The prices of models."""

    def price(self, model: str, at: date) -> Price | None:
        """Return the price of `provider:name` on that day, or None if it is not known."""
        ...

    def cost_micros(self, spent: Spent, at: date) -> int | None:
        """Return the cost in millionths of a US dollar, rounded up, or None if the price of spent.model is not known."""
        ...


class Models(Protocol):
    """The available language models. A model's name is `provider:name`; the name `passages` means that no model is
    used.
    """

    def chain(self, names: Sequence[str]) -> ChatModel | None:
        """Return a chain that tries these models in this order, or None if the only name is `passages`. Raises
        KeyError for a model that is not available (see `problem`).
        """
        ...

    def problem(self, name: str) -> str | None:
        """Return why a model is not available, as a sentence with the remedy, or None if the model is available."""
        ...

    def price(self, model: str) -> Price | None:
        """Return the model's price today, or None if it is not known."""
        ...

    def small(self, names: Sequence[str]) -> frozenset[str]:
        """Return the small models of this chain, as `provider:name`. Raises KeyError as `chain` does.

        A small model makes no decisions, and its answers are checked before they are sent.
        """
        ...

    def requests_tools(self, names: Sequence[str]) -> bool:
        """Whether a model of this chain can request tools. Raises KeyError as `chain` does."""
        ...


@dataclass(frozen=True, slots=True)
class Reranked:
    """What a reranking model found.

    scores: one finite number for each text, in the order of the texts. A higher score means a better fit. The scale is
    the model's own. usage: the tokens that the model read, with their price if it is known.
    """

    scores: Sequence[float]
    usage: Usage = field(default_factory=Usage)


class Reranker(Protocol):
    """A reranking model."""

    @property
    def name(self) -> str:
        """`provider:model`."""
        ...

    async def rank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Compare the query with each text. The model may cut texts that are too long for it. Raises ModelError."""
        ...
