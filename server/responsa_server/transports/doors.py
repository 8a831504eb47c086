"""The table of doors behind Envoy: REST, browser sessions, sign-in with OpenID Connect, uploads, originals, OpenAI's
API, MCP, A2A, WebSockets and the page. The server serves it, and knows no door by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from responsa_server.calls.chain import Calls
from responsa_server.calls.health import ServerHealth
from responsa_server.calls.interceptors.access import SessionCookie
from responsa_server.identity.accounts import Accounts
from responsa_server.system.instance import locate_generated
from responsa_server.transports.a2a.routes import a2a_routes
from responsa_server.transports.a2a.routes import add_service as add_a2a
from responsa_server.transports.http.entrance import entrance
from responsa_server.transports.http.guard import AllowedCallers, Guard
from responsa_server.transports.http.health import Scrape, health_routes, metrics_route
from responsa_server.transports.http.jwks import PATH as JWKS_PATH
from responsa_server.transports.http.jwks import Jwks
from responsa_server.transports.http.oauth import OAuth, OAuthGateway
from responsa_server.transports.http.openid import (
    CALLBACK_PATH,
    LINK_PATH,
    START_PATH,
    OpenIdGateway,
    OpenIdSessions,
)
from responsa_server.transports.http.original_paths.serving import original_routes
from responsa_server.transports.http.page import NAME, StaticPage
from responsa_server.transports.http.problems import EXCEPTION_HANDLERS, Unexpected
from responsa_server.transports.http.security_headers import SecurityHeaders
from responsa_server.transports.http.sessions import SessionExchange, Sessions
from responsa_server.transports.http.uploaded_files import PATHS as ORIGINAL_PATHS
from responsa_server.transports.http.uploaded_files import Originals
from responsa_server.transports.http.uploads import Uploads
from responsa_server.transports.mcp.routes import PATH as MCP_PATH
from responsa_server.transports.mcp.routes import Mcp
from responsa_server.transports.openai.routes import openai_routes, shadow_routes
from responsa_server.transports.openai.settings import OpenAiApiSettings
from responsa_server.transports.rest.connect import ConnectExchange
from responsa_server.transports.rest.handler import Rest
from responsa_server.transports.rest.openapi import openapi_route
from responsa_server.transports.ws.bridge import PATHS, Bridge
from responsa_server.transports.ws.protocol import BoundedProtocol

__all__ = ["BoundedProtocol", "Bridge", "GatewaySettings", "OAuthGateway", "add_a2a", "build_app"]


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings of the gateway.

    web_root: the folder with the built page; the folder may be missing. allowed: the hosts and origins that are served.
    cookie: the session cookie, as the chain of calls reads it. secure_cookie: whether browsers send the
    session cookie only over TLS. name: what the page calls the installation. mark: the file of its mark; None for Responsa's own.
    page_url: the address of the page in links, without a slash at the end; "" for the address that clients call.
    """

    web_root: Path
    allowed: AllowedCallers
    secure_cookie: bool
    cookie: SessionCookie = field(default_factory=SessionCookie)
    name: str = NAME
    mark: Path | None = None
    openai: OpenAiApiSettings = field(default_factory=OpenAiApiSettings)
    page_url: str = ""


def build_app(
    settings: GatewaySettings,
    calls: Calls,
    sessions: SessionExchange,
    *,
    accounts: Accounts | None = None,
    openid: OpenIdGateway | None = None,
    oauth: OAuthGateway | None = None,
    health: ServerHealth | None = None,
    metrics: Scrape | None = None,
    bridge: Bridge | None = None,
) -> Starlette:
    """Build the application.

    accounts: signs browsers in with passwords; None: the gateway exchanges only codes. openid: signs browsers in with
    OpenID Connect; None serves no such paths. oauth: connects programs; None serves no such paths. health: what
    `/health` tells; None: that all is well. metrics: the metrics of all servers, for owners at `/metrics`; None: there is no such
    page. bridge: the bridge that serves WebSockets over the same calls; None creates a new bridge. A caller passes its
    own bridge if it must later send the open WebSockets to other replicas.
    """
    browser_sessions = Sessions(sessions, settings.cookie, secure=settings.secure_cookie, accounts=accounts)
    sockets = bridge or Bridge(calls, cookie=settings.cookie)
    public_url = "" if oauth is None else oauth.public_url
    mcp = Mcp(calls, public_url)

    routes: list[BaseRoute] = [
        *shadow_routes(calls, settings.openai),
        Rest(calls),
        Rest(calls, ConnectExchange),
        entrance(calls, "POST", "/v1/sessions", browser_sessions.create),
        entrance(calls, "DELETE", "/v1/sessions", browser_sessions.end),
        *_openid_routes(calls, openid, browser_sessions, settings),
        Route("/v1/uploads", Uploads(calls).put, methods=["PUT", "POST"]),
        *(Route(path, Originals(calls), methods=["GET"]) for path in ORIGINAL_PATHS),
        *(WebSocketRoute(path, sockets.serve) for path in PATHS),
        *original_routes(calls),
        *openai_routes(calls, settings.openai, settings.page_url),
        *(Route(path, mcp) for path in (MCP_PATH, f"{MCP_PATH}/")),
        *a2a_routes(calls, public_url, secure=settings.secure_cookie),
        *(() if oauth is None else OAuth(oauth, browser_sessions).routes(calls)),
        Route(JWKS_PATH, Jwks(calls).get, methods=["GET"]),
        openapi_route(locate_generated("openapi.json")),
        *health_routes(health or ServerHealth(lambda: True)),
        *([] if metrics is None else [metrics_route(metrics, owners=calls)]),
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
        yield entrance(calls, "GET", CALLBACK_PATH, served.finish, served.refuse)
        yield entrance(calls, "POST", LINK_PATH, served.link)
