"""Browser sessions: a single-use code becomes a cookie that scripts cannot read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Protocol, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from responsa_server.domain.errors import InvalidRequest, Reason

MAX_BODY = 4096
"""The largest body, in bytes."""


class SessionExchange(Protocol):
    """The part of the identity service that the gateway needs."""

    async def exchange_code(self, code: str) -> tuple[str, datetime]:
        """Exchange a single-use code for a session; returns the session's token and expiry time. Raises Unauthenticated (SESSION_CODE_INVALID)."""
        ...

    async def end_session(self, token: str) -> None:
        """End a session. This has no effect if the session does not exist."""
        ...


class Sessions:
    """`/v1/sessions`."""

    def __init__(self, exchange: SessionExchange, cookie_name: str, *, secure: bool) -> None:
        self._exchange = exchange
        self._cookie_name = cookie_name
        self._secure = secure

    async def create(self, request: Request) -> Response:
        """Serve POST with the body {"code": "rsc_…"}. The response is 200 {"expireTime": …} and sets the cookie.

        Raises:
            InvalidRequest: the body is not such an object (MALFORMED_MESSAGE, INVALID_FIELD).
            Unauthenticated: the code is not valid (SESSION_CODE_INVALID).
        """
        token, expire_time = await self._exchange.exchange_code(await _code_of(request))
        seconds = max(0, int((expire_time - datetime.now(UTC)).total_seconds()))
        end = expire_time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        response = JSONResponse({"expireTime": end})
        self._set_cookie(response, token, seconds)
        return response

    async def end(self, request: Request) -> Response:
        """Serve DELETE. The response is 200 {} and removes the cookie, whether or not the session was still valid."""
        token = request.cookies.get(self._cookie_name)
        if token:
            await self._exchange.end_session(token)
        response = JSONResponse({})
        self._set_cookie(response, "", 0)
        return response

    def _set_cookie(self, response: Response, token: str, seconds: int) -> None:
        response.set_cookie(
            self._cookie_name,
            token,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )


async def _code_of(request: Request) -> str:
    # A form on another site can send text, but cannot set the content type application/json.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _malformed("the content-type must be application/json")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise _malformed(f"the body is larger than {MAX_BODY} bytes")
    try:
        content = cast("object", json.loads(body))
    except (ValueError, RecursionError) as error:
        raise _malformed("the body is not JSON") from error
    code = cast("dict[str, object]", content).get("code") if isinstance(content, dict) else None
    if not isinstance(code, str) or not code:
        raise InvalidRequest.of_field("code", "required", "send the code at the end of the printed address")
    return code


def _malformed(why: str) -> InvalidRequest:
    message = f'The request must be JSON, such as {{"code": "rsc_…"}}: {why}.'
    return InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": "application/json"})
