"""Sign-in of browsers with OpenID Connect: the authorisation code flow with PKCE.

A sign-in that has begun is in a cookie of the browser, encrypted: its state, nonce and verifier, and what happens at
its end. Only its end writes to the database.

Over plain http, programs on other ports of the host can plant such a cookie. A planted sign-in gains nothing over a
planted session. But a planted link would give the person at the browser to another user's account. So the provider's
reply only prepares a link, and the session that began the link confirms it. The prepared link is in the address to
which the browser goes on, because programs on other ports can read cookies, too.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.accounts import ExternalIdentity, Invitation, code_invalid
from responsa_server.domain.addresses import network_of
from responsa_server.domain.errors import (
    AlreadyExists,
    Exhausted,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Precondition,
    Reason,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.domain.limits import check_attempt
from responsa_server.domain.people import (
    DEFAULT_TENANT,
    AuditEvent,
    Origin,
    Principal,
    Role,
    User,
    UserChange,
)
from responsa_server.identity.accounts import (
    ATTEMPTS_SECONDS,
    RECENT_SECONDS,
    SignedIn,
    begin_browser_session,
)
from responsa_server.identity.credentials import CredentialCache, SecretKind, digest, well_formed
from responsa_server.identity.openid_provider import (
    LEEWAY_SECONDS,
    TIMES,
    OpenIdPerson,
    OpenIdProvider,
    ProviderFault,
    sign_in_error,
)
from responsa_server.identity.openid_settings import OidcSettings
from responsa_server.identity.service import (
    MAX_DISPLAY_NAME_BYTES,
    MAX_SUBJECT_BYTES,
    Identity,
    fold_email,
    new_user,
)
from responsa_server.identity.settings import PasswordSettings, Registration
from responsa_server.identity.tokens import Secret
from responsa_server.outbound.connector import Times
from responsa_server.stores.postgres.accounts import PostgresAccountStore
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.postgres.openid import PostgresOpenIdStore
from responsa_server.stores.postgres.users import PostgresUsers

MOST_AT_ONCE: Final = 64
"""How many sign-ins may wait for providers at a time in one process. Each provider has an equal part, so that a slow
one leaves the others theirs."""
LEAST_AT_ONCE: Final = 8
"""The least part of a provider."""
_DAY_SECONDS: Final = 86_400
_FLOW_SECONDS: Final = 600
"""How long a sign-in may take at the provider."""
RETRY_SECONDS: Final = 2.0
MAX_COOKIE: Final = 4096
LEAST_PORT: Final = 1024
MOST_PORT: Final = 65_535
MAX_PARAMETER: Final = 4096
_TEXT: Final = r"[A-Za-z0-9/_.~:?=&%-]"
_RETURN: Final = re.compile(rf"/(\?{_TEXT}{{0,300}})?(#{_TEXT}{{0,1200}})?")
_LOGGER: Final = logging.getLogger(__name__)
_GONE: Final = "the user was disabled or deleted meanwhile"


@dataclass(frozen=True, slots=True)
class StartedFlow:
    """A sign-in that begins. uri: the address at the provider. cookie: the value of the browser's cookie. seconds: how
    long the cookie is valid."""

    uri: str
    cookie: str
    seconds: int

    def __repr__(self) -> str:
        return "StartedFlow(…)"


@dataclass(frozen=True, slots=True)
class Finished:
    """A sign-in that is complete. token, expire_time: of the new session; None for a link, with which the browser's
    session goes on. signed_in: the tokens of the new session and its user, for a command line. return_to: where the
    browser goes; for a link, with what `OpenId.link` takes as the parameter `link` of the fragment.
    """

    return_to: str
    token: str | None = None
    expire_time: datetime | None = None
    signed_in: tuple[SignedIn, User] | None = None

    def __repr__(self) -> str:
        return "Finished(…)"


@dataclass(frozen=True, slots=True)
class OpenIdOptions:
    """The settings that sign-ins read. registration: the one in effect. session_seconds: how long a browser's session is valid.
    times: those of requests to a provider."""

    oidc: OidcSettings
    passwords: PasswordSettings
    registration: Registration
    session_seconds: float
    times: Times = TIMES


@dataclass(frozen=True, slots=True)
class _Session:
    tenant_id: str
    user_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class _Flow:
    """A sign-in that has begun. begun: in seconds since 1970. invitation: a code, or "". link: whether the identity is
    for the user of `session`.
    replace: whether the sign-in may end the session of another user. tokens: whether it is a command line's, which gets
    tokens. sub, subject: see `ExternalIdentity`, of a link that only lacks its confirmation; "" and None before.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    begun: float
    return_to: str
    invitation: str
    link: bool
    replace: bool
    session: _Session | None
    tokens: bool = False
    sub: str = ""
    subject: str | None = None

    def caller(self) -> Principal | None:
        """The user of the session when the sign-in began; the role is not known."""
        if self.session is None:
            return None
        tenant_id, user_id, session_id = (
            self.session.tenant_id,
            UUID(self.session.user_id),
            UUID(self.session.session_id),
        )
        return Principal(tenant_id, user_id, Role.USER, "session", session_id=session_id)


class OpenId:
    """Signs browsers in with the providers of the settings."""

    def __init__(
        self,
        store: PostgresOpenIdStore,
        accounts: PostgresAccountStore,
        users: PostgresUsers,
        groups: PostgresGroups,
        audit: PostgresAuditTrail,
        identity: Identity,
        cache: CredentialCache,
        secret: Secret,
        begin_tokens: Callable[[User, Origin], Awaitable[SignedIn | None]],
        options: OpenIdOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """cache: the cache of `identity`. begin_tokens: see `Accounts.begin_tokens`. clock: returns seconds since 1970."""
        self._store = store
        self._accounts = accounts
        self._users = users
        self._groups = groups
        self._trail = audit
        self._identity = identity
        self._cache = cache
        self._secret = secret
        self._begin_tokens = begin_tokens
        self._options = options
        self._clock = clock
        self._running = Counter[str]()
        self._most_running = max(LEAST_AT_ONCE, MOST_AT_ONCE // max(1, len(options.oidc.providers)))
        self._providers: Mapping[str, OpenIdProvider] = {
            name: OpenIdProvider(name, provider, options.times, clock)
            for name, provider in options.oidc.providers.items()
        }

    async def begin(
        self,
        provider_id: str,
        base_uri: str,
        caller: Principal | None,
        *,
        invitation: str = "",
        return_to: str = "/",
        link: bool = False,
        replace: bool = False,
        port: int | None = None,
    ) -> StartedFlow:
        """Begin a sign-in. base_uri: the address of this server, without a path. caller: the user of the browser's
        session, or None. invitation: a code for the first sign-in, or "". return_to: where the browser goes at the end:
        `/`, and optionally a query and a fragment. link: whether to give the identity to `caller` instead. replace:
        whether the sign-in may end the session of `caller` if it turns out to be of another user. port: of a command line,
        which gets the provider's reply at this port on its machine, brings it here, and gets tokens; None for a
        browser.

        Raises:
            NotFound: the settings have no such provider (ROUTE_NOT_FOUND).
            InvalidRequest: return_to or the invitation has a wrong form, or the provider is not for command lines.
            Unauthenticated: `link` without a session (CREDENTIAL_MISSING).
            NotPermitted: `link`, and the session did not begin in the last ten minutes (SIGN_IN_REQUIRED), or is of
                another tenant (OIDC_NOT_ADMITTED).
            Exhausted: OVERLOADED. Unavailable: the provider cannot be reached.
        """
        provider = self._provider(provider_id)
        if _RETURN.fullmatch(return_to) is None:
            raise InvalidRequest.of_field(
                "returnTo",
                "string.pattern",
                "must be `/`, and optionally a query of at most 300 and a fragment of at most 1200 letters, digits and -._~/:?=&%",
            )
        if invitation and not well_formed(SecretKind.INVITATION, invitation):
            raise InvalidRequest.of_field(
                "invitation", "string.pattern", "must be the code of an invitation, rsi_…"
            )
        session = None
        if caller is not None and caller.session_id is not None:
            session = _Session(caller.tenant_id, str(caller.user_id), str(caller.session_id))
        if port is not None:
            if link or not provider.settings.command_line or not LEAST_PORT <= port <= MOST_PORT:
                raise InvalidRequest.of_field(
                    "port",
                    "oidc.command_line",
                    (
                        f"must be from {LEAST_PORT} to {MOST_PORT}, without `link`, and for a provider with the "
                        "setting oidc.providers.NAME.command_line; ask the operator to set it"
                    ),
                )
            session = None
        if link:
            await self._check_link(provider, caller)
        flow = _Flow(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            redirect_uri=f"{base_uri}/v1/oidc/{provider_id}/callback"
            if port is None
            else f"http://127.0.0.1:{port}/callback/{provider_id}",
            begun=self._clock(),
            return_to=return_to,
            invitation=invitation,
            link=link,
            replace=replace,
            session=session,
            tokens=port is not None,
        )
        with self._place(provider):
            uri = await provider.authorization_uri(flow.redirect_uri, flow.state, flow.nonce, flow.verifier)
        return StartedFlow(uri, self._seal(provider, flow), _FLOW_SECONDS)

    async def finish(
        self, provider_id: str, cookie: str, parameters: Mapping[str, str], origin: Origin
    ) -> Finished:
        """Complete a sign-in, or prepare a link. cookie: the value of the browser's cookie, or "". parameters: the provider's reply.

        Raises:
            NotFound: the settings have no such provider (ROUTE_NOT_FOUND).
            Unauthenticated: the sign-in is not good (OIDC_FAILED), or the invitation (CODE_INVALID).
            NotPermitted: the person may not sign in (OIDC_NOT_ADMITTED, REGISTRATION_CLOSED).
            AlreadyExists: OIDC_ADDRESS_TAKEN; RESOURCE_ALREADY_EXISTS if the browser has another user's session.
            Exhausted: TOO_MANY_ATTEMPTS, OVERLOADED. Unavailable: the provider cannot be reached.
        """
        provider = self._provider(provider_id)
        # The operator names it in the settings.
        origin.log_tenant(self._tenant(provider))
        flow = self._flow(provider, cookie)
        state = parameters.get("state", "")
        if flow is None or not hmac.compare_digest(flow.state.encode(), state.encode(errors="replace")):
            self._log_refusal(provider, "no such sign-in in this browser")
            raise sign_in_error()
        subject = await self._count(origin)
        tenant_id = self._tenant(provider)
        seconds = _FLOW_SECONDS + RECENT_SECONDS
        if not await self._store.use_state(tenant_id, digest(flow.state), seconds):
            self._log_refusal(provider, "a repeated reply, or the tenant does not exist")
            raise sign_in_error()
        try:
            with self._place(provider):
                person = await self._person(provider, flow, parameters)
            finished = await self._finish(provider, flow, person, origin)
        except (AlreadyExists, NotPermitted, Unauthenticated) as error:
            if error.reason not in (
                Reason.OIDC_FAILED,
                Reason.OIDC_NOT_ADMITTED,
            ):  # they are in the log already
                self._log_refusal(provider, error.reason.value)
            who = flow.caller()
            if flow.link and who is not None:
                caller = replace(who, address=origin.address, call_id=origin.call_id)
                await self._record_refused_link(caller, error)
            else:
                await self._record(provider, tenant_id, error, origin)
            raise
        if subject:
            await self._accounts.forgive_attempt(b"", [subject])
        return finished

    async def link(
        self, provider_id: str, prepared: str, principal: Principal | None, origin: Origin
    ) -> None:
        """Give the identity of a prepared link to the user who began the link. prepared: see `Finished`. principal: the user
        of the browser's session, or None.

        Raises:
            NotFound: the settings have no such provider (ROUTE_NOT_FOUND).
            Unauthenticated: no link was prepared, or it was too long ago, or another session began it (OIDC_FAILED).
            AlreadyExists: another user has the identity (OIDC_IDENTITY_TAKEN).
        """
        provider = self._provider(provider_id)
        tenant_id = self._tenant(provider)
        origin.log_tenant(tenant_id)
        flow = self._flow(provider, prepared)
        began = None if flow is None else flow.caller()
        if flow is None or not flow.sub or began is None:
            self._log_refusal(provider, "no such link")
            raise sign_in_error()
        name = names.user(began.user_id)
        identity = ExternalIdentity(tenant_id, provider.settings.issuer, flow.sub, flow.subject)
        try:
            if principal is None or principal.session_id != began.session_id:
                self._log_refusal(provider, "another session began the link")
                raise sign_in_error()
            await self._store.link(
                began.user_id, identity, AuditEvent.of_origin(origin, tenant_id, name, "user.link", name)
            )
        except (AlreadyExists, Unauthenticated) as error:
            caller = replace(began, address=origin.address, call_id=origin.call_id)
            await self._record_refused_link(caller, error)
            raise

    async def _person(
        self, provider: OpenIdProvider, flow: _Flow, parameters: Mapping[str, str]
    ) -> OpenIdPerson:
        # A provider that names itself cannot be taken for another one (RFC 9207).
        issuer = parameters.get("iss")
        named = (await provider.configuration()).names_itself
        if (issuer is None and named) or issuer not in (None, provider.settings.issuer):
            self._log_refusal(provider, "the reply comes from another issuer")
            raise sign_in_error()
        code = parameters.get("code", "")
        if "error" in parameters or not code:
            self._log_refusal(provider, "the provider refused, or the person went back")
            raise sign_in_error()
        try:
            return await provider.person(code, flow.verifier, flow.redirect_uri, flow.nonce, flow.begun)
        except ProviderFault as fault:
            self._log_refusal(provider, str(fault))
            raise sign_in_error() from fault

    async def _finish(
        self, provider: OpenIdProvider, flow: _Flow, person: OpenIdPerson, origin: Origin
    ) -> Finished:
        settings = provider.settings
        subject = _subject(person, settings.subject_claim) if settings.subject_claim else None
        identity = ExternalIdentity(self._tenant(provider), person.issuer, person.sub, subject)
        if flow.link:
            return await self._prepare(provider, flow, identity)
        role = self._role(provider, person)
        user = await self._store.sign_in(identity)
        if user is None:
            user = await self._register(provider, flow, person, identity, role, origin)
        if user.disable_time is not None or user.role is Role.SERVICE:
            raise self._refusal(provider, "the user is disabled here, or a service")
        await self._keep(flow, user)
        if settings.update_profile:
            user = await self._take_over(provider, user, person, origin)
        if role is not None and user.role is not role:
            user = await self._update(provider, user, UserChange(role=role), origin)
        event = AuditEvent.of_origin(
            origin, user.tenant_id, names.oidc_provider(provider.name), "group.add_members", ""
        )
        await self._groups.replace_provided(
            user,
            person.issuer,
            self._read_groups(provider, person),
            settings.groups_days * _DAY_SECONDS,
            event,
        )
        if flow.tokens:
            signed = await self._begin_tokens(user, origin)
            if signed is None:
                raise self._refusal(provider, _GONE)
            return Finished(flow.return_to, signed_in=(signed, user))
        begun = await begin_browser_session(
            self._accounts, user, self._identity.new_id(), origin, self._options.session_seconds
        )
        if begun is None:
            raise self._refusal(provider, _GONE)
        await self._end(flow, origin)
        return Finished(flow.return_to, *begun)

    async def _register(
        self,
        provider: OpenIdProvider,
        flow: _Flow,
        person: OpenIdPerson,
        identity: ExternalIdentity,
        role: Role | None,
        origin: Origin,
    ) -> User:
        """Admit a person who signs in for the first time: by an invitation, or by the verified address of an allowed domain."""
        raw, email = person.verified_email, _fold_address(person.verified_email)
        invitation: Invitation | None = None
        if flow.invitation:
            invitation = await self._invitation(identity.tenant_id, flow.invitation)
            if invitation.email and invitation.email != email:
                raise self._refusal(
                    provider,
                    f"email: {_unusable(person) or 'differs from the address in the invitation'}",
                    "Your e-mail address at the provider is not the address in the invitation.",
                )
        elif not email:
            raise self._refusal(provider, f"email: {_unusable(person) or 'is not an e-mail address'}")
        elif not _is_allowed(raw, provider):
            raise self._refusal(provider, "email: its domain is not in allowed_domains, and no invitation")
        shown = _first_readable((*person.texts("name"), *person.texts("preferred_username"), email))
        chosen = role or (Role.USER if invitation is None else invitation.role)
        user = new_user(self._identity.new_id(), identity.tenant_id, shown, email, chosen)
        event = AuditEvent.of_origin(
            origin, user.tenant_id, names.user(user.id), "user.register", names.user(user.id)
        )
        code = digest(flow.invitation) if flow.invitation else None
        return await self._store.register(user, identity, code, event)

    async def _invitation(self, tenant_id: str, code: str) -> Invitation:
        if self._options.registration is Registration.CLOSED:
            raise NotPermitted(
                Reason.REGISTRATION_CLOSED,
                "The settings of this server do not allow this registration. Ask an administrator to create your account.",
                {"registration": Registration.CLOSED.value},
            )
        invitation = await self._accounts.invitation(digest(code))
        if invitation is None or invitation.tenant_id != tenant_id:
            raise code_invalid()
        return invitation

    async def _update(self, provider: OpenIdProvider, user: User, change: UserChange, origin: Origin) -> User:
        """Change a user as the provider says. What cannot be changed stays, and the audit log says so: the role of the
        last administrator, the role and the address of an owner, an address that another user has."""
        actor, name = names.oidc_provider(provider.name), names.user(user.id)
        event = AuditEvent.of_origin(origin, user.tenant_id, actor, "user.update", name)
        try:
            return await self._users.update(user.tenant_id, user.id, change, "", event)
        except (AlreadyExists, NotPermitted, Precondition) as error:
            await self._trail.record(replace(event, outcome=error.reason.value))
            return user
        finally:
            self._cache.forget_user(user.id)

    async def _take_over(
        self, provider: OpenIdProvider, user: User, person: OpenIdPerson, origin: Origin
    ) -> User:
        """Give a user the verified address and the name that the provider has now."""
        email = _fold_address(person.verified_email)
        if provider.settings.allowed_domains and not _is_allowed(person.verified_email, provider):
            email = ""
        shown = _first_readable(person.texts("name"))
        if shown not in ("", user.display_name):
            user = await self._update(provider, user, UserChange(display_name=shown), origin)
        if email not in ("", user.email):
            user = await self._update(provider, user, UserChange(email=email), origin)
        return user

    async def _check_link(self, provider: OpenIdProvider, caller: Principal | None) -> None:
        if caller is None or caller.session_id is None:
            raise Unauthenticated(
                Reason.CREDENTIAL_MISSING, "Sign in to this page first; then connect the provider."
            )
        try:
            await self._may_link(provider, caller, caller.session_id)
        except NotPermitted as error:
            await self._record_refused_link(caller, error)
            raise

    async def _may_link(self, provider: OpenIdProvider, caller: Principal, session_id: UUID) -> None:
        if caller.tenant_id != self._tenant(provider):
            raise self._refusal(
                provider,
                "a link by a user of another tenant",
                "This provider signs in people of another tenant.",
            )
        if not await self._accounts.signed_in_recently(caller, session_id, RECENT_SECONDS):
            raise NotPermitted(
                Reason.SIGN_IN_REQUIRED,
                "To connect a provider, you must have signed in within the last ten minutes. Sign in again, then connect the provider.",
            )

    async def _prepare(self, provider: OpenIdProvider, flow: _Flow, identity: ExternalIdentity) -> Finished:
        """A link that only its session can confirm: the provider's reply comes from another site, and so without the session's cookie."""
        who = flow.caller()
        assert who is not None, "begin() accepts a link only from a caller with a session"
        # The session or the user may have ended while the person was at the provider.
        (ended,) = await self._identity.recheck([who])
        if ended is not None:
            raise ended
        prepared = replace(flow, begun=self._clock(), sub=identity.sub, subject=identity.subject)
        joint = "&" if "?" in flow.return_to.partition("#")[2] else "?" if "#" in flow.return_to else "#?"
        return Finished(f"{flow.return_to}{joint}link={self._seal(provider, prepared)}")

    async def _keep(self, flow: _Flow, user: User) -> None:
        """Refuse to end the session of another user, unless the page has asked. Raises AlreadyExists."""
        caller = flow.caller()
        if caller is None or flow.replace or caller.user_id == user.id:
            return
        (ended,) = await self._identity.recheck([caller])
        if ended is None:
            assert caller.session_id is not None, "the caller has a session"
            raise AlreadyExists(
                Reason.RESOURCE_ALREADY_EXISTS,
                "This browser is signed in as another user. Sign out first, then sign in with the provider.",
                {"resource_type": "session", "resource_name": names.session(caller.session_id)},
            )

    async def _end(self, flow: _Flow, origin: Origin) -> None:
        """End the session that the browser had before: the browser forgets it, so that nobody could end it later."""
        caller = flow.caller()
        if caller is None or caller.session_id is None:
            return
        actor = names.user(caller.user_id)
        ended = await self._accounts.end_sessions(
            caller,
            [caller.session_id],
            None,
            lambda id_: AuditEvent.of_origin(
                origin, caller.tenant_id, actor, "session.end", names.session(id_)
            ),
        )
        self._identity.forget(ended)

    def _role(self, provider: OpenIdProvider, person: OpenIdPerson) -> Role | None:
        """The role that the claim stands for; None if the provider does not decide roles. Raises NotPermitted."""
        settings = provider.settings
        if not settings.role_claim:
            return None
        roles = {settings.roles[text] for text in person.texts(settings.role_claim) if text in settings.roles}
        if not roles and settings.role_required:
            cause = "has no value of roles" if person.texts(settings.role_claim) else "is missing"
            raise self._refusal(provider, f"role_claim {settings.role_claim}: {cause}")
        return Role.ADMIN if "admin" in roles else Role.USER

    def _read_groups(self, provider: OpenIdProvider, person: OpenIdPerson) -> Collection[str]:
        """The values of the claim with the person's groups; none if it is missing, or if the provider left them out."""
        claim = provider.settings.groups_claim
        if not claim:
            return ()
        if (out := person.leaves_out(claim)) or person.value(claim) is None:
            cause = "has too many values for the provider to send" if out else "is missing"
            text = "sign-in with OpenID Connect provider %s gives no groups: groups_claim %s: %s"
            _LOGGER.warning(text, provider.name, claim, cause, extra={"tenant": self._tenant(provider)})
            return ()
        return {text for text in person.texts(claim) if text.isprintable()}

    def _provider(self, provider_id: str) -> OpenIdProvider:
        provider = self._providers.get(provider_id)
        if provider is None:
            raise NotFound(Reason.ROUTE_NOT_FOUND, "There is no such sign-in provider.")
        return provider

    def _tenant(self, provider: OpenIdProvider) -> str:
        return provider.settings.tenant or DEFAULT_TENANT

    def _log_refusal(self, provider: OpenIdProvider, cause: str) -> None:
        text = "sign-in with OpenID Connect provider %s refused: %s"
        _LOGGER.warning(text, provider.name, cause, extra={"tenant": self._tenant(provider)})

    def _refusal(self, provider: OpenIdProvider, cause: str, why: str = "") -> NotPermitted:
        """The error for a person who may not sign in. cause: for the log, without anything that the provider sent."""
        self._log_refusal(provider, cause)
        return NotPermitted(
            Reason.OIDC_NOT_ADMITTED,
            (
                f"{why or 'The provider knows you, but you may not sign in here.'} Ask an administrator "
                "for an invitation, or to enable your account."
            ),
        )

    def _seal(self, provider: OpenIdProvider, flow: _Flow) -> str:
        """A text of at most `MAX_COOKIE` characters; with escapes, the longest `sub` would need more."""
        content = json.dumps(asdict(flow), ensure_ascii=False).encode()
        return self._secret.seal_flow(provider.name, content)

    def _flow(self, provider: OpenIdProvider, cookie: str) -> _Flow | None:
        """The sign-in in a cookie, or a prepared link; None if it is not one of this server and provider, or took too long."""
        data = self._secret.unseal_flow(provider.name, cookie) if len(cookie) <= MAX_COOKIE else None
        if data is None:
            return None
        content = cast("dict[str, object]", json.loads(data))
        session = cast("dict[str, str] | None", content.pop("session"))
        # Only this server can have sealed it, so the types are right.
        flow = _Flow(**content, session=None if session is None else _Session(**session))  # pyright: ignore[reportArgumentType]
        # Another replica, whose clock is ahead, may have begun it a moment ago.
        age = self._clock() - flow.begun
        return flow if -LEEWAY_SECONDS <= age <= _FLOW_SECONDS else None

    @contextmanager
    def _place(self, provider: OpenIdProvider) -> Generator[None]:
        """Limit the sign-ins that wait for a provider. Raises Exhausted (OVERLOADED)."""
        if self._running[provider.name] >= self._most_running:
            raise Exhausted(
                Reason.OVERLOADED,
                "The server is already serving as many sign-ins with this provider as it can; try again in a moment.",
                {"limit": str(self._most_running)},
                retry_after=RETRY_SECONDS,
            )
        self._running[provider.name] += 1
        try:
            yield
        finally:
            self._running[provider.name] -= 1

    async def _count(self, origin: Origin) -> bytes:
        """Count a sign-in that came back. Each writes to the database and asks the provider, so a network address may
        fail only as often as with passwords.

        Returns the subject of the count; b"" if the address is not known. Raises Exhausted (TOO_MANY_ATTEMPTS).
        """
        network = network_of(origin.address)
        if not network:
            return b""
        settings = self._options.passwords
        subject = self._secret.name("oidc", network)
        counted = [(subject, settings.attempts_per_address)]
        check_attempt(
            await self._accounts.count_attempt(counted, ATTEMPTS_SECONDS),
            "Too many attempts to sign in; try again later.",
        )
        return subject

    async def _record(
        self, provider: OpenIdProvider, tenant_id: str, error: ResponsaError, origin: Origin
    ) -> None:
        actor = names.oidc_provider(provider.name)
        event = AuditEvent.of_origin(
            origin, tenant_id, actor, "session.create", actor, outcome=error.reason.value
        )
        # The browser gets the refusal also if the database has become unavailable.
        with contextlib.suppress(Unavailable):
            await self._trail.record(event)

    async def _record_refused_link(self, caller: Principal, error: ResponsaError) -> None:
        """Write to the audit log that the caller may not link an identity."""
        event = AuditEvent.of(caller, "user.link", names.user(caller.user_id), outcome=error.reason.value)
        # The browser gets the refusal also if the database has become unavailable.
        with contextlib.suppress(Unavailable):
            await self._trail.record_refused(caller, [event])


def _subject(person: OpenIdPerson, claim: str) -> str:
    """The name of a person in documents; "" without a usable one. A part of a long name could be the name of somebody
    else, and names of users are given by the server alone."""
    name = next(iter(person.texts(claim)), "")
    good = len(name.encode(errors="replace")) <= MAX_SUBJECT_BYTES and name.isprintable()
    return name if good and not name.startswith("users/") else ""


def _first_readable(texts: Sequence[str]) -> str:
    """The first text that can be a name that people read; "" without one."""
    shown = next((text.strip() for text in texts if text.strip() and text.isprintable()), "")
    return shown.encode()[:MAX_DISPLAY_NAME_BYTES].decode(errors="ignore")


def _fold_address(raw: str) -> str:
    try:
        return fold_email(raw)
    except InvalidRequest:
        return ""


def _is_allowed(raw: str, provider: OpenIdProvider) -> bool:
    """Whether an address's domain is allowed. It is compared as the provider sent it: folding could turn a foreign
    domain into an allowed one."""
    return raw.rpartition("@")[2].lower() in provider.settings.allowed_domains


def _unusable(person: OpenIdPerson) -> str:
    """What is wrong with the address of a person, for the log; "" if it is verified."""
    if not person.texts("email"):
        return "is missing in id token and userinfo"
    return "" if person.verified_email else "email_verified is not true"
