"""Requests of browsers that are not methods of the contract: signing in and out. They are counted, limited and logged like calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, FORWARDED_FOR, TRACEPARENT, Call, metadata_of, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.domain.errors import ResponsaError
from responsa_server.transports.http.problems import problem

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Refusal: TypeAlias = Callable[[Request, ResponsaError], Response]

_HEADERS: Final = (CALL_ID, FORWARDED_FOR, TRACEPARENT, "user-agent")


def refusal(_: Request, error: ResponsaError) -> Response:
    """The response to a request that failed, for a program."""
    return problem(status.of(error), status.retry_after(error))


def entrance(calls: Calls, method: str, path: str, endpoint: Endpoint, refused: Refusal = refusal) -> Route:
    """A route that runs its endpoint as a call of the name `METHOD path`. The endpoint finds the call with `current()`.
    refused: makes the response to a request that failed."""

    async def serve(request: Request) -> Response:
        headers = metadata_of(item for item in request.headers.items() if item[0] in _HEADERS)
        call = Call(f"{request.method} {path}", headers, f"http {peer_of(request.scope.get('client'))}")
        try:
            response = await calls.around(call, lambda: endpoint(request))
        except ResponsaError as error:
            response = refused(request, error)
        response.headers[CALL_ID] = call.id
        return response

    return Route(path, serve, methods=[method])
