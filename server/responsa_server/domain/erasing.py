"""The erasing of users with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.people import AuditEvent, Principal

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


class ErasingStore(Protocol):
    """The store of erasings. Each method can be repeated, also after a process was killed in the middle of it, and by several processes at the same time: the counts
    are written in the transaction of each deletion. All methods raise Unavailable if the store cannot be reached.
    """

    async def begin(
        self,
        tenant_id: str,
        user_id: UUID,
        heir: UUID | str | None,
        etag: str,
        audit: AuditEvent,
        *,
        by_owner: bool,
        own: bool,
    ) -> Erasure:
        """Begin to erase a user, or return the erasing that has begun. From here on, no credential of the user is valid, and the user has neither a name nor an
        address. A job continues if this process is lost. heir: the user, or the user's folded e-mail address. by_owner: whether an owner of
        the installation asks for it. own: whether the user asks for it; then the heir must be an administrator, or be able to read all collections that change hands.

        The heir owns the collections that others can read, or that hold documents of others, when this returns.

        Raises NotFound, NotPermitted (the user is an owner, and the caller is not), Conflict (ETAG_MISMATCH), Precondition (LAST_ADMINISTRATOR, LAST_OWNER; COLLECTION_NOT_EMPTY without an heir, if
        a collection holds documents of others), and InvalidRequest (the heir is not another active user of the tenant, or may not get the collections).
        """
        ...

    async def find(self, tenant_id: str, user_id: UUID) -> Erasure | None:
        """Return an erasing, or None."""
        ...

    async def stage(self, tenant_id: str, user_id: UUID) -> Stage | None:
        """Return how far an erasing is; None if none has begun."""
        ...

    async def open_turns(self, tenant_id: str, user_id: UUID) -> Sequence[tuple[Principal, UUID]]:
        """Return the turns of the user that have not ended, each with the principal for whom it runs."""
        ...

    async def erase_conversations(self, tenant_id: str, user_id: UUID) -> None:
        """Erase the user's conversations, except those with a turn that has not ended."""
        ...

    async def erase_documents(self, tenant_id: str, user_id: UUID) -> None:
        """Erase the collections and documents that the user still has."""
        ...

    async def erase_user(self, tenant_id: str, user_id: UUID) -> bool:
        """Erase what is left, and the user. Return False, and change nothing, if a call that began before the erasing has added something in the meantime."""
        ...

    async def withdraw_quotes(self, tenant_id: str, user_id: UUID) -> bool:
        """Withdraw the answers of other users that quote the erased documents. Return whether this is complete: False while turns have not ended that may still
        quote them.
        """
        ...
