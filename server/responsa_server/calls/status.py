"""The one table from errors to google.rpc.Status.

The same object travels as trailers (gRPC, gRPC-Web), as the body of a REST error and in a turn's `failed` event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from responsa_server.domain.errors import Precondition, Reason, ResponsaError

DOMAIN = "responsa"
UNEXPECTED = "Something went wrong. Please try again."
# Beyond 8 KiB of header the transport loses the details altogether; Base64 adds a third to what is counted here.
MAX_VIOLATIONS = 16
MAX_DETAILS_BYTES = 4096
_MAX_MESSAGE_BYTES = 800
_MAX_VALUE_BYTES = 256

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
_NOT_PERMITTED = grpc.StatusCode.PERMISSION_DENIED
_NOT_FOUND = grpc.StatusCode.NOT_FOUND
_ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
_CONFLICT = grpc.StatusCode.ABORTED
_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
_DEADLINE = grpc.StatusCode.DEADLINE_EXCEEDED
_CANCELLED = grpc.StatusCode.CANCELLED
_OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE

TABLE: Mapping[Reason, grpc.StatusCode] = {
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.INVALID_FIELD: _INVALID,
    Reason.MALFORMED_MESSAGE: _INVALID,
    Reason.CREDENTIAL_MISSING: _UNAUTHENTICATED,
    Reason.CREDENTIAL_MALFORMED: _UNAUTHENTICATED,
    Reason.CREDENTIAL_UNKNOWN: _UNAUTHENTICATED,
    Reason.CREDENTIAL_REVOKED: _UNAUTHENTICATED,
    Reason.CREDENTIAL_EXPIRED: _UNAUTHENTICATED,
    Reason.ROLE_REQUIRED: _NOT_PERMITTED,
    Reason.RESOURCE_NOT_FOUND: _NOT_FOUND,
    Reason.RESOURCE_ALREADY_EXISTS: _ALREADY_EXISTS,
    Reason.REQUEST_ID_REUSED: _ALREADY_EXISTS,
    Reason.CONVERSATION_BUSY: _CONFLICT,
    Reason.ETAG_MISMATCH: _CONFLICT,
    Reason.PAGE_TOKEN_INVALID: _INVALID,
    Reason.FILTER_INVALID: _INVALID,
    Reason.ORDER_BY_INVALID: _INVALID,
    Reason.UPDATE_MASK_INVALID: _INVALID,
    Reason.DOCUMENT_EMPTY: _INVALID,
    Reason.DOCUMENT_TYPE_UNSUPPORTED: _INVALID,
    Reason.DOCUMENT_TYPE_MISMATCH: _INVALID,
    Reason.DOCUMENT_TOO_LARGE: _INVALID,
    Reason.DOCUMENT_MALFORMED: _INVALID,
    Reason.DOCUMENT_PARSER_LIMIT: _INVALID,
    Reason.UPLOAD_METADATA_MISSING: _INVALID,
    Reason.UPLOAD_INCOMPLETE: _INVALID,
    Reason.SESSION_CODE_INVALID: _UNAUTHENTICATED,
    Reason.ORIGIN_NOT_ALLOWED: _NOT_PERMITTED,
    Reason.ROUTE_NOT_FOUND: _NOT_FOUND,
    Reason.OVERLOADED: _EXHAUSTED,
    Reason.DEADLINE_EXCEEDED: _DEADLINE,
    Reason.PART_UNAVAILABLE: _UNAVAILABLE,
    Reason.DRAINING: _UNAVAILABLE,
    Reason.WORKER_LOST: _UNAVAILABLE,
    Reason.TURN_TIME_LIMIT: _DEADLINE,
    Reason.OPERATION_CANCELLED: _CANCELLED,
    Reason.COLLECTION_NOT_EMPTY: _PRECONDITION,
    Reason.OPERATION_RUNNING: _PRECONDITION,
    Reason.CANCELLED: _CANCELLED,
    Reason.COLLECTION_EMBEDDING_DIFFERS: _PRECONDITION,
    Reason.AFTER_SEQ_BEYOND_END: _OUT_OF_RANGE,
    Reason.QUEUE_FULL: _EXHAUSTED,
    Reason.MODEL_UNAVAILABLE: _UNAVAILABLE,
    Reason.TEACHER_ID_MALFORMED: _INVALID,
    Reason.TEACHER_NOT_FOUND: _NOT_FOUND,
    Reason.PARAMETERS_INVALID: _INVALID,
}

# As google/rpc/code.proto maps them, and Envoy's transcoder.
_HTTP: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}
_BY_NUMBER: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def code(error: ResponsaError) -> grpc.StatusCode:
    """The code that an error ends a call with."""
    return TABLE[error.reason]


def unexpected(call_id: str) -> ResponsaError:
    """What callers see in place of an error that nobody foresaw; the log knows more, by the call id."""
    return ResponsaError(Reason.INTERNAL, UNEXPECTED, {"call_id": call_id} if call_id else {})


def of(error: ResponsaError) -> status_pb2.Status:
    """Encode an error. At most 16 violations are told and 4 KiB of details; what is more is left out, the last first."""
    kept = replace(error, violations=tuple(error.violations)[:MAX_VIOLATIONS])
    while (result := _status(kept)).ByteSize() > MAX_DETAILS_BYTES and kept.violations:
        kept = replace(kept, violations=tuple(kept.violations)[:-1])
    return result


def _status(error: ResponsaError) -> status_pb2.Status:
    metadata = {key: _cut(value, _MAX_VALUE_BYTES) for key, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=_cut(one.field, _MAX_VALUE_BYTES),
                        reason=one.rule,
                        description=_cut(one.description, _MAX_VALUE_BYTES),
                    )
                    for one in error.violations
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
    result = status_pb2.Status(code=code(error).value[0], message=_cut(error.message, _MAX_MESSAGE_BYTES))
    for detail in details:
        result.details.add().Pack(detail)
    return result


def http_status(status: status_pb2.Status) -> int:
    """The HTTP status of an error, the same as transcoding gives it."""
    return _HTTP[_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)]


def as_json(status: status_pb2.Status) -> bytes:
    """The body of a REST error: `{"code": …, "message": …, "details": […]}`."""
    return json_format.MessageToJson(status, indent=None).encode()


def _cut(text: str, most: int) -> str:
    """At most so many bytes of UTF-8, whole characters."""
    data = text.encode()
    return text if len(data) <= most else data[: most - len("…".encode())].decode(errors="ignore") + "…"
