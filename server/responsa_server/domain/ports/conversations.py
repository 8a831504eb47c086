"""What conversations need from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from responsa_server.domain.conversations import Conversation, Message
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal


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
