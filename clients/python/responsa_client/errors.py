"""Every error that a call can end with, read from the google.rpc.Status that the server sends.

ResponsaError
├── InvalidRequest         INVALID_ARGUMENT, OUT_OF_RANGE: the request is wrong and stays wrong
│   └── DocumentRejected   a document's bytes cannot be taken in (reason DOCUMENT_…)
├── Unauthenticated        no credential, or one that is not good (any more)
├── PermissionDenied       the credential is good and does not suffice
├── NotFound               no such resource, or none that the caller may see
├── AlreadyExists          the name or the request_id is taken
├── Conflict               ABORTED: the resource changed, or is busy; read it anew or wait
├── FailedPrecondition     the resource must be changed first
├── ResourceExhausted      more than the server takes on, or than a message may hold
├── Unavailable            a part is away, or the server is going away
│   ├── CannotConnect      nothing that speaks Responsa's protocol answers at the address
│   └── StreamCut          a turn's stream broke off and going on did not bring its end in time
├── DeadlineExceeded       time is up; a turn that was accepted goes on
├── Cancelled              ended by a call
├── ServerFault            INTERNAL, UNKNOWN, UNIMPLEMENTED, DATA_LOSS: the server is at fault
└── BrokenAnswer           found by this client: what came does not fit its own checksums
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "responsa"
"""`domain` of the ErrorInfo that Responsa's own errors carry; an error without it comes from something in between."""

_DETAILS_KEY = "grpc-status-details-bin"
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that broke a rule: its path in the request, the rule's id, and what to send instead."""

    field: str
    rule: str
    description: str


class ResponsaError(Exception):
    """Base of all errors of this client.

    code: the gRPC code. reason: a name of `responsa.errors.v1.Reason` without its prefix, for programs; "" when the error
    is not Responsa's own (a proxy, the network, this client). message: for people. metadata: keys as the contract
    documents them for the reason. violations: the fields at fault. retry_after: seconds after which trying again makes
    sense, None when the server does not say. status: the whole google.rpc.Status.

    turn, after_seq, request_id: of errors that end the following of a turn: its name ("" while it is not known), the last seq that came, and the question's
    request_id. `resume(turn, after_seq)` goes on there, `ask` with the request_id begins anew with the same turn.
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
        """Whether Responsa itself sent it, rather than something on the way or this client."""
        return self.reason != ""

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class InvalidRequest(ResponsaError):
    """The request itself is wrong and stays wrong however often it is sent."""


class DocumentRejected(InvalidRequest):
    """The bytes of a document cannot be taken in."""


class Unauthenticated(ResponsaError):
    """No credential, or one that is not good (any more)."""


class PermissionDenied(ResponsaError):
    """The credential is good and does not suffice."""


class NotFound(ResponsaError):
    """There is no such resource, or none that the caller may see."""


class AlreadyExists(ResponsaError):
    """The name or the request_id is taken."""


class Conflict(ResponsaError):
    """The resource's present state or version forbids the call; reading it anew or waiting helps."""


class FailedPrecondition(ResponsaError):
    """The resource must be changed before the call can succeed."""


class ResourceExhausted(ResponsaError):
    """More is asked than the server takes on at the moment, or than one message may hold."""


class Unavailable(ResponsaError):
    """A part that the call needs cannot be reached, or the server is going away."""


class CannotConnect(Unavailable):
    """Nothing that speaks Responsa's protocol answers at the address."""


class StreamCut(Unavailable):
    """A turn's stream broke off, and going on did not bring its end in time. The turn itself may go on."""


class DeadlineExceeded(ResponsaError):
    """Time is up. A turn that was accepted goes on: resume it, or ask again with the same request_id."""


class Cancelled(ResponsaError):
    """Ended by a call, not by a fault."""


class ServerFault(ResponsaError):
    """Something went wrong in the server, or in something between."""


class BrokenAnswer(ResponsaError):
    """What came does not fit its own checksums. Made by this client; nothing of the answer is to be trusted."""

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
    """The error for a google.rpc.Status, as a turn's `failed` event, an operation or a document carries it.

    Details that cannot be read are passed over; a code that gRPC does not know counts as UNKNOWN.
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
    """The error for a call's outcome: its code, message and trailing metadata.

    The status in the trailer counts when it agrees with the code; else code and message alone are used.
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
