"""All errors that a call can raise, from the google.rpc.Status that the server sends.

ResponsaError
├── InvalidRequest         INVALID_ARGUMENT, OUT_OF_RANGE: the request is wrong; repeating it does not help
│   └── DocumentRejected   the server cannot read a document (reason DOCUMENT_…)
├── Unauthenticated        the credential is missing, invalid or expired
├── PermissionDenied       the credential is valid, but not sufficient
├── NotFound               the resource does not exist, or the caller may not see it
├── AlreadyExists          the name or the request_id is taken
├── Conflict               ABORTED: the resource has changed or is busy; read it again or wait
├── FailedPrecondition     the resource must be changed before the call can succeed
├── ResourceExhausted      the call exceeds a limit of the server, or a message is too large
├── Unavailable            a part is not available, or the server is shutting down
│   ├── CannotConnect      no Responsa server answers at the address
│   │   └── NotTrusted     the certificate of the server is not accepted
│   └── StreamCut          a turn's stream was interrupted, and resuming did not reach the turn's end in time
├── DeadlineExceeded       time is up; an accepted turn continues
├── Cancelled              the turn, the operation or the call was cancelled
├── ServerFault            INTERNAL, UNKNOWN, UNIMPLEMENTED, DATA_LOSS: an error in the server
└── BrokenAnswer           the server's data is inconsistent, e.g. an answer does not match its checksums; raised by this client
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "responsa"
"""The `domain` of the ErrorInfo in Responsa's own errors. An error without this domain comes from a proxy or the network."""

_DETAILS_KEY = "grpc-status-details-bin"
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_REMEDIES: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: "Correct the request; repeating it does not help.",
    grpc.StatusCode.OUT_OF_RANGE: "Correct the request; repeating it does not help.",
    grpc.StatusCode.UNAUTHENTICATED: "Use a valid API key, or sign in with the right e-mail address and password.",
    grpc.StatusCode.PERMISSION_DENIED: "Call with the credential of a user who has this right.",
    grpc.StatusCode.NOT_FOUND: "Check the name. What belongs to another user is not found either.",
    grpc.StatusCode.ALREADY_EXISTS: "Choose another name or request_id.",
    grpc.StatusCode.ABORTED: "Read the resource again or wait until it is free, then repeat the call.",
    grpc.StatusCode.FAILED_PRECONDITION: "Change what the message names, then repeat the call.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Send less or make room, then repeat the call.",
    grpc.StatusCode.UNAVAILABLE: "Repeat the call.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "Allow more time. An accepted turn continues: resume it, or ask again with the error's request_id.",
    grpc.StatusCode.CANCELLED: "Repeat what was cancelled if you still want its result.",
}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that breaks a rule: its path in the request, the rule's id, and the remedy."""

    field: str
    rule: str
    description: str


class ResponsaError(Exception):
    """The base class of all errors of this client.

    code: the gRPC code.
    reason: a name of `responsa.errors.v1.Reason` without its prefix, for programs; "" if the error does not come from Responsa
        but from a proxy, the network or this client.
    message: a text for people.
    metadata: the metadata that the contract documents for the reason.
    violations: the fields of the request that break a rule.
    retry_after: the seconds after which a retry makes sense; None if the server does not say.
    status: the complete google.rpc.Status.
    request_id: the call's request_id, also if the client generated it; "" if it has none. `ask` with a question's
    request_id attaches to the same turn from its start.

    An error that ends a turn's stream also sets the following fields. `resume(turn, after_seq)` continues after the last event.

    turn: the turn's name; "" if it is unknown.
    after_seq: the seq of the last event that arrived.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        status: status_pb2.Status | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = violations
        self.retry_after = retry_after
        self.status = status or status_pb2.Status(code=code.value[0], message=message)
        self.turn = ""
        self.after_seq = 0
        self.request_id = ""

    @property
    def from_server(self) -> bool:
        """Whether Responsa itself sent the error, and not a proxy or this client."""
        return self.reason != ""

    @property
    def remedy(self) -> str:
        """What to do, in a sentence."""
        if self.violations:
            return "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations)
        if self.retry_after is not None:
            return f"Try again in {math.ceil(self.retry_after)} s."
        call = self.metadata.get("call_id")
        report = f"Report the error, with the call id {call}." if call else "Report the error."
        return _REMEDIES.get(self.code, report)

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class InvalidRequest(ResponsaError):
    """The request itself is wrong; repeating it does not help."""


class DocumentRejected(InvalidRequest):
    """The server cannot read the bytes of a document."""


class Unauthenticated(ResponsaError):
    """The credential is missing, invalid or expired."""


class PermissionDenied(ResponsaError):
    """The credential is valid, but not sufficient."""


class NotFound(ResponsaError):
    """The resource does not exist, or the caller may not see it."""


class AlreadyExists(ResponsaError):
    """The name or the request_id is taken."""


class Conflict(ResponsaError):
    """The resource has changed or is busy; read it again, or wait."""


class FailedPrecondition(ResponsaError):
    """The resource must be changed before the call can succeed."""


class ResourceExhausted(ResponsaError):
    """The call exceeds a limit of the server, or a message is too large."""


class Unavailable(ResponsaError):
    """A part that the call needs is not available, or the server is shutting down."""


class CannotConnect(Unavailable):
    """No Responsa server answers at the address."""

    @property
    def remedy(self) -> str:
        """What to do, in a sentence."""
        return "Check the address, and that a Responsa server runs there."


class NotTrusted(CannotConnect):
    """The certificate of the server is not accepted."""

    @property
    def remedy(self) -> str:
        """What to do, in a sentence."""
        return "Check its dates, its names and who signed it; GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names a file of authorities."


class StreamCut(Unavailable):
    """The stream of a turn or an operation was interrupted, and resuming did not reach its end in time. The turn or
    operation itself may continue."""


class DeadlineExceeded(ResponsaError):
    """Time is up. An accepted turn continues: resume it, or ask again with the same request_id."""


class Cancelled(ResponsaError):
    """The turn, the operation or the call was cancelled; it did not fail."""


class ServerFault(ResponsaError):
    """An error in the server, or in a proxy."""


class BrokenAnswer(ResponsaError):
    """The server's data is inconsistent, e.g. an answer does not match its checksums; do not trust any of this data.
    This client raises the error."""

    def __init__(self, message: str) -> None:
        super().__init__(grpc.StatusCode.DATA_LOSS, message)


_CLASSES: dict[grpc.StatusCode, type[ResponsaError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
}


def error_of_status(status: status_pb2.Status) -> ResponsaError:
    """The error for a google.rpc.Status from a turn's `failed` event, an operation or a document.

    Unreadable details are ignored; an unknown gRPC code becomes UNKNOWN.
    """
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    reason = ""
    metadata: dict[str, str] = {}
    retry_after: float | None = None
    for detail in status.details:
        try:
            if detail.Unpack(info) and info.domain == DOMAIN:
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(retry):
                retry_after = retry.retry_delay.ToTimedelta().total_seconds()
            else:
                detail.Unpack(bad)
        except DecodeError:
            continue
    error_class = _CLASSES.get(code, ServerFault)
    if error_class is InvalidRequest and reason.startswith("DOCUMENT_"):
        error_class = DocumentRejected
    return error_class(
        code,
        status.message or code.name,
        reason=reason,
        metadata=metadata,
        violations=tuple(FieldViolation(v.field, v.reason, v.description) for v in bad.field_violations),
        retry_after=retry_after,
        status=status,
    )


def error_of_call(
    code: grpc.StatusCode, details: str | None, trailing: Iterable[tuple[str, str | bytes]] | None
) -> ResponsaError:
    """The error for a failed call, made from the call's code, message and trailing metadata.

    If the status in the trailing metadata has the call's code, that status is used. Otherwise, only the call's code and message are used.
    """
    for key, value in trailing or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status()
            try:
                status.ParseFromString(value)
            except DecodeError:
                break
            if status.code == code.value[0]:
                return error_of_status(status)
    return error_of_status(status_pb2.Status(code=code.value[0], message=details or ""))
