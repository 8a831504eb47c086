"""The erasing of users with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

HEAD_START_SECONDS: Final = 5.0
"""How long the call works on an erasing itself. Then the job begins, which also continues if the call's process is lost."""


class ErasedKind(StrEnum):
    """What a receipt counts."""

    CONVERSATIONS = "conversations"
    TURNS = "turns"
    MESSAGES = "messages"
    DOCUMENTS = "documents"
    COLLECTIONS = "collections"
    HANDED_OVER = "handed_over_collections"
    WITHDRAWN = "withdrawn_answers"
    API_KEYS = "api_keys"
    SESSIONS = "sessions"
    CODES = "codes"
    INVITATIONS = "invitations"
    OPERATIONS = "operations"


@dataclass(frozen=True, slots=True)
class Erasure:
    """The erasing of one user. heir_id: the user who receives the shared collections, or None. counts: what has been erased so far. end_time: None while
    answers of other users are still being checked for quotes.
    """

    tenant_id: str
    user_id: UUID
    heir_id: UUID | None
    begin_time: datetime
    end_time: datetime | None
    counts: Mapping[ErasedKind, int] = field(default_factory=dict[ErasedKind, int])


@dataclass(frozen=True, slots=True)
class Stage:
    """How far an erasing is. gone: whether the user and all that belongs to the user are gone. ended: whether no answer of another user quotes the documents."""

    gone: bool
    ended: bool
