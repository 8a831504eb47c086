"""Turns: one question and all that comes of it. What is told of it stands in events.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from responsa_server.domain.events import Usage

MAX_QUESTION_BYTES = 16 * 1024


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


class Verdict(StrEnum):
    """What became of a citation's source."""

    VALID = "valid"
    SOURCE_CHANGED = "source_changed"
    SOURCE_DELETED = "source_deleted"
    NOT_PERMITTED = "not_permitted"


@dataclass(frozen=True, slots=True)
class Question:
    """A question as meant: what two calls with one request_id are compared by. collections is sorted; empty means all. agent: its id, "" for the default.

    parameters: for the agent, a JSON object with sorted keys, "" for none. max_cost_micros: the most it may cost, in millionths of a US dollar; 0: as the agent says.
    """

    text: str
    conversation_id: UUID | None = None
    collections: tuple[str, ...] = ()
    agent: str = ""
    on_busy: OnBusy = OnBusy.REJECT
    parameters: str = ""
    max_cost_micros: int = 0


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
