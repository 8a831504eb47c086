"""Sign-in with OpenID Connect: POST /v1/oidc/{provider}:start, GET /v1/oidc/{provider}/callback, to which the provider
sends the browser back, and POST /v1/oidc/{provider}:link, with which the page confirms a link.

The callback arrives from another site, so the browser sends only the cookie of the sign-in, which is `SameSite=Lax`.
The session's cookie is `SameSite=Strict`: the browser stores it, but would not send it with a redirect that another
site began. So the callback answers with a short page that goes on by itself; that navigation begins here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast
from urllib.parse import urlsplit

from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from responsa.auth.v1 import auth_service_pb2
from responsa_server.calls import status
from responsa_server.calls.call import USER, current
from responsa_server.calls.convert import people
from responsa_server.calls.interceptors.access import confirm_user, cookie_of
from responsa_server.domain.addresses import own_address
from responsa_server.domain.errors import (
    Exhausted,
    InvalidRequest,
    NotPermitted,
    Reason,
    ResponsaError,
    Unauthenticated,
)
from responsa_server.domain.people import Principal, User
from responsa_server.identity.accounts import SignedIn
from responsa_server.identity.openid import MAX_PARAMETER, OpenId
from responsa_server.identity.service import Credential, Identity
from responsa_server.transports.http.entrance import refusal
from responsa_server.transports.http.sessions import Sessions, json_of, seconds_until

START_PATH: Final = "/v1/oidc/{provider}:start"
CALLBACK_PATH: Final = "/v1/oidc/{provider}/callback"
LINK_PATH: Final = "/v1/oidc/{provider}:link"
COOKIE: Final = "responsa_oidc"
_ID: Final = re.compile("[a-z0-9-]{1,32}")
_FIELDS: Final[Mapping[str, type]] = {
    "invitation": str,
    "returnTo": str,
    "link": bool,
    "replace": bool,
    "port": int,
}


@dataclass(frozen=True, slots=True)
class OpenIdGateway:
    """What the gateway needs to sign browsers in. public_url: the setting `oidc.public_url`."""

    sign_in: OpenId
    callers: Identity
    public_url: str


class OpenIdSessions:
    """`/v1/oidc/…`."""

    def __init__(self, parts: OpenIdGateway, sessions: Sessions, *, secure: bool) -> None:
        """secure: whether browsers always reach this server over TLS."""
        self._parts = parts
        self._sessions = sessions
        self._always_secure = secure
        self._suffix = sessions.cookie.name.removeprefix("responsa_session")

    async def start(self, request: Request) -> Response:
        """Serve POST with the body {"returnTo": "/#…", "invitation": "rsi_…", "link": false, "replace": false}, where
        each field may be missing. The response is 200 {"authorizationUri": …}, to which the page goes, and sets the
        cookie of the sign-in. A command line gives "port" too: the provider sends the browser to this port of its
        machine, and the command line makes the callback's request itself.

        Raises:
            InvalidRequest: the body is not such an object.
            ResponsaError: the errors of `OpenId.begin`, those of `Sessions.token`, and NotPermitted
                (ORIGIN_NOT_ALLOWED) if the browser uses another address than the setting.
        """
        content = await json_of(request)
        for name, value in content.items():
            kind = _FIELDS.get(name)
            if kind is None or type(value) is not kind:  # True is an int, too
                raise InvalidRequest.of_field(
                    name[:64],
                    "unknown_field",
                    "the body may have only the texts returnTo and invitation, the booleans link and replace, and the number port",
                )
        provider = _provider(request)
        begun = await self._parts.sign_in.begin(
            provider,
            "" if "port" in content else self._base(request),
            await self._caller(request),
            invitation=str(content.get("invitation", "")),
            return_to=str(content.get("returnTo", "/")),
            link=bool(content.get("link", False)),
            replace=bool(content.get("replace", False)),
            port=cast("int | None", content.get("port")),
        )
        response = JSONResponse({"authorizationUri": begun.uri}, headers={"cache-control": "no-store"})
        self._set_cookie(request, response, begun.cookie, begun.seconds)
        return response

    async def link(self, request: Request) -> Response:
        """Serve POST with the body {"link": …}: confirm the link that the callback has prepared, in the session that
        began it. The response is 200 {}.

        Raises:
            InvalidRequest: the body is not such an object, or `responsa-user` does not name the user for whom the page is drawn.
            Unauthenticated: the session is another user's (CREDENTIAL_OF_OTHER_USER).
            ResponsaError: the errors of `OpenId.link` and `Sessions.token`.
        """
        prepared = (await json_of(request)).get("link")
        if not isinstance(prepared, str):
            raise InvalidRequest.of_field("link", "required", "must be the string that the callback added")
        if USER not in request.headers:
            raise InvalidRequest.of_field(
                USER, "required", "must name the user to whom the page is shown, as users/{uuid}"
            )
        who = await self._caller(request)
        await self._parts.sign_in.link(_provider(request), prepared, who, current().origin)
        return JSONResponse({}, headers={"cache-control": "no-store"})

    async def finish(self, request: Request) -> Response:
        """Serve GET: complete the sign-in, set the session's cookie, and go on to the page, which confirms a link. A
        command line gets the tokens, as from `Login`.

        Raises NotFound (ROUTE_NOT_FOUND) for a path without a provider's id, and for HEAD; and the errors of `OpenId.finish`.
        """
        cookie = cookie_of(request.headers.getlist("cookie"), self._cookie(request)) or ""
        finished = await self._parts.sign_in.finish(
            _provider(request), cookie, _parameters(request), current().origin
        )
        if finished.signed_in is not None:
            return _tokens(*finished.signed_in)
        response = _page("Signed in", "You are signed in.", finished.return_to, goes_on=True)
        if finished.token is not None and finished.expire_time is not None:
            self._sessions.set_cookie(response, finished.token, seconds_until(finished.expire_time))
        self._set_cookie(request, response, "", 0)
        return response

    def refuse(self, request: Request, error: ResponsaError) -> Response:
        """The response to a GET that failed: for a browser, a page that says why. The cookie stays only if the sign-in
        can still be completed."""
        if error.reason is Reason.ROUTE_NOT_FOUND:
            return refusal(request, error)
        response = _refusal(request, error)
        if not isinstance(error, Exhausted):
            self._set_cookie(request, response, "", 0)
        return response

    def _own_address(self, request: Request) -> str:
        """The address of this server for the browser, without a path."""
        return own_address(request.headers.get("host", ""), self._parts.public_url)

    def _base(self, request: Request) -> str:
        """As `_own_address`. Raises NotPermitted (ORIGIN_NOT_ALLOWED) if the browser uses another address."""
        address = self._own_address(request)
        if urlsplit(address).netloc.lower() != request.headers.get("host", "").lower():
            # The provider sends the browser to the public address, where it would not send the cookie.
            raise NotPermitted(
                Reason.ORIGIN_NOT_ALLOWED,
                f"Open {address} to sign in with a provider; this page has another address.",
            )
        return address

    def _is_secure(self, request: Request) -> bool:
        return self._always_secure or self._own_address(request).startswith("https:")

    def _cookie(self, request: Request) -> str:
        """The name of the cookie. With the prefix, a browser accepts the cookie only from this very host, so that a
        neighbouring host cannot plant somebody else's sign-in."""
        return f"{'__Host-' if self._is_secure(request) else ''}{COOKIE}{self._suffix}"

    async def _caller(self, request: Request) -> Principal | None:
        """The user of the browser's session, or None. API keys and tokens do not count. Raises the errors of
        `Sessions.token`, and Unauthenticated (CREDENTIAL_OF_OTHER_USER)."""
        token = self._sessions.token(request)
        if token is None:
            return None
        try:
            who = await self._parts.callers.authenticate(Credential("session", token))
        except Unauthenticated:
            return None
        confirm_user(request.headers.getlist(USER), who)
        origin = current().origin
        return replace(who, address=origin.address, call_id=origin.call_id)

    def _set_cookie(self, request: Request, response: Response, value: str, seconds: int) -> None:
        secure, provider = self._is_secure(request), _provider(request)
        response.set_cookie(
            self._cookie(request),
            value,
            max_age=seconds,
            path="/" if secure else CALLBACK_PATH.format(provider=provider),
            secure=secure,
            httponly=True,
            samesite="lax",
        )


def _tokens(signed: SignedIn, user: User) -> Response:
    reply = auth_service_pb2.LoginResponse(tokens=people.session_tokens(signed), user=people.user(user))
    return Response(
        json_format.MessageToJson(reply, indent=None),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def _provider(request: Request) -> str:
    """The provider's id in the path. Raises NotFound (ROUTE_NOT_FOUND); HEAD, which Starlette serves like GET, would use the sign-in up."""
    name = str(request.path_params["provider"])
    if request.method == "HEAD" or _ID.fullmatch(name) is None:
        raise status.no_route()
    return name


def _parameters(request: Request) -> Mapping[str, str]:
    """The parameters of the reply, none of them twice. Raises InvalidRequest."""
    parameters: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in parameters or len(value) > MAX_PARAMETER:
            raise InvalidRequest.of_field(
                name[:64], "given_twice", f"must be given once, and have at most {MAX_PARAMETER} characters"
            )
        parameters[name] = value
    return parameters


def _refusal(request: Request, error: ResponsaError) -> Response:
    rpc_status = status.of(error)
    if "text/html" not in request.headers.get("accept", ""):
        return refusal(request, error)
    return _page("Not signed in", error.message, "/", goes_on=False, code=status.http_status(rpc_status))


def _page(title: str, message: str, target: str, *, goes_on: bool, code: int = 200) -> Response:
    """A short page without scripts. goes_on: whether the browser goes to the target by itself. target: a path of this server."""
    refresh = f'<meta http-equiv="refresh" content="0; url={html.escape(target)}">' if goes_on else ""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark">{refresh}<title>{html.escape(title)} · Responsa</title></head>'
        f"<body><main><h1>{html.escape(title)}</h1><p>{html.escape(message)}</p>"
        f'<p><a href="{html.escape(target)}">{"Continue" if goes_on else "Back to Responsa"}</a></p></main></body></html>'
    )
    return HTMLResponse(text, status_code=code, headers={"cache-control": "no-store"})
