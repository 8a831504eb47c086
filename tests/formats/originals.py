"""Documents in the form that parsers get and in the form that they give, and the check for expected rejections."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from responsa_formats.parsers.sniff import Original, sniff
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.text.canonical import ParsedDocument


@contextmanager
def rejected(reason: Cause, match: str | None = None) -> Generator[pytest.ExceptionInfo[Rejected]]:
    """Check that the block raises Rejected for this reason."""
    with pytest.raises(Rejected, match=match) as caught:
        yield caught
    assert caught.value.reason is reason


def original_of(text: str, kind: str = "MARKDOWN", name: str = "n") -> Original:
    """An original with this decoded text, which may also be blank."""
    original = sniff(text.encode(), name, known=kind)
    original.__dict__["text"] = text
    return original


def unpacked(frame: bytes) -> ParsedDocument:
    """The document in a parser's frame, as the server reads it. Raises Rejected."""
    return ParsedFile(io.BytesIO(frame), len(frame)).document()
