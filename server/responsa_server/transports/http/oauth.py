"""OAuth: the metadata of the protected resources and of the authorisation server, the way to the page on which a person
allows a program, and the tokens.

The page asks the person; `POST /oauth/consent/ID` is for it alone. It needs the cookie of the browser's session, which
counts for own pages only, and JSON, which no form can send. No other page can show this one in a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from responsa_server.calls import status
from responsa_server.calls.call import USER, current
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import json_body, whole_body
from responsa_server.calls.interceptors.access import confirm_user, cookie_of
from responsa_server.calls.violations import unreadable
from responsa_server.domain.addresses import own_address
from responsa_server.domain.errors import (
    Exhausted,
    InvalidRequest,
    Reason,
    ResponsaError,
    Unauthenticated,
)
from responsa_server.domain.people import Principal
from responsa_server.domain.programs import RESOURCES
from responsa_server.identity.programs import (
    HELD_SECONDS,
    MAX_DOCUMENT,
    AuthorisationRequest,
    Faulty,
    Programs,
    host_of,
    is_loopback_redirect,
)
from responsa_server.identity.service import Credential, Identity
from responsa_server.transports.http.entrance import entrance
from responsa_server.transports.http.sessions import Sessions, arriving, json_of, seconds_until

RESOURCE_PATH: Final = "/.well-known/oauth-protected-resource"
SERVER_PATH: Final = "/.well-known/oauth-authorization-server"
AUTHORIZE_PATH: Final = "/oauth/authorize"
CONSENT_PATH: Final = "/oauth/consent"
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105  a path, not a secret
REVOKE_PATH: Final = "/oauth/revoke"
REGISTER_PATH: Final = "/oauth/register"
MAX_FORM: Final = 8192
MAX_QUERY: Final = 4096
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_PARAMETERS: Final = 20
_GRANTS: Final = ("authorization_code", "refresh_token")
_WRONG: Final = {"redirect_uris": "invalid_redirect_uri", "client_name": "invalid_client_metadata"}
"""The error of RFC 7591, 3.2.2, by the field that is wrong."""


@dataclass(frozen=True, slots=True)
class OAuthGateway:
    """What the gateway needs to connect programs. public_url: see `own_address`."""

    programs: Programs
    callers: Identity
    public_url: str


class OAuth:
    """The paths of OAuth."""

    def __init__(self, parts: OAuthGateway, sessions: Sessions) -> None:
        self._programs = parts.programs
        self._callers = parts.callers
        self._public_url = parts.public_url
        self._sessions = sessions
        self._cookie = "responsa_connect" + sessions.cookie.name.rpartition("responsa_session")[2]

    def routes(self, calls: Calls) -> Iterator[BaseRoute]:
        """The routes of all paths."""
        for path in RESOURCES:
            yield Route(RESOURCE_PATH + path, self._resource, methods=["GET"])
            yield Route(f"{RESOURCE_PATH}{path}/", self._resource, methods=["GET"])
        yield Route(RESOURCE_PATH, self._resource, methods=["GET"])
        yield Route(SERVER_PATH, self._server, methods=["GET"])
        yield Route(AUTHORIZE_PATH, self._authorize, methods=["GET"])
        yield entrance(calls, "POST", f"{CONSENT_PATH}/{{request}}", self._consent)
        yield entrance(calls, "POST", TOKEN_PATH, self._token, _refuse)
        yield entrance(calls, "POST", REVOKE_PATH, self._revoke, _refuse)
        if self._programs.settings.dynamic_registration != "none":
            yield entrance(calls, "POST", REGISTER_PATH, self._register, _refuse)

    def _base(self, request: Request) -> str:
        return own_address(request.headers.get("host", ""), self._public_url)

    async def _resource(self, request: Request) -> Response:
        """Serve the metadata of a protected resource (RFC 9728), which names the address that the client asks for, with
        or without a slash at its end. The path without a suffix is MCP's, for clients that look there alone."""
        base, path = self._base(request), request.url.path.removeprefix(RESOURCE_PATH) or "/mcp"
        return _public(
            {
                "resource": base + path,
                "authorization_servers": [base],
                "scopes_supported": RESOURCES[path.removesuffix("/")],
                "bearer_methods_supported": ["header"],
                "resource_name": "Responsa",
            }
        )

    async def _server(self, request: Request) -> Response:
        """Serve the metadata of the authorisation server (RFC 8414)."""
        base, registers = self._base(request), self._programs.settings.dynamic_registration != "none"
        return _public(
            {
                "issuer": base,
                "authorization_endpoint": base + AUTHORIZE_PATH,
                "token_endpoint": base + TOKEN_PATH,
                "revocation_endpoint": base + REVOKE_PATH,
                **({"registration_endpoint": base + REGISTER_PATH} if registers else {}),
                "scopes_supported": sorted({scope for scopes in RESOURCES.values() for scope in scopes}),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": _GRANTS,
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "revocation_endpoint_auth_methods_supported": ["none"],
                "authorization_response_iss_parameter_supported": True,
                "client_id_metadata_document_supported": await self._programs.documents_work(),
                "ui_locales_supported": ["en", "de"],
            }
        )

    async def _authorize(self, request: Request) -> Response:
        """Send the browser to the page, with the id of the request, which waits in the cookie. The page signs the person
        in first, perhaps at a provider. Only then does the server look at the parameters, and may it fetch the
        program's document."""
        try:
            parameters = _parameters(request.url.query, MAX_QUERY)
        except InvalidRequest:  # the page says that the program is not known
            parameters = dict[str, str]()
        identity, sealed = self._programs.hold(parameters)
        response = RedirectResponse(f"/#/connect?{identity}", 303, {"cache-control": "no-store"})
        response.set_cookie(
            self._cookie,
            sealed,
            max_age=HELD_SECONDS,
            path=f"{CONSENT_PATH}/{identity}",  # each request has its own
            secure=self._base(request).startswith("https:"),
            httponly=True,
            samesite="strict",
        )
        return response

    async def _consent(self, request: Request) -> Response:
        """Serve POST with an object, at the path of the request for authorisation in the cookie: say what the program
        wants, as {"displayName", "vouched", "clientHost", "redirectHost", "loopback", "scopes", "resource",
        "unusedDays"}. With {"allow": true or false}, the person has decided: {"redirectUri"}, to which the browser goes.
        A request whose program may be told what is wrong with it gets {"problem", "redirectUri"}.

        Raises:
            InvalidRequest: the body is not such an object, the header `responsa-user` is missing, the browser has no such
                request, or the program or its address is not known.
            Unauthenticated: nobody is signed in (CREDENTIAL_MISSING), or another user than the page says (CREDENTIAL_OF_OTHER_USER).
            ResponsaError: the errors of `Sessions.token` and `Programs.ask`.
        """
        allow = (await json_of(request)).get("allow")
        if not (allow is None or isinstance(allow, bool)):
            raise InvalidRequest.of_field("allow", "type", "must be true or false")
        caller = await self._caller(request)
        try:
            sealed = cookie_of(request.headers.getlist("cookie"), self._cookie) or ""
            parameters = await self._programs.resume(
                request.path_params["request"], sealed, decides=allow is not None
            )
            authorisation = await self._programs.ask(caller, parameters, self._base(request))
        except Faulty as faulty:
            return _private({"problem": faulty.description, "redirectUri": faulty.uri})
        if allow is None:
            return _private({**_describe(authorisation), "unusedDays": self._programs.unused_days})
        if not allow:
            return _private({"redirectUri": authorisation.reply(error="access_denied")})
        return _private(
            {"redirectUri": await self._programs.connect(caller, authorisation, current().origin)}
        )

    async def _token(self, request: Request) -> Response:
        """Serve POST with a form: exchange a code or a refresh token (RFC 6749, 4.1.3 and 6)."""
        form = await _form(request)
        if form.get("grant_type") not in _GRANTS:
            return _error("unsupported_grant_type", f"grant_type must be {' or '.join(_GRANTS)}")
        tokens = await self._programs.exchange(form, current().origin)
        return _private(
            {
                "access_token": tokens.access_token,
                "token_type": "Bearer",
                "expires_in": seconds_until(tokens.access_expire_time),
                "refresh_token": tokens.refresh_token,
                "scope": " ".join(tokens.scopes),
            }
        )

    async def _revoke(self, request: Request) -> Response:
        """Serve POST with a form: end the session of a refresh token (RFC 7009). A token that nobody has is revoked already."""
        await self._programs.revoke((await _form(request)).get("token", ""), current().origin)
        return _private({})

    async def _register(self, request: Request) -> Response:
        """Serve POST with JSON: register a program (RFC 7591)."""
        with arriving():
            body = await json_body(request.headers, request.stream(), MAX_DOCUMENT)
        metadata, now = await self._programs.register(body, current().origin)
        return JSONResponse(
            {
                "client_id": metadata.client_id,
                "client_id_issued_at": now,
                "client_name": metadata.client_name,
                "redirect_uris": metadata.redirect_uris,
                "grant_types": _GRANTS,
                "response_types": ["code"],
                "token_endpoint_auth_method": "none",
            },
            201,
            {"cache-control": "no-store"},
        )

    async def _caller(self, request: Request) -> Principal:
        """The user of the browser's session, whom the page names. Keys and tokens do not count."""
        if USER not in request.headers:
            raise InvalidRequest.of_field(
                USER, "required", "must name the user to whom the page is shown, as users/{uuid}"
            )
        # A credential of a program lets a request pass under any Host, which would then be the issuer.
        token = None if "authorization" in request.headers else self._sessions.token(request)
        if token is None:
            raise Unauthenticated(Reason.CREDENTIAL_MISSING, "Sign in on this server's page first.")
        call = current()
        who = await self._callers.authenticate(Credential("session", token), call.log_tenant)
        confirm_user(request.headers.getlist(USER), who)
        return replace(who, address=call.address, call_id=call.id)


def _describe(authorisation: AuthorisationRequest) -> Mapping[str, object]:
    client = authorisation.client
    return {
        "displayName": client.display_name,
        "vouched": client.vouched,
        "clientHost": host_of(client.client_id),
        "redirectHost": host_of(authorisation.redirect_uri),
        "loopback": is_loopback_redirect(authorisation.redirect_uri),
        "scopes": authorisation.scopes,
        "resource": authorisation.resource,
    }


def _parameters(text: str, limit: int) -> Mapping[str, str]:
    """The parameters of a query or a form, none of them twice. Raises InvalidRequest."""
    try:
        if len(text) > limit:
            raise ValueError
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise unreadable("its parameters are not a form of at most 20 fields in UTF-8") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise unreadable("a parameter is given twice")
    return fields


async def _form(request: Request) -> Mapping[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise unreadable(f"the content-type must be {_FORM}")
    with arriving():
        body = await whole_body(request.stream(), MAX_FORM)
    if not body.isascii():
        raise unreadable("its form is not encoded")
    return _parameters(body.decode(), MAX_FORM)


def _public(content: Mapping[str, object]) -> Response:
    """Metadata that every program may read, also one in a browser."""
    return JSONResponse(content, headers={"cache-control": "no-cache"})


def _private(content: Mapping[str, object]) -> Response:
    return JSONResponse(content, headers={"cache-control": "no-store", "pragma": "no-cache"})


def _refuse(_: Request, error: ResponsaError) -> Response:
    """The response to a request of a program that failed (RFC 6749, 5.2)."""
    code = status.http_status(status.of(error))
    if isinstance(error, Unauthenticated):
        return _error("invalid_grant", error.message)
    if isinstance(error, InvalidRequest):
        path = error.violations[0].field if error.violations else ""
        wrong = _WRONG.get(path.partition("[")[0].partition(".")[0], "invalid_request")
        words = "; ".join(f"{violation.field} {violation.description}" for violation in error.violations)
        return _error(wrong, words or error.message)
    response = _error(
        "temporarily_unavailable" if isinstance(error, Exhausted) or code == 503 else "server_error",
        error.message,
        code,
    )
    if (wait := status.retry_after(error)) is not None:
        response.headers["retry-after"] = wait
    return response


def _error(error: str, description: str, code: int = 400) -> Response:
    # Only these characters are allowed in a description.
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in description)
    response = _private({"error": error, "error_description": plain})
    response.status_code = code
    return response
