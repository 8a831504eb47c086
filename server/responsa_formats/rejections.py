"""The errors for rejected documents, and the sentences that several errors share.

A `DocumentRejected` is the document's fault: the same bytes fail again. A `ParserUnavailable` is the server's fault: trying again may help.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from responsa_server.domain.errors import DocumentRejected, Reason

CHECK_FILE: Final = "Check the file, or save it again, and upload it again."
SAVE_AS_UTF8: Final = "Save the file as UTF-8 and upload it again."
RENAME: Final = "Give the file the suffix of its content, or save it again in the format that its name says."
SPLIT: Final = "Split the document into smaller files."


class ParserUnavailable(Exception):
    """The sandbox could not be started, or was stopped from outside; the document is not at fault."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def empty(
    what: str = "The document has no text. Upload a file with visible text.",
) -> DocumentRejected:
    """The document has no visible text: it has no bytes, only white space, or only markup without text."""
    return DocumentRejected(Reason.DOCUMENT_EMPTY, what)


def unsupported(what: str) -> DocumentRejected:
    """The document has the declared type, but that type is not supported."""
    remedy = "Save it as PDF, Markdown or another supported type, and upload it again."
    return DocumentRejected(
        Reason.DOCUMENT_TYPE_UNSUPPORTED, f"{what} is not a supported document type. {remedy}"
    )


def mismatch(what: str, remedy: str = RENAME) -> DocumentRejected:
    """The content's type differs from the type that the name or the media type declares. `what` and `remedy` are whole
    sentences."""
    return DocumentRejected(Reason.DOCUMENT_TYPE_MISMATCH, f"{what} {remedy}")


def malformed(what: str, remedy: str = CHECK_FILE) -> DocumentRejected:
    """The bytes cannot be decoded, or the parser failed on them. `what` and `remedy` are one sentence each."""
    return DocumentRejected(Reason.DOCUMENT_MALFORMED, f"{what} {remedy}")


def encrypted() -> DocumentRejected:
    """The document can be opened only with a password."""
    return DocumentRejected(
        Reason.DOCUMENT_ENCRYPTED,
        "The document is protected by a password. Save it without the password and upload it again.",
    )


def parser_limit(what: str, remedy: str = SPLIT) -> DocumentRejected:
    """Parsing exceeded a limit on time, memory, nesting or access. `what` and `remedy` are one sentence each."""
    return DocumentRejected(Reason.DOCUMENT_PARSER_LIMIT, f"{what} {remedy}")


def too_much_text() -> DocumentRejected:
    """The parsed document is larger than the storage limit."""
    return parser_limit("The document expands to more text than the server stores.")


def too_slow(seconds: float) -> DocumentRejected:
    """Ingesting the document, from the first byte of the original to the last vector, took too long."""
    return parser_limit(f"Ingesting the document took more than {seconds:,.0f} seconds.")


def access_refused() -> DocumentRejected:
    """The parser tried something that its confinement forbids."""
    return parser_limit(
        "While parsing this document, the parser tried to access something outside the sandbox and was stopped.",
        "Upload the document in another format if you trust it.",
    )


def described(
    rejected: DocumentRejected, source_key: str, declared_type: str, accepted: Sequence[str]
) -> DocumentRejected:
    """Add the document's source key, and the other metadata that the reason's documentation lists, to a rejection.

    declared_type: the media type that the sender gave, or ''. accepted: the media types of all formats.
    """
    metadata = {"source_key": source_key, **rejected.metadata}
    if rejected.reason in (Reason.DOCUMENT_TYPE_UNSUPPORTED, Reason.DOCUMENT_TYPE_MISMATCH):
        guessed = mimetypes.guess_type(source_key, strict=False)[0]
        metadata["media_type"] = declared_type or guessed or "application/octet-stream"
        metadata["accepted"] = ",".join(accepted)
    return replace(rejected, metadata=metadata)
