"""Turns: one question and all that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from responsa_server.domain.errors import ResponsaError

MAX_QUESTION_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 24 * 1024
MAX_CITATIONS = 24
MAX_QUOTE_BYTES = 1024


class TurnState(StrEnum):
    """Where a turn stands: queued (behind another of its conversation) → pending (for any worker) → running → one terminal state, which it never leaves."""

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self not in (TurnState.QUEUED, TurnState.PENDING, TurnState.RUNNING)


class OnBusy(StrEnum):
    """What becomes of a question whose conversation has a turn at work."""

    REJECT = "reject"
    QUEUE = "queue"
    INTERRUPT = "interrupt"


class Step(StrEnum):
    """What a worker does for a turn."""

    REWRITING = "rewriting"
    RETRIEVING = "retrieving"
    GRADING = "grading"
    GENERATING = "generating"
    CALLING_TOOL = "calling_tool"


class RefusalReason(StrEnum):
    """Why there is no answer."""

    NO_SUPPORT = "no_support"


class AnswerOutcome(StrEnum):
    """Whether an answer is all of it."""

    COMPLETE = "complete"
    OUTPUT_LIMIT = "output_limit"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """[start, end) in bytes of a UTF-8 text, both on character boundaries."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Citation:
    """A part of an answer and the bytes that support it. sha256 is of the quote's bytes (32); score is 0 to 1."""

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


class Verdict(StrEnum):
    """What became of a citation's source."""

    VALID = "valid"
    SOURCE_CHANGED = "source_changed"
    SOURCE_DELETED = "source_deleted"
    NOT_PERMITTED = "not_permitted"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a turn has cost, in tokens: read by the embedding model, read and written by language models."""

    embedding_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.embedding_tokens + other.embedding_tokens,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        """What was spent since `other`."""
        return Usage(
            self.embedding_tokens - other.embedding_tokens,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
        )


# Events. Their seq is given when they are appended: a log is the only one who counts.


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
    """What is known of a tool's call. UNKNOWN: begun, and nobody can say whether it was done."""

    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool is about to be called; committed before it is. tool: its id. arguments: plain JSON values. Never withdrawn."""

    call_id: str
    tool: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """What became of a tool's call. content: at most 8 KiB. Never withdrawn."""

    call_id: str
    outcome: ToolOutcome
    content: str


@dataclass(frozen=True, slots=True)
class AttemptRestarted:
    """A later attempt begins: deltas and citations from discard_from_seq on are withdrawn, the first keep_bytes of the text stay."""

    discard_from_seq: int
    keep_bytes: int


class CancelCause(StrEnum):
    """Who ended a turn: its owner, an administrator, a newer question asked with INTERRUPT, or its caller by leaving."""

    OWNER = "owner"
    ADMINISTRATOR = "administrator"
    INTERRUPT = "interrupt"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True)
class Answered:
    """Terminal: the answer, whole. standalone_question is "" when the question was not rewritten. support: 0 to 1, how far documents bear it out."""

    text: str
    sha256: bytes
    citations: Sequence[Citation]
    outcome: AnswerOutcome
    passages_used: int
    usage: Usage
    standalone_question: str = ""
    support: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Terminal: no answer, and why."""

    reason: RefusalReason
    message: str
    usage: Usage
    support: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """Terminal: an error. usage: what the turn cost until then."""

    error: ResponsaError
    retriable: bool
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Terminal: somebody ended it. What it cost until then is booked on the turn by whoever worked on it, once it has stopped."""

    by: CancelCause


Terminal = Answered | Refused | Failed | Cancelled
Event = Started | Status | Delta | Cited | ToolCalled | ToolReturned | AttemptRestarted | Terminal


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event at its place in the log. seq and attempt count from 1; time is None on deltas."""

    seq: int
    attempt: int
    time: datetime | None
    event: Event


@dataclass(frozen=True, slots=True)
class Question:
    """A question as meant: what two calls with one request_id are compared by. collections is sorted; empty means all. agent: its id, "" for the default."""

    text: str
    conversation_id: UUID | None = None
    collections: tuple[str, ...] = ()
    agent: str = ""
    on_busy: OnBusy = OnBusy.REJECT


@dataclass(frozen=True, slots=True)
class LogRow:
    """What was committed together: events first_seq … last_seq as a wire frame, deltas only or no deltas."""

    first_seq: int
    last_seq: int
    deltas: bool
    frame: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """To a reader: nothing new. queue_place: turns that come before in the conversation, 0 once it is not queued."""

    queue_place: int = 0


@dataclass(frozen=True, slots=True)
class Reconnect:
    """To a reader, the last of its stream: this process goes away; follow through another one, after so many seconds at least."""

    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """To a reader, the last of its stream: the log was pruned. terminal: the event at through_seq, its bytes as the FrameCodec made them."""

    through_seq: int
    terminal: bytes


Followed = LogRow | Heartbeat | Reconnect | Snapshot
"""What a reader of a turn gets."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn's row. terminal is the terminal event's bytes as the FrameCodec made them, None while it runs."""

    id: UUID
    tenant_id: str
    user_id: UUID
    conversation_id: UUID
    request_id: UUID | None
    question: Question
    agent_version: str
    state: TurnState
    epoch: int
    last_seq: int
    terminal: bytes | None
    usage: Usage
    create_time: datetime
    end_time: datetime | None
