"""Finds the tables of a sheet: empty rows and empty columns stand between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Final

from responsa_server.ingest.formats.grid import Row
from responsa_server.text.headers import SAMPLE_ROWS, WORDS, form_of, forms_of, goes_on

_MAX_CUTS: Final = 3
_MAX_RUNS: Final = 10
"""How many rows a table that goes on below empty rows may have for its columns to be found again."""


def sheet_tables(rows: Sequence[Row], cuts: int = _MAX_CUTS) -> Iterator[list[Row]]:
    """The tables in a part of a sheet. rows: in order, with the numbers of the sheet, none of them empty. cuts: how often the part may be cut into columns."""
    table: list[Row] = []
    start = 0
    forms: dict[int, str] = {}
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end].number == rows[end - 1].number + 1:
            continue
        run = rows[start:end]
        start = end
        first = run[0]
        following: bool | None = False
        if table and not first.header and first.cells.keys() <= forms.keys():
            of_columns = [forms[column] for column in first.cells]
            following = goes_on(
                of_columns, list(first.cells.values()), single=len(table) == 1 or len(run) == 1
            )
        if not following:
            first.loose = following is None
            yield from _beside(table, cuts)
            table = []
        table += run
        if not following or len(table) <= _MAX_RUNS:
            sample = table[:SAMPLE_ROWS]
            columns = sorted({column for row in sample for column in row.cells})
            body = [[row.cells.get(column, "") for column in columns] for row in sample[1:]]
            forms = dict(zip(columns, forms_of(body, len(columns)), strict=True))
    yield from _beside(table, cuts)


def _beside(rows: Sequence[Row], cuts: int) -> Iterator[list[Row]]:
    """The tables that stand side by side in rows without a gap."""
    used = sorted({column for row in rows for column in row.cells})
    edge = _edge(rows, used) if cuts else 0
    if not edge:
        if rows:
            yield list(rows)
        return
    for side in (range(edge), range(edge, used[-1] + 1)):
        halves = (replace(row, cells={c: row.cells[c] for c in row.cells if c in side}) for row in rows)
        yield from sheet_tables([half for half in halves if half.cells], cuts - 1)


def _edge(rows: Sequence[Row], used: Sequence[int]) -> int:
    """The first column where another table begins, and which does not only follow an empty one; 0 if there is none. Both sides have several columns, and the first one on the right has the
    names of rows, or the sides end in different rows.
    """
    below: dict[int, list[str]] = {right: [] for left, right in pairwise(used[1:-1]) if right > left + 1}
    if not below:
        return 0
    for row in islice(rows, 1, None):
        for column, text in row.cells.items():
            if column in below:
                below[column].append(text)
    first, last = next(iter(rows[-1].cells)), next(reversed(rows[-1].cells))
    for edge, names in below.items():
        named = names and len(set(names)) == len(names) and all(form_of(name) == WORDS for name in names)
        if named or not first < edge <= last:
            return edge
    return 0
