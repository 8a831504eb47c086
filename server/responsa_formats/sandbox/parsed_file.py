"""The results of parsing processes. That of a document is in a temporary file; it is checked piece by piece, and read
section by section.

A document of 64 MiB may have a million blocks. As Python objects, its text and blocks would need twenty times the memory of the file.
"""

from __future__ import annotations

import hashlib
import struct
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.sniff import CHARSETS
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.protocol import (
    BLOCK_ROW,
    DOCUMENT_FRAME,
    DRAWN_FRAME,
    MAX_COUNT,
    MAX_MESSAGE,
    REJECTED_FRAME,
    BlockRow,
    block_row,
    check_title,
    frame_layout,
)
from responsa_formats.text.canonical import (
    MAX_BLOCKS,
    MAX_PATH_CHARS,
    Block,
    BlockKind,
    ParsedDocument,
    author_line,
    keyword_lines,
    language_tag,
)
from responsa_formats.text.drawn import DrawnPage
from responsa_formats.text.sections import SECTION_BLOCKS, SECTION_BYTES, Headings, Section

_PIECE: Final = 1024 * 1024
_ROWS: Final = 4096
# A rejection is much shorter, and a document's head too.
_SMALL: Final = 64 * 1024
_BACK: Final = 4096


def _as_written_by(write: Callable[[Any], object]) -> AfterValidator:
    """A check that a value is one that a function of the parsers leaves as it is."""

    def check(value: Any) -> Any:
        if write(value) != value:
            raise ValueError("not written by a parser")
        return value

    return AfterValidator(check)


_PRINTABLE: Final = _as_written_by(lambda text: text.isprintable() and text)


def _check_utc(date: datetime) -> datetime:
    if date.utcoffset() != timedelta():
        raise ValueError("not in UTC")
    return date


_Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


class _Head(BaseModel):
    """What a document's frame says besides the text and its blocks; see ParsedDocument and Original."""

    title: Annotated[str, Field(min_length=1), AfterValidator(check_title)]
    language: Annotated[str, _as_written_by(language_tag)] | None
    format: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,39}$")]
    author: Annotated[str, _as_written_by(author_line)]
    date: Annotated[AwareDatetime, AfterValidator(_check_utc)] | None
    keywords: Annotated[tuple[str, ...], _as_written_by(keyword_lines)]
    body_start: _Count
    left_out: Mapping[LeftOutKind, Annotated[int, Field(gt=0, le=MAX_COUNT)]]
    guessed_charset: Annotated[str, _as_written_by(lambda name: name if name in ("", *CHARSETS) else None)]
    ocr_pages: _Count


class _RejectedHead(BaseModel):
    reason: Cause
    message: Annotated[str, Field(max_length=MAX_MESSAGE), _PRINTABLE]


class _DrawnHead(BaseModel):
    page_count: _Count
    width: _Count
    height: _Count
    label: Annotated[str, Field(max_length=MAX_PATH_CHARS), _PRINTABLE]


def _unpack_rejection(head: bytes) -> Rejected:
    """Read the head of a rejection. Raises ValueError if `pack_rejection` cannot have made it."""
    rejection = _RejectedHead.model_validate_json(head)
    return Rejected(rejection.reason, rejection.message)


def unpack_drawn(frame: bytes) -> DrawnPage:
    """Read a frame that may have been forged. Whatever the pixels are, they are only pixels.

    Raises the Rejected that the frame holds, or MALFORMED if `pack_drawn` cannot have made the frame.
    """
    try:
        kind, layout = frame_layout(frame, len(frame))
        head, *sections = (frame[start : start + size] for start, size in layout)
        if kind == DRAWN_FRAME:
            [pixels] = sections
            return DrawnPage(**_DrawnHead.model_validate_json(head).model_dump(), pixels=pixels)
        rejected = _unpack_rejection(head)
    except (ValueError, IndexError, struct.error):
        # The cause is dropped, because it would quote bytes that the document chose.
        raise Rejected.as_malformed("The parser returned no usable image of this page.") from None
    raise rejected


@dataclass(frozen=True, slots=True)
class _SectionRange:
    """A section's range of the text, its first row, and where the titles and paths of its rows begin."""

    start: int
    end: int
    row: int
    titles: int
    paths: int
    above: Headings


@dataclass(slots=True)
class _RowCursor:
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

        Raises the Rejected that the frame holds, or MALFORMED if `pack_result` cannot have made the frame.
        """
        self._frame = frame
        self._most = section_bytes
        self._most_blocks = section_blocks
        self._window = (0, b"")
        try:
            kind, layout = frame_layout(self._at(0, min(length, _SMALL)), length)
            (start, size), *sections = layout
            if size > _SMALL:
                raise ValueError("the head is too long")
            packed = self._at(start, size)
            if kind == REJECTED_FRAME:
                raise _unpack_rejection(packed)
            if kind != DOCUMENT_FRAME:
                raise ValueError("not a document")
            text, blocks, titles, paths = sections
            head = _Head.model_validate_json(packed)
            self.title, self.language, self.format = head.title, head.language, head.format
            self.author, self.date, self.keywords = head.author, head.date, head.keywords
            self.left_out, self.guessed_charset = head.left_out, head.guessed_charset
            self.ocr_pages, self.body_start = head.ocr_pages, head.body_start
            self._text, self.size = text
            if self.body_start > self.size or self._inside_character(self.body_start):
                raise ValueError("the body begins outside of the text")
            self._blocks, self._titles, self._paths = blocks[0], titles, paths
            self._rows, rest = divmod(blocks[1], BLOCK_ROW.size)
            if rest or self._rows > MAX_BLOCKS:
                raise ValueError("the blocks have no valid length")
            self.sha256 = self._check_text()
            self._parts = list(self._divide())
        except (ValueError, IndexError, struct.error):
            # UnicodeDecodeError is a ValueError. The cause is dropped, because it would quote bytes that the document chose.
            raise Rejected.as_malformed("The parser returned no usable result for this document.") from None

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
        return self._section(_SectionRange(0, self.size, 0, 0, 0, ())).document

    def close(self) -> None:
        self._frame.close()

    def _section(self, part: _SectionRange) -> Section:
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
            for row in self._rows_from(_RowCursor(part.row, part.titles, part.paths), part.end)
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

    def _at(self, start: int, count: int) -> bytes:
        self._frame.seek(start)
        return self._frame.read(count)

    def _check_text(self) -> bytes:
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

    def _rows_from(self, reading: _RowCursor, before: int) -> Iterator[BlockRow]:
        """The rows from a place on, whose blocks begin before a byte of the text. `reading` follows."""
        while reading.row < self._rows:
            count = min(_ROWS, self._rows - reading.row)
            packed = self._at(self._blocks + reading.row * BLOCK_ROW.size, count * BLOCK_ROW.size)
            rows = list(BLOCK_ROW.iter_unpack(packed))
            titles = self._of(self._titles, reading.titles, sum(row[4] for row in rows))
            paths = self._of(self._paths, reading.paths, sum(row[-1] for row in rows))
            at_title = at_path = 0
            for values in rows:
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

    def _divide(self) -> Iterator[_SectionRange]:
        reading, end, after_heading = _RowCursor(), 0, False
        begun = _SectionRange(0, 0, 0, 0, 0, ())
        for row in self._rows_from(reading, self.size):
            if not end <= row.start < row.end <= self.size:
                raise ValueError("block out of order")
            if self._inside_character(row.start) or self._inside_character(row.end):
                raise ValueError("a block boundary splits a code point")
            heading = row.kind is BlockKind.HEADING
            border = self._line_start(end, row.start)
            while border - begun.start > self._most:  # text that belongs to no block
                cut = self._cut(begun.start, end)
                yield self._end_part(begun, cut)
                begun = self._begin(reading, cut)
            long = border - begun.start >= self._most // 2
            full = reading.row - begun.row >= self._most_blocks
            if full or (long and not after_heading and (heading or row.end - begun.start > self._most)):
                yield self._end_part(begun, border)
                begun = self._begin(reading, border)
            if heading:
                while reading.open and reading.open[-1][0] >= row.level:
                    reading.open.pop()
                reading.open.append((row.level, row.title))
            while row.end - begun.start > self._most:
                border = self._cut(begun.start, end)
                yield self._end_part(begun, border)
                begun = self._begin(reading, border)
            end, after_heading = row.end, heading
        if reading.row != self._rows or reading.titles != self._titles[1] or reading.paths != self._paths[1]:
            raise ValueError("blocks, titles or paths are left over")
        while self.size - begun.start > self._most:
            border = self._cut(begun.start, end)
            yield self._end_part(begun, border)
            begun = self._begin(reading, border)
        yield self._end_part(begun, self.size)

    def _begin(self, reading: _RowCursor, start: int) -> _SectionRange:
        # `reading` is still at the row that is being checked, so that a block across the border belongs to both sections.
        return _SectionRange(start, 0, reading.row, reading.titles, reading.paths, tuple(reading.open))

    def _end_part(self, part: _SectionRange, end: int) -> _SectionRange:
        return _SectionRange(part.start, end, part.row, part.titles, part.paths, part.above)

    def _line_start(self, lowest: int, position: int) -> int:
        """The beginning of the line of `position`, where a list item's marker stands; `position` itself if that is before `lowest`."""
        lowest = max(lowest, position - _BACK)
        return (
            lowest + newline + 1 if (newline := self._near(lowest, position).rfind(b"\n")) >= 0 else position
        )

    def _cut(self, start: int, lowest: int) -> int:
        """A place at which a section that begins at `start` can end: after a line or a word, or else between
        characters. It is not before `lowest`."""
        low, high = max(start + self._most // 2, lowest), start + self._most
        data = self.read(low, high - low)
        for border in (b"\n", b" "):
            if (index := data.rfind(border)) >= 0:
                return low + index + 1
        while self._inside_character(high):
            high -= 1
        return high

    def _inside_character(self, position: int) -> bool:
        # All bytes of a code point except the first have the form 10xxxxxx.
        return position < self.size and self._near(position, position + 1)[0] & 0xC0 == 0x80

    def _near(self, start: int, end: int) -> bytes:
        """Bytes of the text. Places ascend, so that one piece of the file serves many of them."""
        begun, data = self._window
        if not begun <= start <= end <= begun + len(data):
            begun = max(0, start - _BACK)
            data = self.read(begun, max(_PIECE, end - begun))
            self._window = (begun, data)
        return data[start - begun : end - begun]
