"""Refuses HTTP requests and WebSocket handshakes for other hosts or from the pages of other origins, whatever stands in front of this process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from responsa_server.calls import status
from responsa_server.transports.http.problems import problem

_FOREIGN_SITES = ("cross-site", "same-site")


@dataclass(frozen=True, slots=True)
class Allowed:
    """hosts: what a Host header may say, in lower case, with the port where it is not the scheme's own. origins: what an Origin header may say."""

    hosts: Collection[str]
    origins: Collection[str]

    def admits(self, path: str, headers: Headers) -> bool:
        """Whether a request with these headers is answered. Envoy holds the same rules (envoy/origins.yaml)."""
        if headers.get("host", "").lower() not in self.hosts or len(headers.getlist("host")) > 1:
            return False
        origins = headers.getlist("origin")
        if origins:
            return len(origins) == 1 and origins[0] in self.origins
        # Browsers leave Origin out of simple GETs, such as of an image; the page of another port on this host would send our cookie with it.
        return path == "/" or headers.get("sec-fetch-site", "") not in _FOREIGN_SITES


class Guard:
    """ASGI middleware. `/health` is open to whoever reaches the address: it tells nothing of anybody, and those that check it name no host."""

    def __init__(self, app: ASGIApp, allowed: Allowed) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope, as ASGI asks."""
        kind = scope["type"]
        guarded = kind in ("http", "websocket") and scope["path"] != "/health"
        if not guarded or self._allowed.admits(scope["path"], Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            # Before it is accepted: the handshake is answered with 403.
            await send({"type": "websocket.close", "code": 1008})
        else:
            await problem(status.of(status.ORIGIN_NOT_ALLOWED))(scope, receive, send)
