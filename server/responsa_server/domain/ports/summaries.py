"""What became of a conversation's older messages: their summary, so that it is made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.people import Principal

MAX_SUMMARY_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Summary:
    """The talk up to and with the message `through`. text: at most MAX_SUMMARY_BYTES of UTF-8."""

    text: str
    through: UUID


class Summaries(Protocol):
    """Summaries of conversations, one each; derived, so that losing one costs a model's call and nothing else."""

    async def find(self, who: Principal, conversation_id: UUID) -> Summary | None:
        """The kept one, None where there is none. Raises Unavailable."""
        ...

    async def keep(self, who: Principal, conversation_id: UUID, summary: Summary) -> None:
        """Keep it in place of any other. A conversation that is gone by now keeps none, without an error. Raises Unavailable."""
        ...
