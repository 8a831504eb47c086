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
    └── Cancelled             a call cancelled the work

`calls/status.py` maps these exceptions to google.rpc.Status. Users read the messages, so a message names the field or
resource and gives a remedy. A message never contains a driver's text, a path on the server or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_MIB: Final = 1024 * 1024


class Overtaken(Exception):
    """Another worker has taken the work over, or a call has ended it. This is a normal outcome of a race, not a fault, and no caller of the API receives it."""


class Reason(StrEnum):
    """The values of the enum `responsa.errors.v1.Reason`, without their prefix. A test checks that the two enums are
    equal.
    """

    INTERNAL = "INTERNAL"
    INVALID_FIELD = "INVALID_FIELD"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_MALFORMED = "CREDENTIAL_MALFORMED"
    CREDENTIAL_UNKNOWN = "CREDENTIAL_UNKNOWN"
    CREDENTIAL_REVOKED = "CREDENTIAL_REVOKED"
    CREDENTIAL_EXPIRED = "CREDENTIAL_EXPIRED"
    CREDENTIAL_OF_OTHER_USER = "CREDENTIAL_OF_OTHER_USER"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    RESOURCE_ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    CONVERSATION_BUSY = "CONVERSATION_BUSY"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105  a reason, not a secret
    FILTER_INVALID = "FILTER_INVALID"
    ORDER_BY_INVALID = "ORDER_BY_INVALID"
    UPDATE_MASK_INVALID = "UPDATE_MASK_INVALID"
    DOCUMENT_EMPTY = "DOCUMENT_EMPTY"
    DOCUMENT_TYPE_UNSUPPORTED = "DOCUMENT_TYPE_UNSUPPORTED"
    DOCUMENT_TYPE_MISMATCH = "DOCUMENT_TYPE_MISMATCH"
    DOCUMENT_TOO_LARGE = "DOCUMENT_TOO_LARGE"
    DOCUMENT_MALFORMED = "DOCUMENT_MALFORMED"
    DOCUMENT_PARSER_LIMIT = "DOCUMENT_PARSER_LIMIT"
    DOCUMENT_ENCRYPTED = "DOCUMENT_ENCRYPTED"
    UPLOAD_METADATA_MISSING = "UPLOAD_METADATA_MISSING"
    UPLOAD_INCOMPLETE = "UPLOAD_INCOMPLETE"
    SESSION_CODE_INVALID = "SESSION_CODE_INVALID"
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    PART_UNAVAILABLE = "PART_UNAVAILABLE"
    DRAINING = "DRAINING"
    STORAGE_FULL = "STORAGE_FULL"
    WORKER_LOST = "WORKER_LOST"
    TURN_TIME_LIMIT = "TURN_TIME_LIMIT"
    OPERATION_CANCELLED = "OPERATION_CANCELLED"
    COLLECTION_NOT_EMPTY = "COLLECTION_NOT_EMPTY"
    OPERATION_RUNNING = "OPERATION_RUNNING"
    CANCELLED = "CANCELLED"
    COLLECTION_EMBEDDING_DIFFERS = "COLLECTION_EMBEDDING_DIFFERS"
    AFTER_SEQ_BEYOND_END = "AFTER_SEQ_BEYOND_END"
    QUEUE_FULL = "QUEUE_FULL"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    TEACHER_ID_MALFORMED = "TEACHER_ID_MALFORMED"
    TEACHER_NOT_FOUND = "TEACHER_NOT_FOUND"
    PARAMETERS_INVALID = "PARAMETERS_INVALID"
    PAGES_UNSUPPORTED = "PAGES_UNSUPPORTED"
    PAGE_OUT_OF_RANGE = "PAGE_OUT_OF_RANGE"
    ORIGINAL_NOT_STORED = "ORIGINAL_NOT_STORED"
    EMBEDDING_FAILED = "EMBEDDING_FAILED"
    EMBEDDING_UNKNOWN = "EMBEDDING_UNKNOWN"
    REINDEX_RUNNING = "REINDEX_RUNNING"
    GENERATION_STATE = "GENERATION_STATE"
    READ_OFFSET_BEYOND_END = "READ_OFFSET_BEYOND_END"
    USER_DISABLED = "USER_DISABLED"
    LAST_ADMINISTRATOR = "LAST_ADMINISTRATOR"
    SIGN_IN_FAILED = "SIGN_IN_FAILED"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105  a reason, not a secret
    SESSION_ENDED = "SESSION_ENDED"
    ROLE_CHANGED = "ROLE_CHANGED"
    SIGN_IN_REQUIRED = "SIGN_IN_REQUIRED"
    CODE_INVALID = "CODE_INVALID"
    REGISTRATION_CLOSED = "REGISTRATION_CLOSED"
    PASSWORD_NOT_USABLE = "PASSWORD_NOT_USABLE"  # noqa: S105  a reason, not a secret
    RESOURCE_LOCKED = "RESOURCE_LOCKED"
    TENANT_SUSPENDED = "TENANT_SUSPENDED"
    LAST_OWNER = "LAST_OWNER"
    GRANT_REQUIRED = "GRANT_REQUIRED"
    ON_BEHALF_NOT_ALLOWED = "ON_BEHALF_NOT_ALLOWED"
    TENANT_STATE = "TENANT_STATE"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    OIDC_FAILED = "OIDC_FAILED"
    OIDC_NOT_ADMITTED = "OIDC_NOT_ADMITTED"
    OIDC_ADDRESS_TAKEN = "OIDC_ADDRESS_TAKEN"
    OIDC_IDENTITY_TAKEN = "OIDC_IDENTITY_TAKEN"
    LAST_SIGN_IN = "LAST_SIGN_IN"
    RATE_LIMIT = "RATE_LIMIT"
    LIMIT_REACHED = "LIMIT_REACHED"
    MAIL_NOT_CONFIGURED = "MAIL_NOT_CONFIGURED"
    SOURCE_UNREADABLE = "SOURCE_UNREADABLE"
    SOURCE_RUNNING = "SOURCE_RUNNING"
    SOURCE_DELETIONS = "SOURCE_DELETIONS"
    ATTEMPT_RESTARTED = "ATTEMPT_RESTARTED"
    MODEL_FIXED = "MODEL_FIXED"
    MODEL_TEST_FAILED = "MODEL_TEST_FAILED"
    AGENT_VERSION_UNFIT = "AGENT_VERSION_UNFIT"
    AGENT_VERSION_NOT_PUBLISHED = "AGENT_VERSION_NOT_PUBLISHED"
    EXPERIMENT_RUNNING = "EXPERIMENT_RUNNING"
    EXPERIMENT_PARAMETERS_DIFFER = "EXPERIMENT_PARAMETERS_DIFFER"


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
    or None.
    """

    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    violations: Sequence[FieldViolation] = ()
    retry_after: float | None = None
    alias: tuple[str, str] | None = None

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
    def of_violation(cls, one: FieldViolation) -> InvalidRequest:
        return cls(Reason.INVALID_FIELD, f"{one.field}: {one.description}", {"violations": "1"}, (one,))


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
        """Build the error for a resource, by its type (e.g. "conversation") and name. spoken: what the message calls the resource; by default its type."""
        message = f"{_spoken(spoken or resource_type)} not found or access denied"
        return cls(
            Reason.RESOURCE_NOT_FOUND, message, {"resource_type": resource_type, "resource_name": name}
        )


def _spoken(resource_type: str) -> str:
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


class Cancelled(ResponsaError):
    """A call cancelled the work; nothing failed."""
