"""Authentication of callers, and their credentials."""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from responsa_contract import MAX_BYTES
from responsa_server.domain import names
from responsa_server.domain.background import Background
from responsa_server.domain.errors import (
    FieldViolation,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Reason,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.domain.people import (
    ApiKey,
    AuditEvent,
    EndedCredential,
    FoundKey,
    FoundSession,
    NewKey,
    Origin,
    Principal,
    Role,
    User,
    credential_expired,
    grant_required,
    key_revoked,
    not_logged,
    session_ended,
    tenant_suspended,
)
from responsa_server.identity.credentials import (
    CredentialCache,
    SecretKind,
    digest,
    new_secret,
    prefix_of,
    token_invalid,
    well_formed,
)
from responsa_server.identity.tokens import Tokens
from responsa_server.stores.postgres.database import unavailable
from responsa_server.stores.postgres.identity import PostgresIdentityStore

LOCAL = "local"
MAX_DISPLAY_NAME_BYTES = MAX_BYTES["RegisterRequest.display_name"]
MAX_EMAIL_BYTES = MAX_BYTES["RegisterRequest.email"]
MAX_SUBJECT_BYTES = MAX_BYTES["Document.subject"]

_TENANT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# The creation time of what is not stored yet: the placeholder for the time that the database sets when it stores the row.
_NOT_YET = datetime.min.replace(tzinfo=UTC)
# The use of a session is recorded about once in this time.
_TOUCH_SECONDS: Final = 120.0
_TOUCHED_CAPACITY: Final = 8192
# While this many credentials or more are in use, one query confirms them all before they expire. For fewer, that query
# would cost more than it saves.
_WORTH_CONFIRMING: Final = 3
# How long a call that is about outages waits for the database.
_OUTAGE_SECONDS: Final = 1.0
_MANY: Final = 16


@dataclass(frozen=True, slots=True)
class Credential:
    """The credential that a caller sent: an API key, the token of a browser's session, or an access token. resource:
    the protected resource to which it was sent, at which the tokens of programs count; "" for others."""

    kind: Literal["api_key", "session", "token"]
    secret: str
    resource: str = ""

    def __repr__(self) -> str:
        return f"Credential({self.kind})"


class Identity:
    """Authenticates callers and manages their credentials. The audit event of an administrative action is written in
    the transaction of that action.
    """

    def __init__(
        self,
        store: PostgresIdentityStore,
        new_id: Callable[[], UUID],
        *,
        code_seconds: float,
        session_seconds: float,
        cache: CredentialCache | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """Build the service. new_id: returns new UUIDv7 ids. code_seconds, session_seconds: how long session codes and
        sessions are valid. tokens: None refuses all access tokens.
        """
        self.store = store
        self.new_id = new_id
        """Returns a new UUIDv7."""
        self._tokens = tokens
        self._touched: dict[UUID, float] = {}
        self._code_seconds = code_seconds
        self._session_seconds = session_seconds
        self._cache = cache or CredentialCache()
        self._background = Background()
        self._confirming: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop the checks of credentials. Call this before the database is closed."""
        await self._background.cancel()

    async def authenticate(
        self, credential: Credential, log_tenant: Callable[[str], None] = not_logged
    ) -> Principal:
        """Return the principal of a credential. log_tenant: takes the id of the tenant of a known credential, also if
        the credential is refused. Raises Unauthenticated: CREDENTIAL_MALFORMED, _UNKNOWN, _REVOKED or _EXPIRED,
        TOKEN_INVALID, or USER_DISABLED; NotPermitted: TENANT_SUSPENDED; Unavailable."""
        if credential.kind == "token":
            return await self._authenticate_token(credential, log_tenant)
        api_key = credential.kind == "api_key"
        if not well_formed(SecretKind.API_KEY if api_key else SecretKind.SESSION, credential.secret):
            raise _unreadable_credential(credential.kind)
        key = digest(credential.secret)
        if (known := self._cache.find(key)) is not None:
            await self._touch(known)
            return known
        mark = self._cache.mark()
        stored = await self.store.find_key(key) if api_key else await self.store.find_session(key)
        self._cache.drop(key)
        if stored is not None:
            log_tenant(stored.principal.tenant_id)
        if stored is None and not api_key:
            raise session_ended()
        principal = _good(stored)
        self._keep(key, principal, mark)
        await self._touch(principal)
        return principal

    async def authenticate_in_outage(
        self, credential: Credential, log_tenant: Callable[[str], None] = not_logged
    ) -> Principal:
        """As `authenticate`, for a call that is about outages: the database has a second to answer. Otherwise, an API
        key or a browser's session counts that it has confirmed within the last hour. Raises Unavailable for all others.
        """
        try:
            async with asyncio.timeout(_OUTAGE_SECONDS):
                return await self.authenticate(credential, log_tenant)
        except (Unavailable, TimeoutError) as error:
            known = None if credential.kind == "token" else self._cache.recall(digest(credential.secret))
            if known is None:
                raise (error if isinstance(error, Unavailable) else unavailable(error)) from None
            return known

    async def act_for(self, service: Principal, secret: str, user_id: UUID) -> Principal:
        """Return the principal of a user on whose behalf a service makes a call. secret: the service's API key.

        Raises NotPermitted: ON_BEHALF_NOT_ALLOWED if the caller is not a service with an API key, GRANT_REQUIRED if the
        service may not act for this user.
        """
        if service.role is not Role.SERVICE or service.credential != "api_key":
            raise NotPermitted(
                Reason.ON_BEHALF_NOT_ALLOWED,
                "Only a user with the role SERVICE can act on behalf of others, with an API key; leave responsa-on-behalf-of out.",
            )
        key = digest(f"{secret} {user_id}")
        if (known := self._cache.find(key)) is not None:
            return known
        mark = self._cache.mark()
        pair = (service.user_id, user_id)
        if pair not in await self.store.find_granted([pair]):
            raise grant_required(user_id)
        user = replace(service, user_id=user_id, role=Role.USER, owner=False, acting=service.user_id)
        self._keep(key, user, mark)
        return user

    async def recheck(self, callers: Sequence[Principal]) -> Sequence[ResponsaError | None]:
        """Ask the database, not the cache, whether these callers may still make calls. Returns None for each caller who
        may, and otherwise the reason: the user is disabled, the tenant is suspended, the caller's API key was revoked
        or has expired, the caller's session has ended, the service that acts for the user has no grant any more, or the
        user has another role now, with which the call can be made again.
        """
        # Mostly nothing has changed, and one query shows that.
        changed = await self.store.find_changed(callers)
        if not changed:
            return [None for _ in callers]
        # The others may be thousands.
        affected = [caller for caller in callers if caller.user_id in changed or _subject(caller) in changed]
        users = {actor.user_id for actor in affected}
        pairs = {(actor.acting, actor.user_id) for actor in affected if actor.acting is not None}
        # A session ends with the key that began it, so such a key is not asked for.
        keys = {actor.key_id for actor in affected if actor.session_id is None and actor.key_id is not None}
        sessions = {actor.session_id for actor in affected if actor.session_id is not None}
        ended = await self.store.find_ended(users, keys, sessions)
        # A user of a suspended tenant is reported twice, also as disabled.
        by_id = {end.id: end for end in sorted(ended, key=lambda end: end.suspended)}
        denied = pairs.difference(await self.store.find_granted(pairs)) if pairs else set[tuple[UUID, UUID]]()
        self.forget([end.id for end in by_id.values() if not end.disabled])
        roles = await self.store.roles(users)
        return [self._reason(caller, by_id, denied, roles) for caller in callers]

    @staticmethod
    def _reason(
        caller: Principal,
        ended_credentials: Mapping[UUID, EndedCredential],
        denied: Collection[tuple[UUID, UUID]],
        roles: Mapping[UUID, Role],
    ) -> ResponsaError | None:
        if caller.user_id in ended_credentials:
            return (
                tenant_suspended(caller.tenant_id)
                if ended_credentials[caller.user_id].suspended
                else _user_disabled()
            )
        if caller.acting is not None and (caller.acting, caller.user_id) in denied:
            return grant_required(caller.user_id)
        subject = _subject(caller)
        ended = None if subject is None else ended_credentials.get(subject)
        if ended is None:
            same = caller.narrowed or roles.get(caller.user_id, caller.role) is caller.role
            if same:
                return None
            message = "Your role has changed. Make the call again, or resume the stream."
            return Unavailable(Reason.ROLE_CHANGED, message, retry_after=0.0)
        if caller.session_id is not None:
            return Unauthenticated(
                Reason.SESSION_ENDED, "Your session has ended. Sign in again, then resume."
            )
        return key_revoked(ended.id) if ended.revoked else credential_expired(caller.credential)

    def forget(self, session_ids: Sequence[UUID]) -> None:
        """Refuse these sessions and API keys, which have ended, from now on in this process."""
        for id_ in session_ids:
            self._cache.forget(id_)

    async def user_of(self, tenant_id: str, user_id: UUID) -> User:
        """Return a user of the tenant. Raises NotFound."""
        user = await self.store.user(tenant_id, user_id)
        if user is None:
            raise NotFound.of("user", names.user(user_id))
        return user

    async def me(self, caller: Principal) -> User:
        """Return the caller's own record. With a key that has a narrower role, the record has this role."""
        user = await self.user_of(caller.tenant_id, caller.user_id)
        return replace(user, role=caller.role, owner=False) if caller.narrowed else user

    async def create_session_code(self, caller: Principal) -> tuple[str, datetime]:
        """Create a single-use code that `exchange_code` turns into a session of the caller. Returns the code and its
        expiry time. Raises NotPermitted (ROLE_REQUIRED) for a service.
        """
        if caller.role is Role.SERVICE:
            raise NotPermitted(
                Reason.ROLE_REQUIRED,
                "A service has no page and no sessions; use its API key.",
                {"required_role": Role.USER.name},
            )
        code = new_secret(SecretKind.SESSION_CODE)
        return code, await self.store.add_code(caller, digest(code), self._code_seconds)

    async def caller_of(self, token: str) -> Principal | None:
        """Return the caller of a browser's session; None if no session has this token with which the caller can make calls."""
        try:
            return await self.authenticate(Credential("session", token))
        except (Unauthenticated, NotPermitted):  # NotPermitted: TENANT_SUSPENDED
            return None

    async def exchange_code(
        self, code: str, origin: Origin | None = None, present: Principal | None = None
    ) -> tuple[str, datetime]:
        """Use up a code and begin a session. present: the caller whose session the new one may not replace, unless both
        are the same user. Returns the session's token and expiry time.

        Raises Unauthenticated (SESSION_CODE_INVALID), and AlreadyExists for a code of another user than `present`; then
        the code stays valid.
        """
        token = new_secret(SecretKind.SESSION)
        expire_time = None
        if well_formed(SecretKind.SESSION_CODE, code):
            expire_time = await self.store.exchange_code(
                digest(code), digest(token), self._session_seconds, origin or Origin(), present
            )
        if expire_time is None:
            raise Unauthenticated(
                Reason.SESSION_CODE_INVALID,
                "This sign-in link was already used, has expired or is unknown. Run `responsa open` for a new link.",
            )
        return token, expire_time

    async def end_session(self, token: str, origin: Origin | None = None) -> None:
        """End a session. Does nothing if the session does not exist."""
        if well_formed(SecretKind.SESSION, token):
            ended = await self.store.end_session(digest(token), origin or Origin())
            if ended is not None:
                self._cache.forget(ended)

    async def create_api_key(
        self,
        caller: Principal,
        new: NewKey,
        request_id: UUID | None = None,
        limit: int = 0,
        *,
        service_id: UUID | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key for the caller. A key that is created with a narrower key is as narrow. limit: the maximum number
        of the caller's keys that are neither revoked nor expired; 0 for no limit. Returns the key and its secret. No
        later call returns the secret. The key expires no later than the key with which the caller makes the call, and
        is revoked together with that key.

        If an earlier call with this request_id created a key, returns that key, and "" instead of the secret, because
        the server keeps no copy of secrets. Raises InvalidRequest, AlreadyExists REQUEST_ID_REUSED, Exhausted
        LIMIT_REACHED, and Unauthenticated if the caller's key has just ended.

        service_id: a service of the tenant whose key it is, for administrators alone. The key has no parent: it ends
        with the service, not with the caller. Raises NotFound, InvalidRequest if the user is not a service,
        NotPermitted (ROLE_REQUIRED) if the user is an owner of the installation and the caller is not.
        """
        user_id, for_service = service_id or caller.user_id, service_id is not None
        return await self._add_key(
            caller, caller.tenant_id, user_id, new, request_id, limit, for_service=for_service
        )

    async def revoke_api_key(self, caller: Principal, key_id: UUID, *, of_any_user: bool = False) -> ApiKey:
        """Revoke one of the caller's keys, and the keys that were created with it. This process refuses the keys at
        once, and other processes refuse them within a second.

        of_any_user: whether the key may belong to any user of the tenant; only administrators may ask for this. Raises
        NotFound, and NotPermitted (ROLE_REQUIRED) for the key of an owner of the installation if the caller is not one.
        """
        key, others = await self.store.revoke_key(caller, key_id, of_any_user=of_any_user)
        self._cache.forget_keys({key_id, *others})
        return key

    async def create_tenant(self, tenant_id: str, display_name: str) -> None:
        """Create a tenant, for a command on the server's machine. Raises InvalidRequest, AlreadyExists."""
        check_tenant_id("tenant", tenant_id)
        audit = AuditEvent(tenant_id, LOCAL, "tenant.create", names.tenant(tenant_id))
        await self.store.add_tenant(tenant_id, check_display_name(display_name), audit)

    async def create_user(self, tenant_id: str, display_name: str, email: str, role: Role) -> User:
        """Create a user of a tenant, for a command on the server's machine. Raises InvalidRequest, NotFound (tenant),
        AlreadyExists (e-mail address).
        """
        name = check_display_name(display_name)
        user = new_user(self.new_id(), tenant_id, name, fold_email(email), role)
        return await self.store.add_user(
            user, AuditEvent(tenant_id, LOCAL, "user.create", names.user(user.id))
        )

    async def own(self, caller: Principal) -> bool:
        """Make the caller an owner of the installation, for a command on the server's machine. Returns False if the
        caller is an owner already, or not an administrator of the home tenant."""
        audit = AuditEvent(caller.tenant_id, LOCAL, "user.grant_ownership", names.user(caller.user_id))
        owner = await self.store.give_ownership(caller.tenant_id, caller.user_id, audit)
        self._cache.forget_user(caller.user_id)
        return owner is not None

    async def create_key(
        self,
        tenant_id: str,
        user_id: UUID,
        display_name: str,
        role: Role | None = None,
        *,
        widget: bool = False,
        agent: str = "",
    ) -> tuple[ApiKey, str]:
        """Create a key for any user, for a command on the server's machine. role, widget, agent: see `NewKey`. Raises
        InvalidRequest (also for a role of the key of a service), NotFound (user)."""
        user = await self.user_of(tenant_id, user_id)
        if role is not None and user.role is Role.SERVICE:
            raise key_of_service()
        new = NewKey(display_name, role=role, widget=widget, agent=agent)
        return await self._add_key(None, tenant_id, user_id, new, None)

    async def _authenticate_token(
        self, credential: Credential, log_tenant: Callable[[str], None]
    ) -> Principal:
        if self._tokens is None:
            raise token_invalid()
        # A token may end while its session goes on, so its own time is checked at each call.
        claims = await self._tokens.verify(credential.secret)
        log_tenant(claims.tenant_id)
        if claims.resource not in ("", credential.resource):
            raise token_invalid()
        key = digest(credential.secret)
        if (known := self._cache.find(key)) is not None:
            await self._touch(known)
            return known
        mark = self._cache.mark()
        session = await self.store.find_token_session(claims.session_id)
        if session is None or session.expired:
            raise token_invalid()
        principal = replace(session.principal, expires=claims.expires)
        if (principal.tenant_id, principal.user_id) != (claims.tenant_id, claims.user_id):
            raise token_invalid()
        if session.suspended:
            raise tenant_suspended(principal.tenant_id)
        if session.disabled:
            raise _user_disabled()
        if claims.resource:
            principal = replace(principal, scopes=claims.scopes)
        self._keep(key, principal, mark)
        await self._touch(principal)
        return principal

    def _keep(self, digest: bytes, principal: Principal, mark: tuple[float, int]) -> None:
        self._cache.keep(digest, principal, _subject(principal), mark)
        if self._confirming is None and self._cache.size >= _WORTH_CONFIRMING:
            self._confirming = self._background.start(self._confirm_often(), name="checks of credentials")

    async def _confirm_often(self) -> None:
        try:
            while True:
                # Many credentials are confirmed twice in the lifetime of a cached one, so that a busy process does not
                # have to look them up one by one; few just before they expire, which costs each of their calls less.
                share = 0.5 if len(self._cache.recent()) >= _MANY else 0.875
                await asyncio.sleep(self._cache.seconds * share)
                if not await self.confirm():
                    return
        except Unavailable:
            # The entries expire, and each caller's next call asks the database again.
            return
        finally:
            self._confirming = None

    async def confirm(self) -> bool:
        """Ask the database with one query which credentials of recent calls have changed. Unchanged ones stay in the
        cache for another 0.8 s; the others are looked up again at their next call. Returns False, without a query, if
        there are too few of them. Raises Unavailable.
        """
        recent = self._cache.recent()
        if len(recent) < _WORTH_CONFIRMING:
            return False
        asked, _ = self._cache.mark()
        changed = await self.store.find_changed([hit.principal for hit in recent])
        stale = [
            hit for hit in recent if hit.principal.user_id in changed or _subject(hit.principal) in changed
        ]
        self._cache.renew(asked, set(recent).difference(stale), stale)
        return True

    async def _touch(self, caller: Principal) -> None:
        session_id, now = caller.session_id, time.monotonic()
        if session_id is None:
            return
        if now - self._touched.get(session_id, float("-inf")) < _TOUCH_SECONDS:
            return
        if len(self._touched) >= _TOUCHED_CAPACITY:
            self._touched.clear()
        self._touched[session_id] = now
        await self.store.touch_session(caller.tenant_id, session_id)

    async def _add_key(
        self,
        maker: Principal | None,
        tenant_id: str,
        user_id: UUID,
        new: NewKey,
        request_id: UUID | None,
        limit: int = 0,
        *,
        for_service: bool = False,
    ) -> tuple[ApiKey, str]:
        """Create a key. maker: the caller; None for a command on the server's machine. for_service: whether the user
        must be a service. Raises InvalidRequest, also for an agent of a key that is not one of a widget."""
        _check_agent(new.agent, widget=new.widget)
        secret = new_secret(SecretKind.API_KEY)
        wanted = ApiKey(
            **asdict(replace(new, display_name=check_display_name(new.display_name))),
            id=self.new_id(),
            tenant_id=tenant_id,
            user_id=user_id,
            prefix=prefix_of(secret),
            create_time=_NOT_YET,
            parent_id=None if maker is None or for_service else maker.key_id,
        )
        name = names.api_key(wanted.id)
        audit = (
            AuditEvent(tenant_id, LOCAL, "api_key.create", name, about=user_id)
            if maker is None
            else AuditEvent.of_call(maker, name, about=user_id)
        )
        for_service_by = maker if for_service else None
        session_id = None if maker is None or for_service else maker.session_id
        key = await self.store.add_key(
            wanted, digest(secret), audit, request_id, limit, for_service_by, session_id
        )
        return key, secret if key.id == wanted.id else ""


def check_tenant_id(field: str, tenant_id: str) -> None:
    """Check the id of a new tenant. field: the path of the field in the request. Raises InvalidRequest."""
    if _TENANT_ID.fullmatch(tenant_id) is None:
        raise InvalidRequest.of_field(
            field,
            "tenant.id",
            "must be 1 to 63 characters of a-z, 0-9 and hyphen, and must not begin with a hyphen, e.g. acme",
        )


def _check_agent(agent: str, *, widget: bool) -> None:
    if not agent:
        return
    if not widget:
        raise InvalidRequest.of_field(
            "api_key.agent", "api_key.agent", "must be empty: only the key of a widget has an agent"
        )
    try:
        names.parse_agent_version(agent)
    except ValueError as error:
        remedy = "must be agents/{id} or agents/{id}/versions/{n}, e.g. agents/knowledge"
        raise InvalidRequest.of_field("api_key.agent", "name", remedy) from error


def key_of_service() -> InvalidRequest:
    """The error for a role of the key of a service."""
    return InvalidRequest.of_field(
        "api_key.role", "api_key.role", "must be unset: the key of a service has the role SERVICE"
    )


def new_key(identity: UUID, user: User, display_name: str) -> tuple[ApiKey, str]:
    """Build a key without an end for a user, to store, and its secret; the database sets the times. display_name: checked."""
    secret = new_secret(SecretKind.API_KEY)
    key = ApiKey(
        display_name=display_name,
        id=identity,
        tenant_id=user.tenant_id,
        user_id=user.id,
        prefix=prefix_of(secret),
        create_time=_NOT_YET,
    )
    return key, secret


def new_user(identity: UUID, tenant_id: str, display_name: str, email: str, role: Role) -> User:
    """Build a user to store; the database sets the times. display_name: checked. email: folded."""
    return User(identity, tenant_id, display_name, email, role, _NOT_YET, _NOT_YET)


def check_display_name(text: str, field: str = "display_name") -> str:
    """Check a name to show to people. field: the path of the field in the request. Raises InvalidRequest."""
    if len(text.encode()) > MAX_DISPLAY_NAME_BYTES:
        raise InvalidRequest.of_field(
            field, "string.max_bytes", f"must be at most {MAX_DISPLAY_NAME_BYTES} bytes; shorten it"
        )
    if "\x00" in text:
        raise InvalidRequest.of_violation(FieldViolation.of_nul(field))
    return text


def _unreadable_credential(kind: str) -> Unauthenticated:
    what = (
        (
            "This credential is incomplete or mistyped. Send an API key (rsp_…) or an access token as "
            "`authorization: Bearer …`."
        )
        if kind == "api_key"
        else "The session cookie of this browser cannot be read. Run `responsa open` for a new link."
    )
    return Unauthenticated(Reason.CREDENTIAL_MALFORMED, what)


def _good(credential: FoundKey | FoundSession | None) -> Principal:
    if credential is None:
        raise Unauthenticated(
            Reason.CREDENTIAL_UNKNOWN,
            "This server does not know this credential. Use a key of this server, or create one with `responsa admin create-key`.",
        )
    if isinstance(credential, FoundKey) and credential.revoked:
        raise key_revoked(credential.key_id)
    if credential.expired:
        raise credential_expired(credential.principal.credential)
    if credential.suspended:
        raise tenant_suspended(credential.principal.tenant_id)
    if credential.disabled:
        raise _user_disabled()
    return credential.principal


def _subject(caller: Principal) -> UUID | None:
    return caller.key_id if caller.session_id is None else caller.session_id


def _user_disabled() -> Unauthenticated:
    return Unauthenticated(
        Reason.USER_DISABLED, "This account is disabled. Ask an administrator of your tenant to enable it."
    )


def fold_email(address: str, field: str = "email", *, required: bool = False) -> str:
    """Fold an e-mail address with Unicode NFKC and case folding. Addresses are stored and compared in this form. ""
    stays "".

    The function checks only the form and the length (a limit of RFC 5321), because only a sent mail shows whether the
    address works. field: the path of the field in the request. required: whether the request needs an address; this
    changes the text of the error alone. Raises InvalidRequest if the text cannot be an address.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address.strip()).casefold())
    if not folded:
        return ""
    local, at, domain = folded.rpartition("@")
    printable = all(char.isprintable() and not char.isspace() for char in folded)
    if (
        not at
        or not local
        or "@" in local
        or not domain.strip(".")
        or not printable
        or len(folded.encode()) > MAX_EMAIL_BYTES
    ):
        remedy = f"must be an e-mail address such as ada@example.org, at most {MAX_EMAIL_BYTES} bytes"
        raise InvalidRequest.of_field(field, "email", remedy if required else f"{remedy}; or leave it empty")
    return folded


def require_email(address: str, field: str = "email") -> str:
    """As `fold_email`. Raises InvalidRequest also for a text without an address."""
    folded = fold_email(address, field, required=True)
    if not folded:
        raise InvalidRequest.of_field(
            field, "email.required", "must be an e-mail address such as ada@example.org"
        )
    return folded
