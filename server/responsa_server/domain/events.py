"""A turn's log: its events, from the first to the terminal one, and their parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from responsa_server.domain.errors import ResponsaError

MAX_ANSWER_BYTES = 24 * 1024
MAX_DELTA_BYTES = 1024
MAX_CITATIONS = 24
MAX_QUOTE_BYTES = 1024


class Step(StrEnum):
    """The steps of a worker for a turn."""

    REWRITING = "rewriting"
    RETRIEVING = "retrieving"
    GRADING = "grading"
    GENERATING = "generating"
    CALLING_TOOL = "calling_tool"
    ROUTING = "routing"
    VERIFYING = "verifying"


class RefusalReason(StrEnum):
    """Why there is no answer."""

    NO_SUPPORT = "no_support"
    OUT_OF_SCOPE = "out_of_scope"
    UNSAFE = "unsafe"
    BUDGET = "budget"


class FallbackKind(StrEnum):
    """A part that an answer lacks, or a replacement for a part that was unavailable."""

    WITHOUT_RETRIEVAL = "without_retrieval"
    TEXT_ONLY = "text_only"
    PROVIDER = "provider"
    EXTRACTIVE = "extractive"
    TEMPLATE = "template"
    CLASSIFIER = "classifier"
    RULE = "rule"
    WITHOUT_SUMMARY = "without_summary"


@dataclass(frozen=True, slots=True)
class Fallback:
    """A replacement for the intended step. source, target: nodes or models; cause: short and typed, e.g. `part_unavailable:postgresql`."""

    kind: FallbackKind
    source: str
    target: str
    cause: str


MAX_FALLBACKS = 16
"""The resource that the first events of a turn describe."""


class AnswerOutcome(StrEnum):
    """Whether an answer is complete."""

    COMPLETE = "complete"
    OUTPUT_LIMIT = "output_limit"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """[start, end) in bytes of a UTF-8 text, both on character boundaries."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Citation:
    """A part of an answer and the bytes that support it. sha256: of the quote's bytes (32); score: 0 to 1."""

    passage_id: UUID
    document_id: UUID
    version: int
    title: str
    uri: str
    source: ByteRange
    quote: str
    sha256: bytes
    answer: ByteRange
    score: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a turn, in tokens: read by the embedding model, read and written by language models.

    cost_micros: in millionths of a US dollar, of the tokens whose price is known; unpriced_tokens: those whose price is not.
    """

    embedding_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    unpriced_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.embedding_tokens + other.embedding_tokens,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_micros + other.cost_micros,
            self.unpriced_tokens + other.unpriced_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        """The usage since `other`."""
        return Usage(
            self.embedding_tokens - other.embedding_tokens,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cost_micros - other.cost_micros,
            self.unpriced_tokens - other.unpriced_tokens,
        )


# Events. Their seq is assigned when they are appended: only the log counts.


@dataclass(frozen=True, slots=True)
class Started:
    """Always the first."""

    conversation_id: UUID
    agent_version: str
    created_conversation: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A step begins."""

    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer's text, of at most 1 KiB, beginning at byte_offset of it."""

    text: str
    byte_offset: int


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation of the text sent so far."""

    citation: Citation


class ToolOutcome(StrEnum):
    """The known outcome of a tool call. UNKNOWN: the call began, and its outcome cannot be determined."""

    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool call that will follow; it is committed before the call. tool: its id. arguments: plain JSON values. Never withdrawn."""

    call_id: str
    tool: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """The result of a tool call. content: at most 8 KiB. Never withdrawn."""

    call_id: str
    outcome: ToolOutcome
    content: str


@dataclass(frozen=True, slots=True)
class AttemptRestarted:
    """A later attempt begins: deltas and citations from discard_from_seq on are withdrawn, and the first keep_bytes of the text stay."""

    discard_from_seq: int
    keep_bytes: int


@dataclass(frozen=True, slots=True)
class ProviderSwitched:
    """A model failed before any output, and another one was asked. source, target: `provider:model`; cause:
    the model's fault, as in `rate_limited`.
    """

    source: str
    target: str
    cause: str


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """A call of a language model has ended. model: `provider:model`; usage: of this call."""

    model: str
    usage: Usage


class CancelCause(StrEnum):
    """The cause of a turn's cancel: its owner, an administrator, a newer question asked with INTERRUPT, or its disconnected caller."""

    OWNER = "owner"
    ADMINISTRATOR = "administrator"
    INTERRUPT = "interrupt"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True)
class Answered:
    """Terminal: the complete answer. standalone_question is "" when the question was not rewritten. support: 0 to 1, how far documents support it.

    intent: the purpose of the message; category: the kind of question; both are named in the agent's file, ""
    for agents without them. model: the author of the text: `provider:model`, `extractive` or `template`.
    """

    text: str
    sha256: bytes
    citations: Sequence[Citation]
    outcome: AnswerOutcome
    passages_used: int
    usage: Usage
    standalone_question: str = ""
    support: float = 0.0
    intent: str = ""
    category: str = ""
    model: str = ""
    fallbacks: Sequence[Fallback] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Terminal: no answer, with the reason."""

    reason: RefusalReason
    message: str
    usage: Usage
    support: float = 0.0
    intent: str = ""
    fallbacks: Sequence[Fallback] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Terminal: an error. usage: the cost of the turn until then."""

    error: ResponsaError
    retriable: bool
    usage: Usage = Usage()
    fallbacks: Sequence[Fallback] = ()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Terminal: somebody ended it. The worker adds the turn's cost until then, once it has stopped."""

    by: CancelCause


Terminal = Answered | Refused | Failed | Cancelled


Event = (
    Started
    | Status
    | Delta
    | Cited
    | ToolCalled
    | ToolReturned
    | ProviderSwitched
    | ModelUsed
    | AttemptRestarted
    | Terminal
)


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event at its place in the log. seq and attempt count from 1; time is None on deltas."""

    seq: int
    attempt: int
    time: datetime | None
    event: Event
