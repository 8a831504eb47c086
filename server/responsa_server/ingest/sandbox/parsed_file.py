"""The result of a parsing process in a temporary file. It is checked piece by piece, and read section by section.

A document of 64 MiB may have a million blocks. As Python objects, its text and blocks would need twenty times the memory of the file.
"""

from __future__ import annotations

import hashlib
import struct
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from responsa_server.ingest import rejections
from responsa_server.ingest.sandbox.protocol import (
    BLOCK_ROW,
    DOCUMENT_FRAME,
    FRAME_SECTIONS,
    BlockRow,
    block_row,
    check_author,
    check_charset,
    check_date,
    check_head,
    check_keywords,
    check_left_out,
    check_ocr_pages,
    frame_layout,
    unpack_rejection,
)
from responsa_server.text.canonical import MAX_BLOCKS, Block, BlockKind, ParsedDocument
from responsa_server.text.sections import SECTION_BLOCKS, SECTION_BYTES, Headings, Section

_PIECE: Final = 1024 * 1024
_ROWS: Final = 4096
# A rejection is much shorter, and a document's head too.
_SMALL: Final = 64 * 1024
_BACK: Final = 4096


@dataclass(frozen=True, slots=True)
class _Part:
    """A section's range of the text, its first row, and where the titles and paths of its rows begin."""

    start: int
    end: int
    row: int
    titles: int
    paths: int
    above: Headings


@dataclass(slots=True)
class _Reading:
    row: int = 0
    titles: int = 0
    paths: int = 0
    open: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


class ParsedFile:
    """A parsed document in a file. Implements `Sectioned`. Use it in one thread at a time.

    title, language, format, author, date, keywords, body_start: see ParsedDocument. left_out, guessed_charset,
    ocr_pages: see Original. size: the length of the canonical text in bytes. sha256: its SHA-256.
    """

    def __init__(
        self,
        frame: IO[bytes],
        length: int,
        *,
        section_bytes: int = SECTION_BYTES,
        section_blocks: int = SECTION_BLOCKS,
    ) -> None:
        """Check a frame that may have been forged. length: its length in bytes.

        Raises the DocumentRejected that the frame holds, or DOCUMENT_MALFORMED if `pack_result` cannot have made the frame.
        """
        self._frame = frame
        self._most = section_bytes
        self._most_blocks = section_blocks
        self._window = (0, b"")
        try:
            beginning = self._at(0, min(length, _SMALL))
            kind, layout = frame_layout(beginning, length)
            if kind != DOCUMENT_FRAME:
                raise unpack_rejection(beginning)
            if len(layout) != FRAME_SECTIONS:
                raise ValueError("not a document")
            (text, blocks, titles, paths), head = layout[3:7], (*layout[:3], *layout[7:])
            if sum(size for _, size in head) > _SMALL:
                raise ValueError("the head is too long")
            title, language, name, author, date, left_out, charset, ocr, keywords, body = (
                self._at(*one) for one in head
            )
            self.title, self.language, self.format = check_head(title, language, name)
            self.author, self.date = check_author(author), check_date(date)
            self.left_out, self.guessed_charset = check_left_out(left_out), check_charset(charset)
            self.ocr_pages = check_ocr_pages(ocr)
            self.keywords = check_keywords(keywords)
            self._text, self.size = text
            self.body_start = int(body)
            if not 0 <= self.body_start <= self.size or self._inside_character(self.body_start):
                raise ValueError("the body begins outside of the text")
            self._blocks, self._titles, self._paths = blocks[0], titles, paths
            self._rows, rest = divmod(blocks[1], BLOCK_ROW.size)
            if rest or self._rows > MAX_BLOCKS:
                raise ValueError("the blocks have no valid length")
            self.sha256 = self._checked_text()
            self._parts = list(self._divided())
        except (ValueError, IndexError, struct.error):
            # UnicodeDecodeError is a ValueError. The cause is dropped, because it would quote bytes that the document chose.
            raise rejections.malformed("The parser returned no usable result for this document.") from None

    @property
    def section_count(self) -> int:
        """The number of sections."""
        return len(self._parts)

    def read(self, start: int, count: int) -> bytes:
        """Up to `count` bytes of the canonical text."""
        return self._at(self._text + start, max(0, min(count, self.size - start)))

    def section(self, index: int) -> Section:
        return self._section(self._parts[index])

    def document(self) -> ParsedDocument:
        return self._section(_Part(0, self.size, 0, 0, 0, ())).document

    def close(self) -> None:
        self._frame.close()

    def _section(self, part: _Part) -> Section:
        data = self.read(part.start, part.end - part.start)
        blocks = tuple(
            Block(
                row.kind,
                max(row.start, part.start) - part.start,
                min(row.end, part.end) - part.start,
                row.level,
                row.title,
                row.place,
            )
            for row in self._rows_from(_Reading(part.row, part.titles, part.paths), part.end)
        )
        document = ParsedDocument(
            self.title,
            data.decode(),
            blocks,
            self.language,
            self.format,
            self.author,
            self.date,
            self.keywords,
            min(max(self.body_start - part.start, 0), len(data)),
        )
        return Section(part.start, document, part.above)

    def _at(self, place: int, count: int) -> bytes:
        self._frame.seek(place)
        return self._frame.read(count)

    def _checked_text(self) -> bytes:
        """Check the text, and return its SHA-256."""
        decoder, digest, visible = getincrementaldecoder("utf-8")(), hashlib.sha256(), False
        for start in range(0, self.size, _PIECE):
            piece = self.read(start, _PIECE)
            digest.update(piece)
            if 0 in piece:
                raise ValueError("a NUL character")
            visible = bool(decoder.decode(piece).strip()) or visible
        decoder.decode(b"", final=True)
        if not visible:
            raise ValueError("no text")
        return digest.digest()

    def _rows_from(self, reading: _Reading, before: int) -> Iterator[BlockRow]:
        """The rows from a place on, whose blocks begin before a byte of the text. `reading` follows."""
        while reading.row < self._rows:
            count = min(_ROWS, self._rows - reading.row)
            packed = self._at(self._blocks + reading.row * BLOCK_ROW.size, count * BLOCK_ROW.size)
            found = list(BLOCK_ROW.iter_unpack(packed))
            titles = self._of(self._titles, reading.titles, sum(one[4] for one in found))
            paths = self._of(self._paths, reading.paths, sum(one[-1] for one in found))
            at_title = at_path = 0
            for values in found:
                if values[2] >= before:
                    return
                row = block_row(
                    values, titles[at_title : at_title + values[4]], paths[at_path : at_path + values[-1]]
                )
                at_title += values[4]
                at_path += values[-1]
                yield row
                reading.row += 1
                reading.titles += values[4]
                reading.paths += values[-1]

    def _of(self, section: tuple[int, int], start: int, count: int) -> bytes:
        """Bytes of a section of the frame. Raises ValueError if the section is shorter."""
        if start + count > section[1]:
            raise ValueError("the titles or paths of the blocks are longer than their section")
        return self._at(section[0] + start, count)

    def _divided(self) -> Iterator[_Part]:
        reading, end, after_heading = _Reading(), 0, False
        begun = _Part(0, 0, 0, 0, 0, ())
        for row in self._rows_from(reading, self.size):
            if not end <= row.start < row.end <= self.size:
                raise ValueError("block out of order")
            if self._inside_character(row.start) or self._inside_character(row.end):
                raise ValueError("a block boundary splits a code point")
            heading = row.kind is BlockKind.HEADING
            border = self._line_start(end, row.start)
            while border - begun.start > self._most:  # text that belongs to no block
                cut = self._cut(begun.start, end)
                yield self._ended(begun, cut)
                begun = self._begun(reading, cut)
            long = border - begun.start >= self._most // 2
            full = reading.row - begun.row >= self._most_blocks
            if full or (long and not after_heading and (heading or row.end - begun.start > self._most)):
                yield self._ended(begun, border)
                begun = self._begun(reading, border)
            if heading:
                while reading.open and reading.open[-1][0] >= row.level:
                    reading.open.pop()
                reading.open.append((row.level, row.title))
            while row.end - begun.start > self._most:
                border = self._cut(begun.start, end)
                yield self._ended(begun, border)
                begun = self._begun(reading, border)
            end, after_heading = row.end, heading
        if reading.row != self._rows or reading.titles != self._titles[1] or reading.paths != self._paths[1]:
            raise ValueError("blocks, titles or paths are left over")
        while self.size - begun.start > self._most:
            border = self._cut(begun.start, end)
            yield self._ended(begun, border)
            begun = self._begun(reading, border)
        yield self._ended(begun, self.size)

    def _begun(self, reading: _Reading, start: int) -> _Part:
        # `reading` is still at the row that is being checked, so that a block across the border belongs to both sections.
        return _Part(start, 0, reading.row, reading.titles, reading.paths, tuple(reading.open))

    def _ended(self, part: _Part, end: int) -> _Part:
        return _Part(part.start, end, part.row, part.titles, part.paths, part.above)

    def _line_start(self, lowest: int, place: int) -> int:
        """The beginning of the line of `place`, where a list item's marker stands; `place` itself if that is before `lowest`."""
        lowest = max(lowest, place - _BACK)
        return lowest + found + 1 if (found := self._near(lowest, place).rfind(b"\n")) >= 0 else place

    def _cut(self, start: int, lowest: int) -> int:
        """A place at which a section that begins at `start` can end: after a line or a word, or else between
        characters. It is not before `lowest`."""
        low, high = max(start + self._most // 2, lowest), start + self._most
        data = self.read(low, high - low)
        for border in (b"\n", b" "):
            if (found := data.rfind(border)) >= 0:
                return low + found + 1
        while self._inside_character(high):
            high -= 1
        return high

    def _inside_character(self, place: int) -> bool:
        # All bytes of a code point except the first have the form 10xxxxxx.
        return place < self.size and self._near(place, place + 1)[0] & 0xC0 == 0x80

    def _near(self, start: int, end: int) -> bytes:
        """Bytes of the text. Places ascend, so that one piece of the file serves many of them."""
        begun, data = self._window
        if not begun <= start <= end <= begun + len(data):
            begun = max(0, start - _BACK)
            data = self.read(begun, max(_PIECE, end - begun))
            self._window = (begun, data)
        return data[start - begun : end - begun]
