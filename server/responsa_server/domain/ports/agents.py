"""What turns need of an agent: events for a question."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from responsa_server.domain.conversations import Message
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Event, Question, Usage


class Meter:
    """What a turn has cost so far; it is read however the turn ends."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        """Count something that was spent."""
        self.usage += usage


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """A question to be answered for somebody. history: the conversation's last messages, the oldest first. meter: where costs are counted."""

    turn_id: UUID
    who: Principal
    question: Question
    history: Sequence[Message]
    meter: Meter = field(default_factory=Meter)


class Agent(Protocol):
    """Answers questions, one immutable version of it."""

    @property
    def version(self) -> str:
        """`agents/{id}/versions/{n}`"""
        ...

    @property
    def time_limit_seconds(self) -> float:
        """The longest a turn may take."""
        ...

    @property
    def history_messages(self) -> int:
        """How many of the conversation's last messages it reads; 0 for none."""
        ...

    def answer(self, task: AnswerTask) -> AsyncGenerator[Event, None]:
        """Statuses, deltas and citations as they come, then exactly one terminal event.

        Raises what its nodes raise: a ResponsaError becomes the turn's failure as it is. Closing the iterator ends all work.
        """
        ...
