"""Turns, their store and their codec. A turn is one question and its complete processing; events.py defines the
events of a turn's log.

Every write may be repeated. If the connection breaks during a commit, the outcome is unknown and the call raises
Unavailable. The repeated call then finds the result of the first call, or does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_contract import MAX_BYTES, OnBusy, Verdict
from responsa_server.domain import names
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Overtaken, Unavailable
from responsa_server.domain.events import (
    AnyCitation,
    ByteRange,
    Effect,
    NumberedEvent,
    RefusalReason,
    ToolCalled,
    ToolFault,
    ToolOutcome,
    ToolReturned,
    ToolSource,
    Usage,
    VersionRead,
)
from responsa_server.domain.experiments import Assignment
from responsa_server.domain.insight import NO_FACTS, TurnFacts
from responsa_server.domain.limits import UNLIMITED, AcceptLimits
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.quotas import Demand, Grant

MAX_QUESTION_BYTES = MAX_BYTES["AskRequest.text"]
ALONE_AFTER_LOSSES: Final = 2
"""After how many losses of its worker a turn runs alone, unless the settings say otherwise."""
WITHHELD: Final = "You are no longer allowed to read the documents that this answer uses."
"""The message of a refusal with the reason NOT_PERMITTED."""


def log_ids(turn_id: UUID, agent_version: str) -> dict[str, str]:
    """What all lines of the log about a turn name, besides its tenant: `turn`, `agent` and `version`. agent_version:
    `agents/{id}/versions/{n}`; "" if it is not known."""
    turn = {"turn": names.turn(turn_id)}
    if not agent_version:
        return turn
    return {**turn, "agent": agent_version.split("/")[1], "version": agent_version}


class TurnState(StrEnum):
    """The state of a turn.

    A turn is QUEUED while it waits behind another turn of its conversation, PENDING while it waits for any worker, and
    RUNNING while a worker processes it. Every other state is terminal and never changes.
    """

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self not in (TurnState.QUEUED, TurnState.PENDING, TurnState.RUNNING)


@dataclass(frozen=True, slots=True)
class CitationCheck:
    """A citation with its verdict. source_text, quote_range: for a valid citation of a tool's source, the source's text
    around the quote, and the bytes of the quote in this text; otherwise "" and None.
    """

    citation: AnyCitation
    verdict: Verdict
    source_text: str = ""
    quote_range: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class EarlierMessage:
    """A message of a chat that a client keeps."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question in normalised form. Two calls with the same request_id must have equal questions.

    collections: the collections to search, sorted; empty means all. agent: the agent's id, or "" for the default agent.
    agent_version: the version's number, or None for the current version. parameters: the agent's parameters as a JSON
    object with sorted keys, or "". max_cost_micros: the maximum cost in millionths of a US dollar; 0 means the agent's
    own limit. document_filter: a valid filter on the fields of `lists.SEARCHED`, or "". history: messages before those
    of the conversation, oldest first. max_output_tokens: the most tokens that a model writes for the answer's text in
    one call; 0 means the agent's own limit.
    """

    text: str
    conversation_id: UUID | None = None
    collections: tuple[str, ...] = ()
    agent: str = ""
    on_busy: OnBusy = OnBusy.REJECT
    parameters: str = ""
    max_cost_micros: int = 0
    agent_version: int | None = None
    document_filter: str = ""
    history: tuple[EarlierMessage, ...] = ()
    max_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LogRow:
    """Events from first_seq to last_seq that were committed together.

    frame: the events as one frame in the wire format. deltas: whether all events are deltas.
    """

    first_seq: int
    last_seq: int
    deltas: bool
    frame: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat. queue_place: the number of turns before this turn in its conversation, or 0 if it is not queued."""

    queue_place: int = 0


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The last item of a stream if its process shuts down. The reader should follow the turn through another process,
    after at least `after_seconds`.
    """

    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last item of a stream if the turn's log was pruned. terminal: the terminal event at through_seq, encoded by
    the FrameCodec.
    """

    through_seq: int
    terminal: bytes


Followed = LogRow | Heartbeat | Reconnect | Snapshot
"""An item of the stream that follows a turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn's row. terminal: the terminal event, encoded by the FrameCodec; None until the turn has ended."""

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

    def without_content(self) -> Turn:
        """The turn without its question and its answer, for administrators, who may cancel it and not read it."""
        # The terminal event of a cancelled turn says who cancelled it, and nothing else.
        terminal = self.terminal if self.state is TurnState.CANCELLED else None
        return replace(self, question=Question(""), request_id=None, terminal=terminal)


Clock = Callable[[], datetime]
"""Returns the current time with its time zone."""

NewId = Callable[[], UUID]
"""Returns a new UUIDv7. The ids of one process sort in the order of their creation."""


@dataclass(frozen=True, slots=True)
class WithoutDocuments:
    """A terminal event from which documents were removed. withdrawn: whether an answer has become a refusal."""

    terminal: bytes
    withdrawn: bool


class FrameCodec(Protocol):
    """Encodes events and questions as the bytes in the log and on the wire. Equal inputs give equal bytes."""

    def event(self, event: NumberedEvent) -> bytes:
        """Encode an event. A turn's row stores its terminal event in this form."""
        ...

    def frame(self, turn_id: UUID, after_seq: int, through_seq: int, events: Sequence[bytes]) -> bytes:
        """The frame for the seqs after after_seq, up to and including through_seq. events: encoded by `event`; they are
        copied and not parsed."""
        ...

    def encode_question(self, question: Question) -> bytes: ...

    def decode_question(self, data: bytes) -> Question:
        """Decode a question from the bytes that `encode_question` returned."""
        ...

    def without_documents(
        self, terminal: bytes, documents: Collection[UUID], notice: str, *, has_read: bool
    ) -> WithoutDocuments:
        """Remove erased documents from a stored terminal event. An answer that quotes one of them, or whose turn has
        read one (has_read), becomes a refusal (SOURCE_ERASED) with this notice. Excerpts of them are left out. The event keeps its seq, its
        time and its usage.
        """
        ...

    def withhold(self, terminal: bytes) -> bytes:
        """A stored terminal event, for a caller without access to a document that the turn has read: an answer or a
        refusal becomes a refusal (NOT_PERMITTED) with the message WITHHELD. It keeps its seq, its time and its usage. A
        failure or a cancellation stays as it is.
        """
        ...


class TurnLost(Overtaken):
    """The turn has ended or has a newer epoch. Its worker must stop and write nothing."""


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn to accept.

    conversation_id: the question's conversation or, if the question names no conversation, the id for a new
    conversation. owner: the worker that claims the turn in the same transaction, or None to leave the turn pending for
    any worker; a turn that has to queue is never claimed. frame: the first event, encoded. cancel_on_disconnect: see
    `Backlog.watched`. max_pending: the maximum number of turns that may wait for a worker, across all conversations.
    max_queued: the maximum number of turns that may be queued in one conversation. demand: the most that the turn can use of
    language models; None if it uses none. limits: those of the user and the tenant. traceparent: the accepted call's span
    (W3C Trace Context); "" if no traces are made. assignment: the turn's part in an experiment, or None. title: of a new
    conversation until a question gets a reply; "" for its time.
    """

    id: UUID
    conversation_id: UUID
    question: Question
    request_id: UUID | None
    agent_version: str
    owner: UUID | None
    lease_seconds: float
    frame: bytes
    max_pending: int
    max_queued: int
    cancel_on_disconnect: bool = False
    demand: Demand | None = None
    limits: AcceptLimits = UNLIMITED
    traceparent: str = ""
    assignment: Assignment | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The turn of a question.

    attached: whether the turn already existed under the question's request_id; otherwise the turn is new.
    state: the state when the question was accepted; for an attached turn, the current state.
    ended: the turns that an INTERRUPT ended in the same transaction. grant: see `Claim`. agent_version: of a new turn;
    "" for an attached one.
    """

    turn_id: UUID
    conversation_id: UUID
    attached: bool
    state: TurnState = TurnState.RUNNING
    ended: Sequence[EndedTurn] = ()
    grant: Grant | None = None
    agent_version: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's claim to a running turn. The worker can write only while the claim's epoch is the turn's current
    epoch. grant: what the turn has reserved of its user's quota; None if no quota limits it.
    """

    turn_id: UUID
    tenant_id: str
    epoch: int
    lease_seconds: float
    grant: Grant | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a turn's graph after a finished node.

    last_seq: the seq of the last event before the checkpoint. text_bytes: the length of the answer text sent so far.
    usage: the cost so far. state: the graph's own state. A checkpoint is written in the same transaction as the events
    before it. It is deleted when the turn ends, or by `prune_checkpoints`.
    """

    last_seq: int
    text_bytes: int
    usage: Usage
    state: bytes


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """The ledger's entry for a tool call in a turn.

    outcome: None if the call began and its outcome is unknown. content, data, sources, fault: as in `ToolReturned`.
    effect: the tool's effect when the call was announced; None if it is not known. tool, arguments: the call; "" if they
    are not known.
    """

    outcome: ToolOutcome | None
    content: str
    data: object = None
    sources: Sequence[ToolSource] = ()
    fault: ToolFault | None = None
    effect: Effect | None = None
    tool: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class ClaimedTurn:
    """A turn that a worker has just claimed: a turn that was pending, or a turn whose previous worker released or lost it.

    attempt: the number of the attempt that now begins, from 1. losses: how many workers have lost the turn without
    releasing it since its last checkpoint. lost_alone: whether the last of them ran no other turn. age_seconds: the
    time since the first claim, 0 for a new turn. first_in_conversation: whether this is the conversation's first turn,
    so that there is no history to read. tools: the ledger's entries, by call_id. traceparent: see `NewTurn`.
    """

    claim: Claim
    caller: Principal
    conversation_id: UUID
    question: Question
    agent_version: str
    last_seq: int
    attempt: int
    losses: int
    lost_alone: bool
    age_seconds: float
    first_in_conversation: bool
    checkpoint: Checkpoint | None
    tools: Mapping[str, ToolRecord]
    traceparent: str = ""

    @property
    def ids(self) -> dict[str, str]:
        """What all lines of the log about the turn name."""
        return {"tenant": self.claim.tenant_id, **log_ids(self.claim.turn_id, self.agent_version)}


@dataclass(frozen=True, slots=True)
class Append:
    """Rows that a worker appends to its turn's log, and the data that is committed with them.

    rows: the rows directly after the last committed row; if empty, only the checkpoint is written. checkpoint: the
    graph's checkpoint. tools: the events of these rows that the ledger records; a ToolCalled event records the intent,
    and a ToolReturned event records the outcome. read: what the turn has read in addition to what is recorded. attempt: the
    attempt that wrote the last row; 0 if it is the attempt that the claim began. words: whether the rows have text of the answer.
    """

    claim: Claim
    rows: Sequence[LogRow]
    checkpoint: Checkpoint | None = None
    tools: Sequence[ToolCalled | ToolReturned] = ()
    read: Sequence[VersionRead] = ()
    attempt: int = 0
    words: bool = False


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to store when a turn ends. A turn has at most one message of each speaker. The ids of a turn's messages
    sort in the order of speaking.
    """

    id: UUID
    speaker: Speaker
    text: str
    citations: Sequence[AnyCitation] = ()
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The result of a turn. title: the title for a conversation that has no title; "" sets no title. read: see
    `Append`. facts: what is counted of its end."""

    state: TurnState
    terminal: bytes
    usage: Usage
    messages: Sequence[NewMessage] = ()
    title: str = ""
    read: Sequence[VersionRead] = ()
    facts: TurnFacts = NO_FACTS


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn that is about to be ended from outside its worker. The turn's row is locked. The terminal event gets
    the seq last_seq + 1.
    """

    turn_id: UUID
    tenant_id: str
    last_seq: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The terminal event in two forms. row: for followers. terminal: the bytes for the turn's row, which alone keeps the event."""

    row: LogRow
    terminal: bytes


End = Callable[[OpenTurn], Ending]
"""Makes a turn's terminal event once the event's position in the log is known. The function must be pure, because it
runs inside a transaction.
"""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn that was ended from outside its worker.

    epoch: the turn's new epoch, which stops the turn's worker. row: the turn's last row, for the turn's followers.
    """

    turn_id: UUID
    epoch: int
    row: LogRow


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of a turn's log, in order.

    last_seq: the seq of the last committed event. end_seq: the seq of the terminal event, or None until the turn has
    ended. queue_place: the number of turns before this turn in its conversation, or 0 if it is not queued. terminal:
    the terminal event's bytes, or None until the turn has ended. If end_seq is set and there are no rows, the log was
    pruned. watched: whether the turn must be cancelled when its last follower has left. withheld: whether the caller
    may no longer read what the turn has read. Then there are no rows, and an answer in `terminal` is a refusal
    (NOT_PERMITTED).
    """

    rows: Sequence[LogRow]
    last_seq: int
    end_seq: int | None
    queue_place: int
    terminal: bytes | None
    watched: bool
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position up to which a process has read a turn's log."""

    turn_id: UUID
    after_seq: int


@dataclass(frozen=True, slots=True)
class News:
    """The rows of a turn's log after a cursor. end_seq and queue_place: as in `Backlog`. orphaned: whether the turn has
    had no worker for a minute."""

    turn_id: UUID
    rows: Sequence[LogRow]
    end_seq: int | None
    queue_place: int
    orphaned: bool = False


@dataclass(frozen=True, slots=True)
class CancelledTurn:
    """A turn after a call of `cancel`. ended: the end that this call caused, or None if the turn had already ended."""

    turn: Turn
    ended: EndedTurn | None


class TurnStore(Protocol):
    """Turns and their logs. All methods raise Unavailable if the store cannot be reached or the outcome is unknown.

    Where the caller may no longer read a document that a turn has read, the caller gets a refusal (NOT_PERMITTED) in
    place of the turn's answer, and no rows of its log. The log
    stays as it is: when the caller may read the document again, the answer is there again.

    Every method that ends a turn also promotes the oldest queued turn of its conversation to pending, in the same
    transaction, and replaces what the turn has reserved of its user's quota with what it has used.
    """

    def gather(self, window: Callable[[], float]) -> None:
        """Let questions that arrive, and turns that end, wait for others to share their transaction. window: the
        minimum time in seconds between the starts of two such transactions, asked before each; 0 if this is not called.
        """
        ...

    async def accept(self, caller: Principal, new: NewTurn, interrupt: End) -> Accepted:
        """Write a turn with its first event in one transaction. If the question names no conversation, the transaction
        also creates one.

        If a turn with the question's request_id exists, the call returns that turn. interrupt: makes the terminal
        events of the turns that an INTERRUPT replaces. Raises NotFound (conversation, collection), AlreadyExists
        (REQUEST_ID_REUSED), Conflict (CONVERSATION_BUSY), Exhausted (QUEUE_FULL, OVERLOADED, QUOTA_EXHAUSTED).
        """
        ...

    async def find(self, caller: Principal, question: Question, request_id: UUID) -> Accepted | None:
        """Return the turn with this request_id, or None. Raises AlreadyExists (REQUEST_ID_REUSED)."""
        ...

    async def claim(
        self,
        owner: UUID,
        versions: Sequence[str],
        lease_seconds: float,
        limit: int,
        here: Sequence[UUID] = (),
        alone_after: int = ALONE_AFTER_LOSSES,
        suspects: bool = True,
    ) -> Sequence[ClaimedTurn]:
        """Claim at most `limit` turns without a worker, the oldest first, among the turns of these agent versions. Each
        claimed turn gets its next epoch. Turns without a worker are pending turns, released turns, and turns whose
        lease has expired.

        here: the turns that run in this owner's process. As long as this owner holds such a turn, the turn is not
        claimed again, even if its lease expired before the owner could renew the lease. The call also promotes queued
        turns whose conversation has no running turn. If the response of a call is lost, a repeated call finds this
        owner's turns and claims them again.

        alone_after: of the turns that have lost at least this many workers, at most one is claimed. suspects: whether
        such a turn may be claimed at all.
        """
        ...

    async def expire_lost(self, lease_seconds: float, grace_seconds: float) -> tuple[int, int]:
        """Let the leases of other workers whose processes have ended expire now. Returns the number of other workers
        with running turns, and the number of leases that have expired.

        A worker has ended if its connection to the store has been closed for `grace_seconds`. If this process has lost
        its own connection in the last `lease_seconds`, no worker counts as ended. A worker that cannot show that it
        lives, such as a server of an earlier release, keeps its lease.
        """
        ...

    async def mark_alone(self, claim: Claim, alone: bool) -> None:
        """Record whether a turn is the only one that runs in its worker's process. Does nothing if the worker no longer holds the turn."""
        ...

    async def release(self, claims: Sequence[Claim]) -> None:
        """Release turns so that any worker can claim them at once. A release does not count as a loss. Turns that this
        worker no longer holds are skipped.
        """
        ...

    async def append(self, batch: Sequence[Append]) -> Mapping[UUID, TurnLost | Unavailable]:
        """Append rows to many turns in one transaction and renew their leases. Each turn may occur once in the batch. A
        repeated call finds the committed rows and writes nothing twice.

        Returns the turns that were skipped, each with its reason: TurnLost, or Unavailable if the caller should try
        again. Raises the store's error if a value cannot be stored; in that case, nothing is written.
        """
        ...

    async def renew(self, claims: Sequence[Claim]) -> Sequence[UUID]:
        """Extend the leases of these turns in one transaction. Returns the turns that the worker has lost."""
        ...

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """End a turn: write its last rows, messages, citations, usage and state in one transaction. The last row is
        the terminal event alone, which the turn keeps and its log does not. Returns whether a queued turn was promoted. Raises TurnLost.
        """
        ...

    async def cancel(
        self, caller: Principal, turn_id: UUID, owner_only: bool, end: End, audit: AuditEvent | None = None
    ) -> CancelledTurn:
        """End a turn, unless it has ended, and give it the next epoch. owner_only: whether `caller` may end only their own
        turns; if False, they may end any turn of the tenant. audit: an event to write if this call ends the turn. Raises NotFound.
        """
        ...

    async def cancel_unfollowed(self, caller: Principal, turn_id: UUID, end: End) -> EndedTurn | None:
        """End the caller's watched turn if it is still open and no process follows it (see `follows`). Otherwise,
        return None.
        """
        ...

    async def follows(self, process: UUID, turn_ids: Sequence[UUID], seconds: float) -> None:
        """Record that this process has followers of these watched turns, and of no other turns, for the next `seconds`."""
        ...

    async def record_usage(self, claim: Claim, usage: Usage) -> None:
        """Increase the turn's cost by the cost of a worker that lost the turn. A worker's cost counts once per epoch,
        even if the call is repeated.
        """
        ...

    async def backlog(self, caller: Principal, turn_id: UUID, after_seq: int, limit: int) -> Backlog:
        """Return at most `limit` rows with events after after_seq. The first row may also contain earlier events. Raises
        NotFound.
        """
        ...

    async def poll(self, cursors: Sequence[Cursor], limit: int) -> Sequence[News]:
        """Read at most `limit` rows after each cursor, in one query across all tenants.

        The caller has already authorised the turns' followers. Deleted turns are left out.
        """
        ...

    async def find_withheld(self, turn_ids: Collection[UUID]) -> Collection[UUID]:
        """Return those of the turns whose users, in their current roles, may no longer read what the turns have read.
        One query serves all tenants."""
        ...

    async def get(self, caller: Principal, turn_id: UUID) -> Turn:
        """Return one of the caller's turns. Raises NotFound."""
        ...

    async def list(self, caller: Principal, query: ListQuery) -> Page[Turn]:
        """Return a page of the caller's turns. Raises InvalidRequest for an unknown field or an invalid value."""
        ...

    async def make_partitions(self, days_ahead: int) -> int:
        """Create the log's missing partitions for the next `days_ahead` days. Returns the number of new partitions."""
        ...

    async def prune(self, days: int) -> int:
        """Drop the log's partitions in which every turn has ended and is older than `days`. Returns the number of
        dropped partitions.

        The call also deletes old entries of the tools' ledger, and all expired records of followers. A partition that
        is in use is left for the next call. The partitions of this week and the previous week are never dropped.
        """
        ...

    async def prune_checkpoints(self, hours: float) -> int:
        """Delete the checkpoints that are older than `hours` and belong to turns without a worker. Returns the number
        of deleted checkpoints.

        A worker that later claims such a turn starts it from the beginning. The turn's cost so far still counts.
        """
        ...
