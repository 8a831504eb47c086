"""The health checks, and the metrics of all servers, over HTTP. Health needs no credential, so it tells no address, no
name of a user's, and not the reason of a fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from responsa.admin.v1.admin_service_pb2 import ListTenantsRequest, ListTenantsResponse
from responsa_server.calls import status
from responsa_server.calls.chain import Calls
from responsa_server.calls.health import ServerHealth
from responsa_server.calls.http import call_of
from responsa_server.transports.http.problems import problem

_HEADERS: Final = {"cache-control": "no-store"}
_OWNERS_CALL: Final = "/responsa.admin.v1.AdminService/ListTenants"
Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Returns the metrics in a format that the header `accept` of a request allows, and their media type."""


def health_routes(health: ServerHealth) -> Sequence[Route]:
    """`GET /health/live`: 200 while the process runs. `GET /health/ready`: 200 while it can answer, else 503. `GET
    /health`: the same status, with the health of each part. Both say whether the instance is paused after a restore."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "LIVE"}, headers=_HEADERS)

    async def ready(_: Request) -> Response:
        return lacking_response(sorted(await health.lacking()), paused=health.pause.paused())

    async def whole(_: Request) -> Response:
        named = {name: str(report) for name, report in (await health.parts()).items()}
        return lacking_response(sorted(await health.lacking()), paused=health.pause.paused(), parts=named)

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/health", whole, methods=["GET"]),
    ]


def lacking_response(lacking: Sequence[str], **more: object) -> Response:
    """503 if parts are lacking without which no question can be answered, else 200."""
    content = {"status": "NOT_SERVING" if lacking else "SERVING", "lacking": lacking, **more}
    return JSONResponse(content, status_code=503 if lacking else 200, headers=_HEADERS)


def metrics_route(
    read: Scrape, accepts: Callable[[str], bool] = lambda _: True, owners: Calls | None = None
) -> Route:
    """`GET /metrics`. accepts: whether to answer a request with this Host header. owners: the calls, if only owners of
    the installation may read the metrics; None: whoever reaches the port."""

    async def metrics(request: Request) -> Response:
        if not all(map(accepts, request.headers.getlist("host"))):
            return problem(status.of(status.ORIGIN_NOT_ALLOWED))
        if owners is not None:  # the call is refused to others
            call = call_of(request.scope, _OWNERS_CALL)
            await owners.answer(call, ListTenantsRequest(page_size=1), ListTenantsResponse)
        content, media_type = await read(request.headers.get("accept", ""))
        return Response(content, media_type=media_type, headers=_HEADERS)

    return Route("/metrics", metrics, methods=["GET"])
