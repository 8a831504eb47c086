"""The store of conversations and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from responsa_server.domain.conversations import Conversation, Message
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal


class ConversationStore(Protocol):
    """Conversations and messages. All methods raise Unavailable when the store cannot be reached or the outcome of a change is unknown."""

    async def create(
        self, who: Principal, identity: UUID, title: str, labels: Mapping[str, str], request_id: UUID | None
    ) -> Conversation:
        """Create a conversation, or return the one that this request_id created. Raises AlreadyExists (REQUEST_ID_REUSED)."""
        ...

    async def get(self, who: Principal, identity: UUID) -> Conversation:
        """Return one of the caller's conversations. Raises NotFound."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Conversation]:
        """Return a page of the caller's conversations."""
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
        """Update the fields that are not None; title "" removes the title. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        ...

    async def delete(self, who: Principal, identity: UUID, etag: str) -> None:
        """Delete a conversation with its messages, turns and logs. Raises NotFound, Conflict (ETAG_MISMATCH, CONVERSATION_BUSY)."""
        ...

    async def messages(self, who: Principal, identity: UUID, query: ListQuery) -> Page[Message]:
        """Return a page of a conversation's messages. Raises NotFound."""
        ...

    async def message(self, who: Principal, identity: UUID) -> Message:
        """Return one message. Raises NotFound."""
        ...

    async def answer_of(self, who: Principal, turn_id: UUID) -> Message | None:
        """Return the assistant's message of a turn, or None when the turn has none yet. Raises NotFound for an unknown turn."""
        ...

    async def history(self, who: Principal, identity: UUID, most: int) -> Sequence[Message]:
        """Return the last messages of a conversation, oldest first; an empty list for an unknown conversation."""
        ...
