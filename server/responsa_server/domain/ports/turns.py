"""What turns and conversations need from a store and a codec.

Everything that writes may be repeated: a connection that is cut in the midst of a commit leaves the outcome unknown (Unavailable), and the same call
once more finds what the first one did or does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from responsa_server.domain.conversations import Conversation, Message, Speaker
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import (
    Citation,
    LogRow,
    NumberedEvent,
    Question,
    RefusalReason,
    Turn,
    TurnState,
    Usage,
)

Clock = Callable[[], datetime]
"""The time now, with its zone."""

NewId = Callable[[], UUID]
"""A new UUIDv7; ids made one after the other by one process sort in that order."""


class FrameCodec(Protocol):
    """Makes the bytes that the log keeps and the wire carries. The same input gives the same bytes."""

    def encode(
        self, turn_id: UUID, after_seq: int, through_seq: int, events: Sequence[NumberedEvent]
    ) -> bytes:
        """A frame over (after_seq, through_seq], which holds these events."""
        ...

    def encode_terminal(self, event: NumberedEvent) -> bytes:
        """The terminal event alone, as a turn's row keeps it."""
        ...

    def encode_question(self, question: Question) -> bytes:
        """The question as meant; equal questions give equal bytes."""
        ...

    def decode_question(self, data: bytes) -> Question:
        """The question that `encode_question` was given."""
        ...


class TurnLost(Exception):
    """The turn belongs to another epoch or has ended: who runs it stops and writes nothing."""


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn to be accepted and claimed at once.

    conversation_id: the question's, or the id of the conversation to make when it names none. frame: event 1. owner: the worker that claims it.
    """

    id: UUID
    conversation_id: UUID
    question: Question
    request_id: UUID | None
    agent_version: str
    owner: UUID
    lease_seconds: float
    frame: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The turn that a question has: a new one, or with attached the one that its request_id had already."""

    turn_id: UUID
    conversation_id: UUID
    attached: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on a running turn. What it writes is fenced by epoch."""

    turn_id: UUID
    tenant_id: str
    epoch: int
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be written at a turn's end, at most one a speaker; ids in the order of speaking."""

    id: UUID
    speaker: Speaker
    text: str
    citations: Sequence[Citation] = ()
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a turn ends. title: given to a conversation that has none of its own; "" leaves it."""

    state: TurnState
    terminal: bytes
    usage: Usage
    messages: Sequence[NewMessage] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class LostTurn:
    """A turn whose lease ran out, before the sweep ends it."""

    turn_id: UUID
    tenant_id: str
    last_seq: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What the sweep writes: the terminal event as a row of the log and as the turn keeps it."""

    row: LogRow
    terminal: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of a log in order. end_seq: the terminal event's, once the turn has ended."""

    rows: Sequence[LogRow]
    end_seq: int | None


class TurnStore(Protocol):
    """Turns and their logs. All methods raise Unavailable when the store cannot be reached or an outcome is unknown."""

    async def accept(self, who: Principal, new: NewTurn) -> Accepted:
        """Write a turn with its first event, claimed by its owner, with its conversation where it names none: all or nothing.

        A question whose request_id has a turn already attaches to that one. Raises NotFound (conversation), AlreadyExists (REQUEST_ID_REUSED),
        Conflict (CONVERSATION_BUSY).
        """
        ...

    async def find(self, who: Principal, question: Question, request_id: UUID) -> Accepted | None:
        """The turn that this request_id has, None when it has none. Raises AlreadyExists (REQUEST_ID_REUSED)."""
        ...

    async def append(self, claim: Claim, rows: Sequence[LogRow]) -> None:
        """Add rows, contiguous, right after the last committed one, and renew the lease. Raises TurnLost."""
        ...

    async def renew(self, claim: Claim) -> None:
        """Put the lease's end off. Raises TurnLost."""
        ...

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> None:
        """Write the last rows (the terminal event is the last), messages, citations, usage and state: all or nothing. Raises TurnLost."""
        ...

    async def sweep(self, end: Callable[[LostTurn], Ending], most: int) -> Sequence[tuple[LostTurn, Ending]]:
        """End turns whose lease ran out as failed, under the next epoch; at most so many. Returns what was ended."""
        ...

    async def backlog(self, who: Principal, turn_id: UUID, after_seq: int, most: int) -> Backlog:
        """At most so many rows that hold events after after_seq. Raises NotFound."""
        ...

    async def get(self, who: Principal, turn_id: UUID) -> Turn:
        """One turn of the caller's. Raises NotFound."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Turn]:
        """The caller's turns. Raises InvalidRequest for a field or a value that cannot be asked for."""
        ...

    async def make_partitions(self, days_ahead: int) -> int:
        """Make room for the logs of turns up to so many days ahead; returns how many partitions were missing."""
        ...


class Scopes(Protocol):
    """Knows which collections there are."""

    async def require(self, tenant_id: str, collection_ids: Sequence[str]) -> None:
        """Raises NotFound for the first that is not there."""
        ...


class ConversationStore(Protocol):
    """Conversations and messages. All methods raise Unavailable when the store cannot be reached or an outcome is unknown."""

    async def create(
        self, who: Principal, identity: UUID, title: str, labels: Mapping[str, str], request_id: UUID | None
    ) -> Conversation:
        """Make a conversation, or give back the one this request_id made. Raises AlreadyExists (REQUEST_ID_REUSED)."""
        ...

    async def get(self, who: Principal, identity: UUID) -> Conversation:
        """One conversation of the caller's. Raises NotFound."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Conversation]:
        """The caller's conversations. Raises InvalidRequest."""
        ...

    async def update(
        self,
        who: Principal,
        identity: UUID,
        *,
        title: str | None,
        labels: Mapping[str, str] | None,
        etag: str,
    ) -> Conversation:
        """Change what is not None; title "" takes the title back. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        ...

    async def delete(self, who: Principal, identity: UUID, etag: str) -> None:
        """Delete it with messages, turns and logs. Raises NotFound, Conflict (ETAG_MISMATCH, CONVERSATION_BUSY)."""
        ...

    async def messages(self, who: Principal, identity: UUID, query: ListQuery) -> Page[Message]:
        """The messages of a conversation. Raises NotFound, InvalidRequest."""
        ...

    async def message(self, who: Principal, identity: UUID) -> Message:
        """One message. Raises NotFound."""
        ...

    async def answer_of(self, who: Principal, turn_id: UUID) -> Message | None:
        """The assistant's message of a turn; None when there is none (yet). Raises NotFound for an unknown turn."""
        ...

    async def history(self, who: Principal, identity: UUID, most: int) -> Sequence[Message]:
        """The last messages of a conversation, the oldest of them first; none for an unknown conversation."""
        ...
