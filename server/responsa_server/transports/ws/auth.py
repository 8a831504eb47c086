"""Whose a socket is: by the handshake's token, or by the first frame's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import grpc
from starlette.websockets import WebSocket

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa_server.calls.call import CALL_ID
from responsa_server.calls.interceptors.access import SESSION_COOKIE
from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.transports.http.problems import RpcFailed, status_of

PROTOCOL: Final = "responsa.v1"
"""The subprotocol that this server speaks. An answer names another one only to who does not offer it."""
_BEARER: Final = "bearer."
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Metadata = Sequence[tuple[str, str]]
"""What says, to the gRPC server, who calls."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a socket is: `users/{uuid}` of a tenant."""

    tenant: str
    user: str


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a handshake brought. subprotocol: the one to answer with. metadata: None when it carried no credential. call_id: by which the log speaks of
    all that is asked over the socket."""

    subprotocol: str | None
    metadata: Metadata | None
    call_id: str

    def __repr__(self) -> str:
        return f"Handshake({self.subprotocol})"


def handshake_of(socket: WebSocket) -> Handshake:
    """Read a handshake, and take the query out of it, so that whatever may log the request's address later logs no token.

    A token is looked for among the subprotocols, in the query, in `authorization`, in the session's cookie; the first counts.
    """
    offered: list[str] = socket.scope.get("subprotocols", [])
    queried = socket.query_params.get("token", "")
    socket.scope["query_string"] = b""
    named = [one for one in offered if one not in (PROTOCOL, "bearer")]
    tokens = [one.removeprefix(_BEARER) for one in named if one.removeprefix(_BEARER)]
    metadata: Metadata | None = None
    if tokens or queried:
        metadata = bearer(tokens[0] if tokens else queried)
    elif header := socket.headers.get("authorization"):
        metadata = [("authorization", header)] if _sendable(header) else bearer("")
    elif session := _session(socket):
        metadata = [("cookie", session)]
    # Browsers break a handshake off whose answer names none of what they offered.
    answered = next((one for one in (PROTOCOL, "bearer") if one in offered), next(iter(offered), None))
    # Envoy's, as for any other call.
    given = socket.headers.get(CALL_ID, "")
    return Handshake(answered, metadata, given if _ID.fullmatch(given) else str(uuid4()))


def bearer(token: str) -> Metadata:
    """The metadata for a token. What cannot be sent is sent as no token at all, which is refused as malformed."""
    return [("authorization", f"Bearer {token}" if _sendable(token) else "Bearer")]


async def owner_of(channel: grpc.aio.Channel, metadata: Metadata, seconds: float) -> Owner:
    """Whose a credential is. Raises RpcFailed, without a status when no answer came within so many seconds."""
    try:
        me = await AuthServiceStub(channel).GetMe(GetMeRequest(), metadata=metadata, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        raise RpcFailed(status_of(error.trailing_metadata())) from error
    return Owner(me.tenant, me.name)


def missing() -> Unauthenticated:
    """For who sends anything else before a token, or nothing for too long."""
    return Unauthenticated(
        Reason.CREDENTIAL_MISSING,
        f'This socket needs a credential: offer the subprotocols "{PROTOCOL}" and "{_BEARER}rsp_…" with an API key, or send '
        '{"type": "auth", "token": "rsp_…"} as the first message; a page that is signed in needs neither.',
    )


def _session(socket: WebSocket) -> str:
    """The cookies of sessions, as the gRPC server reads them; browsers send those of a host's other ports too."""
    found = [
        f"{name}={value}"
        for name, value in socket.cookies.items()
        if (name == SESSION_COOKIE or name.startswith(f"{SESSION_COOKIE}_")) and _sendable(value)
    ]
    return "; ".join(found)


def _sendable(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()
