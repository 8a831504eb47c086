"""CSV (RFC 4180), also with tabs, semicolons or bars between the cells. Each row is a line that says its cells with the names of the header.

The csv module of Python's library reads the rows. The character between the cells is the one that cuts the first rows into the same number of
cells, unless the file's suffix or a line `sep=;` names it. The forms of the cells decide which row is the header (see headers); rows above it stay unnamed.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Final

from responsa_server.ingest import rejections
from responsa_server.ingest.formats.rows import MAX_COLUMNS, RowWriter, lines
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import ParsedDocument
from responsa_server.text.headers import (
    SAMPLE_ROWS,
    column_names,
    forms_of,
    goes_on,
    header_rows,
)

_DELIMITERS: Final = ",;\t|"
_SAMPLE_CHARS: Final = 64 * 1024
_SAMPLE_ROWS: Final = 100
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)[ \t]*(?:\r\n|\r|\n|\Z)", re.IGNORECASE)


def parse(original: Original) -> ParsedDocument:
    """Parse CSV. Raises DocumentRejected if the document is not text, has no values, or is larger than the server stores."""
    text = original.text
    named = _SEPARATOR_LINE.match(text)
    start = named.end() if named else 0
    if named is not None:
        candidates = named.group(1)
    else:
        candidates = "\t" if original.name.lower().endswith((".tsv", ".tab")) else _DELIMITERS
    # One field may be as long as the document. The limit belongs to the whole process.
    limit = csv.field_size_limit(len(text) + 1)
    try:
        delimiter = _delimiter(text[start : start + _SAMPLE_CHARS], candidates)
        reader = csv.reader(lines(text, start), delimiter=delimiter, skipinitialspace=True)
        return _rows(reader).document(original)
    except csv.Error as error:
        raise rejections.malformed(f"The document is not valid CSV ({error}).") from None
    finally:
        csv.field_size_limit(limit)


def _rows(reader: Iterator[Sequence[str]]) -> RowWriter:
    writer = RowWriter()
    rows = enumerate(([cell.strip() for cell in row] for row in reader if _is_narrow(row)), 1)
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
            _write(writer, (), [] if following else held)
            held = head if len(head) == 1 else []
            sample = [row for _, row in head]
            above, header = header_rows(sample, sure=following is None)
            names = column_names(sample[above : above + header], spread=True) if header else ()
            forms = forms_of(sample[above + 1 :], max(map(len, sample)))
        if not held:
            _write(writer, (), head[:above])
            _write(writer, names, chain(head[above + header :], run))
    _write(writer, (), held)
    return writer


def _write(writer: RowWriter, names: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]) -> None:
    for number, row in rows:
        named = ((names[place] if place < len(names) else "", cell) for place, cell in enumerate(row))
        writer.row(named, f"row {number}")


def _is_narrow(row: Sequence[str]) -> bool:
    """True. Raises DocumentRejected if a row has too many columns."""
    if len(row) > MAX_COLUMNS:
        raise rejections.parser_limit(
            f"The table has more than {MAX_COLUMNS:,} columns.", "Split the table into smaller ones."
        )
    return True


def _delimiter(sample: str, candidates: str) -> str:
    """The delimiter with which the most rows of a sample have the same number of cells."""
    found: list[tuple[float, int, str]] = []
    for delimiter in candidates:
        rows = csv.reader(lines(sample), delimiter=delimiter, skipinitialspace=True)
        widths = Counter(len(row) for row in islice(rows, _SAMPLE_ROWS) if row)
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        found.append((count / widths.total() if width > 1 else 0.0, width, delimiter))
    # Of two delimiters with the same share of equal rows, the one that makes more cells is right.
    return max(found, key=lambda one: one[:2], default=(0.0, 1, candidates[0]))[2]
