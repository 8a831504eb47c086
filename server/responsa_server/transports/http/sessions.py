"""Browser sessions: a single-use code, or an e-mail address and a password, becomes a cookie that scripts cannot read."""

from __future__ import annotations

import unicodedata
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from responsa_server.calls.call import USER, current
from responsa_server.calls.http import json_body, json_object
from responsa_server.calls.interceptors.access import SessionCookie, confirm_user, metadata_of_headers
from responsa_server.domain.errors import CallCancelled, InvalidRequest, NotPermitted, Reason
from responsa_server.domain.people import Origin, Principal
from responsa_server.identity.accounts import Accounts

MAX_BODY = 4096
"""The largest body, in bytes."""
# The names of the fields of a sign-in with a password, with the limits of the contract in bytes.
_FIELDS = (("tenant", 71), ("email", 254), ("password", 256))


class SessionExchange(Protocol):
    """The part of the identity service that the gateway needs."""

    async def caller_of(self, token: str) -> Principal | None:
        """Return the caller of a session; None if no good session has this token."""
        ...

    async def exchange_code(
        self, code: str, origin: Origin, present: Principal | None = None
    ) -> tuple[str, datetime]:
        """Exchange a single-use code for a session; returns the session's token and expiry time. Raises Unauthenticated
        (SESSION_CODE_INVALID), and AlreadyExists for a code of another user than `present`.
        """
        ...

    async def end_session(self, token: str, origin: Origin) -> None:
        """End a session. This has no effect if the session does not exist."""
        ...


class Sessions:
    """`/v1/sessions`."""

    def __init__(
        self,
        exchange: SessionExchange,
        cookie: SessionCookie,
        *,
        secure: bool,
        accounts: Accounts | None = None,
    ) -> None:
        """accounts: None refuses passwords."""
        self._accounts = accounts
        self._exchange = exchange
        self.cookie = cookie
        self._secure = secure

    async def create(self, request: Request) -> Response:
        """Serve POST with the body {"code": "rsc_…"} or {"tenant": …, "email": …, "password": …}, where the tenant may
        be missing. The response is 200 {"expireTime": …} and sets the cookie. It ends the session that the browser had.
        If that is another user's session, the body must have "replace": true.

        Raises:
            InvalidRequest: the body is not such an object (MALFORMED_MESSAGE, INVALID_FIELD).
            Unauthenticated: the code is not valid (SESSION_CODE_INVALID), the address or the password is wrong
                (SIGN_IN_FAILED), or there are two session cookies (CREDENTIAL_MALFORMED).
            NotPermitted: the page of another origin sends the request, or nothing shows who sends the cookie (ORIGIN_NOT_ALLOWED).
            AlreadyExists: the browser has a session of another user, and the body does not allow to replace it
                (RESOURCE_ALREADY_EXISTS). A code stays good.
            Exhausted: TOO_MANY_ATTEMPTS, OVERLOADED.
        """
        content = await json_of(request)
        origin = current().origin
        before = self.token(request) or ""
        replaces = _flag(content, "replace")
        present = await self._exchange.caller_of(before) if before and not replaces else None
        if self._accounts is not None and "password" in content:
            fields = {name: _text(content, name, limit) for name, limit in _FIELDS}
            token, expire_time = await self._accounts.login_browser(
                fields["tenant"], fields["email"], fields["password"], origin, present
            )
        else:
            token, expire_time = await self._exchange.exchange_code(_code_of(content), origin, present)
        if before:
            # The browser forgets the token of this session, so nobody could end it later.
            await self._exchange.end_session(before, origin)
        end = expire_time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        response = JSONResponse({"expireTime": end})
        self.set_cookie(response, token, seconds_until(expire_time))
        return response

    async def end(self, request: Request) -> Response:
        """Serve DELETE. The response is 200 {} and removes the cookie, whether or not the session was still valid.
        Raises Unauthenticated: CREDENTIAL_OF_OTHER_USER, CREDENTIAL_MALFORMED; NotPermitted (ORIGIN_NOT_ALLOWED)."""
        token = self.token(request)
        if token:
            named = request.headers.getlist(USER)
            if named and (present := await self._exchange.caller_of(token)) is not None:
                confirm_user(named, present)
            await self._exchange.end_session(token, current().origin)
        response = JSONResponse({})
        self.set_cookie(response, "", 0)
        return response

    def token(self, request: Request) -> str | None:
        """The token of the browser's session, or None. The paths of browser sessions set cookies, so they serve no page
        of another origin. Raises NotPermitted (ORIGIN_NOT_ALLOWED), Unauthenticated (CREDENTIAL_MALFORMED)."""
        metadata = metadata_of_headers(request.headers.items())
        if self.cookie.is_foreign(metadata):
            raise NotPermitted(
                Reason.ORIGIN_NOT_ALLOWED,
                (
                    "Only this server's own pages sign a browser in and out. If this is one, make the proxy "
                    "pass the Host on, and add it to allowed_hosts; other pages sign people in with Login."
                ),
            )
        return self.cookie.token(metadata, safe=False)

    def set_cookie(self, response: Response, token: str, seconds: int) -> None:
        """Set the cookie of a session that ends after `seconds`; 0 removes the cookie."""
        response.set_cookie(
            self.cookie.name,
            token,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )


def seconds_until(time: datetime) -> int:
    """Whole seconds until a time, at least 0."""
    return max(0, int((time - datetime.now(UTC)).total_seconds()))


async def json_of(request: Request, limit: int = MAX_BODY, *, optional: bool = False) -> Mapping[str, object]:
    """The JSON object in a body of at most `limit` bytes. optional: whether the body may be empty. Raises InvalidRequest
    (MALFORMED_MESSAGE), and Cancelled if the client disconnects."""
    remedy = "; check whether another text was pasted into a field"
    with arriving():
        body = await json_body(request.headers, request.stream(), limit, remedy, optional=optional)
    return json_object(body)


@contextmanager
def arriving() -> Generator[None]:
    """While a body arrives. Raises Cancelled if the client disconnects."""
    try:
        yield
    except ClientDisconnect as error:
        raise CallCancelled(Reason.CANCELLED, "The caller ended the call.") from error


def _code_of(content: Mapping[str, object]) -> str:
    code = content.get("code")
    if not isinstance(code, str) or not code:
        raise InvalidRequest.of_field("code", "required", "send the code at the end of the printed address")
    return code


def _text(content: Mapping[str, object], name: str, limit: int) -> str:
    value = content.get(name, "")
    if not isinstance(value, str) or len(value.encode(errors="replace")) > limit:
        raise InvalidRequest.of_field(name, "string.max_bytes", f"must be a string of at most {limit} bytes")
    # Other spaces than the common one are not "printable", but keyboards write them, and passwords may contain them.
    controls = any(unicodedata.category(char) in ("Cc", "Cs") for char in value)
    if controls or not (value or name == "tenant"):
        raise InvalidRequest.of_field(
            name, "string", "must be a string without control characters, and not empty"
        )
    return value


def _flag(content: Mapping[str, object], name: str) -> bool:
    value = content.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest.of_field(name, "bool", "must be true or false")
    return value
