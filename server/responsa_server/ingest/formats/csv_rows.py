"""CSV (RFC 4180), also with tabs, semicolons or bars between the cells. Each row is a line that says its cells with the names of the header.

The csv module of Python's library reads the rows. The character between the cells is the one that cuts the first rows into the same number of
cells, unless the file's suffix or a line `sep=;` names it. The first row is the header, unless one of its cells looks like a value.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

from responsa_server.ingest import rejections
from responsa_server.ingest.formats.rows import MAX_COLUMNS, RowWriter, lines
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import ParsedDocument

_DELIMITERS: Final = ",;\t|"
_SAMPLE_CHARS: Final = 64 * 1024
_SAMPLE_ROWS: Final = 100
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)[ \t]*(?:\r\n|\r|\n|\Z)", re.IGNORECASE)
_NAME_CHARS: Final = 100
# Numbers with their units, dates and times, addresses, truth values.
_VALUE: Final = re.compile(
    r"[\s.,:/%€$£¥()+−-]*+\d[\d\s.,:/%€$£¥()+−-]*+(?:[TZ][\d:.Z+-]*)?|\S[^\s@]*+@\S[^\s.]*+\.\S+|\w++://\S+|true|false|yes|no|null",
    re.IGNORECASE,
)


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
        delimiter, width = _shape(text[start : start + _SAMPLE_CHARS], candidates)
        reader = csv.reader(lines(text, start), delimiter=delimiter, skipinitialspace=True)
        return _rows(reader, width).document(original)
    except csv.Error as error:
        raise rejections.malformed(f"The document is not valid CSV ({error}).") from None
    finally:
        csv.field_size_limit(limit)


def _rows(reader: Iterable[Sequence[str]], width: int) -> RowWriter:
    writer = RowWriter()
    names: Sequence[str] | None = None
    header = 0
    for number, row in enumerate(reader, start=1):
        if len(row) > MAX_COLUMNS:
            raise rejections.parser_limit(
                f"The table has more than {MAX_COLUMNS:,} columns.", "Split the table into smaller ones."
            )
        cells = [one.strip() for one in row]
        # A table may have a title above its header, in a row with a single cell.
        if names is None and sum(map(bool, cells)) >= min(2, width):
            names = cells if _is_header(cells) else ()
            if names:
                header = number
                continue
        writer.row(_named(names or (), cells), f"row {number}")
        header = 0
    if header and names:
        # No row follows the header.
        writer.row(_named((), names), f"row {header}")
    return writer


def _named(names: Sequence[str], cells: Sequence[str]) -> Iterable[tuple[str, str]]:
    return ((names[place] if place < len(names) else "", cell) for place, cell in enumerate(cells))


def _shape(sample: str, candidates: str) -> tuple[str, int]:
    """The delimiter with which the most rows of a sample have the same number of cells, and this number."""
    found: list[tuple[float, int, str]] = []
    for delimiter in candidates:
        rows = csv.reader(lines(sample), delimiter=delimiter, skipinitialspace=True)
        widths = Counter(len(row) for row in islice(rows, _SAMPLE_ROWS) if row)
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        found.append((count / widths.total() if width > 1 else 0.0, width, delimiter))
    # Of two delimiters with the same share of equal rows, the one that makes more cells is right.
    _, width, delimiter = max(found, key=lambda one: one[:2], default=(0.0, 1, candidates[0]))
    return delimiter, width


def _is_header(cells: Sequence[str]) -> bool:
    """Whether the first row of a table names its columns. Numbers are names only if they count, as years do."""
    if any(len(one) > _NAME_CHARS for one in cells):
        return False
    values = [one for one in cells if _VALUE.fullmatch(one)]
    if not values:
        return True
    if not all(one.isascii() and one.isdigit() and len(one) <= 4 for one in values):
        return False
    numbers = [int(one) for one in values]
    years = all(1000 <= one < 3000 for one in numbers)
    steps = {after - before for before, after in pairwise(numbers)}
    return len(values) < len(cells) and len(values) >= (2 if years else 3) and steps in ({1}, {-1}, {5}, {10})
