"""Finds the credential of a socket: the token or the cookie of the handshake, or the token of the first frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from starlette.websockets import WebSocket

from responsa_server.calls.call import CALL_ID, FETCH_SITE, ON_BEHALF_OF, ORIGIN, USER
from responsa_server.calls.interceptors.access import SessionCookie, metadata_of_headers
from responsa_server.calls.interceptors.reporting import call_id
from responsa_server.domain.errors import Reason, Unauthenticated

PROTOCOL: Final = "responsa.v1"
"""The subprotocol that this server speaks. If a client does not offer this subprotocol, the server answers with another subprotocol that
the client offers.
"""
_BEARER: Final = "bearer."

Metadata: TypeAlias = Mapping[str, Sequence[str]]
"""The credential of a call."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The content of a handshake. subprotocol: the subprotocol to answer with; None if the client offers none.
    metadata: the credential and `users`; None if the handshake has no credential. users: the user whom the client
    names, and the user on whose behalf a service opens the socket; empty without them. call_id: the id under which the
    log records all calls of the socket."""

    subprotocol: str | None
    metadata: Metadata | None = field(repr=False)
    users: Metadata
    call_id: str


def handshake_of(socket: WebSocket, cookie: SessionCookie) -> Handshake:
    """Read a handshake, and remove its query, so that a log of the request's address shows no token.

    The token comes from the subprotocols, the query, `authorization` or the session cookie; the first one found counts.
    If the page of another origin sends the cookie, or it is the session of
    another instance on this host, it does not count: the token may come with the first message. Browsers cannot send
    headers with a handshake, so a page names its user (`responsa-user`) in the query: `user`.
    """
    offered: list[str] = socket.scope.get("subprotocols", [])
    queried = socket.query_params.get("token", "")
    user = socket.query_params.get("user", "")
    socket.scope["query_string"] = b""
    others = [name.removeprefix(_BEARER) for name in offered if name not in (PROTOCOL, "bearer")]
    token = next((other for other in others if other), queried)
    metadata = metadata_of_headers(socket.headers.items())
    if token:
        own = bearer(token)
    elif "authorization" in metadata:
        own = {"authorization": metadata["authorization"]}
    elif cookie.is_in(metadata):
        own = {name: metadata[name] for name in ("cookie", ORIGIN, FETCH_SITE) if name in metadata}
    else:
        own = {}
    users = {name: metadata[name] for name in (ON_BEHALF_OF, USER) if name in metadata}
    if user:
        users[USER] = [*users.get(USER, ()), user]
    # Browsers abort a handshake when the response contains none of the subprotocols that they offered.
    answered = next((name for name in (PROTOCOL, "bearer") if name in offered), next(iter(offered), None))
    # The call id is the one that Envoy set, as for any other call.
    return Handshake(
        answered, {**own, **users} if own else None, users, call_id(socket.headers.get(CALL_ID, ""))
    )


def bearer(token: str) -> Metadata:
    """The metadata for a token."""
    return {"authorization": [f"Bearer {token}"]}


def missing() -> Unauthenticated:
    """The error for a client that sends something else before a token, or sends no token in time."""
    return Unauthenticated(
        Reason.CREDENTIAL_MISSING,
        f'This socket needs a credential: offer the subprotocols "{PROTOCOL}" and "{_BEARER}rsp_…" with an API key, or send '
        '{"type": "auth", "token": "rsp_…"} as the first message; a page that is signed in needs neither.',
    )
