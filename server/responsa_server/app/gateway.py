"""The HTTP server behind Envoy: REST, browser sessions, sign-in with OpenID Connect, uploads, originals, OpenAI's API, MCP, A2A, WebSockets and the page."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from responsa_server.app.listening import listen
from responsa_server.calls.chain import Calls
from responsa_server.calls.health import ServerHealth
from responsa_server.calls.interceptors.access import SessionCookie
from responsa_server.domain.addresses import Address, TcpAddress, UnixAddress
from responsa_server.identity.accounts import Accounts
from responsa_server.instance import generated
from responsa_server.transports.a2a.routes import a2a_routes
from responsa_server.transports.http.entrance import entrance
from responsa_server.transports.http.guard import Allowed, Guard
from responsa_server.transports.http.health import health_routes, metrics_route
from responsa_server.transports.http.jwks import PATH as JWKS_PATH
from responsa_server.transports.http.jwks import Jwks
from responsa_server.transports.http.openid import (
    CALLBACK_PATH,
    LINK_PATH,
    START_PATH,
    OpenIdGateway,
    OpenIdSessions,
)
from responsa_server.transports.http.original.serving import original_routes
from responsa_server.transports.http.originals import PATHS as ORIGINAL_PATHS
from responsa_server.transports.http.originals import Originals
from responsa_server.transports.http.page import NAME, StaticPage
from responsa_server.transports.http.problems import EXCEPTION_HANDLERS, Unexpected
from responsa_server.transports.http.protocol import BoundedHead
from responsa_server.transports.http.security_headers import SecurityHeaders
from responsa_server.transports.http.sessions import SessionExchange, Sessions
from responsa_server.transports.http.uploads import Uploads
from responsa_server.transports.mcp.routes import PATH as MCP_PATH
from responsa_server.transports.mcp.routes import Mcp
from responsa_server.transports.openai.routes import openai_routes
from responsa_server.transports.rest.handler import Rest
from responsa_server.transports.rest.openapi import openapi_route
from responsa_server.transports.ws.bridge import PATHS, Bridge
from responsa_server.transports.ws.protocol import BoundedProtocol

KEEP_ALIVE_SECONDS = 120
"""This time is longer than the 60 s for which Envoy keeps an idle connection, so that Envoy never sends a call on a
connection that is being closed.
"""
MAX_SOCKET_MESSAGE_BYTES = 2_097_152
"""The maximum length of a message on a WebSocket. A longer message closes the WebSocket with the code 1009."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings of the gateway.

    web_root: the folder with the built page; the folder may be missing. allowed: the hosts and origins that are served.
    cookie: the session cookie, as the chain of calls reads it. secure_cookie: whether browsers send the
    session cookie only over TLS. name: what the page calls the installation. mark: the file of its mark; None for Responsa's own.
    """

    web_root: Path
    allowed: Allowed
    secure_cookie: bool
    cookie: SessionCookie = field(default_factory=SessionCookie)
    name: str = NAME
    mark: Path | None = None


def build_app(
    settings: GatewaySettings,
    calls: Calls,
    sessions: SessionExchange,
    *,
    accounts: Accounts | None = None,
    openid: OpenIdGateway | None = None,
    health: ServerHealth | None = None,
    metrics: Callable[[], Awaitable[bytes]] | None = None,
    bridge: Bridge | None = None,
) -> Starlette:
    """Build the application.

    accounts: signs browsers in with passwords; None: the gateway exchanges only codes. openid: signs browsers in with OpenID Connect; None serves no such paths. health: what `/health` tells; None: that all is well. metrics: the metrics of all servers, for `/metrics`; None: there is no such page. bridge: the bridge
    that serves WebSockets over the same calls; None creates a new bridge. A caller passes its own bridge if it must
    later send the open WebSockets to other replicas.
    """
    browser_sessions = Sessions(sessions, settings.cookie, secure=settings.secure_cookie, accounts=accounts)
    sockets = bridge or Bridge(calls, cookie=settings.cookie)
    originals = Originals(calls)
    mcp = Mcp(calls)

    routes: list[BaseRoute] = [
        Rest(calls),
        entrance(calls, "POST", "/v1/sessions", browser_sessions.create),
        entrance(calls, "DELETE", "/v1/sessions", browser_sessions.end),
        *_openid_routes(calls, openid, browser_sessions, settings),
        Route("/v1/uploads", Uploads(calls).put, methods=["PUT"]),
        *(Route(path, _Served(originals.get), methods=["GET"]) for path in ORIGINAL_PATHS),
        *(WebSocketRoute(path, sockets.serve) for path in PATHS),
        *original_routes(calls),
        *openai_routes(calls),
        Route(MCP_PATH, mcp),
        *a2a_routes(calls, secure=settings.secure_cookie),
        Route(JWKS_PATH, Jwks(calls).get, methods=["GET"]),
        openapi_route(generated("openapi.json")),
        *health_routes(health or ServerHealth(lambda: True)),
        *([] if metrics is None else [metrics_route(metrics)]),
        Route(
            "/{path:path}", StaticPage(settings.web_root, settings.name, settings.mark).get, methods=["GET"]
        ),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Unexpected, calls=calls),
            Middleware(Guard, allowed=settings.allowed),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=mcp.lifespan,
    )


def _openid_routes(
    calls: Calls, openid: OpenIdGateway | None, sessions: Sessions, settings: GatewaySettings
) -> Iterator[BaseRoute]:
    if openid is not None:
        served = OpenIdSessions(openid, sessions, secure=settings.secure_cookie)
        yield entrance(calls, "POST", START_PATH, served.start)
        yield entrance(calls, "GET", CALLBACK_PATH, served.finish, served.refused)
        yield entrance(calls, "POST", LINK_PATH, served.link)


class _Served:
    """Wraps a method as an ASGI endpoint. Starlette calls an instance of a class as an ASGI application, but it calls a
    method as a function that takes a request and returns a response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, because the server process handles signals itself. `serving` is set once
    Uvicorn accepts calls.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class GatewayServer:
    """Serves `app` at `address`. Call `start` once, then `stop`.

    A unix socket gets the mode 0600 and replaces the socket of a killed process.
    """

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app = app
        self._address = address
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = 0
        """The port; 0 before `start`, and on a unix socket."""

    async def start(self) -> None:
        """Start serving; return once calls are accepted.

        Raises:
            AddressTaken: another process listens on the address.
            OSError: the socket cannot be created.
        """
        listener = listen(self._address)
        if isinstance(self._address, TcpAddress):
            self.port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                self._app,
                http=BoundedHead,
                ws=BoundedProtocol,
                ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
                # Our protocol has its own heartbeat frames, so pings are off. Compression is off because, for small
                # frames, it costs more than it saves, and it needs memory for each socket.
                ws_ping_interval=None,
                ws_per_message_deflate=False,
                lifespan="on",
                loop="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
        self._server, self._task = server, task
        serving = asyncio.create_task(server.serving.wait())
        try:
            await asyncio.wait({task, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
        if task.done():
            listener.close()
            await task

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting calls, wait `grace_seconds` for running calls to end, and cancel the rest. Repeatable."""
        if self._server is None or self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self._task
        self._server = self._task = None
        if isinstance(self._address, UnixAddress):
            self._address.path.unlink(missing_ok=True)
