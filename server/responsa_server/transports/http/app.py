"""The HTTP side behind Envoy: browser sessions, uploads, WebSockets, the page. All else that HTTP callers want is transcoded by Envoy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from responsa_server.transports.http.channel import ServerChannel
from responsa_server.transports.http.page import Page
from responsa_server.transports.http.problems import EXCEPTION_HANDLERS
from responsa_server.transports.http.security_headers import SecurityHeaders
from responsa_server.transports.http.sessions import SessionExchange, Sessions
from responsa_server.transports.http.uploads import Uploads
from responsa_server.transports.ws.bridge import PATH, Bridge


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """web_root: the folder with the built page; it may be missing. cookie_name: of the session's cookie, as the gRPC server reads it.
    secure_cookie: whether browsers are to send it over TLS alone."""

    web_root: Path
    cookie_name: str = "responsa_session"
    secure_cookie: bool = False


def build_app(
    settings: GatewaySettings,
    channel: ServerChannel,
    sessions: SessionExchange,
    *,
    serving: Callable[[], bool] = lambda: True,
    bridge: Bridge | None = None,
) -> Starlette:
    """The application; its lifespan opens and closes the channel.

    serving: whether `/health` tells Envoy to send calls here. bridge: over the same channel, for who wants to tell its sockets to leave; one of its own otherwise.
    """
    bridge = bridge or Bridge(channel)
    browser_sessions = Sessions(sessions, settings.cookie_name, secure=settings.secure_cookie)
    uploads = Uploads(channel, settings.cookie_name)
    page = Page(settings.web_root)

    async def health(_: Request) -> Response:
        here = serving()
        return JSONResponse(
            {"status": "SERVING" if here else "NOT_SERVING"},
            status_code=200 if here else 503,
            headers={"cache-control": "no-store"},
        )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with channel:
            yield

    return Starlette(
        routes=[
            Route("/v1/sessions", browser_sessions.create, methods=["POST"]),
            Route("/v1/sessions", browser_sessions.end, methods=["DELETE"]),
            Route("/v1/uploads", uploads.put, methods=["PUT"]),
            WebSocketRoute(PATH, bridge.serve),
            Route("/health", health, methods=["GET"]),
            Route("/{path:path}", page.get, methods=["GET"]),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
