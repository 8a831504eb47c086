"""Accounts: passwords, sessions, invitations and reset codes, with their store, and the store of the keys that sign tokens. The stores receive
only the SHA-256 digests of secrets, 32 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.mail import Mail
from responsa_server.domain.people import AuditEvent, Origin, Principal, Role, User

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
class Refused:
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


class KeyStore(Protocol):
    """The signing keys of all replicas. All methods raise Unavailable if the store cannot be reached."""

    async def signing_keys(self) -> Sequence[SealedKey]:
        """Return all keys, newest first."""
        ...

    async def add_signing_key(
        self, kid: str, sealed: bytes, older_than_seconds: float
    ) -> Sequence[SealedKey]:
        """Add a key if the newest one is older than this, and return all keys, newest first.

        Of several replicas that call this at once, one adds its key. A key that was replaced more than a day ago is deleted.
        """
        ...


class AccountStore(Protocol):
    """The store of accounts. Each method runs in one transaction, which also writes the method's audit event.

    All methods raise Unavailable if the store cannot be reached.
    """

    async def count_attempt(
        self, subjects: Sequence[tuple[bytes, int]], window_seconds: float
    ) -> float | None:
        """Count an attempt that is about to be made. subjects: the digest of each name that is counted, and its limit.

        Return None if the attempt may be made; otherwise the number of seconds until it may.
        """
        ...

    async def forgive_attempt(self, cleared: bytes, reduced: Sequence[bytes]) -> None:
        """An attempt succeeded: forget the failures of one subject, and uncount this attempt for the others."""
        ...

    async def note_refusal(self, subject: bytes, window_seconds: float, audit: AuditEvent) -> None:
        """Write the event of a refused sign-in, unless the event of this subject was written in the same window, or the tenant does not exist."""
        ...

    async def account(self, tenant_id: str, email: str) -> Account | None:
        """Find the account with this folded address. Disabled users and users with the role service have no account."""
        ...

    async def account_of(self, tenant_id: str, user_id: UUID) -> Account | None:
        """Find a user's account. Users with the role service have no account."""
        ...

    async def upgrade_hash(self, tenant_id: str, user_id: UUID, old: str, new: str) -> None:
        """Replace a hash, unless the password was changed in the meantime."""
        ...

    async def begin_session(
        self,
        user_id: UUID,
        kind: str,
        session: NewSession,
        audit: AuditEvent,
        password_time: datetime | None = None,
    ) -> Begun | None:
        """Begin a session in the tenant of the event, and delete the tenant's expired ones. kind: "browser" or "tokens". password_time: when the password that the caller
        has checked was set; None if the sign-in was not by password.

        A user has at most `MOST_SESSIONS` sessions: those that were unused for longest end. Return None, and change nothing, if the user is disabled, deleted or a service,
        if the tenant is suspended, or if the password is not the checked one any more.
        """
        ...

    async def refresh(
        self,
        token: bytes,
        successor: bytes,
        request_id: UUID | None,
        kid: str,
        seconds: float,
        max_seconds: float,
        repeat_seconds: float,
        audit: Callable[[str, UUID, UUID], AuditEvent],
    ) -> Refreshed | Refused:
        """Exchange a refresh token for its successor, or repeat the exchange, or end the session of a token that was used twice.

        seconds: how long the session is then valid. audit: makes the event of a second use from the tenant, the user and the session. max_seconds: how long a session may last in all. repeat_seconds: how long the same exchange,
        with the same successor and request_id, may be repeated.
        """
        ...

    async def end_session_of(
        self, token: bytes, audit: Callable[[str, UUID, UUID], AuditEvent]
    ) -> Ended | None:
        """End the session of a refresh token, newest or used. Return None if no session has the token. audit: makes the event from the tenant, the user and the session."""
        ...

    async def sessions(self, who: Principal, query: ListQuery) -> Page[Session]:
        """List the user's sessions that have not expired."""
        ...

    async def tenant_sessions(self, who: Principal, query: ListQuery) -> Page[Session]:
        """List the sessions of all users of the caller's tenant that have not expired."""
        ...

    async def end_tenant_sessions(
        self,
        who: Principal,
        wanted: Sequence[UUID],
        user_id: UUID | None,
        audit: Callable[[UUID, UUID], AuditEvent],
    ) -> Sequence[Ended]:
        """End sessions of users of the caller's tenant: those in `wanted`, and all of one user. audit: makes the event of each session that ended, from the ids of the session and its user. Raises NotPermitted
        (ROLE_REQUIRED) if one of the users is an owner and the caller is not; then no session ends.
        """
        ...

    async def end_sessions(
        self,
        who: Principal,
        wanted: Sequence[UUID] | None,
        kept: UUID | None,
        audit: Callable[[UUID], AuditEvent],
    ) -> Sequence[Ended]:
        """End sessions of the user. wanted: their ids; None for all. kept: a session that does not end. audit: makes the event of each session that ended."""
        ...

    async def signed_in_recently(self, who: Principal, session_id: UUID, seconds: float) -> bool:
        """Whether the user's session began with a sign-in at most this long ago."""
        ...

    async def set_password(
        self, who: Principal, old: str | None, new: str, kept: UUID | None, audit: AuditEvent
    ) -> Sequence[Ended] | None:
        """Store a hash, and end the user's sessions except one. old: the hash that was checked.

        Return None, and change nothing, if the password has another hash by now.
        """
        ...

    async def add_invitation(
        self,
        who: Principal,
        invitation: Invitation,
        invitation_id: UUID,
        code: bytes,
        seconds: float,
        audit: AuditEvent,
    ) -> datetime:
        """Store an invitation that a user makes, delete the tenant's expired ones, and return the time when it expires."""
        ...

    async def invitation(self, code: bytes) -> Invitation | None:
        """Find a good invitation."""
        ...

    async def invitations(self, tenant_id: str, query: ListQuery) -> Page[OpenInvitation]:
        """List the tenant's invitations that are neither used nor expired."""
        ...

    async def revoke_invitation(self, tenant_id: str, invitation_id: UUID, audit: AuditEvent) -> bool:
        """Delete an invitation. audit: becomes an event about the maker of the invitation. Return False if the tenant has no such invitation, or it has expired."""
        ...

    async def register(
        self, user: User, hash_text: str, code: bytes | None, audit: Callable[[UUID | None], AuditEvent]
    ) -> Registered:
        """Use up the invitation, and store a user with a password unless the e-mail address is taken. audit: returns the event of the registration or, given the
        id of an invitation, the event of an invitation that a taken address has used up.
        """
        ...

    async def await_registration(self, mail: Mail, code: bytes, pending: Pending, seconds: float) -> None:
        """Store an account that is made with this code, and the mail that carries the code. Does the same work whether or not the address is taken. Does nothing if
        the tenant does not exist.
        """
        ...

    async def await_email(
        self, who: Principal, mail: Mail, code: bytes, seconds: float, audit: AuditEvent
    ) -> None:
        """Store a new address of the user, in place of an earlier one that was not confirmed, and the mail that carries the code."""
        ...

    async def put_mail(self, mail: Mail, seconds: float) -> None:
        """Store a mail to send, within this time. Does nothing if the tenant does not exist."""
        ...

    async def unconfirmed(self, code: bytes) -> Unconfirmed | None:
        """Find the address that waits for this code."""
        ...

    async def confirm(self, code: bytes, audit: Callable[[Confirmed], AuditEvent]) -> Confirmed | None:
        """Use up the code of an address: make the account, or change the user's address. Return None, and change nothing, if the code is not good, or the address has
        been taken in the meantime.
        """
        ...

    async def add_reset_code(
        self, who: Principal, user_id: UUID, code: bytes, seconds: float, audit: AuditEvent
    ) -> datetime | None:
        """Store a reset code in place of the user's earlier ones, and return the time when it expires. Return None for an unknown user."""
        ...

    async def reset_account(self, code: bytes) -> Account | None:
        """Find the account of a good reset code. The codes of a disabled user are not good."""
        ...

    async def reset_password(
        self, code: bytes, new: str, audit: Callable[[str, UUID], AuditEvent]
    ) -> Sequence[Ended] | None:
        """Use up a reset code, store a hash and end all sessions of the user. Return None, and change nothing, if the code is not good. audit: makes the event
        from the tenant and the user.
        """
        ...
