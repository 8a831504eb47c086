"""The store of summaries, which stand for the older messages of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.people import Principal

MAX_SUMMARY_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary of a conversation up to and including the message `through`. text: at most MAX_SUMMARY_BYTES of UTF-8."""

    text: str
    through: UUID


class Summaries(Protocol):
    """One summary for each conversation. Summaries are derived: losing one costs a model call and nothing else."""

    async def find(self, who: Principal, conversation_id: UUID) -> Summary | None:
        """Return the stored summary, or None. Raises Unavailable."""
        ...

    async def keep(self, who: Principal, conversation_id: UUID, summary: Summary) -> None:
        """Store a summary in place of the one before. Does nothing when the conversation has been deleted. Raises Unavailable."""
        ...
