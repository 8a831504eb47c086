"""People who sign in with OpenID Connect, and their store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from responsa_server.domain.people import AuditEvent, Principal, User


@dataclass(frozen=True, slots=True)
class ExternalIdentity:
    """A person at a provider. issuer, sub: the claims that identify the person. subject: the name of the person in documents, "" without one; None if the provider
    does not decide it.
    """

    tenant_id: str
    issuer: str
    sub: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """An identity with which a user signs in. sign_in_time: the latest sign-in; None before the first one after the identity was linked."""

    id: UUID
    issuer: str
    sub: str
    create_time: datetime
    sign_in_time: datetime | None


class OpenIdStore(Protocol):
    """The store of external identities. Each method runs in one transaction, which also writes the method's audit event.

    All methods raise Unavailable if the store cannot be reached.
    """

    async def use_state(self, tenant_id: str, state: bytes, seconds: float) -> bool:
        """Use up the state of a sign-in, and delete the tenant's expired ones. state: its SHA-256. seconds: how long the use must be remembered.

        Return False if the state was used before, or if the tenant does not exist.
        """
        ...

    async def sign_in(self, identity: ExternalIdentity) -> User | None:
        """Return the user with this identity, whose subject and time of sign-in are then set; None if no user has the identity."""
        ...

    async def register(
        self, user: User, identity: ExternalIdentity, code: bytes | None, audit: AuditEvent
    ) -> User:
        """Store a user with an identity, and use up an invitation. code: the digest of its code, or None.

        If another call has just stored the identity, return its user and change nothing. Raises AlreadyExists (OIDC_ADDRESS_TAKEN) if another user of the tenant
        has the e-mail address, and Unauthenticated (CODE_INVALID) if the invitation is not good.
        """
        ...

    async def link(self, user_id: UUID, identity: ExternalIdentity, audit: AuditEvent) -> None:
        """Give an identity to a user. A repetition changes and audits nothing. Raises AlreadyExists (OIDC_IDENTITY_TAKEN) if another user has the identity."""
        ...

    async def identities(self, who: Principal) -> Sequence[LinkedIdentity]:
        """Return the user's identities, oldest first."""
        ...

    async def unlink(
        self, who: Principal, identity_id: UUID, issuers: Sequence[str], audit: AuditEvent
    ) -> bool:
        """Take an identity from the user. issuers: those whose identities can sign in. Return False if the user has no such identity.

        Raises Precondition (LAST_SIGN_IN) if the user has neither a password nor another identity of these issuers.
        """
        ...
