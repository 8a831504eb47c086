"""Errors of the HTTP side, as the same google.rpc.Status that transcoding would give."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.rpc.status_pb2 import Status
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError, Unavailable
from responsa_server.gateway.page import no_route
from responsa_server.rpc import status

SERVER_GONE = Unavailable(
    Reason.PART_UNAVAILABLE,
    "The server cannot be reached at the moment; try again in a few seconds.",
    {"part": "server"},
    retry_after=2,
)


def problem(found: Status) -> Response:
    """The answer for a Status."""
    return Response(
        status.as_json(found),
        status_code=status.http_status(found),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


async def _of_domain(_: Request, error: Exception) -> Response:
    assert isinstance(error, ResponsaError)
    return problem(status.of(error))


async def _of_rpc(_: Request, error: Exception) -> Response:
    """What the gRPC server answered; what grpc itself reports (no connection) carries no details and is said in our own words."""
    assert isinstance(error, grpc.aio.AioRpcError)
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return problem(Status.FromString(value))
    return problem(status.of(SERVER_GONE))


async def _of_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return problem(status.of(no_route()))
    wrong = InvalidRequest(Reason.MALFORMED_MESSAGE, "The request is not one that this server can read.")
    return problem(status.of(wrong))


async def _unexpected(request: Request, _: Exception) -> Response:
    """Starlette raises the error again after this answer, so that it is logged whole."""
    return problem(status.of(status.unexpected(request.headers.get("x-request-id", ""))))


EXCEPTION_HANDLERS: Mapping[int | type[Exception], ExceptionHandler] = {
    ResponsaError: _of_domain,
    grpc.aio.AioRpcError: _of_rpc,
    HTTPException: _of_http,
    Exception: _unexpected,
}
