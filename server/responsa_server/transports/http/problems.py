"""Errors of the HTTP side as google.rpc.Status, also those that nobody expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from google.rpc.status_pb2 import Status
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of
from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError

_CONNECT: Final = ("/responsa.", "/google.longrunning.")
"""What the paths of Connect begin with."""


def problem(rpc_status: Status, retry_after: str | None = None) -> Response:
    """The response for a Status. retry_after: the header Retry-After; None for no header."""
    return Response(
        status.as_json(rpc_status),
        status_code=status.http_status(rpc_status),
        media_type="application/json",
        headers={"cache-control": "no-store", **({"retry-after": retry_after} if retry_after else {})},
    )


async def _of_domain(_: Request, error: Exception) -> Response:
    assert isinstance(error, ResponsaError)
    return problem(status.of(error), status.retry_after(error))


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        if not (allowed := _methods(request)):
            missing = status.of(status.no_route())
            if not request.url.path.startswith(_CONNECT):
                return problem(missing)
            missing.code = status.Code.UNIMPLEMENTED  # as over gRPC
            return Response(
                status.as_connect(missing), 404, {"cache-control": "no-store"}, "application/json"
            )
        refused = problem(status.no_method(request.method, allowed))
        refused.status_code = 405
        refused.headers["allow"] = ", ".join(allowed)
        return refused
    wrong = InvalidRequest(
        Reason.MALFORMED_MESSAGE,
        "This server cannot read the request.",
        {"message_type": "application/json"},
    )
    return problem(status.of(wrong))


def _methods(request: Request) -> Sequence[str]:
    """The HTTP methods of the routes with a request's path. The page's route, the last one, has every path."""
    routes = (route for route in request.app.routes[:-1] if isinstance(route, Route))
    fitting = (route.methods or () for route in routes if route.matches(request.scope)[0] is Match.PARTIAL)
    return sorted({method for methods in fitting for method in methods})


EXCEPTION_HANDLERS: Mapping[int | type[Exception], ExceptionHandler] = {
    ResponsaError: _of_domain,
    HTTPException: _of_http,
}


class Unexpected:
    """ASGI middleware that answers an error that nobody expected with INTERNAL, and logs and counts it.

    Uvicorn closes the connection behind an error that leaves the application, also after a whole response. Envoy may
    have sent the next request on it by then, which is another user's.
    """

    def __init__(self, app: ASGIApp, calls: Calls) -> None:
        self._app = app
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = ended = False

        async def watch(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # the root: nothing above it could answer
            call = call_of(scope, scope["method"])
            told = self._calls.unforeseen(call, error)
            if not begun:
                response = problem(status.of(told))
                response.headers[CALL_ID] = call.id
                await response(scope, receive, send)
            elif not ended:
                # Only a closed connection says that the response is not whole.
                raise
