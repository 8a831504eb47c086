"""Checks who may make a call: whether the method exists, who the caller is, and whether the caller may use the method."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, assert_never
from uuid import UUID

from structlog.contextvars import bind_contextvars

from responsa_server.calls.authorisation import RULES, SCOPES, Rule
from responsa_server.calls.call import (
    CALL_ID,
    FETCH_SITE,
    FORWARDED_FOR,
    ON_BEHALF_OF,
    ORIGIN,
    TRACEPARENT,
    USER,
    Call,
    Interceptor,
)
from responsa_server.calls.methods import CHAT
from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound, NotPermitted, Reason, Unauthenticated
from responsa_server.domain.people import Principal, Role, owner_required, work_for
from responsa_server.identity.service import Credential, Identity

SESSION_COOKIE = "responsa_session"
_WIDGET_METHODS: Final = frozenset(CHAT + name for name in ("Ask", "ResumeTurn", "CancelTurn"))
_WIDGET_TRANSPORTS: Final = frozenset({"rest", "grpc", "connect"})
"""Other doors, such as those for OpenAI's clients, make the same calls."""
_STATUS: Final = "/responsa.admin.v1.AdminService/GetSystemStatus"
HOST_PREFIX = "__Host-"
"""Browsers accept a cookie with this prefix only over TLS and only from the host itself, so that no other host of the
domain can set it (RFC 6265bis)."""


class Routed(Interceptor[None]):
    """Refuses methods that are not served. A method without a row in the authorisation table counts as not served."""

    async def on_start(self, call: Call) -> None:
        """Check the method. Raises NotFound (ROUTE_NOT_FOUND)."""
        if not call.served or call.method not in RULES:
            raise NotFound(
                Reason.ROUTE_NOT_FOUND,
                "This server has no such method; see its reflection or the published protos.",
            )


class CredentialCheck(Interceptor[None]):
    """Reads `authorization: Bearer CREDENTIAL`, or else the session cookie, and sets the call's principal. If a service
    names a user in `responsa-on-behalf-of`, the principal is that user. If `responsa-user` names another user than the
    principal, the call is refused. So are calls with the key of a widget, except those that ask and follow answers,
    over REST or gRPC, on a page of the key's origins.
    """

    def __init__(
        self,
        identity: Identity,
        cookie: SessionCookie | None = None,
        widgets: Mapping[UUID, frozenset[str]] = MappingProxyType({}),
    ) -> None:
        """cookie: this server's session cookie. widgets: the origins of each key of a widget, by the key's id."""
        self._identity = identity
        self._cookie = cookie or SessionCookie()
        self._widgets = widgets

    async def on_start(self, call: Call) -> None:
        """Authenticate the caller. Raises Unauthenticated, and NotPermitted: ORIGIN_NOT_ALLOWED, SCOPE_REQUIRED,
        TENANT_SUSPENDED, ON_BEHALF_NOT_ALLOWED, GRANT_REQUIRED; InvalidRequest for a malformed
        `responsa-on-behalf-of`."""
        if RULES.get(call.method) is Rule.PUBLIC:
            return
        on_behalf_of = _user_of(call.metadata.get(ON_BEHALF_OF, ()))
        credential = credential_of(call, self._cookie)
        if credential is not None and call.resource:
            credential = replace(credential, resource=call.resource)
        if credential is None:
            raise Unauthenticated(
                Reason.CREDENTIAL_MISSING,
                (
                    "This call needs a credential: send `authorization: Bearer …` with an API key or an "
                    "access token, or sign in with a link from `responsa open`."
                ),
            )
        # A status that needed the part that it reports on would be missing when it is wanted.
        outage = call.method == _STATUS
        authenticate = self._identity.authenticate_in_outage if outage else self._identity.authenticate
        caller = await authenticate(credential, call.log_tenant)
        bind_contextvars(tenant=caller.tenant_id)
        # The log names the service also if it may not act for the user.
        call.principal = replace(caller, address=call.address, call_id=call.id, act=call.act)
        if caller.widget:
            _confine(call, caller.key_id, self._widgets)
        if caller.scopes is not None:
            check_scope(caller.scopes, SCOPES.get(call.method, frozenset()))
        if on_behalf_of is not None:
            caller = await self._identity.act_for(caller, credential.secret, on_behalf_of)
            call.principal = replace(caller, address=call.address, call_id=call.id, act=call.act)
        confirm_user(call.metadata.get(USER, ()), caller)
        work_for(call.principal, call.deadline)


def _confine(call: Call, key_id: UUID | None, widgets: Mapping[UUID, frozenset[str]]) -> None:
    """Refuse what the key of a widget may not do. Everybody can read such a key, so it is worth no more than the page
    that shows it. Raises NotPermitted (ORIGIN_NOT_ALLOWED, ROLE_REQUIRED)."""
    assert key_id is not None, "only keys are those of widgets"
    origins = call.metadata.get(ORIGIN, ())
    if len(origins) != 1 or origins[0] not in widgets.get(key_id, ()):
        raise NotPermitted(
            Reason.ORIGIN_NOT_ALLOWED,
            (
                "The key of a widget works only on pages of the origins that the setting widget_keys "
                f"names with it, as in {names.api_key(key_id)}=https://www.example.org."
            ),
        )
    known = call.method in _WIDGET_METHODS and call.transport in _WIDGET_TRANSPORTS
    if not known or call.metadata.get(ON_BEHALF_OF):
        raise NotPermitted(
            Reason.ROLE_REQUIRED,
            "The key of a widget only asks questions and follows their answers, over REST or gRPC; use another API key.",
            {"required_role": Role.USER.name},
        )


def check_scope(granted: frozenset[str], sufficient: frozenset[str]) -> None:
    """Check that a connected program has one of the scopes that suffice for what it wants to do. Raises NotPermitted (SCOPE_REQUIRED)."""
    if not granted & sufficient:
        missing = min(sufficient, default="")
        raise NotPermitted(
            Reason.SCOPE_REQUIRED,
            f"The user has not allowed this program to do this; ask the user for the scope {missing}."
            if missing
            else "Connected programs cannot make this call.",
            {
                "required_scope": missing,
                "scope": " ".join(sorted(granted | {missing} if missing else granted)),
            },
        )


def confirm_user(named: Sequence[str], caller: Principal) -> None:
    """Refuse a request whose header `responsa-user` names another user than its caller. A browser has one session for
    all its tabs, and programs on other ports of the host can replace the session's cookie, so a page names the user for
    whom it is drawn. named: the values of the header. Raises Unauthenticated (CREDENTIAL_OF_OTHER_USER).
    """
    own = names.user(caller.user_id)
    if any(name.strip() != own for name in named):
        raise Unauthenticated(
            Reason.CREDENTIAL_OF_OTHER_USER,
            "The credential of this call belongs to a user other than the one in responsa-user, so nothing was done. Sign in again.",
        )


def _user_of(headers: Sequence[str]) -> UUID | None:
    """The user on whose behalf a call is made; None without the header. Raises InvalidRequest."""
    if not headers:
        return None
    try:
        (header,) = headers
        return names.parse_uuid("users", header.strip())
    except ValueError as error:
        raise InvalidRequest.of_field(
            ON_BEHALF_OF, "name", "must be sent once, as users/{uuid}; leave it out to act for yourself"
        ) from error


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The cookie of this server's browser sessions. Every transport reads it here, because it counts only for the
    server's own pages: browsers also send it for pages of other origins of the same site. name: its name. origins: the
    origins of the server's own pages.
    """

    name: str = SESSION_COOKIE
    origins: Collection[str] = ()

    def is_foreign(self, metadata: Mapping[str, Sequence[str]]) -> bool:
        """Whether the page of another origin sends this request, also one whose pages may call with a token."""
        origins = metadata.get(ORIGIN, ())
        if origins:
            return len(origins) > 1 or origins[0] not in self.origins
        return any(site not in ("same-origin", "none") for site in metadata.get(FETCH_SITE, ()))

    def is_in(self, metadata: Mapping[str, Sequence[str]]) -> bool:
        """Whether a request has a cookie that counts."""
        return not self.is_foreign(metadata) and bool(_cookies(metadata.get("cookie", ()), self.name))

    def token(self, metadata: Mapping[str, Sequence[str]], *, safe: bool) -> str | None:
        """The session's token; None without one, and for the page of another origin. safe: whether the request changes nothing.

        Browsers send cookies with whatever another page makes them request. So a request that may change something must
        show that an own page sends it; all browsers send an Origin with one.

        Raises:
            Unauthenticated: there are two different cookies of this name (CREDENTIAL_MALFORMED).
            NotPermitted: nothing shows who sends a request that may change something (ORIGIN_NOT_ALLOWED).
        """
        if self.is_foreign(metadata):
            return None
        cookie = cookie_of(metadata.get("cookie", ()), self.name)
        own = bool(metadata.get(ORIGIN)) or "same-origin" in metadata.get(FETCH_SITE, ())
        if cookie is not None and not safe and not own:
            raise NotPermitted(
                Reason.ORIGIN_NOT_ALLOWED,
                (
                    "The session cookie counts only for this server's own pages, so send the page's Origin "
                    "with it. Programs send `authorization: Bearer …` with an API key or an access token "
                    "instead."
                ),
            )
        return cookie


def credential_of(call: Call, cookie: SessionCookie) -> Credential | None:
    """The credential of a call: the key or the access token of the authorization header; without that header, the session cookie.

    Browsers send a host's cookies to all its ports, so a request may carry cookies of other instances and programs on
    the machine. The server ignores such
    cookies: one of them may belong to the session of an attacker who wants this browser's user to work in that session.
    For the same reason, two different cookies of this name are refused. Raises Unauthenticated (CREDENTIAL_MALFORMED),
    NotPermitted (ORIGIN_NOT_ALLOWED).
    """
    if (credential := bearer_of(call.metadata)) is not None:
        return credential
    token = cookie.token(call.metadata, safe=call.safe)
    return None if token is None else Credential("session", token)


def bearer_of(metadata: Mapping[str, Sequence[str]]) -> Credential | None:
    """The key or the access token of the authorization header; None without that header. Raises Unauthenticated (CREDENTIAL_MALFORMED)."""
    headers = metadata.get("authorization", ())
    if not headers:
        return None
    scheme, _, secret = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated(
            Reason.CREDENTIAL_MALFORMED,
            "Send the authorization header once, as `Bearer rsp_…` with an API key of this server.",
        )
    token = secret.strip()
    # The parts of a signed token are separated by points, which no key contains.
    return Credential("token" if "." in token else "api_key", token)


def cookie_of(headers: Iterable[str], name: str) -> str | None:
    """The value of the cookie `name`; None without it. headers: the values of the header `cookie`. Raises
    Unauthenticated (CREDENTIAL_MALFORMED) for two different cookies of this name."""
    cookies = _cookies(headers, name)
    if len(cookies) > 1:
        raise Unauthenticated(
            Reason.CREDENTIAL_MALFORMED,
            (
                f"The browser sent several cookies {name}, so another program on this host may have set "
                "one. Delete the cookies of this site, and sign in again."
            ),
        )
    return cookies.pop() if cookies else None


def _cookies(headers: Iterable[str], name: str) -> set[str]:
    pairs = (pair.strip().partition("=") for cookies in headers for pair in cookies.split(";"))
    return {value.strip('"') for key, _, value in pairs if key == name}


def metadata_of_headers(headers: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    """The credentials, the user whom the caller names, the user on whose behalf the call is made, the page that sends
    it, the call id, the caller's span, program and address in the headers of an HTTP request, as metadata. Only session
    cookies are kept."""
    metadata: dict[str, list[str]] = {}
    for name, value in headers:
        key = name.lower()
        if key in (
            "authorization",
            CALL_ID,
            FETCH_SITE,
            FORWARDED_FOR,
            ON_BEHALF_OF,
            ORIGIN,
            TRACEPARENT,
            USER,
            "user-agent",
        ):
            metadata.setdefault(key, []).append(value)
        elif key == "cookie":
            pairs = (pair.strip() for pair in value.split(";"))
            cookies = "; ".join(pair for pair in pairs if is_session_cookie(pair.partition("=")[0]))
            if cookies:
                metadata.setdefault(key, []).append(cookies)
    return metadata


def is_session_cookie(name: str) -> bool:
    """Whether a cookie is a session cookie of this server or of another instance on the same host."""
    plain = name.removeprefix(HOST_PREFIX)
    return plain == SESSION_COOKIE or plain.startswith(f"{SESSION_COOKIE}_")


class Authorised(Interceptor[None]):
    """Admits a call when its principal meets the method's rule. A method without a rule is closed to everyone. Of
    methods for owners, it admits administrators to `OwnersOnly`."""

    async def on_start(self, call: Call) -> None:
        """Check the rule. Raises NotPermitted: ROLE_REQUIRED, ON_BEHALF_NOT_ALLOWED."""
        rule, caller = RULES.get(call.method), call.principal
        match rule:
            case Rule.PUBLIC:
                return
            case Rule.MEMBER:
                if caller is not None:
                    return
            case Rule.OWN:
                if caller is not None and caller.acting is None:
                    return
                if caller is not None:
                    raise NotPermitted(
                        Reason.ON_BEHALF_NOT_ALLOWED,
                        (
                            "A service cannot make this call on behalf of a user, because it is about the user's "
                            "account; leave responsa-on-behalf-of out."
                        ),
                    )
            case Rule.SERVICE:
                if caller is not None and caller.role in (Role.ADMIN, Role.SERVICE):
                    return
                raise NotPermitted(
                    Reason.ROLE_REQUIRED,
                    "Only services and administrators may make this call; use a service's or an administrator's key.",
                    {"required_role": Role.SERVICE.name},
                )
            case Rule.ADMIN:
                if caller is not None and caller.role is Role.ADMIN:
                    return
            case Rule.OWNER:
                if caller is not None and caller.role is Role.ADMIN:
                    return
                raise _owners_only()
            case None:
                pass
            case _:
                assert_never(rule)
        raise NotPermitted(
            Reason.ROLE_REQUIRED,
            "Only administrators may make this call; use an administrator's key.",
            {"required_role": Role.ADMIN.name},
        )


class OwnersOnly(Interceptor[None]):
    """Refuses requests of administrators who do not own the installation, for methods of owners. It comes after
    `Audited`, which by then knows the resource that the request names, so that the audit log names it.
    """

    async def on_start(self, call: Call) -> None:
        """Do nothing: there is no message yet."""

    def on_request(self, call: Call, message: object) -> object:
        """Check the caller. Raises NotPermitted (ROLE_REQUIRED)."""
        if RULES.get(call.method) is Rule.OWNER and not (call.principal is not None and call.principal.owner):
            raise _owners_only()
        return message


def _owners_only() -> NotPermitted:
    return owner_required(
        "Only an owner of the installation may make this call; use an owner's key. The "
        "administrator that `responsa up` creates is an owner, and owners add owners with "
        "GrantOwnership."
    )
