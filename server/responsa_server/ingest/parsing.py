"""The server's pool of parsers, and its errors for documents that parsers reject."""

from __future__ import annotations

import mimetypes
from dataclasses import replace
from functools import partial
from typing import Final

from responsa_formats.parsers.table import Formats
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.domain.errors import DocumentRejected, Reason
from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES
from responsa_server.domain.spools import spooling
from responsa_server.ingest import formats as table
from responsa_server.telemetry.instruments import LATE_IMPORTS, PARSER_FAILURES

_REASONS: Final = {
    Cause.EMPTY: Reason.DOCUMENT_EMPTY,
    Cause.TYPE_UNSUPPORTED: Reason.DOCUMENT_TYPE_UNSUPPORTED,
    Cause.TYPE_MISMATCH: Reason.DOCUMENT_TYPE_MISMATCH,
    Cause.TOO_LARGE: Reason.DOCUMENT_TOO_LARGE,
    Cause.MALFORMED: Reason.DOCUMENT_MALFORMED,
    Cause.ENCRYPTED: Reason.DOCUMENT_ENCRYPTED,
    Cause.PARSER_LIMIT: Reason.DOCUMENT_PARSER_LIMIT,
}

parser_pool: Final = partial(
    ParserPool,
    formats=f"{table.__name__}:FORMATS",
    spooling=spooling,
    on_late_import=partial(LATE_IMPORTS.add, 1),
    on_failure=lambda failure: PARSER_FAILURES.add(1, failure.format, failure.error),
)
"""Makes a `ParserPool` of the server's formats, with its metrics and its error for a full disk."""


def document_error(
    rejected: Rejected, source_key: str, declared_type: str = "", formats: Formats = table.FORMATS
) -> DocumentRejected:
    """The error of the API for a rejected document, with the metadata that the documentation of its reason lists.

    declared_type: the media type that the sender gave, or ''.
    """
    metadata = {"source_key": source_key}
    if rejected.reason is Cause.TOO_LARGE:
        too_large = DocumentRejected.too_large(MAX_DOCUMENT_BYTES)
        return replace(too_large, metadata={**metadata, **too_large.metadata})
    if rejected.reason in (Cause.TYPE_UNSUPPORTED, Cause.TYPE_MISMATCH):
        guessed = mimetypes.guess_type(source_key, strict=False)[0]
        metadata["media_type"] = declared_type or guessed or "application/octet-stream"
        metadata["accepted"] = ",".join(formats.accepted_types)
    return DocumentRejected(_REASONS[rejected.reason], rejected.message, metadata)
