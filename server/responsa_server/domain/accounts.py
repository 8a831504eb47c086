"""Accounts: passwords, sessions, invitations and reset codes, the keys that sign tokens, and the identities of OpenID Connect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from math import inf
from typing import Final
from uuid import UUID

from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Origin, Role, User

MOST_SESSIONS: Final = 100
"""The maximum number of sessions of a user. A further sign-in ends the session that was unused for longest."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A program that a user has connected with OAuth. client_id: the id of a registered program, the address of its
    document, or what dynamic registration gave it. display_name: what it calls itself. redirect_uri: where it got its
    authorisation code. scopes: what it may do. resource: the audience of its access tokens (RFC 8707). program_id: the
    registered program, or None.
    """

    client_id: str
    display_name: str
    redirect_uri: str
    scopes: Sequence[str]
    resource: str
    program_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of an access token. resource: the only resource at which it counts; "" for the token of a user's own
    session, which counts everywhere. scopes: what its holder may do at the resource. expires: when a token that was verified
    expires, in seconds since 1970."""

    tenant_id: str
    user_id: UUID
    session_id: UUID
    resource: str = ""
    scopes: frozenset[str] = frozenset()
    expires: float = field(default=inf, compare=False)


@dataclass(frozen=True, slots=True)
class Account:
    """A user who can have a password. hash: the password's hash; password_time: when this password was set; both None
    without a password."""

    user: User
    hash: str | None
    password_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to begin. id: None if the database makes one. token: the digest of the browser's token or of the first
    refresh token. seconds: how long the session is valid. connection: the program whose session it is, or None.
    code_challenge: of such a session, whose first refresh token is the authorisation code (RFC 7636, S256).
    """

    id: UUID | None
    token: bytes
    origin: Origin
    seconds: float
    connection: Connection | None = None
    code_challenge: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What a program shows with an authorisation code or a refresh token. redirect_uri, code_challenge: with a code;
    None with a refresh token. resource: None if it names none."""

    client_id: str
    redirect_uri: str | None
    code_challenge: str | None
    resource: str | None


@dataclass(frozen=True, slots=True)
class StartedSession:
    """A session that began. Both times are the database's."""

    begin_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class RefreshedToken:
    """A refresh token that was exchanged. use_time, kid: of the first exchange, also in the reply to a repetition of
    it. connection: of a program's session."""

    tenant_id: str
    user_id: UUID
    session_id: UUID
    use_time: datetime
    expire_time: datetime
    kid: str
    connection: Connection | None = None


@dataclass(frozen=True, slots=True)
class NotRefreshed:
    """A refresh token that was not exchanged. tenant_id: the tenant of the token, "" for an unknown token. ended: the
    session that ended because the token was used twice, or None. wrong: the field of `Proof` that the program has not
    shown as the session has it, if the client_id is right."""

    tenant_id: str = ""
    ended: UUID | None = None
    wrong: str = ""


class RegistrationOutcome(Enum):
    """The outcome of a registration. DONE is also the outcome for a taken address, so that the reply does not reveal
    whether an address is taken. With the other two outcomes, nothing has changed.
    """

    DONE = "done"
    NO_TENANT = "no tenant"
    CODE_NOT_GOOD = "code not good"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A good invitation. email: the only address that may register; "" for any. groups: those that the new user joins."""

    tenant_id: str
    role: Role
    email: str
    groups: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True)
class SignInProvider:
    """An OpenID Connect provider that signs the people of a tenant in. id: e.g. "corp". issuer: see OpenID Connect."""

    id: str
    tenant_id: str
    display_name: str
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that is made once its address is confirmed. hash: of the password. invitation: the digest of the
    invitation's code, or None."""

    user: User
    hash: str
    invitation: bytes | None


@dataclass(frozen=True, slots=True)
class UnconfirmedAddress:
    """An address that waits for its confirmation. email: the address of the account: that of the registration, or the
    present one of a user who has asked for another one; "" for a user without an address. hash: of the password of the
    registration or of the user; None if the user has no password.
    """

    tenant_id: str
    email: str
    hash: str | None


@dataclass(frozen=True, slots=True)
class Confirmation:
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
    """A person at a provider. issuer, sub: the claims that identify the person. subject: the name of the person in
    documents, "" without one; None if the provider does not decide it.
    """

    tenant_id: str
    issuer: str
    sub: str
    subject: str | None = None


def code_invalid() -> Unauthenticated:
    """The error for a code of an invitation, a reset or a confirmation that is not good."""
    return Unauthenticated(
        Reason.CODE_INVALID,
        "This code was already used, has expired or is unknown. Ask an administrator for another code.",
    )
