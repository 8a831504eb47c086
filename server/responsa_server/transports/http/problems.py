"""Errors of the HTTP side, as the same google.rpc.Status that transcoding would give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.rpc.status_pb2 import Status
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from responsa_server.calls import status
from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError, Unavailable
from responsa_server.transports.http.page import no_route

SERVER_GONE = Unavailable(
    Reason.PART_UNAVAILABLE,
    "The server cannot be reached at the moment; try again in a few seconds.",
    {"part": "server"},
    retry_after=2,
)


class RpcFailed(Exception):
    """What the gRPC server answered. status: None when it could not answer (no connection); what grpc itself reports is not told on."""

    def __init__(self, status: Status | None) -> None:
        super().__init__("no answer" if status is None else status.message)
        self.status = status


def status_of(trailers: Iterable[tuple[str, str | bytes]]) -> Status | None:
    """The Status in a call's trailers, if there is one."""
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return Status.FromString(value)
    return None


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
    assert isinstance(error, RpcFailed)
    return problem(status.of(SERVER_GONE) if error.status is None else error.status)


async def _of_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return problem(status.of(no_route()))
    wrong = InvalidRequest(
        Reason.MALFORMED_MESSAGE,
        "The request is not one that this server can read.",
        {"message_type": "application/json"},
    )
    return problem(status.of(wrong))


async def _unexpected(request: Request, _: Exception) -> Response:
    """Starlette raises the error again after this answer, so that it is logged whole."""
    return problem(status.of(status.unexpected(request.headers.get("x-request-id", ""))))


EXCEPTION_HANDLERS: Mapping[int | type[Exception], ExceptionHandler] = {
    ResponsaError: _of_domain,
    RpcFailed: _of_rpc,
    HTTPException: _of_http,
    Exception: _unexpected,
}
