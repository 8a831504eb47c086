"""Tenants, users and credentials, the audit log, and the erasing of users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from math import inf
from typing import Final
from uuid import UUID

from responsa_contract import Role
from responsa_server.domain import names
from responsa_server.domain.addresses import network_of
from responsa_server.domain.errors import AlreadyExists, NotPermitted, Reason, Unauthenticated
from responsa_server.domain.sharing import PARTY, Party

OK: Final = "OK"
"""The outcome of an act that was not refused."""

DEFAULT_TENANT: Final = "default"
"""The id of the tenant that `up` creates, and of sign-ins and registrations that name none."""
WIDGET: Final = "widget"
"""The role of calls with the key of a widget in row-level security. No user has it, so it is no `Role`."""


class UserState(StrEnum):
    """Whether a user may make calls."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    credential: the kind of the caller's credential: "api_key", "session" (a browser's cookie) or "token" (an access
    token); "turn" for the work of a turn, "job" for that of a job.
    key_id: the API key with which the caller makes the call or began the session; None if there is no such key.
    session_id: the session, for the kinds "session" and "token"; otherwise None. address, call_id: the network address
    and the id of the call, for the audit log; "" outside a call. owner: whether the caller owns the installation.
    acting: the service that makes the call on behalf of the user; None if the user makes it. narrowed: whether `key_id`
    has a narrower role than the user; `role` is then that of the key. widget: whether the call is made with the key of
    a widget, or works for a question that was asked with one; it reads as `acting_role` says, and `role` is USER.
    limited_as: the role whose limits and quotas apply, if it is not `role`. agent: the agent that the key of a widget
    asks, as in `ApiKey`. act: what the audit log calls the call, by the option `audit_action` of its method; "" outside
    a call and for methods without it. scopes: what a connected program may do for the user; None for other callers. expires: when
    the access token expires, in seconds since 1970; infinite for other credentials. files: the id, as the caller calls
    it, of the collection with the files of the conversation for which the caller searches; "" if there is none. Two
    principals are equal if they have the same tenant, user, role, credential and files, and either both are widgets or
    neither is.
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
    widget: bool = False
    limited_as: Role | None = field(default=None, compare=False)
    agent: str = field(default="", compare=False)
    scopes: frozenset[str] | None = field(default=None, compare=False)
    act: str = field(default="", compare=False)
    expires: float = field(default=inf, compare=False)
    files: str = ""

    @property
    def acting_role(self) -> str:
        """The role with which the caller's transactions read, as row-level security knows it."""
        return WIDGET if self.widget else self.role.value

    @property
    def limit_role(self) -> Role:
        """The role whose limits and quotas apply."""
        return self.limited_as or self.role


@dataclass(frozen=True, slots=True)
class Server:
    """The server itself in one tenant: a job, or a change whose caller has been checked. It reads all documents of the tenant."""

    tenant_id: str


Reader = Principal | Server
"""Who reads. What a principal may not read does not exist for it."""


def for_turn(tenant_id: str, user_id: UUID, acting_role: str) -> Principal:
    """The principal for whom a turn works. acting_role: see `Principal.acting_role`."""
    widget = acting_role == WIDGET
    return Principal(tenant_id, user_id, Role.USER if widget else Role(acting_role), "turn", widget=widget)


def with_files(caller: Principal, collections: tuple[str, ...]) -> tuple[str, ...]:
    """These collections, and the files of the caller's conversation."""
    return (*collections, caller.files) if caller.files else collections


def as_subject(caller: Principal) -> Principal:
    """The same user with the rights of a user: whatever the user's role, the only documents about people that the user
    reads are the documents about the user. A widget stays one, and reads none."""
    return replace(caller, role=Role.USER)


def work_for(reader: Reader, deadline: float | None = None, *, background: bool = False) -> None:
    """Note for whom the running task works, see `Party`. The turn of a widget's visitor stays the visitor's."""
    user, known = "", PARTY.get()
    if isinstance(reader, Principal):
        user = str(reader.user_id)
        if reader.widget and reader.address:
            user += f" {network_of(reader.address)}"
        elif reader.widget and known.tenant == reader.tenant_id and known.user.startswith(user):
            user = known.user
    PARTY.set(Party(reader.tenant_id, user, background, deadline))


def not_logged(_tenant_id: str) -> None:
    """For calls that no log records."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call without a credential comes from. address: the caller's network address; "" if unknown. user_agent:
    at most 200 bytes. call_id: the id of the call, for the audit log.
    log_tenant: takes the id of the tenant that the call turns out to concern, for the log; only of a tenant that exists.
    """

    address: str = ""
    user_agent: str = ""
    call_id: str = ""
    log_tenant: Callable[[str], None] = field(default=not_logged, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program of a tenant. disable_time: since when the user may make no calls, or None. revision: a
    number that starts at 1 and increases with every change. owner: whether the user owns the installation, as long as
    the user is an administrator of the home tenant. subject: the name of the person in documents, "" without one.
    last_sign_in_time: the time of the newest sign-in, also if its session has ended; None if there was none.
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
        return names.etag(self.create_time, self.revision)


@dataclass(frozen=True, slots=True)
class UserChange:
    """An update of a user; None leaves a field unchanged. email: folded, or "" to remove the address. subject: "" to remove it."""

    display_name: str | None = None
    email: str | None = None
    role: Role | None = None
    owner: bool | None = None
    subject: str | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What the maker of an API key chooses.

    role: USER if calls with the key have no more rights than a user with this role; None if they have the rights of the
    key's user. widget: whether the key stands in the pages of another site, and only asks there. agent: the agent that
    the key of a widget asks, `agents/{id}` or `agents/{id}/versions/{n}`; "" for the default agent.
    """

    display_name: str = ""
    expire_time: datetime | None = None
    role: Role | None = None
    widget: bool = False
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(NewKey):
    """An API key, which is a credential for programs. The record does not include the secret, which is never stored.

    parent_id: the key with which this key was created, directly or in a session; None if there is no such key.
    unread_collections: how many collections the user of a widget's key reads, and the key does not; 0 for other keys.
    """

    id: UUID
    tenant_id: str
    user_id: UUID
    prefix: str
    create_time: datetime
    revoke_time: datetime | None = None
    parent_id: UUID | None = None
    unread_collections: int = 0


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
    """A session, and its state according to the database's clock. A session expires with the API key that began it.
    suspended: whether the tenant is."""

    principal: Principal
    expired: bool
    disabled: bool
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class EndedCredential:
    """A user, an API key or a session that may no longer make calls. id: the id of the user, if `disabled` or
    `suspended`, or else of the key or the session. revoked: whether it is a key that was revoked. suspended: whether
    the user's tenant is.
    """

    id: UUID
    disabled: bool
    revoked: bool
    suspended: bool = False


def owner_required(message: str) -> NotPermitted:
    """The error for an act that only an owner of the installation may do."""
    return NotPermitted(Reason.ROLE_REQUIRED, message, {"required_role": "OWNER"})


def grant_required(user_id: UUID) -> NotPermitted:
    """The error for a service that may not act on behalf of a user. It is the same for a user who does not exist."""
    return NotPermitted(
        Reason.GRANT_REQUIRED,
        (
            "This service may not act on behalf of this user. Ask an administrator of your tenant "
            "for a service grant; administrators, services and disabled users cannot have one."
        ),
        {"user": names.user(user_id)},
    )


def tenant_suspended(tenant_id: str) -> NotPermitted:
    """The error for the callers of a suspended tenant."""
    return NotPermitted(
        Reason.TENANT_SUSPENDED,
        "Your tenant is suspended. Ask the owner of this installation to resume it.",
        {"tenant": names.tenant(tenant_id)},
    )


def key_revoked(key_id: UUID) -> Unauthenticated:
    """The error for a revoked API key."""
    return Unauthenticated(
        Reason.CREDENTIAL_REVOKED,
        "This API key was revoked. Use another one.",
        {"api_key": names.api_key(key_id)},
    )


def session_ended() -> Unauthenticated:
    """The error for a session that has ended since the call began."""
    return Unauthenticated(Reason.CREDENTIAL_UNKNOWN, "This session has ended. Sign in again.")


def credential_expired(credential: str) -> Unauthenticated:
    """The error for an expired credential. credential: the kind, as in `Principal`."""
    return Unauthenticated(
        Reason.CREDENTIAL_EXPIRED,
        "This API key has expired. Use another one."
        if credential == "api_key"
        else "This browser's session has ended. Run `responsa open` for a new session.",
    )


def other_user(present: Principal) -> AlreadyExists:
    """The error for a sign-in that would replace another user's session in a browser. present: the caller of the
    session that the browser has."""
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

    actor: the user's name, `users/{uuid}`; "local" for a command on the server's machine; "server" for what it does by
    itself; `ANONYMOUS` for a failed sign-in; or the name of an OpenID Connect provider. action: the kind of act, e.g.
    "api_key.create". outcome: `OK`, or the reason of a refusal. address, call_id: of the call, "" without a call.
    on_behalf_of: the name of the user for whom the actor, a service, acted; "" otherwise. about: the user whom the act
    was about, if the name of the resource does not contain the user.
    added_readers, removed_readers: with whom the act began and stopped to share a collection, each as `users/{uuid}`,
    as `groups/{uuid}`, as a role, e.g. "user", or as "" for everyone; or whom it added to a group and removed from it.
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
        """The user whom the act was about; None if this is the actor. What a service does on behalf of a user is about
        that user, if it is about no other."""
        user = self.about or names.user_in(self.resource_name) or names.user_in(self.on_behalf_of)
        return None if user is None or names.user(user) == self.actor else user

    @classmethod
    def of(
        cls,
        caller: Principal,
        action: str,
        resource_name: str,
        *,
        outcome: str = OK,
        about: UUID | None = None,
    ) -> AuditEvent:
        """Build the event for an act of a caller."""
        user = names.user(caller.user_id)
        actor, behalf = (user, "") if caller.acting is None else (names.user(caller.acting), user)
        return cls(
            caller.tenant_id,
            actor,
            action,
            resource_name,
            outcome,
            caller.address,
            caller.call_id,
            behalf,
            about,
        )

    @classmethod
    def of_call(cls, caller: Principal, resource_name: str, *, about: UUID | None = None) -> AuditEvent:
        """Build the event for what a call does by its contract: its method has the option `audit_action`."""
        return cls.of(caller, caller.act, resource_name, about=about)

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


@dataclass(frozen=True, slots=True)
class RevokedCredentials:
    """The ids of sessions that have ended, and of keys that were revoked, all at once."""

    sessions: Sequence[UUID]
    keys: Sequence[UUID]


MOST_REFUSED: Final = 10
"""How many refusals of one act for one reason a caller gets into the audit log in a window of `REFUSED_SECONDS`."""
REFUSED_SECONDS: Final = 900.0


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
    """The erasing of one user. heir_id: the user who receives the shared collections, or None. counts: what has been
    erased so far. end_time: None while answers of other users are still being checked for quotes.
    """

    tenant_id: str
    user_id: UUID
    heir_id: UUID | None
    begin_time: datetime
    end_time: datetime | None
    counts: Mapping[ErasedKind, int] = field(default_factory=dict[ErasedKind, int])


@dataclass(frozen=True, slots=True)
class EraseStage:
    """How far an erasing is. gone: whether the user and all that belongs to the user are gone. ended: whether no answer
    of another user quotes the documents."""

    gone: bool
    ended: bool
