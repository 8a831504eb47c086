"""JSON-RPC 2.0 over HTTP, for the transports whose protocols use it: how a message arrives, and how a request is
refused before its method is known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.user_pb2 import User
from responsa_server.calls import status, violations
from responsa_server.calls.call import Call
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import json_body, json_value
from responsa_server.domain.addresses import own_address
from responsa_server.domain.errors import DeadlinePassed, InvalidRequest, Reason, ResponsaError
from responsa_server.domain.programs import RESOURCES

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
SERVER_ERROR: Final = -32000
MAX_BODY: Final = 131_072
"""The largest body, in bytes: a question has at most 16 KiB, which JSON may write six times as long."""
_BODY_SECONDS: Final = 30.0


class RequestRefused(Exception):
    """A request that reaches no method. code: of JSON-RPC. allow: the HTTP methods of the path, if the request has
    another one. request_id: the id in its message, if that can be read."""

    request_id: object = None

    def __init__(self, error: ResponsaError, code: int = INVALID_REQUEST, allow: str = "") -> None:
        super().__init__(error.message)
        self.error = error
        self.code = code
        self.allow = allow


def refuse_unreadable(why: str, code: int = INVALID_REQUEST) -> RequestRefused:
    """The refusal of a request that cannot be read."""
    return RequestRefused(violations.unreadable(why), code)


async def body_of(
    calls: Calls,
    me: Call,
    verb: str,
    headers: Mapping[str, str],
    pieces: AsyncIterable[bytes],
) -> bytes:
    """The body of a request, which arrives after the credential was checked and the request was counted. me: the call
    GetMe of the request's caller, which checks it. Raises Refused, ResponsaError."""
    # Clients without a good credential look for the status 401, whatever they ask for.
    await calls.answer(me, GetMeRequest(), User)
    if verb != "POST":
        raise RequestRefused(status.no_route(), allow="POST")
    with calls.arriving(me):
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await json_body(headers, pieces, MAX_BODY, "; send a shorter text")
        except InvalidRequest as error:
            raise RequestRefused(error) from error
        except TimeoutError as error:
            late = DeadlinePassed(
                Reason.DEADLINE_EXCEEDED, f"The body did not arrive within {_BODY_SECONDS:g} s."
            )
            raise RequestRefused(late) from error


def json_of(body: bytes) -> object:
    """The JSON value that a body is. Raises Refused."""
    try:
        return json_value(body)
    except InvalidRequest as error:
        code = PARSE_ERROR if error.reason is Reason.MALFORMED_MESSAGE else INVALID_REQUEST
        raise RequestRefused(error, code) from error


def resource_of(headers: Mapping[str, str], public_url: str, path: str) -> str:
    """The address of a protected resource (RFC 9728). public_url: see `own_address`. path: one of `RESOURCES`."""
    return own_address(headers.get("host", ""), public_url) + path


def headers_of(error: ResponsaError, *, authorised: bool, resource: str) -> dict[str, str]:
    """The headers of an error that has its own HTTP status; they say how a program gets a token (RFC 9728, 5.1).
    authorised: whether the request has a credential. resource: its address, with a slash at the end if the client asks
    there: its metadata must name the same address (RFC 9728, 3.3)."""
    headers = {"cache-control": "no-store"}
    code = status.http_status(status.of(error))
    lacking = error.reason is Reason.SCOPE_REQUIRED
    if code == 401 or lacking:
        url = urlsplit(resource)
        metadata = f"{url.scheme}://{url.netloc}/.well-known/oauth-protected-resource{url.path}"
        scope = error.metadata["scope"] if lacking else " ".join(RESOURCES[url.path.removesuffix("/")])
        wrong = "insufficient_scope" if lacking else "invalid_token" if authorised else ""
        parts = {"realm": "responsa", "error": wrong, "scope": scope, "resource_metadata": metadata}
        challenge = ", ".join(f'{name}="{value}"' for name, value in parts.items() if value)
        headers["www-authenticate"] = f"Bearer {challenge}"
    if (wait := status.retry_after(error)) is not None:
        headers["retry-after"] = wait
    return headers


def error_body(error: ResponsaError, code: int, data: object, request_id: object = None) -> bytes:
    """The response that says an error. data: its details, in the shape of the protocol."""
    told = {"code": code, "message": error.message, "data": data}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": told}, ensure_ascii=False).encode()
