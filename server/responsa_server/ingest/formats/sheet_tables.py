"""Finds the tables of a sheet: empty rows and empty columns stand between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from responsa_server.ingest.formats.grid import Row
from responsa_server.ingest.formats.headers import SAMPLE_ROWS, WORDS, form_of, forms_of, goes_on

_MAX_CUTS: Final = 3
_MAX_RUNS: Final = 10
"""How many rows a table that goes on below empty rows may have for its columns to be found again."""


def sheet_tables(rows: Sequence[Row], cuts: int = _MAX_CUTS) -> Iterator[list[Row]]:
    """The tables in a part of a sheet. rows: in order, with the numbers of the sheet, none of them empty. cuts: how often the part may be cut into columns."""
    table: list[Row] = []
    start = 0
    columns: list[int] = []
    forms: list[str] = []
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end].number == rows[end - 1].number + 1:
            continue
        run = rows[start:end]
        start = end
        first = run[0]
        following: bool | None = False
        if table and not first.header and set(columns).issuperset(first.cells):
            cells = [first.cells.get(column, "") for column in columns]
            following = goes_on(forms, cells, single=len(table) == 1 or len(run) == 1)
        if not following:
            first.loose = following is None
            yield from _beside(table, cuts)
            table = []
        table += run
        if not following or len(table) <= _MAX_RUNS:
            sample = table[:SAMPLE_ROWS]
            columns = sorted({column for row in sample for column in row.cells})
            body = [[row.cells.get(column, "") for column in columns] for row in sample[1:]]
            forms = forms_of(body, len(columns))
    yield from _beside(table, cuts)


def _beside(rows: Sequence[Row], cuts: int) -> Iterator[list[Row]]:
    """The tables that stand side by side in rows without a gap."""
    used = sorted({column for row in rows for column in row.cells})
    edges = [right for left, right in pairwise(used) if right > left + 1]
    edge = next((edge for edge in edges if cuts and _is_edge(rows, used, edge)), 0)
    if not edge:
        if rows:
            yield list(rows)
        return
    for side in (range(edge), range(edge, used[-1] + 1)):
        halves = (replace(row, cells={c: row.cells[c] for c in row.cells if c in side}) for row in rows)
        yield from sheet_tables([half for half in halves if half.cells], cuts - 1)


def _is_edge(rows: Sequence[Row], used: Sequence[int], edge: int) -> bool:
    """Whether another table begins in a column, and the column does not only follow an empty one: both sides have several columns, and the first one on the right has the names of rows, or
    the sides end in different rows.
    """
    if len(used) - 2 < used.index(edge) or used.index(edge) < 2:
        return False
    left = next(row.number for row in reversed(rows) if next(iter(row.cells)) < edge)
    right = next(row.number for row in reversed(rows) if next(reversed(row.cells)) >= edge)
    if left != right:
        return True
    names: set[str] = set()
    for row in rows[1:]:
        name = row.cells.get(edge, "")
        if name and (name in names or form_of(name) != WORDS):
            return False
        names.add(name)
    return any(names)
