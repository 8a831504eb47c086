"""Errors that rows keep: three columns, error_reason, error_message and error_metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from psycopg.types.json import Jsonb

from responsa_server.domain.errors import Cancelled, DocumentRejected, Reason, ResponsaError, Unavailable

# Violations and waiting times belong to calls, not to what is kept.
_CLASSES: Final[Mapping[Reason, type[ResponsaError]]] = {
    Reason.OPERATION_CANCELLED: Cancelled,
    Reason.PART_UNAVAILABLE: Unavailable,
    Reason.DOCUMENT_EMPTY: DocumentRejected,
    Reason.DOCUMENT_TYPE_UNSUPPORTED: DocumentRejected,
    Reason.DOCUMENT_TYPE_MISMATCH: DocumentRejected,
    Reason.DOCUMENT_TOO_LARGE: DocumentRejected,
    Reason.DOCUMENT_MALFORMED: DocumentRejected,
    Reason.DOCUMENT_PARSER_LIMIT: DocumentRejected,
}


def to_columns(error: ResponsaError) -> dict[str, object]:
    """Parameters for the three columns."""
    return {
        "error_reason": error.reason.value,
        "error_message": error.message,
        "error_metadata": Jsonb(dict(error.metadata)),
    }


def from_columns(
    reason: str | None, message: str | None, metadata: Mapping[str, str] | None
) -> ResponsaError | None:
    """The error that a row keeps, None when it keeps none."""
    if reason is None:
        return None
    known = Reason(reason)
    return _CLASSES.get(known, ResponsaError)(known, message or "", dict(metadata or {}))
