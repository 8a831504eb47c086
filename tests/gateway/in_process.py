"""Calls gRPC servicers without a connection, in the way in which the gateway calls the server's methods. The
stand-in's answers are therefore the same on every transport.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from math import inf
from typing import Any, NoReturn
from uuid import NAMESPACE_OID, uuid5

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from responsa_server.calls import status
from responsa_server.calls.call import Call, Interceptor, Received, current
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors.limits import CallAdmission, Deadline
from responsa_server.calls.interceptors.reporting import CallId, Errors, Log, Logger
from responsa_server.domain.errors import FieldViolation, Reason, ResponsaError, Unavailable
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.unexpected import UnexpectedErrors

_metadata: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("metadata")


class Parsing(Interceptor[None]):
    """Parses a message, and keeps the metadata for the servicers. Each key is another user of the tenant `one`; a key
    `KEY~SECONDS` is a token of the user of `KEY` that expires in so many seconds."""

    async def on_start(self, call: Call) -> None:
        _metadata.set(tuple((name, value) for name, values in call.metadata.items() for value in values))
        key = "".join(call.metadata.get("authorization", ()))
        user, _, seconds = key.partition("~")
        expires = time.time() + float(seconds) if seconds else inf
        call.principal = Principal("one", uuid5(NAMESPACE_OID, user), Role.USER, "api_key", expires=expires)

    def on_request(self, call: Call, message: object) -> object:
        assert isinstance(message, Received)
        return message.parse(message.data)


class Context:
    """The part of gRPC's context that the stand-in's servicers use."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return _metadata.get()

    def time_remaining(self) -> float | None:
        return current().time_remaining

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call without a reason, like a part that is briefly unavailable."""
        assert code is grpc.StatusCode.UNAVAILABLE
        raise Unavailable(Reason.PART_UNAVAILABLE, details, {"part": "postgresql"})

    async def abort_with_status(self, status: Any) -> NoReturn:
        details = dict(status.trailing_metadata)["grpc-status-details-bin"]
        raise error_of(Status.FromString(details))


def error_of(status: Status) -> ResponsaError:
    """The error for this Status."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()  # fmt: skip
    retry_after = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    violations = tuple(
        FieldViolation(field_violation.field, field_violation.reason, field_violation.description)
        for field_violation in bad.field_violations
    )
    return ResponsaError(Reason(info.reason), status.message, dict(info.metadata), violations, retry_after)


def calls_of(*servicers: tuple[ServiceDescriptor, object], log: Logger | None = None) -> Calls:
    """The calls of a gateway with these servicers. Methods that a servicer lacks fail once their message has arrived."""
    logger: Logger = log or structlog.get_logger("stand_in")
    errors = UnexpectedErrors()
    admission = CallAdmission(1000)
    calls = Calls(
        (CallId(), Log(logger), Errors(logger, errors), Deadline(), admission, Parsing()),
        admission,
        logger,
        errors,
    )
    for descriptor, servicer in servicers:
        calls.add(_methods(descriptor, servicer))
    return calls


def _methods(service: ServiceDescriptor, servicer: object) -> Iterator[Method]:
    for method in service.methods:
        known = method.name in vars(type(servicer))
        handler = _in_context(getattr(servicer, method.name)) if known else _lacking
        name = f"/{service.full_name}/{method.name}"
        kind = message_factory.GetMessageClass(method.input_type)
        yield Method(name, kind, handler, method.client_streaming, method.server_streaming, waits=True)


def _lacking(request: object) -> NoReturn:
    raise status.no_route()


def _in_context(handler: Any) -> Callable[[Any], Any]:
    return lambda request: handler(request, Context())
