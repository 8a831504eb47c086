"""Why a document was not taken in.

Exception
├── DocumentRejected          the document's fault: the same bytes fail again
│   ├── DocumentEmpty
│   ├── DocumentTypeUnsupported
│   ├── DocumentTypeMismatch
│   ├── DocumentTooLarge
│   ├── DocumentMalformed
│   └── DocumentParserLimit
└── ParserUnavailable         our fault: trying again may help
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class RejectReason(StrEnum):
    """The wire's reason for a rejected document."""

    DOCUMENT_EMPTY = "DOCUMENT_EMPTY"
    DOCUMENT_TYPE_UNSUPPORTED = "DOCUMENT_TYPE_UNSUPPORTED"
    DOCUMENT_TYPE_MISMATCH = "DOCUMENT_TYPE_MISMATCH"
    DOCUMENT_TOO_LARGE = "DOCUMENT_TOO_LARGE"
    DOCUMENT_MALFORMED = "DOCUMENT_MALFORMED"
    DOCUMENT_PARSER_LIMIT = "DOCUMENT_PARSER_LIMIT"


class DocumentRejected(Exception):
    """A document that cannot be taken in, whatever is tried.

    `message` says what is wrong and `remedy` what to do about it: one sentence each, safe to show to anybody.
    """

    reason: ClassVar[RejectReason]

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


class DocumentEmpty(DocumentRejected):
    """No visible text: no bytes, white space alone, or markup around nothing."""

    reason = RejectReason.DOCUMENT_EMPTY


class DocumentTypeUnsupported(DocumentRejected):
    """A type that is what it says, but is not taken."""

    reason = RejectReason.DOCUMENT_TYPE_UNSUPPORTED


class DocumentTypeMismatch(DocumentRejected):
    """The content is of another kind than the name or content type says."""

    reason = RejectReason.DOCUMENT_TYPE_MISMATCH


class DocumentTooLarge(DocumentRejected):
    """More bytes than the limit in force."""

    reason = RejectReason.DOCUMENT_TOO_LARGE


class DocumentMalformed(DocumentRejected):
    """Not decodable, or the parser failed on it."""

    reason = RejectReason.DOCUMENT_MALFORMED


class DocumentParserLimit(DocumentRejected):
    """Parsing wanted more time, memory, nesting or access than a document may have."""

    reason = RejectReason.DOCUMENT_PARSER_LIMIT


class ParserUnavailable(Exception):
    """The sandbox could not be started or was stopped from outside; nothing is wrong with the document."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


_BY_REASON: dict[RejectReason, type[DocumentRejected]] = {
    RejectReason.DOCUMENT_EMPTY: DocumentEmpty,
    RejectReason.DOCUMENT_TYPE_UNSUPPORTED: DocumentTypeUnsupported,
    RejectReason.DOCUMENT_TYPE_MISMATCH: DocumentTypeMismatch,
    RejectReason.DOCUMENT_TOO_LARGE: DocumentTooLarge,
    RejectReason.DOCUMENT_MALFORMED: DocumentMalformed,
    RejectReason.DOCUMENT_PARSER_LIMIT: DocumentParserLimit,
}


def rejection(reason: RejectReason, message: str, remedy: str) -> DocumentRejected:
    """The exception for a reason that came as data."""
    return _BY_REASON[reason](message, remedy)
