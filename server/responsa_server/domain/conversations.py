"""Conversations and their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from responsa_server.domain.events import Citation, RefusalReason

MAX_TITLE_BYTES = 200


@dataclass(frozen=True, slots=True)
class Conversation:
    """An exchange between one user and Responsa. title: at most 200 bytes; active_turn: the turn at work, if any; etag: changes with every update."""

    id: UUID
    tenant_id: str
    user_id: UUID
    title: str
    labels: Mapping[str, str]
    active_turn: UUID | None
    create_time: datetime
    update_time: datetime
    etag: str


class Speaker(StrEnum):
    """The author of a message."""

    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation."""

    id: UUID
    conversation_id: UUID
    turn_id: UUID
    speaker: Speaker
    text: str
    citations: Sequence[Citation]
    refusal: RefusalReason | None
    create_time: datetime
