"""Finds what an excerpt shows: the paragraph, list, whole code or table rows round a piece of a passage.

The pieces of a passage say where its sentences, items, rows and code are. What stands before and after the passage is divided by its lines, so that an excerpt may
go over the passage's edges. An excerpt is one range of the canonical text, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import MAX_EXCERPT_BYTES, ByteRange
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.text.rows import NAMED_ROWS
from responsa_server.text.shown import (
    MARKDOWN,
    QuoteOrigin,
    cells_of,
    escaped,
    header_of,
    is_header,
    shown_blocks,
    shown_code,
    shown_prose,
    shown_row,
    visible,
)

PROSE_BYTES: Final = 700
"""About how many bytes of prose an excerpt has. A shorter paragraph, list or block of code is shown with its neighbours in the same section."""
READ_BEFORE_BYTES: Final = 16 * 1024
"""How much of the text before a passage is read to find the header of the table that the passage begins in, if the header's place is not stored."""
CUT: Final = "…"
"""Stands in an excerpt for the items, rows or lines that were cut off."""
_LEAD_BYTES: Final = 300
"""The greatest length of the text before a block of code that is shown with it, however long the code is."""

_FENCE: Final = re.compile(rb"[ \t>]*(`{3,}|~{3,})")
_ITEM: Final = re.compile(rb"[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_HEADING: Final = re.compile(rb" {0,3}(#{1,6})(?:[ \t]|$)")
_MARKED: Final = re.compile(r"[`*_\[{<\\]")
_PARAGRAPH_END: Final = re.compile(rb"\n[ \t>\r]*\n")
_RULER: Final = re.compile(rb"[ \t>|:+=-]+$")
_LINE_BEGINNING: Final = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
_EMPTY_LINE: Final = re.compile(r"^[ \t>\r]*\n", re.MULTILINE)
# A character that is cut at the beginning of the text is left out.
_CUT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class ExcerptPart:
    """What an excerpt shows. source: its bytes in the canonical text. cut_before, cut_after: whether the list, table or code goes on there. first, last: the indexes of its units."""

    source: ByteRange
    first: int
    last: int
    cut_before: bool = False
    cut_after: bool = False


class PassageParts:
    """Finds the parts of one passage. The pieces of the passage, and those of the text around it, are its units."""

    def __init__(self, found: FoundPassage, around: tuple[int, bytes] | None = None) -> None:
        """around: the text around the passage, and the place of its first byte; None to look only at the passage itself."""
        passage = found.passage
        self._found = found
        self._start, self._raw = around or (passage.source.start, passage.text.encode())
        self._markdown = found.media_type in ("", MARKDOWN)
        self._named = found.media_type in NAMED_ROWS
        pieces = list(found.pieces)
        before: Sequence[PassagePiece] = ()
        after: Sequence[PassagePiece] = ()
        if pieces:
            first, last = pieces[0].source.start, pieces[-1].source.end
            before = self._outside(self._start, first, pieces[0].kind, before=True)
            after = self._outside(last, self._start + len(self._raw), pieces[-1].kind)
        self._units = [*before, *pieces, *after]
        self._offset = len(before)

    def bytes_of(self, source: ByteRange) -> bytes:
        """The bytes of a range of the canonical text near the passage."""
        return self._raw[max(source.start - self._start, 0) : max(source.end - self._start, 0)]

    def text(self, source: ByteRange) -> str:
        return self.bytes_of(source).decode(errors="ignore")

    def _outside(
        self, start: int, end: int, nearby: VectorKind, *, before: bool = False
    ) -> Sequence[PassagePiece]:
        """The units of the text before or after the passage's pieces. nearby: the kind of the piece next to it."""
        data = self.bytes_of(ByteRange(start, end))
        fenced = False
        if before:
            # The first line may have lost its beginning.
            cut = data.find(b"\n") + 1 if self._start else 0
            start, data = start + cut, data[cut:]
            marks = sum(_FENCE.match(line) is not None for line in data.split(b"\n"))
            inside = nearby is VectorKind.CODE and not _FENCE.match(
                self.bytes_of(self._found.pieces[0].source)
            )
            fenced = self._markdown and (marks % 2 == 1) != inside
        elif nearby is VectorKind.CODE and self._markdown:
            last = self.bytes_of(self._found.pieces[-1].source)
            opened = _FENCE.match(last)
            fenced = opened is not None and (b"\n" + opened.group(1)) not in last[opened.end() :]
        return list(_units(data, start, nearby, markdown=self._markdown, fenced=fenced))

    def of(
        self, place: int, most_bytes: int = MAX_EXCERPT_BYTES, prose_bytes: int = PROSE_BYTES
    ) -> ExcerptPart | None:
        """The part round the piece with the index `place`; None if that is a heading or the header of a table.

        most_bytes: the maximum size of a list, of code or of rows. prose_bytes: about the size of prose, and of what is shown with its neighbours.
        """
        piece = self._found.pieces[place]
        if piece.kind is VectorKind.HEADING or (piece.kind is VectorKind.ROW and self.header(place) is None):
            return None
        at = self._offset + place
        first, last = self._group(at)
        limit = min(prose_bytes, most_bytes) if piece.kind is VectorKind.SENTENCE else most_bytes
        if self._size(first, last) > limit:
            return self._within(at, first, last, limit)
        limit = min(prose_bytes, most_bytes)
        while True:
            grown = (first, last)
            if last + 1 < len(self._units) and not self._ends(last):
                _, end = self._group(last + 1)
                if self._size(first, end) <= limit:
                    last = end
            if first and not self._ends(first - 1):
                begin, _ = self._group(first - 1)
                leads = (
                    self._units[first].kind is VectorKind.CODE and self._size(begin, first - 1) <= _LEAD_BYTES
                )
                if self._size(begin, last) <= (most_bytes if leads else limit):
                    first = begin
            if grown == (first, last):
                return self._part(first, last)

    def alone(self, place: int) -> ExcerptPart:
        """The part that is nothing but the piece with the index `place`."""
        return self._part(self._offset + place, self._offset + place)

    def _ends(self, place: int) -> bool:
        """Whether a heading stands between a unit and the one after it."""
        return any(unit.kind is VectorKind.HEADING for unit in self._units[place : place + 2])

    def _group(self, at: int) -> tuple[int, int]:
        """The first and the last unit of the paragraph, list, table or code that a unit belongs to."""
        first = last = at
        while first and self._joined(first - 1):
            first -= 1
        while last + 1 < len(self._units) and self._joined(last):
            last += 1
        return first, last

    def _joined(self, place: int) -> bool:
        """Whether a unit and the one after it belong together."""
        one, other = self._units[place], self._units[place + 1]
        if VectorKind.HEADING in (one.kind, other.kind):
            return False
        between = self.bytes_of(ByteRange(one.source.end, other.source.start))
        if _PARAGRAPH_END.search(between) is None and one.kind is other.kind:
            return True
        listed = (VectorKind.ITEM, VectorKind.CODE)
        if one.kind is VectorKind.ITEM and other.kind is VectorKind.ITEM:
            return True
        # Code that is indented below an item belongs to the list.
        return (
            one.kind in listed
            and other.kind in listed
            and VectorKind.ITEM in (one.kind, other.kind)
            and (self._indent(place + (other.kind is VectorKind.CODE)) > 1)
        )

    def _indent(self, place: int) -> int:
        """The columns before a unit on its line."""
        start = self._units[place].source.start
        line = self.bytes_of(ByteRange(self._start, start)).rpartition(b"\n")[2].decode(errors="ignore")
        found = _LINE_BEGINNING.match(line)
        return len(found.group().expandtabs(4)) if found else 0

    def _size(self, first: int, last: int) -> int:
        return self._units[last].source.end - self._units[first].source.start

    def _within(self, at: int, first: int, last: int, limit: int) -> ExcerptPart | None:
        """As much of a group round one of its units as fits."""
        low = high = at
        if self._size(at, at) > limit:
            return self._lines(at, limit)
        grown = True
        while grown:
            grown = False
            if high < last and self._size(low, high + 1) <= limit:
                high, grown = high + 1, True
            if low > first and self._size(low - 1, high) <= limit:
                low, grown = low - 1, True
        prose = self._units[at].kind is VectorKind.SENTENCE
        return self._part(
            low, high, cut_before=low > first and not prose, cut_after=high < last and not prose
        )

    def _lines(self, at: int, limit: int) -> ExcerptPart | None:
        """The first lines of a unit that is too long."""
        source = self._units[at].source
        data = self.bytes_of(source)[:limit]
        kept = data.rpartition(b"\n")[0] or data.decode(errors="ignore").encode()
        return ExcerptPart(ByteRange(source.start, source.start + len(kept)), at, at, cut_after=True)

    def _part(
        self, first: int, last: int, *, cut_before: bool = False, cut_after: bool = False
    ) -> ExcerptPart:
        source = ByteRange(self._units[first].source.start, self._units[last].source.end)
        return ExcerptPart(source, first, last, cut_before, cut_after)

    def pieces_of(self, part: ExcerptPart) -> Sequence[PassagePiece]:
        """The units of a part."""
        return self._units[part.first : part.last + 1]

    def headings(self, place: int) -> Sequence[str]:
        """The headings above a piece, outermost first."""
        path = self._found.passage.path_at(self._found.pieces[place].source.start - 1)
        return [visible(one) if _MARKED.search(one) else one for one in path]

    def markdown(self, part: ExcerptPart) -> str:
        """The part as an answer shows it; '' if nothing of it is visible."""
        units = self.pieces_of(part)
        if all(unit.kind is VectorKind.ROW for unit in units):
            shown = "\n\n".join(self._groups(part))  # each table has its own columns
        elif all(unit.kind is VectorKind.CODE for unit in units):
            shown = shown_code(self.text(part.source), QuoteOrigin(self._markdown, self._indent(part.first)))
        elif self._markdown:
            shown = shown_blocks(self.text(part.source), QuoteOrigin(True, self._indent(part.first)))
        else:
            shown = "\n\n".join(self._groups(part))
        if not any(map(str.isalnum, shown)):
            return ""
        before, after = f"{CUT}\n\n" if part.cut_before else "", f"\n\n{CUT}" if part.cut_after else ""
        return f"{before}{shown}{after}"

    def shown(self, piece: PassagePiece) -> str:
        """A single piece as an answer shows it, without the names of a row's columns; '' if nothing of it is visible."""
        text, origin = self.text(piece.source), QuoteOrigin(self._markdown)
        return shown_prose(text, origin) if piece.kind is VectorKind.SENTENCE else shown_blocks(text, origin)

    def _groups(self, part: ExcerptPart) -> Iterator[str]:
        """The groups of units of a document that is not Markdown, or of tables, each as Markdown."""
        at = part.first
        while at <= part.last:
            last = min(self._group(at)[1], part.last)
            source = ByteRange(
                self._units[at].source.start, min(self._units[last].source.end, part.source.end)
            )
            text = self.text(source)
            if self._units[at].kind is VectorKind.ROW:
                yield self._rows(part, self._units[at : last + 1])
            else:
                yield shown_blocks(text, QuoteOrigin(False, self._indent(at)))
            at = last + 1

    def _rows(self, part: ExcerptPart, units: Sequence[PassagePiece]) -> str:
        """Table rows below the names of their columns."""
        texts = [self.text(unit.source) for unit in units]
        if self._named:
            return "\n".join(
                f"- {shown}" for text in texts if (shown := shown_row(text, QuoteOrigin(False, named=True)))
            )
        header = self._header(units[0].source)
        if header is None and self._markdown:
            return self._table(self.text(ByteRange(units[0].source.start, units[-1].source.end)))
        if header is None:
            header, texts = cells_of(texts[0]), texts[1:]
        if not header or not self._markdown:
            origin = QuoteOrigin(self._markdown, 0, header)
            return "\n".join(f"- {shown}" for text in texts if (shown := shown_row(text, origin)))
        names = " | ".join(escaped(one).replace("|", "\\|") for one in header)
        body = self.bytes_of(ByteRange(units[0].source.start, units[-1].source.end)).decode(errors="ignore")
        return self._table(f"| {names} |\n|{'---|' * len(header)}\n{body}")

    def _table(self, text: str) -> str:
        return shown_blocks(text, QuoteOrigin(self._markdown))

    def header(self, place: int) -> Sequence[str] | None:
        """The names of the columns of a row's table; None if the row is itself the header. () if the table has no header, or if each row says the names of its columns."""
        return () if self._named else self._header(self._found.pieces[place].source)

    def _header(self, source: ByteRange) -> Sequence[str] | None:
        near = self.bytes_of(ByteRange(self._start, source.start)).decode(errors="ignore")
        after = self.bytes_of(ByteRange(source.end, self._start + len(self._raw))).decode(errors="ignore")
        # The text before the passage stands in both, if it was read.
        before = near if _EMPTY_LINE.search(near) or self._start == 0 else self._found.before + near
        if is_header(before, after):
            return None
        if len(self._found.before.encode()) > READ_BEFORE_BYTES - _CUT_BYTES and not _EMPTY_LINE.search(
            before
        ):
            return ()  # the table begins before the text that was read
        return header_of(before)


def _units(
    data: bytes, start: int, nearby: VectorKind, *, markdown: bool, fenced: bool
) -> Iterator[PassagePiece]:
    """The units of a text. nearby: the kind of the piece next to it. fenced: whether it begins within fenced code."""
    begin, end, kind = start, start, VectorKind.SENTENCE
    mark = b"```" if fenced else b""
    if fenced:
        kind = VectorKind.CODE

    def unit() -> Iterator[PassagePiece]:
        if end > begin:
            yield PassagePiece(kind, ByteRange(begin, end), None)

    place = start
    for line in data.split(b"\n"):
        low = place + len(line) - len(line.lstrip())
        high = place + len(line.rstrip())
        place += len(line) + 1
        fence = _FENCE.match(line) if markdown else None
        if mark:
            end = max(high, end)
            if fence and not line.strip().strip(b"`~"):
                yield from unit()
                begin, end, kind, mark = place, place, VectorKind.SENTENCE, b""
            continue
        if fence:
            yield from unit()
            begin, end, kind, mark = low, high, VectorKind.CODE, fence.group(1)
            continue
        if high <= low:
            yield from unit()
            begin = end = place
            kind = VectorKind.SENTENCE
            continue
        heading = markdown and _HEADING.match(line) is not None
        item = _ITEM.match(line) is not None
        row = line.lstrip().startswith(b"|") if markdown else nearby is VectorKind.ROW
        if heading or item or row:
            yield from unit()
            begin, end = low, high
            kind = VectorKind.HEADING if heading else VectorKind.ROW if row else VectorKind.ITEM
            if row and _RULER.fullmatch(line.strip()):
                begin = end  # a ruler is not a row
            if heading:
                yield from unit()
                begin = end = place
                kind = VectorKind.SENTENCE
            continue
        begin, end = (low if begin >= end else begin), high
    yield from unit()
