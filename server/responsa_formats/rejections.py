"""The errors for rejected documents, and the sentences that several errors share."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final

CHECK_FILE: Final = "Check the file, or save it again, and upload it again."
SAVE_AS_UTF8: Final = "Save the file as UTF-8 and upload it again."
RENAME: Final = "Give the file the suffix of its content, or save it again in the format that its name says."
SPLIT: Final = "Split the document into smaller files."


class Cause(StrEnum):
    """Why a document is rejected."""

    EMPTY = auto()
    TYPE_UNSUPPORTED = auto()
    TYPE_MISMATCH = auto()
    TOO_LARGE = auto()
    MALFORMED = auto()
    ENCRYPTED = auto()
    PARSER_LIMIT = auto()


class Rejected(Exception):
    """A document is at fault: the same bytes fail again. message: one or two sentences for its reader."""

    def __init__(self, reason: Cause, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message

    @classmethod
    def as_empty(cls, what: str = "The document has no text. Upload a file with visible text.") -> Rejected:
        """The document has no visible text: it has no bytes, only white space, or only markup without text."""
        return cls(Cause.EMPTY, what)

    @classmethod
    def as_unsupported(cls, what: str) -> Rejected:
        """The document has the declared type, but that type is not supported."""
        remedy = "Save it as PDF, Markdown or another supported type, and upload it again."
        return cls(Cause.TYPE_UNSUPPORTED, f"{what} is not a supported document type. {remedy}")

    @classmethod
    def as_stand_in(cls, what: str, remedy: str) -> Rejected:
        """The document only leads to another one. what: a sentence. remedy: what helps, before the document is uploaded."""
        return cls(Cause.TYPE_UNSUPPORTED, f"{what} {remedy}, and upload that.")

    @classmethod
    def as_mismatched(cls, what: str, remedy: str = RENAME) -> Rejected:
        """The content's type differs from the type that the name or the media type declares. `what` and `remedy` are whole
        sentences."""
        return cls(Cause.TYPE_MISMATCH, f"{what} {remedy}")

    @classmethod
    def as_malformed(cls, what: str, remedy: str = CHECK_FILE) -> Rejected:
        """The bytes cannot be decoded, or the parser failed on them. `what` and `remedy` are one sentence each."""
        return cls(Cause.MALFORMED, f"{what} {remedy}")

    @classmethod
    def as_encrypted(cls) -> Rejected:
        """The document can be opened only with a password."""
        return cls(
            Cause.ENCRYPTED,
            "The document is protected by a password. Save it without the password and upload it again.",
        )

    @classmethod
    def as_over_limit(cls, what: str, remedy: str = SPLIT) -> Rejected:
        """Parsing exceeded a limit on time, memory, nesting or access. `what` and `remedy` are one sentence each."""
        return cls(Cause.PARSER_LIMIT, f"{what} {remedy}")

    @classmethod
    def as_too_large(cls, limit: int) -> Rejected:
        """The file has more bytes than a document may have."""
        return cls(Cause.TOO_LARGE, f"The document has more than {limit:,} bytes. {SPLIT}")

    @classmethod
    def as_too_much_text(cls) -> Rejected:
        """The parsed document is larger than the storage limit."""
        return cls.as_over_limit("The document expands to more text than the server stores.")

    @classmethod
    def as_access_denied(cls) -> Rejected:
        """The parser tried something that its confinement forbids."""
        return cls.as_over_limit(
            "While parsing this document, the parser tried to access something outside the sandbox and was stopped.",
            "Upload the document in another format if you trust it.",
        )


class ParserUnavailable(Exception):
    """The sandbox could not be started, or was stopped from outside; the document is not at fault, and trying again may
    help."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
