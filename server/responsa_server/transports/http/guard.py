"""Refuses HTTP requests and WebSocket handshakes for other hosts or from pages of other origins, even if a proxy in
front lets them through."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from responsa_server.calls import status
from responsa_server.domain.addresses import is_loopback
from responsa_server.transports.http.problems import problem

_FOREIGN_SITES = ("cross-site", "same-site")
_OPEN = re.compile(r"/|/docs|/widget\.js|/v1/oidc/[^/]+/callback|/oauth/authorize")
"""The paths to which another site may send a browser: the page, `/docs`, the widget's script, and the end of a sign-in
at a provider, which reads no session and is bound to this browser by its cookie, and the way to the page on which a
person connects a program, which reads no session."""

_HOST: Final = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class AllowedCallers:
    """The accepted callers. hosts: the accepted Host headers beside the loopback's names, in lower case, with the port
    unless the port is the scheme's default. origins: the accepted Origin headers."""

    hosts: Collection[str]
    origins: Collection[str]

    def admits(self, path: str, headers: Headers) -> bool:
        """Whether to answer a request with these headers. Envoy applies the same rules (envoy/origins.yaml)."""
        origins, host = headers.getlist("origin"), headers.get("host", "").lower()
        named = (
            host in self.hosts
            or is_loopback(host)
            or ("authorization" in headers and not origins and _HOST.fullmatch(host) is not None)
        )
        if not named or len(headers.getlist("host")) > 1:
            return False
        if origins:
            return len(origins) == 1 and origins[0] in self.origins
        # Browsers send no Origin with simple GETs, for example for an image. A page on another port of this host would
        # send our cookie with such a request.
        return _OPEN.fullmatch(path) is not None or headers.get("sec-fetch-site", "") not in _FOREIGN_SITES


_HEALTH: Final = frozenset({"/health", "/health/live", "/health/ready"})


class Guard:
    """ASGI middleware that refuses callers that are not allowed. The health checks are open to everyone: they reveal
    no user data and name no host."""

    def __init__(self, app: ASGIApp, allowed: AllowedCallers) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        kind = scope["type"]
        guarded = kind in ("http", "websocket") and scope["path"] not in _HEALTH
        if not guarded or self._allowed.admits(scope["path"], Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            # A close before the accept answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008})
        else:
            await problem(status.of(status.ORIGIN_NOT_ALLOWED))(scope, receive, send)
