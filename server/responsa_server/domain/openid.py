"""People who sign in with OpenID Connect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


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
