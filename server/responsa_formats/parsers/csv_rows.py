"""Writes the rows of data files as canonical text, for the parsers of such formats, and reads CSV (RFC 4180).

A quotation mark quotes a cell only if it begins the cell, and its counterpart ends it. Any other is a character of the
cell, as in `24" gate valve`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from typing import Final

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import (
    BlockKind,
    ParsedDocument,
    Place,
    one_line,
)
from responsa_formats.text.headers import (
    SAMPLE_ROWS,
    column_names,
    forms_of,
    goes_on,
    header_rows,
)
from responsa_formats.text.rows import beginning_of, cell_of, line_of

MAX_COLUMNS: Final = 16_384
"""As in common spreadsheets."""
MAX_NAME_CHARS: Final = 200
"""A longer name of a column or path is cut, because each row repeats it."""

LINE_BYTES: Final = 800
"""A line with more bytes is cut. It is shorter than the longest piece (see text.sentences), so that every piece is a whole line."""

_LONG_CHARS: Final = 300
_KEY_BYTES: Final = 120
_MAX_CHARS: Final = 128 * 1024 * 1024
# Of the headings in data files, none is the title of the document.
_HEADING_LEVEL: Final = 2
# Possessive, because a document may be one line without an end.
_LINE: Final = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n)|[^\r\n]++")
_LINE_END: Final = re.compile(r"\r\n?")
# Neither can be in canonical text.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def lines(text: str, start: int = 0) -> Iterator[str]:
    """The lines from character `start` on, with their line ends. (str.splitlines() also splits at characters that stand within a row.)"""
    return (match.group() for match in _LINE.finditer(text, start))


class RowWriter:
    """Collects rows. A row has one line. A row that is too long for a citation gets several lines, each of which
    repeats the row's first cell. A long cell becomes a paragraph after its row, so that an answer can quote single
    sentences of it.
    """

    def __init__(self) -> None:
        self._blocks = BlockWriter()

    def heading(self, title: str, path: str) -> None:
        """Add a heading for the rows that follow. path: its place in the file."""
        text = _storable(one_line(title))
        if text:
            self._write(text, BlockKind.HEADING, path)

    def row(self, cells: Iterable[tuple[str, str]], path: str) -> None:
        """Add a row of names and values; a name may be ''. Values that are '' are left out. path: the row's place in the file.

        Raises Rejected if the text or the row gets too large.
        """
        line: list[str] = []
        long: list[str] = []
        key = ""
        size = count = 0
        for name, value in cells:
            count += 1
            if count > MAX_COLUMNS:
                raise Rejected.as_over_limit(
                    f"A row has more than {MAX_COLUMNS:,} cells.", "Split the rows into smaller ones."
                )
            value = value.strip()
            if not value:
                continue
            name = name[:MAX_NAME_CHARS]
            if len(value) > _LONG_CHARS:
                long.append(beginning_of(name) + _LINE_END.sub("\n", value))
                continue
            cell = cell_of(name, value)
            bytes_ = len(cell) if cell.isascii() else len(cell.encode(errors="replace"))
            if line and size + bytes_ > LINE_BYTES:
                self._write(line_of(line), BlockKind.TABLE, path)
                line, size = ([key], len(key.encode(errors="replace"))) if key else ([], 0)
            elif not line:
                key = cell if bytes_ <= _KEY_BYTES else ""
            line.append(cell)
            size += bytes_ + len(" | ")
        if line:
            self._write(line_of(line), BlockKind.TABLE, path)
        for text in long:
            self._write(text, BlockKind.PARAGRAPH, path)

    def _write(self, text: str, kind: BlockKind, path: str) -> None:
        self._blocks.write(
            text, kind, _HEADING_LEVEL if kind is BlockKind.HEADING else 0, place=Place(path=path)
        )
        if self._blocks.length > _MAX_CHARS:
            raise Rejected.as_too_much_text()

    def document(self, original: Original) -> ParsedDocument:
        """The document with the rows so far. Raises Rejected if there are none, or more than the server stores."""
        if not self._blocks.parts:
            raise Rejected.as_empty("The document has no values. Upload a file with data.")
        return self._blocks.collector.document(
            _storable(self._blocks.text),
            format_name=original.format,
            file_name=original.name,
        )


def _storable(text: str) -> str:
    """The text with as many characters, in which U+FFFD stands for each character that canonical text must not contain."""
    return _UNSTORABLE.sub("\ufffd", text)


_DELIMITERS: Final = ",;\t|"
_SAMPLE_CHARS: Final = 64 * 1024
_SAMPLE_ROWS: Final = 100
_LEAST_WIDTH: Final = 3
"""The number of columns from which on several lines that each have as many cells as a row are rows, rather than a cell with line ends."""
_QUOTED: Final = re.compile(r' *+"((?:[^"]++|"")*+)" *+')
_END: Final = re.compile(r"[\r\n]|\Z")
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)[ \t]*(?:\r\n|\r|\n|\Z)", re.IGNORECASE)


def parse(original: Original) -> ParsedDocument:
    """Parse CSV. Raises Rejected if the document is not text, has no values, or is larger than the server stores.

    A quotation mark that does not close, or that text follows, is a character.
    """
    text = original.text
    named = _SEPARATOR_LINE.match(text)
    start = named.end() if named else 0
    if named is not None:
        candidates = named.group(1)
    else:
        candidates = "\t" if original.name.lower().endswith((".tsv", ".tab")) else _DELIMITERS
    sample = text[start : start + _SAMPLE_CHARS]
    # Of two delimiters with the same share of equal rows, the one that makes more cells is right.
    _, width, delimiter = max((_form(sample, mark) for mark in candidates), key=lambda form: form[:2])
    records = _Records(text, delimiter, start, width, original.foreign)
    writer = _rows(records, records.foreign_rows)
    original.left_out[LeftOutKind.UNPAIRED_QUOTE] += records.misquoted
    original.left_out[LeftOutKind.FOREIGN_LINE] += len(original.foreign)
    return writer.document(original)


class _Records:
    """The records of a text from the character `start` on. width: how many cells most of them have; 0 if that is not known.

    misquoted: how many of the records that were read have a quotation mark that begins a cell and was read as a character.
    foreign: as in `Original`; foreign_rows: the character sets of such records, by their numbers from 1.
    """

    def __init__(
        self,
        text: str,
        delimiter: str,
        start: int = 0,
        width: int = 0,
        foreign: Mapping[int, str] | None = None,
    ) -> None:
        self._foreign = [*(foreign or {}).items()]
        self.foreign_rows: dict[int, str] = {}
        self._text = text
        self._delimiter = delimiter
        self._at = start
        self._width = width
        self.misquoted = 0

    def __iter__(self) -> Iterator[list[str]]:
        if not self._foreign:
            yield from self._all()
            return
        passed = 0
        for number, record in enumerate(self._all(), 1):
            while passed < len(self._foreign) and self._foreign[passed][0] < self._at:
                self.foreign_rows[number] = self._foreign[passed][1]
                passed += 1
            yield record

    def _all(self) -> Iterator[list[str]]:
        while line := _LINE.match(self._text, self._at):
            if '"' not in line.group():
                self._at = line.end()
                yield self._split(line.group())
                continue
            cells, misquoted = self._read_quoted()
            if self._at > line.end() and self._width >= _LEAST_WIDTH:
                # A mark of inches may find its counterpart some rows below. The lines of a quoted cell do not all look like rows.
                rows = [self._split(row) for row in lines(self._text[line.start() : self._at])]
                if all(len(row) == self._width for row in rows):
                    self.misquoted += len(rows)
                    yield from rows
                    continue
            self.misquoted += misquoted
            yield cells

    def _split(self, line: str) -> list[str]:
        return line.rstrip("\r\n").split(self._delimiter)

    def _read_quoted(self) -> tuple[list[str], bool]:
        """Read a record that has quotation marks. Returns its cells, and whether a mark that begins a cell was read as a character."""
        text, delimiter, at = self._text, self._delimiter, self._at
        cells: list[str] = []
        misquoted = False
        line_end = -1
        while True:
            match = _QUOTED.match(text, at)
            end = match.end(1) + 1 if match else at
            if match and text[end : end + 1] != delimiter:
                end = match.end()
            if match and text[end : end + 1] in (delimiter, "\r", "\n", ""):
                cells.append(match.group(1).replace('""', '"'))
            else:
                if line_end < at:
                    line_end = next(_END.finditer(text, at)).start()
                end = text.find(delimiter, at, line_end)
                end = line_end if end < 0 else end
                cells.append(text[at:end])
                misquoted |= cells[-1].lstrip(" ").startswith('"')
            at = end
            if not text.startswith(delimiter, at):
                break
            at += 1
        self._at = at + (2 if text.startswith("\r\n", at) else 1)
        return cells, misquoted


def _rows(records: Iterable[Sequence[str]], foreign: Mapping[int, str]) -> RowWriter:
    writer = RowWriter()
    rows = enumerate(([cell.strip() for cell in row] for row in records if _is_narrow(row)), 1)
    names: Sequence[str] = ()
    forms: Sequence[str] = ()
    held: list[tuple[int, list[str]]] = []
    """A single row: the header of the rows below the next empty row, or a table of one row."""
    # Two tables of one file have an empty row between them.
    for full, grouped in groupby(rows, key=lambda numbered: any(numbered[1])):
        if not full:
            continue
        run = iter(grouped)
        head = list(islice(run, SAMPLE_ROWS))
        following = goes_on(forms, head[0][1], single=bool(held) or len(head) == 1)
        above = header = 0
        if held or not following:
            head = [*held, *head] if following else head
            _write(writer, foreign, (), [] if following else held)
            held = head if len(head) == 1 else []
            sample = [row for _, row in head]
            above, header = header_rows(sample, sure=following is None)
            names = column_names(sample[above : above + header], spread=True) if header else ()
            forms = forms_of(sample[above + 1 :], max(map(len, sample)))
        if not held:
            _write(writer, foreign, (), head[:above])
            _write(writer, foreign, names, chain(head[above + header :], run))
    _write(writer, foreign, (), held)
    return writer


def _write(
    writer: RowWriter,
    foreign: Mapping[int, str],
    names: Sequence[str],
    rows: Iterable[tuple[int, Sequence[str]]],
) -> None:
    for number, row in rows:
        named = ((names[index] if index < len(names) else "", cell) for index, cell in enumerate(row))
        writer.row(
            named, f"row {number}, read as {foreign[number]}" if number in foreign else f"row {number}"
        )


def _is_narrow(row: Sequence[str]) -> bool:
    """True. Raises Rejected if a row has too many columns."""
    if len(row) > MAX_COLUMNS:
        raise Rejected.as_over_limit(
            f"The table has more than {MAX_COLUMNS:,} columns.", "Split the table into smaller ones."
        )
    return True


def _form(sample: str, delimiter: str) -> tuple[float, int, str]:
    """The share of the rows of a sample that have the usual number of cells, 0 if that is 1; this number; and the delimiter."""
    widths = Counter(len(row) for row in islice(_Records(sample, delimiter), _SAMPLE_ROWS) if row != [""])
    width, count = widths.most_common(1)[0] if widths else (1, 0)
    return (count / widths.total() if width > 1 else 0.0), width, delimiter
