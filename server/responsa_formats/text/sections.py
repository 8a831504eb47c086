"""Sections: a document in parts of about a mebibyte, so that nothing has to hold a large document in memory as a whole.

A document of up to `SECTION_BYTES` and `SECTION_BLOCKS` is one section. A longer document is divided before headings if
possible, otherwise between blocks, lines or words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from responsa_formats.text.canonical import ParsedDocument

SECTION_BYTES: Final = 1024 * 1024
"""The maximum length of a section."""

SECTION_BLOCKS: Final = 16_384
"""The maximum number of blocks that begin in a section. Each of them takes up to 1 KiB of memory while the section is read."""

Headings = Sequence[tuple[int, str]]
"""The open headings at a place, outermost first: level and title."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document. start: its first byte in the canonical text. document: its text and blocks, whose offsets
    count from `start`. above: the open headings at its beginning.
    """

    start: int
    document: ParsedDocument
    above: Headings = ()


class Sectioned(Protocol):
    """A document that is read section by section."""

    @property
    def language(self) -> str | None:
        """The BCP 47 tag that the document states, or None."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def section_count(self) -> int:
        """The number of sections, at least 1."""
        ...

    def section(self, index: int) -> Section:
        """A section. The sections cover the text in order and without gaps."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A document in memory, as one section."""

    document: ParsedDocument

    @property
    def language(self) -> str | None:
        """The BCP 47 tag that the document states, or None."""
        return self.document.language

    @property
    def size(self) -> int:
        return len(self.document.canonical_text.encode())

    @property
    def section_count(self) -> int:
        """One."""
        return 1

    def section(self, index: int) -> Section:
        assert index == 0, "a document in memory is one section"
        return Section(0, self.document)
