"""Tenants, users and credentials, and their store. The store receives only the SHA-256 digests of secrets, 32 bytes
each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import AlreadyExists, NotPermitted, Reason, Unauthenticated
from responsa_server.domain.listing import ListQuery, Page

OK: Final = "OK"
"""The outcome of an act that was not refused."""


class Role(StrEnum):
    """The rights of a user."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


class UserState(StrEnum):
    """Whether a user may make calls."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    credential: the kind of the caller's credential: "api_key", "session" (a browser's cookie) or "token" (an access token); "turn" for the work of a turn.
    key_id: the API key with which the caller makes the call or began the session; None if there is no such key. session_id: the session, for the kinds
    "session" and "token"; otherwise None. address, call_id: the network address and the id of the call, for the audit log; "" outside a call. owner: whether the
    caller owns the installation. acting: the service that makes the call on behalf of the user; None if the user makes it. narrowed: whether `key_id` has a narrower role
    than the user; `role` is then that of the key. Two principals are equal if they have the same tenant, user, role and credential.
    """

    tenant_id: str
    user_id: UUID
    role: Role
    credential: str
    key_id: UUID | None = field(default=None, compare=False)
    session_id: UUID | None = field(default=None, compare=False)
    address: str = field(default="", compare=False)
    call_id: str = field(default="", compare=False)
    owner: bool = field(default=False, compare=False)
    acting: UUID | None = field(default=None, compare=False)
    narrowed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Server:
    """The server itself in one tenant: a job, or a change whose caller has been checked. It reads all documents of the tenant."""

    tenant_id: str


Reader = Principal | Server
"""Who reads. What a principal may not read does not exist for it."""


def as_subject(who: Principal) -> Principal:
    """The same user with the rights of a user: whatever the user's role, the only documents about people that the user reads are the documents about the user."""
    return replace(who, role=Role.USER)


def not_logged(_tenant_id: str) -> None:
    """For calls that no log records."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call without a credential comes from. address: the caller's network address; "" if unknown. user_agent: at most 200 bytes. call_id: the id of the call, for the audit log.
    log_tenant: takes the id of the tenant that the call turns out to concern, for the log; only of a tenant that exists.
    """

    address: str = ""
    user_agent: str = ""
    call_id: str = ""
    log_tenant: Callable[[str], None] = field(default=not_logged, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program of a tenant. disable_time: since when the user may make no calls, or None. revision: a number that starts at 1 and increases
    with every change. owner: whether the user owns the installation, as long as the user is an administrator of the home tenant. subject: the name of the person in
    documents, "" without one. last_sign_in_time: the time of the newest sign-in, also if its session has ended; None if there was none.
    """

    id: UUID
    tenant_id: str
    display_name: str
    email: str
    role: Role
    create_time: datetime
    update_time: datetime
    disable_time: datetime | None = None
    revision: int = 1
    owner: bool = False
    subject: str = ""
    last_sign_in_time: datetime | None = None

    @property
    def etag(self) -> str:
        """See `names.etag`."""
        return names.etag(self.create_time, self.revision)


@dataclass(frozen=True, slots=True)
class UserChange:
    """An update of a user; None leaves a field unchanged. email: folded, or "" to remove the address. subject: "" to remove it."""

    display_name: str | None = None
    email: str | None = None
    role: Role | None = None
    owner: bool | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, which is a credential for programs. The record does not include the secret, which is never stored.

    parent_id: the key with which this key was created, directly or in a session; None if there is no such key. role: USER if calls with the key have no more rights than a user with this
    role; None if they have the rights of the key's user.
    """

    id: UUID
    tenant_id: str
    user_id: UUID
    display_name: str
    prefix: str
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None
    parent_id: UUID | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class FoundKey:
    """The API key with a given digest, and its state according to the database's clock. suspended: whether the tenant is."""

    key_id: UUID
    principal: Principal
    expired: bool
    revoked: bool
    disabled: bool
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session, and its state according to the database's clock. A session expires with the API key that began it. suspended: whether the tenant is."""

    principal: Principal
    expired: bool
    disabled: bool
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class EndedCredential:
    """A user, an API key or a session that may no longer make calls. id: the id of the user, if `disabled` or `suspended`, or else of the key or the session. revoked: whether it is a key
    that was revoked. suspended: whether the user's tenant is.
    """

    id: UUID
    disabled: bool
    revoked: bool
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class ServiceGrant:
    """The right of a service to act on behalf of users. user_id: the user; None for all users with the role USER."""

    id: UUID
    tenant_id: str
    service_id: UUID
    user_id: UUID | None
    create_time: datetime


def owner_required(message: str) -> NotPermitted:
    """The error for an act that only an owner of the installation may do."""
    return NotPermitted(Reason.ROLE_REQUIRED, message, {"required_role": "OWNER"})


def grant_required(user_id: UUID) -> NotPermitted:
    """The error for a service that may not act on behalf of a user. It is the same for a user who does not exist."""
    return NotPermitted(
        Reason.GRANT_REQUIRED,
        "This service may not act on behalf of this user. Ask an administrator of your tenant for a service grant; administrators, services and disabled users cannot have one.",
        {"user": names.user(user_id)},
    )


def tenant_suspended(tenant_id: str) -> NotPermitted:
    """The error for the callers of a suspended tenant."""
    return NotPermitted(
        Reason.TENANT_SUSPENDED,
        "Your tenant is suspended. Ask the owner of this installation to resume it.",
        {"tenant": names.tenant(tenant_id)},
    )


def revoked_key(key_id: UUID) -> Unauthenticated:
    """The error for a revoked API key."""
    return Unauthenticated(
        Reason.CREDENTIAL_REVOKED,
        "This API key was revoked. Use another one.",
        {"api_key": names.api_key(key_id)},
    )


def ended_session() -> Unauthenticated:
    """The error for a session that has ended since the call began."""
    return Unauthenticated(Reason.CREDENTIAL_UNKNOWN, "This session has ended. Sign in again.")


def expired_credential(credential: str) -> Unauthenticated:
    """The error for an expired credential. credential: the kind, as in `Principal`."""
    return Unauthenticated(
        Reason.CREDENTIAL_EXPIRED,
        "This API key has expired. Use another one."
        if credential == "api_key"
        else "This browser's session has ended. Run `responsa open` for a new session.",
    )


def other_user(present: Principal) -> AlreadyExists:
    """The error for a sign-in that would replace another user's session in a browser. present: the caller of the session that the browser has."""
    assert present.session_id is not None, "a browser's caller has a session"
    return AlreadyExists(
        Reason.RESOURCE_ALREADY_EXISTS,
        'This browser is signed in as another user. Sign out first, or send "replace": true to end the other user\'s session.',
        {"resource_type": "session", "resource_name": names.session(present.session_id)},
    )


ANONYMOUS: Final = "anonymous"
"""The actor of failed attempts to sign in, because nobody knows who made them."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An entry of the audit log to write: one act. The entry never contains a secret.

    actor: the user's name, `users/{uuid}`; "local" for a command on the server's machine; `ANONYMOUS` for a failed sign-in; or the
    name of an OpenID Connect provider. action: the kind of act, e.g. "api_key.create". outcome: `OK`, or the reason of a refusal. address, call_id: of the call, "" without
    a call. on_behalf_of: the name of the user for whom the actor, a service, acted; "" otherwise. about: the user whom the act was about, if the name of the resource does not contain the user.
    added_readers, removed_readers: with whom the act began and stopped to share a collection, each as `users/{uuid}`, as a role, e.g. "user", or as "" for everyone.
    """

    tenant_id: str
    actor: str
    action: str
    resource_name: str
    outcome: str = OK
    address: str = ""
    call_id: str = ""
    on_behalf_of: str = ""
    about: UUID | None = None
    added_readers: Sequence[str] = ()
    removed_readers: Sequence[str] = ()

    @property
    def affected_user(self) -> UUID | None:
        """The user whom the act was about; None if this is the actor. What a service does on behalf of a user is about that user, if it is about no other."""
        user = self.about or names.user_in(self.resource_name) or names.user_in(self.on_behalf_of)
        return None if user is None or names.user(user) == self.actor else user

    @classmethod
    def of(
        cls,
        who: Principal,
        action: str,
        resource_name: str,
        *,
        outcome: str = OK,
        about: UUID | None = None,
    ) -> AuditEvent:
        """Build the event for an act of a caller."""
        user = names.user(who.user_id)
        actor, behalf = (user, "") if who.acting is None else (names.user(who.acting), user)
        return cls(
            who.tenant_id, actor, action, resource_name, outcome, who.address, who.call_id, behalf, about
        )

    @classmethod
    def of_origin(
        cls,
        origin: Origin,
        tenant_id: str,
        actor: str,
        action: str,
        resource_name: str,
        *,
        outcome: str = OK,
    ) -> AuditEvent:
        """Build the event for an act without a credential."""
        return cls(tenant_id, actor, action, resource_name, outcome, origin.address, origin.call_id)


class IdentityStore(Protocol):
    """The store of identities. Each method runs in one transaction, which also writes the method's audit event.

    All methods raise Unavailable if the store cannot be reached.
    """

    async def find_key(self, digest: bytes) -> FoundKey | None:
        """Find the API key with this digest, across all tenants."""
        ...

    async def find_session(self, digest: bytes) -> FoundSession | None:
        """Find the session with this digest, across all tenants."""
        ...

    async def find_token_session(self, session_id: UUID) -> FoundSession | None:
        """Find the session that an access token names, across all tenants."""
        ...

    async def ended(
        self, users: Collection[UUID], keys: Collection[UUID], sessions: Collection[UUID]
    ) -> Collection[EndedCredential]:
        """Find those of these users, API keys and sessions, across all tenants, that may no longer make calls."""
        ...

    async def changed(self, callers: Collection[Principal]) -> Collection[UUID]:
        """Find the users, API keys and sessions of these callers, across all tenants, that may no longer make calls, or not as these callers: the user has another role,
        is an owner of the installation now or no longer, or the service may no longer act on behalf of the user.
        """
        ...

    async def roles(self, users: Collection[UUID]) -> Mapping[UUID, Role]:
        """Find the present roles of these users, across all tenants. Users that do not exist are left out."""
        ...

    async def granted(self, pairs: Collection[tuple[UUID, UUID]]) -> Collection[tuple[UUID, UUID]]:
        """Find those of these pairs of a service and a user, across all tenants, whose service may act on behalf of the user."""
        ...

    async def touch_session(self, tenant_id: str, session_id: UUID) -> None:
        """Note that the session is in use. The time is stored at most once in a minute."""
        ...

    async def user(self, tenant_id: str, user_id: UUID) -> User | None:
        """Find a user of the tenant."""
        ...

    async def add_code(self, who: Principal, digest: bytes, seconds: float) -> datetime:
        """Store a session code that is valid for `seconds`, and return the time when the code expires. A code that is made in a session ends with this session, and is
        as recent as its sign-in.

        The call also deletes the tenant's expired codes and sessions. Raises Unauthenticated (CREDENTIAL_EXPIRED) if the caller's session has just ended.
        """
        ...

    async def exchange_code(
        self, code: bytes, token: bytes, seconds: float, origin: Origin, present: Principal | None = None
    ) -> datetime | None:
        """Use up a code and create a session, in one transaction.

        code, token: the digests of the code and of the new session's token. present: the caller whose session the new one may not replace, unless both are the
        same user. Return the time when the session expires. If the code is unknown, used or expired, was made in a session that has ended, or the user may not sign in, create no session and return None. Raises AlreadyExists
        for a code of another user than `present`; the code stays valid.
        """
        ...

    async def end_session(self, digest: bytes, origin: Origin) -> UUID | None:
        """End a session, if it exists. Return its id, or None."""
        ...

    async def add_key(
        self,
        key: ApiKey,
        digest: bytes,
        audit: AuditEvent,
        request_id: UUID | None,
        most: int = 0,
        for_service_by: Principal | None = None,
        session_id: UUID | None = None,
    ) -> ApiKey | None:
        """Store a key and return it; the database sets create_time. Return None if expire_time is not in the future.

        most: the maximum number of the user's keys that are neither revoked nor expired, the new one included; 0 for no limit. Raises Exhausted (LIMIT_REACHED).

        A key with a parent expires no later than its parent; without an expire_time, it expires with its parent. Raises InvalidRequest for a later time, and
        Unauthenticated (CREDENTIAL_REVOKED, CREDENTIAL_EXPIRED) if the parent has been revoked or has expired.

        for_service_by: the administrator who creates the key of a service; None if the user creates it. Raises NotFound if the user does not exist, InvalidRequest if the user is not a service,
        NotPermitted (ROLE_REQUIRED) if the user is an owner of the installation and the administrator is not.

        session_id: the session in which the user creates the key; None for a key of a service, and without a session. A session that ends at the same moment either ends before, and the key is
        not stored, or after. Raises Unauthenticated (CREDENTIAL_UNKNOWN) if it has ended.

        If the maker has already used this request_id with the same user, display_name, expire_time and role, return the earlier key
        in its current state, and store and audit nothing. Raises AlreadyExists (REQUEST_ID_REUSED) if display_name or
        expire_time differs.
        """
        ...

    async def list_keys(self, who: Principal, query: ListQuery) -> Page[ApiKey]:
        """Return a page of the user's keys."""
        ...

    async def list_tenant_keys(self, tenant_id: str, query: ListQuery) -> Page[ApiKey]:
        """Return a page of the keys of all users of the tenant."""
        ...

    async def revoke_key(
        self,
        tenant_id: str,
        owner: UUID | None,
        key_id: UUID,
        audit: Callable[[ApiKey], AuditEvent],
        *,
        by_owner: bool = False,
    ) -> Sequence[ApiKey]:
        """Revoke a key and, at any depth, the keys that were created with it. owner: the user to whom the key must belong; None for any user of the tenant.
        audit: makes the audit event for the id of a revoked key. by_owner: whether an owner of the installation revokes it.

        Return the key, and after it the other keys that this call revoked. Keys that are revoked already are neither changed nor audited. Return nothing if
        there is no such key. Raises NotPermitted (ROLE_REQUIRED) for any user's key if it is the key of an owner of the installation, and not by_owner.
        """
        ...

    async def add_tenant(self, tenant_id: str, display_name: str, audit: AuditEvent) -> bool:
        """Store a tenant. The first one of the installation becomes the home tenant. Return False if the id is taken."""
        ...

    async def add_user(self, user: User, audit: AuditEvent) -> User | None:
        """Store a user; the database sets create_time. The first administrator of the home tenant becomes the owner of the installation. Return None if another user of
        the tenant has the e-mail address. Raises NotFound for an unknown tenant.
        """
        ...

    async def give_ownership(self, tenant_id: str, user_id: UUID, audit: AuditEvent) -> User | None:
        """Make an active administrator of the home tenant an owner. Return None, and change and audit nothing, if there is no such administrator, or the user is an owner already."""
        ...


class ServiceGrants(Protocol):
    """The store of service grants. Each change runs in one transaction, which also writes the change's audit event."""

    async def add(self, grant: ServiceGrant, audit: AuditEvent) -> ServiceGrant:
        """Store a grant; the database sets create_time. If there is such a grant already, return it and change nothing.

        Raises NotFound for a service or a user that does not exist, and InvalidRequest for one that cannot have the grant.
        """
        ...

    async def list(self, tenant_id: str, query: ListQuery) -> Page[ServiceGrant]:
        """Return a page of the tenant's grants."""
        ...

    async def remove(
        self, tenant_id: str, grant_id: UUID, audit: Callable[[ServiceGrant], AuditEvent]
    ) -> ServiceGrant:
        """Delete a grant and return it. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class RevokedCredentials:
    """The ids of sessions that have ended, and of keys that were revoked, all at once."""

    sessions: Sequence[UUID]
    keys: Sequence[UUID]


class Users(Protocol):
    """The store of a tenant's users. Each change runs in one transaction, which also writes the change's audit event."""

    async def add(self, who: Principal, user: User, audit: AuditEvent, request_id: UUID | None) -> User:
        """Store a user; the database sets the times. If the caller has already used this request_id for the same user, return that user in its current
        state. Raises AlreadyExists (RESOURCE_ALREADY_EXISTS for the e-mail address, REQUEST_ID_REUSED).
        """
        ...

    async def get(self, tenant_id: str, user_id: UUID) -> User:
        """Return one user. Raises NotFound."""
        ...

    async def with_email(self, tenant_id: str, email: str) -> User:
        """Return the user with this folded e-mail address. Raises NotFound."""
        ...

    async def list(self, tenant_id: str, query: ListQuery) -> Page[User]:
        """Return a page of users."""
        ...

    async def update(
        self,
        tenant_id: str,
        user_id: UUID,
        change: UserChange,
        etag: str,
        audit: AuditEvent,
        *,
        by_owner: bool = False,
    ) -> User:
        """Change a user. etag: the expected etag; "" accepts any revision.

        by_owner: whether an owner of the installation makes the change. Raises NotFound, Conflict (ETAG_MISMATCH), AlreadyExists (the e-mail address), NotPermitted (ROLE_REQUIRED,
        for the e-mail address, the role, the ownership or the subject of an owner), Precondition (LAST_ADMINISTRATOR, LAST_OWNER), and InvalidRequest for an owner who would not be an
        administrator of the home tenant.
        """
        ...

    async def disable(
        self, tenant_id: str, user_id: UUID, etag: str, audit: AuditEvent, *, by_owner: bool = False
    ) -> User:
        """Disable a user. A second call changes and audits nothing. by_owner: as in `update`. Raises NotFound, Conflict (ETAG_MISMATCH), NotPermitted (ROLE_REQUIRED), Precondition
        (LAST_ADMINISTRATOR, LAST_OWNER).
        """
        ...

    async def enable(
        self, tenant_id: str, user_id: UUID, etag: str, audit: AuditEvent, *, by_owner: bool = False
    ) -> User:
        """Enable a disabled user. A second call changes and audits nothing. by_owner: as in `update`. Raises NotFound, Conflict (ETAG_MISMATCH), NotPermitted (ROLE_REQUIRED)."""
        ...

    async def revoke_credentials(
        self, tenant_id: str, user_id: UUID, audit: AuditEvent, *, by_owner: bool = False
    ) -> RevokedCredentials:
        """End all sessions of a user, and revoke all keys of the user with the keys that were created with them. audit: the event of the act; each session and each key has a further
        event. by_owner: as in `update`. Raises NotFound, NotPermitted (ROLE_REQUIRED).
        """
        ...
