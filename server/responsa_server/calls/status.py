"""The only table that maps errors to google.rpc.Status.

The same Status is sent in the trailers (gRPC, gRPC-Web), in the body of a REST error and in a turn's `failed` event.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import IntEnum
from math import ceil
from typing import Final

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from responsa_contract import REASON_CODES
from responsa_server.calls.json_types import to_json
from responsa_server.domain.errors import (
    FieldViolation,
    NotFound,
    NotPermitted,
    Precondition,
    Reason,
    ResponsaError,
    Unavailable,
)

DOMAIN = "responsa"
UNEXPECTED = "Something went wrong. Please try again."
# gRPC drops all details when the headers exceed 8 KiB. The sizes here are counted before the Base64 encoding, which adds a third to them.
MAX_VIOLATIONS = 16
MAX_DETAILS_BYTES = 4096
_MAX_MESSAGE_BYTES = 800
_MAX_VALUE_BYTES = 256
# A list such as the media types that the server reads is whole, if the details have room for it.
_MAX_METADATA_BYTES = 1024


class Code(IntEnum):
    """The codes of google.rpc.Code; gRPC has the same numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


TABLE: Mapping[Reason, Code] = {reason: Code[code] for reason, code in REASON_CODES.items()}

# The HTTP status of each code, as google/rpc/code.proto defines it.
_HTTP: Mapping[int, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
}


SERVER_GONE = Unavailable(
    Reason.PART_UNAVAILABLE,
    "The server cannot be reached at the moment; try again in a few seconds.",
    {"part": "server"},
    retry_after=2,
)
ORIGIN_NOT_ALLOWED = NotPermitted(
    Reason.ORIGIN_NOT_ALLOWED,
    "This server does not serve the Host or the Origin of the call; use the address that it prints, or allow "
    "the host or the origin in its settings.",
)
"""The errors that several transports send. Envoy also sends them when it replies in place of a transport."""


def no_route() -> NotFound:
    """The error for a path or a method that does not exist."""
    return NotFound(Reason.ROUTE_NOT_FOUND, "There is no such method or path.")


def interruption(again: str, *, draining: bool) -> Unavailable:
    """The error for a stream that ended before its turn. again: how to see the rest. draining: whether the server announced this."""
    if draining:
        message = f"The server is shutting down. The answer continues: {again}."
        return Unavailable(Reason.DRAINING, message, retry_after=1.0)
    message = f"The stream broke off; {again}."
    return Unavailable(Reason.PART_UNAVAILABLE, message, {"part": "server"}, retry_after=1.0)


def no_method(verb: str, allowed: Collection[str]) -> status_pb2.Status:
    """The error for an HTTP method that an existing path does not have. allowed: the methods that it has."""
    message = f"This path does not support the method {verb}; it supports {', '.join(allowed)}."
    result = of(NotFound(Reason.ROUTE_NOT_FOUND, message))
    result.code = Code.UNIMPLEMENTED  # as over gRPC
    return result


def code(error: ResponsaError) -> Code:
    """The code with which an error ends a call."""
    return Code[error.alias_code] if error.alias_code else TABLE[error.reason]


def internal_error(call_id: str) -> ResponsaError:
    """The error that callers get in place of an unforeseen error. The log has the details under the call id."""
    return ResponsaError(Reason.INTERNAL, UNEXPECTED, {"call_id": call_id} if call_id else {})


def of(error: ResponsaError) -> status_pb2.Status:
    """Encode an error with at most 16 violations and 4 KiB of details. If that is too little, values of metadata are cut
    first; then violations are left out, starting with the last."""
    shown = replace(error, violations=tuple(error.violations)[:MAX_VIOLATIONS])
    if (result := _status(shown, _MAX_METADATA_BYTES)).ByteSize() <= MAX_DETAILS_BYTES:
        return result
    while (result := _status(shown, _MAX_VALUE_BYTES)).ByteSize() > MAX_DETAILS_BYTES and shown.violations:
        shown = replace(shown, violations=tuple(shown.violations)[:-1])
    return result


def _status(error: ResponsaError, limit: int) -> status_pb2.Status:
    metadata = {key: _cut(value, limit) for key, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)
    ]
    if error.alias is not None:
        domain, reason = error.alias
        own = {"reason": error.reason.value, **metadata}
        # Clients of the other protocol read the first one.
        details.insert(0, error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=own))
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=_cut(violation.field, _MAX_VALUE_BYTES),
                        reason=violation.rule,
                        description=_cut(violation.description, _MAX_VALUE_BYTES),
                    )
                    for violation in error.violations
                ]
            )
        )
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(retry)
    if "resource_name" in metadata:
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=metadata.get("resource_type", ""),
                resource_name=metadata["resource_name"],
                description=_cut(error.message, _MAX_VALUE_BYTES),
            )
        )
    if isinstance(error, Precondition):
        subject = metadata.get("collection") or metadata.get("operation") or ""
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(
            type=error.reason.value, subject=subject, description=_cut(error.message, _MAX_VALUE_BYTES)
        )
        details.append(failure)
    if "quota" in metadata:
        exceeded = error_details_pb2.QuotaFailure()
        exceeded.violations.add(
            subject=metadata.get("user", ""),
            description=_cut(error.message, _MAX_VALUE_BYTES),
            quota_metric=f"{DOMAIN}/{metadata['quota']}",
            quota_id=metadata["quota"],
            quota_value=int(metadata.get("limit", "0")),
        )
        details.append(exceeded)
    result = status_pb2.Status(code=code(error), message=_cut(error.message, _MAX_MESSAGE_BYTES))
    for detail in details:
        result.details.add().Pack(detail)
    return result


_UNTOLD: Final[Mapping[int, Reason]] = {
    Code.UNAVAILABLE: Reason.PART_UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    Code.CANCELLED: Reason.CANCELLED,
    Code.UNAUTHENTICATED: Reason.CREDENTIAL_UNKNOWN,
}
"""The reasons of what a client itself finds out, by code."""


def read(status: status_pb2.Status) -> ResponsaError:
    """The error that a Status encodes."""
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details:
        for kind in (info, bad, retry):
            detail.Unpack(kind)
    reason = (
        Reason(info.reason)
        if info.reason in Reason.__members__
        else _UNTOLD.get(status.code, Reason.INTERNAL)
    )
    wrong = (FieldViolation(item.field, item.reason, item.description) for item in bad.field_violations)
    seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return ResponsaError(reason, status.message, dict(info.metadata), tuple(wrong), seconds or None)


def http_status(status: status_pb2.Status) -> int:
    """The HTTP status of an error."""
    return _HTTP.get(status.code, 500)


def retry_after(error: ResponsaError) -> str | None:
    """The value of the header Retry-After: whole seconds. None if the error does not say when to try again."""
    return None if error.retry_after is None else str(max(ceil(error.retry_after), 1))


def as_json(status: status_pb2.Status) -> bytes:
    """The body of a REST error: `{"code": …, "message": …, "details": […]}`."""
    return to_json(status)


def as_connect(status: status_pb2.Status) -> bytes:
    """The JSON of an error over Connect."""
    named = Code(status.code).name.lower()
    details = [
        {"type": detail.TypeName(), "value": b64encode(detail.value).decode().rstrip("=")}
        for detail in status.details
    ]
    shown = "canceled" if named == "cancelled" else named
    return json.dumps({"code": shown, "message": status.message, "details": details}).encode()


def _cut(text: str, limit: int) -> str:
    """The first whole characters of the text, at most `limit` bytes of UTF-8."""
    data = text.encode()
    return text if len(data) <= limit else data[: limit - len("…".encode())].decode(errors="ignore") + "…"
