"""Accounts: passwords, sessions, invitations and reset codes, the keys that sign tokens, and the identities of OpenID Connect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from responsa_server.domain.people import Origin, Role, User

MOST_SESSIONS: Final = 100
"""The maximum number of sessions of a user. A further sign-in ends the session that was unused for longest."""


@dataclass(frozen=True, slots=True)
class Session:
    """A time for which a user is signed in on one device."""

    id: UUID
    user_id: UUID
    create_time: datetime
    last_use_time: datetime
    expire_time: datetime
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of an access token."""

    tenant_id: str
    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Account:
    """A user who can have a password. hash: the password's hash; password_time: when this password was set; both None without a password."""

    user: User
    hash: str | None
    password_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to begin. id: None if the database makes one. token: the digest of the browser's token or of the first refresh token. seconds: how long the session is valid."""

    id: UUID | None
    token: bytes
    origin: Origin
    seconds: float


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that began. Both times are the database's."""

    begin_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A refresh token that was exchanged. use_time, kid: of the first exchange, also in the reply to a repetition of it."""

    tenant_id: str
    user_id: UUID
    session_id: UUID
    use_time: datetime
    expire_time: datetime
    kid: str


@dataclass(frozen=True, slots=True)
class NotRefreshed:
    """A refresh token that was not exchanged. tenant_id: the tenant of the token, "" for an unknown token. ended: the session that ended because the token was used twice, or None."""

    tenant_id: str = ""
    ended: UUID | None = None


class Registered(Enum):
    """The outcome of a registration. DONE is also the outcome for a taken address, so that the reply does not reveal whether an address is taken. With the
    other two outcomes, nothing has changed.
    """

    DONE = "done"
    NO_TENANT = "no tenant"
    CODE_NOT_GOOD = "code not good"


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that ended."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Invitation:
    """A good invitation. email: the only address that may register; "" for any."""

    tenant_id: str
    role: Role
    email: str


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation that is neither used nor expired. maker_id: None for an invitation from an owner of the installation."""

    id: UUID
    role: Role
    email: str
    maker_id: UUID | None
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class SignInProvider:
    """An OpenID Connect provider that signs the people of a tenant in. id: e.g. "corp". issuer: see OpenID Connect."""

    id: str
    tenant_id: str
    display_name: str
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """An account that is made once its address is confirmed. hash: of the password. invitation: the digest of the invitation's code, or None."""

    user: User
    hash: str
    invitation: bytes | None


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """An address that waits for its confirmation. email: the address of the account: that of the registration, or the present one of a user who has asked for another one; "" for a
    user without an address. hash: of the password of the registration or of the user; None if the user has no password.
    """

    tenant_id: str
    email: str
    hash: str | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """An address that was confirmed. changes: whether it is the new address of a user who existed before."""

    tenant_id: str
    user_id: UUID
    changes: bool


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key that signs tokens. sealed: the private key, encrypted under the installation's secret."""

    kid: str
    sealed: bytes
    create_time: datetime


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
