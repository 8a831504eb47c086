"""Finds the rows that name the columns of a table whose format does not say which they are.

No words decide. A name differs in its form from the values below it, as `Price` does from `4.50`, or `2025/26` from
`118`; or it counts, as years do. If all cells are words, the first full row names the columns, unless one of its cells
comes again below it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from responsa_formats.text.symbols import CROSSED, TICKED, UNTICKED

SAMPLE_ROWS: Final = 100
"""How many rows of a table are looked at."""
_NAME_CHARS: Final = 100
_VALUE_CHARS: Final = 40
_MAX_ABOVE: Final = 20
_MAX_COLUMNS: Final = 200
_SAME: Final = 0.65
"""The share of the values of a column that have its form."""
_NUMBER: Final = re.compile(r"[-+−(]?[€$£¥]?\s?\d[\d.,'\s]*+[€$£¥)]?")
_ADDRESS: Final = re.compile(r"[^\s@]+@[^\s@]+|\w+://\S+")
_BOXES: Final = frozenset((TICKED, UNTICKED, CROSSED))
WORDS: Final = "a"
"""The form of words."""


def header_rows(rows: Sequence[Sequence[str]], *, sure: bool = False) -> tuple[int, int]:
    """How many rows stand above the header of a table, and how many rows the header has; (0, 0) if the first rows name no columns.

    rows: the first rows of the table, at most SAMPLE_ROWS, with '' for empty cells. The rows above a header have fewer
    cells than the table: a title, a date.
    sure: words above words are not a header.
    """
    widths = [sum(map(bool, row)) for row in rows]
    counted = Counter(width for width in widths if width)
    usual = max(counted, key=lambda width: (counted[width] * width, width), default=0)
    for index, row in enumerate(rows[:_MAX_ABOVE]):
        body = [other for other in rows[index + 1 :] if any(other) and other != row]
        evidence = _evidence(row, body) if body else -1
        # The corner above the names of the rows may be empty. If the last columns have no names, the row after the
        # header looks like the values.
        short = widths[index] > 1 and evidence > 0 and len(body) > 1 and _evidence(body[0], body[1:]) < 0
        if not widths[index] or (widths[index] < usual - (not row[0]) and not short):
            continue
        plain = not sure and max(widths[:index], default=0) < 2 and not any(map(str.isdigit, "".join(row)))
        if evidence == 0 and not (plain and _is_distinct(row[1:])):
            evidence = -1
        if evidence < 0 or any(len(cell) > _NAME_CHARS for cell in row):
            return 0, 0
        dated = usual == 2 and len(body) > 1 and _digits(row) and not _digits(body[0])
        if dated and _evidence(body[0], body[1:]) > 0:
            continue  # a row such as "Created on | 2026-04-01"
        grouped = index > 0 and widths[index - 1] > 1 and not _is_distinct(row)
        return (index - 1, 2) if grouped else (index, 1)
    return 0, 0


def column_names(rows: Sequence[Sequence[str]], *, spread: bool) -> list[str]:
    """The name of each column, from all rows of a header. spread: whether the name of a group of columns stands only
    above its first one."""
    names = [""] * max(map(len, rows))
    for number, row in enumerate(rows, 1):
        group = ""
        for index in range(len(names)):
            cell = row[index] if index < len(row) else ""
            group = cell or (group if spread and number < len(rows) else "")
            if group and names[index].rpartition("\0")[2] != group:
                names[index] += f"\0{group}"
    return [name.replace("\0", " ").strip() for name in names]


def goes_on(forms: Sequence[str], row: Sequence[str], *, single: bool) -> bool | None:
    """Whether a table goes on with a row below an empty row; None if the forms do not tell.

    forms: of the values in the table's columns; '' if a column has no values. single: whether the empty row stands
    below the first row or above the last one.
    """
    if any(row[len(forms) :]):
        return False
    typed = [(form, cell) for form, cell in zip(forms, row, strict=False) if cell and form not in ("", WORDS)]
    if any(form_of(cell) != form for form, cell in typed):
        return False
    return True if typed or single else None


def form_of(cell: str) -> str:
    """The form of a value, equal for values such as two numbers, two dates or two lengths."""
    if len(cell) > _VALUE_CHARS:
        return WORDS
    if _ADDRESS.fullmatch(cell):
        return "@"
    if cell[:1] in _BOXES:
        return UNTICKED
    if not any(map(str.isdigit, cell)):
        return WORDS
    if _NUMBER.fullmatch(cell):
        return "9"
    form = re.sub(r"[^\W\d_]+", "a", re.sub(r"\d[\d.,]*+", "9", cell))
    return WORDS if form.count("a") > 2 else "".join(form.split())


def forms_of(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The form of most of the values in each column; '' if they differ or are missing, or if the column is one of many."""
    forms: list[str] = []
    for column in range(width):
        seen = rows if column < _MAX_COLUMNS else ()
        counted = Counter(form_of(row[column]) for row in seen if column < len(row) and row[column])
        form, count = counted.most_common(1)[0] if counted else ("", 0)
        forms.append(form if count >= _SAME * counted.total() else "")
    return forms


def _evidence(row: Sequence[str], body: Sequence[Sequence[str]]) -> int:
    """How much speaks for a row as the header of the rows below it; less than 0 if it looks like one of them."""
    counting = _counts(row) not in ("", _counts(body[0]))
    evidence = 0
    for column, (cell, form) in enumerate(zip(row, forms_of(body, len(row)), strict=True)):
        if not cell or not form:
            continue
        values = [other[column] for other in body if column < len(other)]
        if form_of(cell) != form:
            evidence += form != WORDS or len(values) > 1
        elif form != WORDS:
            evidence += 1 if counting else -1
        elif cell in values:
            evidence -= 1
    return evidence


def _digits(row: Sequence[str]) -> bool:
    return any(form_of(cell) != WORDS for cell in row)


def _is_distinct(row: Sequence[str]) -> bool:
    return all(row) and len(set(row)) == len(row)


def _counts(row: Sequence[str]) -> str:
    """What the numbers of a row count, "years" (2024, 2025) or "steps" (10, 20, 30); '' if they do not count."""
    numbers = [int(cell) for cell in row if len(cell) <= 4 and cell.isascii() and cell.isdigit()]
    years = all(1000 <= number < 3000 for number in numbers)
    steps = {after - before for before, after in pairwise(numbers)}
    if (2 if years else 3) <= len(numbers) < len(row) and steps in ({1}, {-1}, {5}, {10}):
        return "years" if years else "steps"
    return ""
