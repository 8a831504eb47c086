"""Turns: a question and its complete processing, and the store and the codec of turns. events.py has the events of a turn's log.

Every write may be repeated: a connection that breaks during a commit leaves the outcome unknown
(Unavailable); the same call again then finds the result of the first one, or does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    Citation,
    NumberedEvent,
    RefusalReason,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal

MAX_QUESTION_BYTES = 16 * 1024


class TurnState(StrEnum):
    """A turn is queued (behind another turn of its conversation), then pending (for any worker), then running, then in one terminal state, which is final."""

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the turn has ended."""
        return self not in (TurnState.QUEUED, TurnState.PENDING, TurnState.RUNNING)


class OnBusy(StrEnum):
    """The rule for a question whose conversation has an active turn."""

    REJECT = "reject"
    QUEUE = "queue"
    INTERRUPT = "interrupt"


class Verdict(StrEnum):
    """The state of a citation's source."""

    VALID = "valid"
    SOURCE_CHANGED = "source_changed"
    SOURCE_DELETED = "source_deleted"
    NOT_PERMITTED = "not_permitted"


@dataclass(frozen=True, slots=True)
class Question:
    """A question in normalised form: calls with one request_id are compared by it. collections is sorted; empty means all. agent: its id, "" for the default; agent_version: the number of the version, None for the current one.

    parameters: for the agent, a JSON object with sorted keys, "" for none. max_cost_micros: the highest cost,
    in millionths of a US dollar; 0: the agent's own limit.
    """

    text: str
    conversation_id: UUID | None = None
    collections: tuple[str, ...] = ()
    agent: str = ""
    on_busy: OnBusy = OnBusy.REJECT
    parameters: str = ""
    max_cost_micros: int = 0
    agent_version: int | None = None


@dataclass(frozen=True, slots=True)
class LogRow:
    """Events that were committed together, first_seq to last_seq, as a frame on the wire. A row has only deltas or no deltas."""

    first_seq: int
    last_seq: int
    deltas: bool
    frame: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat. queue_place: how many turns come before this one in its conversation, 0 when it is not queued."""

    queue_place: int = 0


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The last item of a reader's stream: this process shuts down; follow through another one, after at least that many seconds."""

    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last item of a stream: the log was pruned. terminal: the event at through_seq, its bytes as the FrameCodec made them."""

    through_seq: int
    terminal: bytes


Followed = LogRow | Heartbeat | Reconnect | Snapshot
"""An item of the stream that follows a turn."""


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


Clock = Callable[[], datetime]
"""The time now, with its zone."""

NewId = Callable[[], UUID]
"""A new UUIDv7; ids made one after the other by one process sort in that order."""


class FrameCodec(Protocol):
    """Encodes the bytes in the log and on the wire. The same input gives the same bytes."""

    def encode(
        self, turn_id: UUID, after_seq: int, through_seq: int, events: Sequence[NumberedEvent]
    ) -> bytes:
        """A frame over (after_seq, through_seq] with these events."""
        ...

    def encode_terminal(self, event: NumberedEvent) -> bytes:
        """The terminal event alone, as stored in a turn's row."""
        ...

    def encode_question(self, question: Question) -> bytes:
        """The question in normalised form; equal questions give equal bytes."""
        ...

    def decode_question(self, data: bytes) -> Question:
        """The question from the bytes of `encode_question`."""
        ...


class TurnLost(Exception):
    """The turn belongs to another epoch or has ended: its worker stops and writes nothing."""


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn to be accepted.

    conversation_id: the question's, or the id of the conversation to create for a new conversation.
    frame: event 1. owner: the worker that claims it in the same transaction; None leaves it pending, for any
    worker. A turn that has to queue is never claimed. cancel_on_disconnect: see `Backlog.watched`.
    max_pending, max_queued: how many turns may wait for a worker, over all, and how many in one conversation.
    """

    id: UUID
    conversation_id: UUID
    question: Question
    request_id: UUID | None
    agent_version: str
    owner: UUID | None
    lease_seconds: float
    frame: bytes
    cancel_on_disconnect: bool = False
    max_pending: int = 1000
    max_queued: int = 8


@dataclass(frozen=True, slots=True)
class Accepted:
    """The turn of a question: a new one, or with `attached` the one that its request_id already had.

    state: at the time of the accept (for an attached turn: now). ended: turns that an INTERRUPT ended in the same transaction.
    """

    turn_id: UUID
    conversation_id: UUID
    attached: bool
    state: TurnState = TurnState.RUNNING
    ended: Sequence[EndedTurn] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's claim to a running turn. Its writes are fenced by the epoch."""

    turn_id: UUID
    tenant_id: str
    epoch: int
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a graph after a finished node: the seq of the last event before, the bytes of answer text sent until then, the cost so far, and the graph's own state. It is written in the same transaction as the events before it, and deleted at the turn's end, or by `prune_checkpoints`."""

    last_seq: int
    text_bytes: int
    usage: Usage
    state: bytes


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """The ledger's entry for a tool call of a turn. outcome None: the call began, and its outcome is unknown."""

    outcome: ToolOutcome | None
    content: str


@dataclass(frozen=True, slots=True)
class ClaimedTurn:
    """A turn that a worker has just claimed: a new one (pending until now), or one whose worker released or lost it.

    attempt: the one that begins, from 1. losses: how many workers were lost during it without a release.
    age_seconds: since it was first claimed, 0 for a new one. first_in_conversation: there is no history to
    read. tools: the ledger, by call_id.
    """

    claim: Claim
    who: Principal
    conversation_id: UUID
    question: Question
    agent_version: str
    last_seq: int
    attempt: int
    losses: int
    age_seconds: float
    first_in_conversation: bool
    checkpoint: Checkpoint | None
    tools: Mapping[str, ToolRecord]


@dataclass(frozen=True, slots=True)
class Append:
    """Rows that a worker appends to its turn's log, contiguous with the last committed one, and the data committed with them: the graph's checkpoint, and the ledger's entries for tools called (the intent) and returned (the outcome) in these rows. Without rows: only the checkpoint."""

    claim: Claim
    rows: Sequence[LogRow]
    checkpoint: Checkpoint | None = None
    tools: Sequence[ToolCalled | ToolReturned] = ()


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be written at a turn's end, at most one for each speaker; ids in the order of speaking."""

    id: UUID
    speaker: Speaker
    text: str
    citations: Sequence[Citation] = ()
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The result of a turn. title: for a conversation without a title; "" leaves it."""

    state: TurnState
    terminal: bytes
    usage: Usage
    messages: Sequence[NewMessage] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn that another process than its worker is about to end; its row is locked. The terminal event gets the seq last_seq + 1."""

    turn_id: UUID
    tenant_id: str
    last_seq: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The terminal event as a row of the log, and as stored in the turn's row."""

    row: LogRow
    terminal: bytes


End = Callable[[OpenTurn], Ending]
"""Makes the terminal event of a turn once its place in the log is known. Pure: it runs inside a transaction."""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn that another process than its worker has ended: its last row, for followers, and its new epoch, for its worker."""

    turn_id: UUID
    epoch: int
    row: LogRow


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of a log in order.

    last_seq: of the last committed event. end_seq: the terminal event's, once the turn has ended. queue_place: turns before it in its conversation, 0 once it is
    not queued. terminal: the terminal event's bytes, once there is one; with end_seq and no rows the log was pruned. watched: it must be cancelled when it
    has no follower left.
    """

    rows: Sequence[LogRow]
    last_seq: int
    end_seq: int | None
    queue_place: int
    terminal: bytes | None
    watched: bool


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position up to which a process has read a turn's log."""

    turn_id: UUID
    after_seq: int


@dataclass(frozen=True, slots=True)
class News:
    """The rows of a turn's log after a cursor. end_seq and queue_place: as in `Backlog`."""

    turn_id: UUID
    rows: Sequence[LogRow]
    end_seq: int | None
    queue_place: int


@dataclass(frozen=True, slots=True)
class CancelledTurn:
    """A turn after a cancel. ended: how this call ended it; None if it had ended before."""

    turn: Turn
    ended: EndedTurn | None


class TurnStore(Protocol):
    """Turns and their logs. All methods raise Unavailable when the store cannot be reached or an outcome is unknown.

    Every method that ends a turn also promotes the oldest queued turn of its conversation to pending, in the same transaction.
    """

    async def accept(self, who: Principal, new: NewTurn, interrupt: End) -> Accepted:
        """Write a turn with its first event, with a new conversation if it names no conversation: all or nothing.

        If a question's request_id already has a turn, the question attaches to it. interrupt: how an
        INTERRUPT ends the turns that it replaces. Raises NotFound
        (conversation, collection), AlreadyExists (REQUEST_ID_REUSED), Conflict (CONVERSATION_BUSY), Exhausted (QUEUE_FULL, OVERLOADED).
        """
        ...

    async def find(self, who: Principal, question: Question, request_id: UUID) -> Accepted | None:
        """The turn with this request_id, or None. Raises AlreadyExists (REQUEST_ID_REUSED)."""
        ...

    async def claim(
        self,
        owner: UUID,
        versions: Sequence[str],
        lease_seconds: float,
        most: int,
        here: Sequence[UUID] = (),
    ) -> Sequence[ClaimedTurn]:
        """Claim turns of these agent versions that have no worker: pending ones, released ones, and those whose lease has expired; the oldest first, under the next epoch.

        here: turns that run at this owner; as long as they belong to it they are not claimed again, even if
        their leases expired before it could renew them.
        Also promotes queued turns whose conversation has no running turn. After a lost response, a repetition
        finds the turns of the first try by owner and claims them again.
        """
        ...

    async def release(self, claims: Sequence[Claim]) -> None:
        """Release turns, so that any worker can claim them at once; this does not count as a loss. Turns that this worker no longer holds are skipped."""
        ...

    async def append(self, batch: Sequence[Append]) -> Mapping[UUID, TurnLost | Unavailable]:
        """Add rows to many turns (each at most once) in one transaction and renew their leases; a repeated call finds the committed rows.

        Returns the turns that were left out, with the reason: TurnLost, or Unavailable if another try makes
        sense. Raises the store's error if a value cannot be stored; then nothing is written.
        """
        ...

    async def renew(self, claims: Sequence[Claim]) -> Sequence[UUID]:
        """Extend leases, in one transaction. Returns the lost turns."""
        ...

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """Write the last rows (the terminal event is the last), messages, citations, usage and state: all or nothing. Returns whether a queued turn was
        promoted. Raises TurnLost.
        """
        ...

    async def cancel(self, who: Principal, turn_id: UUID, owner_only: bool, end: End) -> CancelledTurn:
        """End a turn that has not ended, under the next epoch. owner_only: False allows `who` to end any turn
        of the tenant. Raises NotFound.
        """
        ...

    async def cancel_unfollowed(self, who: Principal, turn_id: UUID, end: End) -> EndedTurn | None:
        """End the caller's watched turn if it has not ended and no process follows it (see `follows`). Returns None if there was nothing to end."""
        ...

    async def follows(self, process: UUID, turn_ids: Sequence[UUID], seconds: float) -> None:
        """Record that these watched turns, and no others, have followers in this process, for this many seconds from now."""
        ...

    async def book(self, claim: Claim, usage: Usage) -> None:
        """Add the cost of a worker that lost the turn; repeated calls count once per epoch."""
        ...

    async def backlog(self, who: Principal, turn_id: UUID, after_seq: int, most: int) -> Backlog:
        """Return at most `most` rows with events after after_seq; the first row may begin before it. Raises NotFound."""
        ...

    async def poll(self, cursors: Sequence[Cursor], most: int) -> Sequence[News]:
        """Read many logs after their cursors, at most `most` rows of each, in one query over all tenants. The turns' followers were authorised before.

        Deleted turns are left out.
        """
        ...

    async def get(self, who: Principal, turn_id: UUID) -> Turn:
        """One turn of the caller's. Raises NotFound."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Turn]:
        """The caller's turns. Raises InvalidRequest for an unknown field or a value that is not valid."""
        ...

    async def make_partitions(self, days_ahead: int) -> int:
        """Create the log's partitions for the next `days` days; returns how many partitions were missing."""
        ...

    async def prune(self, days: int) -> int:
        """Drop the partitions of the log that contain only turns older than that many days, all ended; returns how many were dropped. The ledger of tools is dropped with them, and expired records of followers are dropped at any age.

        Partitions that are in use are left for the next call; those of this week and of the week before always stay.
        """
        ...

    async def prune_checkpoints(self, hours: float) -> int:
        """Drop old checkpoints of turns without a worker; returns how many. A worker that takes such a turn over starts it again; its cost until then still counts."""
        ...
