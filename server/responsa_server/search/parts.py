"""Finds what a card shows of a passage: a piece and its neighbours, and the passage around them to unfold.

The pieces of a passage say where its sentences, items, rows and code are. A card is one range of the canonical text,
byte for byte.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import ormsgpack

from responsa_formats.text.canonical import byte_positions
from responsa_formats.text.inline import STRUCK
from responsa_formats.text.rows import NAMED_ROWS, split_cells, value_start
from responsa_server.domain.events import MAX_EXCERPT_BYTES, ByteRange
from responsa_server.domain.passages import BEFORE_BYTES, FoundPassage, NearText, VectorKind
from responsa_server.search.evidence import readable
from responsa_server.text.instructing import instructing_spans, without_instructions
from responsa_server.text.shown import (
    MARKDOWN,
    MOST_COLUMNS,
    QuoteOrigin,
    cell_spans,
    cells_of,
    header_of,
    is_header,
    shown_blocks,
    shown_code,
    shown_heading,
    shown_table,
    visible,
)

CARD_WORDS: Final = 60
CARD_CHARACTERS: Final = 600
"""As CARD_WORDS, for languages without spaces between words."""
CARD_LINES: Final = 8
"""The most paragraphs, items, rows with their header, and lines of code on a card."""
_WORD_CHARACTERS: Final = CARD_CHARACTERS // CARD_WORDS
_LEAD_WORDS: Final = 12
"""The most words of what leads to a list above its items."""
CUT: Final = "…"
"""Stands in an excerpt for the items, rows or lines that were cut off."""
_EDGES: Final = "\U00010a50", "\U00010a51"
"""Stand at the beginning and the end of a marked cell while its Markdown is made. They are punctuation, so that
emphasis may begin behind one, and of a script that documents hardly have."""
_MARKED: Final = re.compile(r"[`*_\[{<\\]")
_PARAGRAPH_END: Final = re.compile(rb"\n[ \t>\r]*\n")
_LINE_BEGINNING: Final = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
_ITEM: Final = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]")
_LINES: Final = re.compile(r"[:\n]\n")
"""In a sentence with the list or code that it leads to."""
_WORD: Final = re.compile(r"\w\S*")
_EMPTY_LINE: Final = re.compile(r"^[ \t>\r]*\n", re.MULTILINE)
# A character that is cut at the beginning of the text is left out.
_CUT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class ExcerptPart:
    """What an excerpt shows. source: its bytes in the canonical text. cut_before, cut_after: whether the list, table or
    code goes on there. first, last: the indexes of its units. marked: the bytes of the cell that answers the question;
    None if it is not known. stored: its index among the parts that are stored; None if it is not."""

    source: ByteRange
    first: int
    last: int
    cut_before: bool = False
    cut_after: bool = False
    marked: ByteRange | None = None
    stored: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table row. name: that of its column, or ''. value: its text. source: the bytes of its value in the canonical text."""

    name: str
    value: str
    source: ByteRange


class _StoredPart(NamedTuple):
    """source: its bytes. units: the first and the last one, and whether it is cut before and after."""

    source: tuple[int, int]
    units: tuple[int, int, bool, bool]
    headings: Sequence[str]
    markdown: str


class _StoredParts(NamedTuple):
    """See `PassageParts.pack`. sections, cards, rows: for each piece, the index of a part, or of a header. tables: the first
    and the last row of each."""

    parts: Sequence[_StoredPart]
    sections: Sequence[int | None]
    cards: Sequence[int | None]
    headers: Sequence[Sequence[str] | None]
    rows: Sequence[int]
    tables: Sequence[tuple[int, int]]

    @classmethod
    def unpack(cls, data: bytes) -> _StoredParts:
        parts, *others = ormsgpack.unpackb(data)
        return cls([_StoredPart(*part) for part in parts], *others)


class PassageParts:
    """Finds the parts of one passage. The pieces of the passage are its units. What follows from its text alone is made
    once, and stored with it (`pack`)."""

    def __init__(self, found_passage: FoundPassage, near: NearText | None = None) -> None:
        """near: the text around the passage, in which the header of a table may stand; None if it was not read."""
        passage = found_passage.passage
        self._found = found_passage
        near = near or NearText(passage.source.start, passage.text.encode())
        self._start, self._raw, stored, before = near
        within = found_passage.pieces and found_passage.pieces[0].kind is VectorKind.ROW
        self._before = before if within else ""
        # Pieces that are cut again, because the stored ones cannot be read, come without words, and have no cards.
        self._stored = _StoredParts.unpack(stored) if stored and found_passage.words else None
        self._markdown = found_passage.media_type in ("", MARKDOWN)
        self._named = found_passage.media_type in NAMED_ROWS
        self._units = found_passage.pieces
        self._shares: dict[int, tuple[int, int]] = {}

    def bytes_of(self, source: ByteRange) -> bytes:
        """The bytes of a range of the canonical text near the passage."""
        return self._raw[max(source.start - self._start, 0) : max(source.end - self._start, 0)]

    def text(self, source: ByteRange) -> str:
        return self.bytes_of(source).decode(errors="ignore")

    def instructs(self, source: ByteRange) -> bool:
        """Whether a range of the passage's bytes gives instructions to an assistant."""
        known = self._found.instructions(source)
        return bool(instructing_spans(self.text(source)) if known is None else known)

    def pack(self) -> bytes:
        """What follows from the text, for `NearText.cards`: for each piece its section, its card but of long code, and
        the header of its table; the tables; and the headings and the Markdown of these parts."""
        parts: dict[ExcerptPart, int] = {}
        stored_parts: list[_StoredPart] = []

        def number(part: ExcerptPart | None) -> int | None:
            if part is not None and part not in parts:
                units = part.first, part.last, part.cut_before, part.cut_after
                source = part.source.start, part.source.end
                stored_parts.append(_StoredPart(source, units, self.headings(part), self.markdown(part)))
                parts[part] = len(parts)
            return None if part is None else parts[part]

        kinds = [unit.kind for unit in self._units]
        sections: list[int | None] = []
        cards: list[int | None] = []
        for index, kind in enumerate(kinds):
            section, card = number(self.of(index)), None
            # The lines of longer code depend on the question.
            if section is not None and (kind is not VectorKind.CODE or self._fits_card(index, index)):
                card = number(self.card(index, lambda _: 0.0))
            if card is not None and not stored_parts[card].markdown:
                section = card = None  # nothing of it is visible
            sections.append(section)
            cards.append(card)
        headers: dict[tuple[str, ...] | None, int] = {}
        named = [self.header(index) if kind is VectorKind.ROW else () for index, kind in enumerate(kinds)]
        rows = [headers.setdefault(None if names is None else tuple(names), len(headers)) for names in named]
        stored = _StoredParts(
            stored_parts,
            sections,
            cards,
            list(headers),
            rows,
            self._find_tables(),
        )
        return ormsgpack.packb(stored, default=tuple)

    def _read(self, index: int | None) -> ExcerptPart | None:
        """The stored part with this index."""
        if self._stored is None or index is None:
            return None
        part = self._stored.parts[index]
        return ExcerptPart(ByteRange(*part.source), *part.units, stored=index)

    def of(self, index: int) -> ExcerptPart | None:
        """The passage without the headings at its edges, or as much of it round the piece with the index `index` as
        fits and is on the same page, slide or sheet; None if that is a heading or the header of a table."""
        if self._stored is not None:
            return self._read(self._stored.sections[index])
        piece = self._units[index]
        if piece.kind is VectorKind.HEADING or (piece.kind is VectorKind.ROW and self.header(index) is None):
            return None
        if not self._fits(index, index):
            return self._lines(index)
        low, high = self._grow((index, index), (0, len(self._units) - 1), self._fits)
        while self._units[low].kind is VectorKind.HEADING:
            low += 1
        while self._units[high].kind is VectorKind.HEADING:
            high -= 1
        return self._part(low, high)

    def card(self, index: int, weigh: Callable[[str], float], marked: ByteRange | None = None) -> ExcerptPart:
        """The piece with the index `index` with its neighbours, as far as they fit on a card and no heading stands
        between them: back to the beginning of its paragraph, item or row first, then of its list or table with what leads
        to it, then of what stands below the heading. Of longer code, the lines that weigh most; of a longer row, its first cells, or
        those round the marked one."""
        stored = self._read(self._stored.cards[index]) if self._stored is not None else None
        if stored is not None and (marked is None or marked.is_within(stored.source)):
            return stored
        if self._stored is not None or not self._fits_card(index, index):
            return self._shorten(index, weigh, marked)
        kinds = [unit.kind for unit in self._units]
        bottom, top = self._run(index, lambda at: VectorKind.HEADING not in kinds[at : at + 2])
        lead, (low, high), own = self._find_lead(index), self._groups[index], self._run(index, self._goes_on)
        part, low = (index, index), low if lead is None else lead
        for whole in ((own[0], index), own, (low, high), (bottom, top)):
            part = self._grow(part, whole, self._fits_card)
            if part[0] > whole[0] or part[1] < whole[1]:
                break
        return self._part(*part)

    def _grow(
        self, part: tuple[int, int], whole: tuple[int, int], fits: Callable[[int, int], bool]
    ) -> tuple[int, int]:
        """The first and the last unit of a part that grows by one after the other, within a whole, while it fits."""
        (first, last), grown = part, True
        while grown:
            grown = False
            if last < whole[1] and fits(first, last + 1) and not self._strikes(last):
                last, grown = last + 1, True
            if first > whole[0] and fits(first - 1, last) and not self._strikes(first - 1):
                first, grown = first - 1, True
        return first, last

    def _fits_card(self, first: int, last: int) -> bool:
        shares = zip(self._share_above(first), *map(self._share, range(first, last + 1)), strict=True)
        size, lines = map(sum, shares)
        lines += not self._share(first)[1]  # the rest of a paragraph
        # What is no unit, such as a number before an item, is shown, too.
        edges = itertools.pairwise(unit.source for unit in self._units[first : last + 1])
        between = (readable(self.text(ByteRange(unit.end, other.start))) for unit, other in edges)
        size += sum(_WORD_CHARACTERS * len(_WORD.findall(text)) for text in between)
        return size <= CARD_CHARACTERS and lines <= CARD_LINES and self._page(first) == self._page(last)

    def _share_above(self, index: int) -> tuple[int, int]:
        """As `_share`, for what is shown above a part that begins with a unit: the header of its table, or what leads to
        its list."""
        if self._units[index].kind is VectorKind.ROW:
            names = [cell.name for cell in self.cells(index)] if self._named else self.header(index) or ()
            return _measure(" ".join(names)), bool(names)
        lead = self._find_lead(index)
        return (0, 0) if lead is None else (_measure(self._lead_words(lead)), 1)

    def _share(self, index: int) -> tuple[int, int]:
        """How much of a card a unit fills: as characters, and as lines."""
        if index not in self._shares:
            kind, text = self._units[index].kind, self.text(self._units[index].source)
            lines = int(not (index and self._goes_on(index - 1)))
            if kind is VectorKind.CODE or _LINES.search(text):
                lines = text.strip("\n").count("\n") + 1 - text.count("\n\n") * (kind is not VectorKind.CODE)
            elif self._named and 0 < len(cells := self.cells(index)) <= MOST_COLUMNS:
                text = " ".join(cell.value for cell in cells)
            marked = self._markdown and kind is not VectorKind.CODE
            self._shares[index] = _measure(readable(text) if marked else text), lines
        return self._shares[index]

    def _find_lead(self, index: int) -> int | None:
        """The sentence that leads to the list of an item; None if there is none, or if it gives instructions."""
        if self._units[index].kind is not VectorKind.ITEM or not (first := self._groups[index][0]):
            return None
        unit = self._units[first - 1]
        leads = unit.kind is VectorKind.SENTENCE and not self._strikes(first - 1)
        return first - 1 if leads and not self.instructs(unit.source) else None

    def _lead_words(self, index: int) -> str:
        """The first words of a sentence that leads to a list."""
        text = self.text(self._units[index].source)
        return text if len(words := text.split()) <= _LEAD_WORDS else f"{' '.join(words[:_LEAD_WORDS])} {CUT}"

    def _run(self, at: int, joined: Callable[[int], bool]) -> tuple[int, int]:
        """The first and the last unit round a unit. joined: whether a unit and the one after it belong together."""
        first = last = at
        while first and joined(first - 1):
            first -= 1
        while last + 1 < len(self._units) and joined(last):
            last += 1
        return first, last

    def _goes_on(self, index: int) -> bool:
        """Whether a unit and the one after it are parts of the same paragraph, item or row."""
        unit, other = self._units[index], self._units[index + 1]
        if unit.kind is not other.kind or unit.kind in (VectorKind.CODE, VectorKind.HEADING):
            return False
        if unit.kind is VectorKind.SENTENCE:
            return self._groups[index] == self._groups[index + 1]
        if self._markdown and unit.kind is VectorKind.ITEM:
            return _ITEM.match(self.text(other.source)) is None
        return b"\n" not in self.bytes_of(ByteRange(unit.source.end, other.source.start))

    def _shorten(self, at: int, weigh: Callable[[str], float], marked: ByteRange | None) -> ExcerptPart:
        """As much of a unit as fits on a card: the lines or the cells that weigh most, or the first words."""
        whole, kind = self._units[at].source, self._units[at].kind
        text, edges, names = self.text(whole), list[tuple[int, int]](), itertools.repeat("")
        if kind is VectorKind.ROW:
            edges, names = cell_spans(text), itertools.chain(self.header(at) or (), names)
        elif kind is VectorKind.CODE or _LINES.search(text):
            ends = itertools.accumulate(map(len, text.splitlines(keepends=True)), initial=0)
            edges = list(itertools.pairwise(ends))
        places = byte_positions(text, list(itertools.chain.from_iterable(edges)))
        spans = [
            ByteRange(whole.start + start, whole.start + end)
            for start, end in zip(places[::2], places[1::2], strict=True)
        ]
        texts = [f"{name} {self.text(span)}" for span, name in zip(spans, names, strict=False)]
        weights = [
            weigh(text) + CARD_LINES * (marked is not None and span.end == marked.end)
            for text, span in zip(texts, spans, strict=True)
        ]
        # The first cell of a row, which names it, is shown before the others.
        named = _measure(texts[0]) if kind is VectorKind.ROW else 0
        first, last = _choose_run(list(map(_measure, texts)), weights, CARD_CHARACTERS - named)
        if spans:
            whole = ByteRange(spans[first].start, spans[last].end)
        above = 0 if spans else self._share_above(at)[0]
        text, room = self.text(whole), max(CARD_CHARACTERS - above, _WORD_CHARACTERS)
        if _measure(text) > room:
            words = [match.end() for match in _WORD.finditer(text[:room])][: room // _WORD_CHARACTERS]
            whole = ByteRange(whole.start, whole.start + len(text[: words[-1] if words else room].encode()))
        return ExcerptPart(whole, at, at, cut_before=first > 0, cut_after=last + 1 < len(spans))

    def _fits(self, first: int, last: int) -> bool:
        size = self._units[last].source.end - self._units[first].source.start
        return size <= MAX_EXCERPT_BYTES and self._page(first) == self._page(last)

    def _strikes(self, index: int) -> bool:
        """Whether what is struck as a whole, and so is no unit, stands between a unit and the one after it."""
        unit, other = self._units[index], self._units[index + 1]
        return STRUCK.search(self.text(ByteRange(unit.source.end, other.source.start))) is not None

    def _page(self, index: int) -> int:
        return self._found.passage.place_of(self._units[index].source).page

    def at(self, source: ByteRange) -> ExcerptPart | None:
        """The part with these bytes; None if no unit has any of them."""
        inside = [
            index
            for index, unit in enumerate(self._units)
            if unit.source.start < source.end and source.start < unit.source.end
        ]
        if not inside:
            return None
        first, last = inside[0], inside[-1]
        before = source.start > self._units[first].source.start or self._cuts(first - 1)
        after = source.end < self._units[last].source.end or self._cuts(last)
        return ExcerptPart(source, first, last, before, after)

    def _cuts(self, index: int) -> bool:
        """Whether a list, a table or code goes on after a unit."""
        inside = 0 <= index < len(self._units) - 1
        return inside and self._units[index].kind is not VectorKind.SENTENCE and self._is_joined(index)

    @cached_property
    def _groups(self) -> Sequence[tuple[int, int]]:
        """For each unit, the first and the last one of its paragraph, list, table or code."""
        groups: list[tuple[int, int]] = []
        for index in range(len(self._units)):
            if index + 1 == len(self._units) or not self._is_joined(index):
                groups += [(len(groups), index)] * (index + 1 - len(groups))
        return groups

    def _is_joined(self, index: int) -> bool:
        """Whether a unit and the one after it belong together."""
        unit, other = self._units[index], self._units[index + 1]
        if VectorKind.HEADING in (unit.kind, other.kind):
            return False
        between = self.bytes_of(ByteRange(unit.source.end, other.source.start))
        if _PARAGRAPH_END.search(between) is None and unit.kind is other.kind:
            return True
        kinds = {unit.kind, other.kind}
        # Code that is indented below an item belongs to the list.
        below = VectorKind.CODE in kinds and self._indent(index + (other.kind is VectorKind.CODE)) > 1
        return kinds == {VectorKind.ITEM} or (kinds == {VectorKind.ITEM, VectorKind.CODE} and below)

    def _indent(self, index: int) -> int:
        """The columns before a unit on its line."""
        start = self._units[index].source.start
        line = self.bytes_of(ByteRange(self._start, start)).rpartition(b"\n")[2].decode(errors="ignore")
        match = _LINE_BEGINNING.match(line)
        return len(match.group().expandtabs(4)) if match else 0

    def _lines(self, at: int) -> ExcerptPart:
        """The first lines of a unit that is too long."""
        source = self._units[at].source
        data = self.bytes_of(source)[:MAX_EXCERPT_BYTES]
        whole = data.rpartition(b"\n")[0] or data.decode(errors="ignore").encode()
        return ExcerptPart(ByteRange(source.start, source.start + len(whole)), at, at, cut_after=True)

    def _part(self, first: int, last: int) -> ExcerptPart:
        source = ByteRange(self._units[first].source.start, self._units[last].source.end)
        return ExcerptPart(source, first, last, self._cuts(first - 1), self._cuts(last))

    def headings(self, part: ExcerptPart) -> Sequence[str]:
        """The headings above the whole of a part, outermost first. Those above less of it stand within it."""
        if self._stored is not None and part.stored is not None:
            return self._stored.parts[part.stored].headings
        behind = [at + 1 for at in range(part.first, part.last) if self._units[at].kind is VectorKind.HEADING]
        above = [
            self._above(at) for at in (part.first, *behind) if self._units[at].kind is not VectorKind.HEADING
        ]
        shared = zip(*above, strict=False)
        path = [same[0] for same in itertools.takewhile(lambda same: len(set(same)) == 1, shared)]
        return [visible(heading) if _MARKED.search(heading) else heading for heading in path]

    def _above(self, index: int) -> Sequence[str]:
        return self._found.passage.path_at(self._units[index].source.start - 1)

    def tables(self, part: ExcerptPart) -> Sequence[range]:
        """The indexes of the rows of each table with names of columns that has a row in the part; also of rows of the
        passage that the part leaves out."""
        tables: list[range] = []
        for first, last in self._find_tables():
            if first <= part.last and last >= part.first:
                named = self.header(first)
                if named is None or named or self._named:
                    tables.append(range(first + (named is None), last + 1))
        return tables

    def _find_tables(self) -> Sequence[tuple[int, int]]:
        """The first and the last row of each table."""
        if self._stored is not None:
            return self._stored.tables
        rows = (group for group in self._groups if self._units[group[0]].kind is VectorKind.ROW)
        return list(dict.fromkeys(rows))

    def read_units(self) -> Sequence[str]:
        """What each unit says, as it is embedded and judged: its text, or of a row, its cells with the names of their columns."""
        texts = [self.text(unit.source) for unit in self._units]
        for index, (unit, text) in enumerate(zip(self._units, texts, strict=True)):
            if unit.kind is VectorKind.ROW:
                cells = () if self._named else self.cells(index)
                named = [f"{cell.name}: {cell.value}".removeprefix(": ") for cell in cells if cell.value]
                texts[index] = "; ".join(named or filter(None, cells_of(text)))
        return texts

    def caption(self, index: int) -> str:
        """What stands above the table of a row: a sentence as short as a line, or else the heading; '' if there is neither."""
        lead = self._groups[index][0] - 1
        kinds = [self._units[lead].kind] if lead >= 0 else []
        if kinds == [VectorKind.SENTENCE] and len(self.text(self._units[lead].source).split()) <= _LEAD_WORDS:
            return self.text(self._units[lead].source)
        return next(reversed(self._above(index)), "")

    def cells(self, index: int) -> Sequence[Cell]:
        """The cells of a row with the names of their columns; () if it has more cells than there are names, or less than a line."""
        source = self._units[index].source
        row, names = self.text(source), self.header(index) or ()
        if not self._is_line(source):
            return ()
        spans = cell_spans(row)
        if not self._named and (len(spans) > len(names) or len(spans) == 1):
            return ()
        cells: list[Cell] = []
        for column, (start, end) in enumerate(spans):
            cell = row[start:end]
            name, value = split_cells(cell)[0] if self._named else (names[column], cell)
            start += value_start(cell) if self._named else 0
            first = source.start + len(row[:start].encode())
            cells.append(Cell(name, value, ByteRange(first, first + len(row[start:end].encode()))))
        return cells

    def _is_line(self, source: ByteRange) -> bool:
        before = self.bytes_of(ByteRange(self._start, source.start)).rpartition(b"\n")[2]
        after = self.bytes_of(ByteRange(source.end, self._start + len(self._raw))).partition(b"\n")[0]
        return not before.strip(b" \t>") and not after.strip()

    def markdown(self, part: ExcerptPart, *, edges: bool = False) -> str:
        """The part as an answer shows it; '' if nothing of it is visible. edges: whether _EDGES stand around the marked cell."""
        if self._stored is not None and part.stored is not None and not edges:
            return self._stored.parts[part.stored].markdown
        shown = "\n\n".join(filter(None, self._show_pieces(part, part.marked if edges else None)))
        if not any(map(str.isalnum, shown)):
            return ""
        return f"{shown}\n\n{CUT}" if part.cut_after else shown

    def find_mark(self, part: ExcerptPart, shown: str) -> ByteRange | None:
        """Where the marked cell of a part stands in `shown`, its Markdown, in bytes; None if no cell is marked, or if
        it does not stand there in one piece."""
        if part.marked is None:
            return None
        before, _, rest = self.markdown(part, edges=True).partition(_EDGES[0])
        inner, _, after = rest.partition(_EDGES[1])
        start = len(before.encode())
        same = rest and before + inner + after == shown
        return ByteRange(start, start + len(inner.encode())) if same else None

    def _show_pieces(self, part: ExcerptPart, marked: ByteRange | None) -> Iterator[str]:
        """The groups of units of a part, each as Markdown, with _EDGES around the bytes of `marked`. Of a document that
        is Markdown, only rows and code at the beginning of a part are shown apart: they may have begun before it."""
        at = part.first
        above = self._above(at)
        if len(above) > len(self.headings(part)):
            yield shown_heading(without_instructions(above[-1]))
        if (lead := self._find_lead(part.first)) is not None:
            yield shown_blocks(self._lead_words(lead), QuoteOrigin(self._markdown))
        if part.cut_before:
            yield CUT
        while at <= part.last:
            kind, last = self._units[at].kind, part.last
            if kind in (VectorKind.ROW, VectorKind.CODE):
                last = next((index for index in range(at, last) if not self._same(index)), last)
            elif not self._markdown:
                last = min(self._groups[at][1], last)
            end = min(self._units[last].source.end, part.source.end)
            text = self._mark(ByteRange(max(self._units[at].source.start, part.source.start), end), marked)
            # Only a sentence that leads to a list has a paragraph's end in it.
            listed = kind is VectorKind.ITEM or (kind is VectorKind.SENTENCE and "\n\n" in text)
            origin = QuoteOrigin(self._markdown, self._indent(at), listed=listed)
            if kind is VectorKind.ROW:
                yield self._rows(at, last, part, marked)
            elif kind is VectorKind.CODE:
                yield shown_code(text, origin)
            elif kind is VectorKind.HEADING and not self._markdown:
                yield shown_heading(text)
            else:
                yield shown_blocks(text, origin)
            at = last + 1

    def _same(self, index: int) -> bool:
        """Whether a unit and the one after it are of the same kind and belong together."""
        return self._units[index].kind is self._units[index + 1].kind and self._is_joined(index)

    def _rows(self, first: int, last: int, part: ExcerptPart, marked: ByteRange | None) -> str:
        """Table rows below the names of their columns; of a row that is cut, its cells in the part."""
        units, source = self._units[first : last + 1], part.source
        is_cut = units[0].source.start < source.start or source.end < units[-1].source.end
        texts = [self._mark(source if is_cut else unit.source, marked) for unit in units]
        header = self.header(first)
        if header is None:
            header, texts = [visible(name) for name in cells_of(texts[0])], texts[1:]
        elif is_cut:
            before = sum(cell.source.end <= source.start for cell in self.cells(first))
            header = [*header[: before > 0], *header[before : before + len(cells_of(texts[0]))]]
            start, end = cell_spans(row := self.text(units[0].source))[0]
            texts = (
                [f"{row[start:end]} | {texts[0]}"] if source.start > units[0].source.start + start else texts
            )
        return shown_table(header, texts, QuoteOrigin(self._markdown, named=self._named))

    def _mark(self, source: ByteRange, marked: ByteRange | None) -> str:
        """The text of a range, with _EDGES around a marked range in it."""
        if marked is None or not marked.is_within(source):
            return self.text(source)
        before, after = ByteRange(source.start, marked.start), ByteRange(marked.end, source.end)
        return self.text(before) + self.text(marked).join(_EDGES) + self.text(after)

    def header(self, index: int) -> Sequence[str] | None:
        """The names of the columns of a row's table; None if the row is itself the header. () if the table has no
        header, or if each row says the names of its columns."""
        if self._stored is not None:
            return self._stored.headers[self._stored.rows[index]]
        return () if self._named else self._header(self._units[index].source)

    def _header(self, source: ByteRange) -> Sequence[str] | None:
        near = self.bytes_of(ByteRange(self._start, source.start)).decode(errors="ignore")
        after = self.bytes_of(ByteRange(source.end, self._start + len(self._raw))).decode(errors="ignore")
        # The text before the passage stands in both, if it was read.
        before = near if _EMPTY_LINE.search(near) or self._start == 0 else self._before + near
        if is_header(before, after):
            return None
        if len(self._before.encode()) > BEFORE_BYTES - _CUT_BYTES and not _EMPTY_LINE.search(before):
            return ()  # the table begins before the text that was read
        return header_of(before)


def _measure(text: str) -> int:
    """How much of a card a text fills, as characters."""
    return max(_WORD_CHARACTERS * len(_WORD.findall(text)), len(text))


def _choose_run(sizes: Sequence[int], weights: Sequence[float], room: int) -> tuple[int, int]:
    """The first and the last of those texts, one after the other, that weigh most and fit into so much of a card."""
    chosen, greatest = (0, len(sizes) - 1), -1.0
    limit = CARD_LINES - (room < CARD_CHARACTERS)
    for first in range(len(sizes)):
        last, size = first, sizes[first]
        while last + 1 < min(len(sizes), first + limit) and size + sizes[last + 1] <= room:
            last += 1
            size += sizes[last]
        if (weight := sum(weights[first : last + 1])) > greatest:
            chosen, greatest = (first, last), weight
    return chosen
