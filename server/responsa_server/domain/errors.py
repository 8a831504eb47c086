"""Every error that a caller can receive, as plain exceptions; and `Overtaken`, which no caller receives.

    ResponsaError
    ├── InvalidRequest        fields of the request are wrong
    │   └── DocumentRejected  the bytes of a document cannot be ingested
    ├── Unauthenticated       no valid credential
    ├── NotPermitted          the credential is valid, but does not allow the call
    ├── NotFound              the resource does not exist, or the caller may not see it
    ├── AlreadyExists         the name or the request_id is taken
    ├── Conflict              the resource's state or version forbids the call now
    ├── Precondition          the resource must be changed first
    ├── Exhausted             the server cannot take more work at the moment, or the caller has used up a quota or reached a limit
    ├── Unavailable           a part cannot be reached, or the server is shutting down
    │   └── TooSlow           a part reached its time limit
    ├── DeadlinePassed        the deadline has passed
    └── CallCancelled         a call cancelled the work

`calls/status.py` maps these exceptions to google.rpc.Status. Users read the messages, so a message names the field or
resource and gives a remedy. A message never contains a driver's text, a path on the server or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from responsa_contract import Reason

_MIB: Final = 1024 * 1024


class Overtaken(Exception):
    """Another worker has taken the work over, or a call has ended it. This is a normal outcome of a race, not a fault,
    and no caller of the API receives it."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that breaks a rule.

    field: the field's path in the request. rule: the id of the rule. description: what to send instead.
    """

    field: str
    rule: str
    description: str

    @classmethod
    def of_nul(cls, field: str) -> FieldViolation:
        """Build the violation for a text with U+0000, which is valid UTF-8 but cannot be stored in the database."""
        return cls(field, "string.no_nul", "must not contain the character U+0000; leave it out")


@dataclass(eq=False)
class ResponsaError(Exception):
    """Base of all errors that callers see.

    reason: the machine-readable cause. message: one or two sentences for the user. metadata: the keys that the contract
    documents for this reason. violations: the fields that break a rule. retry_after: the number of seconds after which
    the caller should try again, or None. alias: the domain and the reason under which another protocol knows the error,
    or None. alias_code: the name of its code over gRPC there; "" for the code of the reason.
    """

    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    violations: Sequence[FieldViolation] = ()
    retry_after: float | None = None
    alias: tuple[str, str] | None = None
    alias_code: str = ""

    def __post_init__(self) -> None:
        Exception.__init__(self, self.message)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class InvalidRequest(ResponsaError):
    """The request is invalid; sending it again does not help."""

    @classmethod
    def of_field(cls, path: str, rule: str, description: str) -> InvalidRequest:
        return cls.of_violation(FieldViolation(path, rule, description))

    @classmethod
    def of_violation(cls, violation: FieldViolation) -> InvalidRequest:
        return cls(
            Reason.INVALID_FIELD,
            f"{violation.field}: {violation.description}",
            {"violations": "1"},
            (violation,),
        )


class DocumentRejected(InvalidRequest):
    """The document can never be ingested: the same bytes always fail. `reason` is one of `DOCUMENT_REASONS`."""

    @classmethod
    def too_large(cls, limit_bytes: int) -> DocumentRejected:
        """Build the error for a document that has more bytes than the limit."""
        limit = f"{limit_bytes:,} bytes" if limit_bytes % _MIB else f"{limit_bytes // _MIB} MiB"
        return cls(
            Reason.DOCUMENT_TOO_LARGE,
            f"The document has more than {limit}. Split the document and upload its parts.",
            {"limit_bytes": str(limit_bytes)},
        )


DOCUMENT_REASONS: Final = frozenset(reason for reason in Reason if reason.value.startswith("DOCUMENT_"))
"""The reasons of `DocumentRejected`."""


class Unauthenticated(ResponsaError):
    """The credential is missing, invalid, revoked or expired, or its user is disabled."""


class NotPermitted(ResponsaError):
    """The credential is valid, but does not allow the call."""

    @classmethod
    def owner_only(cls) -> NotPermitted:
        """Build the error for a change of what the caller may at most read."""
        return cls(
            Reason.ROLE_REQUIRED,
            "Only the owner or an administrator may do this; ask one of them.",
            {"required_role": "ADMIN"},
        )


class NotFound(ResponsaError):
    """The resource does not exist, or the caller may not see it."""

    @classmethod
    def of(cls, resource_type: str, name: str, spoken: str = "") -> NotFound:
        """Build the error for a resource, by its type (e.g. "conversation") and name. spoken: what the message calls
        the resource; by default its type."""
        message = f"{_to_words(spoken or resource_type)} not found or access denied"
        return cls(
            Reason.RESOURCE_NOT_FOUND, message, {"resource_type": resource_type, "resource_name": name}
        )


def _to_words(resource_type: str) -> str:
    return "API key" if resource_type == "api_key" else resource_type.replace("_", " ").capitalize()


class AlreadyExists(ResponsaError):
    """The name or the request_id is already in use."""


class Conflict(ResponsaError):
    """The current state or version of the resource forbids the call. The caller can read the resource again, or wait."""

    @classmethod
    def of_etag(cls, name: str) -> Conflict:
        """Build the error for a resource that no longer has the etag of the request."""
        message = f"{name} has changed since its etag was read; read it again and repeat the change."
        return cls(Reason.ETAG_MISMATCH, message, {"resource_name": name})


class Precondition(ResponsaError):
    """The resource must be changed before the call can succeed."""


class Exhausted(ResponsaError):
    """The server cannot take more work at the moment, or the caller has used up a quota or reached a limit."""


class Unavailable(ResponsaError):
    """A part that the call needs cannot be reached, or the server is shutting down."""


class StorageFull(Unavailable):
    """A part cannot store anything, because its disk is full. Another try helps only when somebody has freed space."""


class TooSlow(Unavailable):
    """A part reached its time limit. The code that called the part should not try again, but use a fallback at once."""


class DeadlinePassed(ResponsaError):
    """The caller's deadline or the turn's own limit passed."""


class CallCancelled(ResponsaError):
    """A call cancelled the work; nothing failed."""
