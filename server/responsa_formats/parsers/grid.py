"""The tables of all formats: a value that spans rows or columns belongs to each of them, and a ruler follows the names of the columns.

A row is a line, with " | " between its cells. As in Markdown, a ruler `---|---` stands below the line with the names of
the columns, so that search and answers know it. A header of several rows becomes one line. A title above the header is
a paragraph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_formats.parsers.blocks import BlockWriter, line_of_cells
from responsa_formats.text.canonical import BlockKind, Place
from responsa_formats.text.headers import SAMPLE_ROWS, column_names, header_rows

_MAX_SPANNED: Final = 1000
"""As in HTML."""
_MAX_SPREAD: Final = 4
"""How many times the own text of a table its spanning cells may repeat. Without the limit, a small table could expand endlessly."""
_MAX_REPEATED: Final = 200
"""The greatest length of a text that is repeated. A longer one is a paragraph, not what rows or columns have in common,
and stands in the first cell alone."""
_MAX_EMPTY: Final = 20
_MAX_HEADER_ROWS: Final = 5

Span = tuple[int, int, int, int]
"""The index of a row, the column, and the numbers of rows and columns that the cell there covers."""


@dataclass(slots=True)
class GridCell:
    """A cell. rows, columns: how many it covers. header: whether the format says that it names its column or its row.
    entered: whether a field of a form stands in it."""

    text: str
    rows: int = 1
    columns: int = 1
    header: bool = False
    entered: bool = False


@dataclass(slots=True)
class GridRow:
    """A row. cells: the texts by column, without empty ones. number: as its file counts. header: whether it names the
    columns; named: whether its first cell names the row. filled: whether fields of a form stand in it. grouped: whether
    one of several cells covers columns. loose: whether a table that begins with the row may be the rest of the table
    above it.
    """

    cells: dict[int, str]
    number: int
    header: bool = False
    named: bool = False
    filled: bool = False
    grouped: bool = False
    loose: bool = False


def place_cells(rows: Iterable[Sequence[GridCell]]) -> list[GridRow]:
    """The rows of a table, counted from 1. A cell takes the first column that no cell above or before it covers."""
    table: list[GridRow] = []
    spans: list[Span] = []
    covered: dict[int, int] = {}
    room = 0
    for number, row in enumerate(rows, 1):
        cells: dict[int, str] = {}
        room += _MAX_SPREAD * sum(len(cell.text) + 3 for cell in row) - len(covered)
        if room < 0:
            covered.clear()
        below = {column: left - 1 for column, left in covered.items() if left > 1}
        column = 0
        for cell in row:
            while column in covered:
                column += 1
            columns = min(max(cell.columns, 1), _MAX_SPANNED)
            if cell.text:
                cells[column] = cell.text
            if cell.rows > 1 or columns > 1:
                room -= columns
                spans.append((number - 1, column, cell.rows, columns))
            if cell.rows > 1 and room >= 0:
                below |= dict.fromkeys(range(column, column + columns), cell.rows - 1)
            column += columns
        covered = below
        filled = [cell for cell in row if cell.text]
        names = sum(cell.header for cell in filled)
        header = 0 < names == len(filled)
        named = bool(filled) and filled[0].header and (not header or names == 1)
        fields = [cell.entered for cell in row]
        table.append(GridRow(cells, number, header, named or fields == [False, True], filled=any(fields)))
    # A single name above several columns is a title. Where all cells are names, none is.
    least = min(2, max((len(row.cells) for row in table), default=0))
    if len(table) > 1 and all(row.header for row in table):
        least = _MAX_SPANNED + 1
    for row in table:
        row.header = row.header and len(row.cells) >= least
    spread(table, spans)
    return table


def spread(rows: Sequence[GridRow], spans: Iterable[Span]) -> None:
    """Give the text of each spanning cell to all cells that it covers, in rows that also have other cells. A single
    cell that spans a row is its title, and comes once."""
    room = _MAX_SPREAD * sum(len(text) + 3 for row in rows for text in row.cells.values())
    touched: set[int] = set()
    for index, column, height, width in spans:
        first = rows[index].cells
        text = first.get(column, "")
        if not text or len(text) > _MAX_REPEATED:
            continue
        wide = width > 1 and len(first) > 1
        columns = range(column, column + (width if wide else 1))
        for position in range(index, min(index + height, len(rows))):
            room -= (len(text) + 3) * len(columns)
            if room < 0:
                break
            row = rows[position]
            if row.cells:
                for covered in columns:
                    row.cells.setdefault(covered, text)
                row.grouped |= wide
                touched.add(position)
        if room < 0:
            break
    for position in touched:
        rows[position].cells = dict(sorted(rows[position].cells.items()))


def write_table(
    blocks: BlockWriter, rows: Iterable[GridRow], place_of: Callable[[GridRow], Place | None]
) -> None:
    """Write a table, below an empty line. A row that the format says to be a header begins a new table, unless it
    repeats the header above it."""
    header: list[dict[int, str]] = []
    run: list[GridRow] = []
    several = False
    for row in (row for row in rows if row.cells):
        if row.header and run and not run[-1].header:
            if row.cells in header:
                continue
            if several:
                _write(blocks, run, place_of)
                run = []
                several = False
            header = []
        if row.header and len(header) < _MAX_HEADER_ROWS:
            header.append(row.cells)
        run.append(row)
        several |= len(row.cells) > 1
    _write(blocks, run, place_of)


def _write(blocks: BlockWriter, rows: Sequence[GridRow], place_of: Callable[[GridRow], Place | None]) -> None:
    blocks.separate()
    used = sorted({column for row in rows for column in row.cells})
    # Rows whose cells stand far apart are not aligned, because the empty cells would be most of the text.
    empty = max(len(rows) * len(used) - _MAX_EMPTY * sum(len(row.cells) for row in rows), 0)
    aligned = empty <= blocks.empty_cells_left
    if aligned:
        blocks.empty_cells_left -= empty
    above, names = find_names(rows, used) if aligned else (0, 0)
    for row in rows[:above]:
        blocks.write(" | ".join(row.cells.values()), BlockKind.PARAGRAPH, place=place_of(row))
    if names:
        named = rows[above : above + names]
        spread = not any(row.header or row.grouped for row in named)
        header = column_names([_align(row, used) for row in named], spread=spread)
        ruler = "|".join(["---"] * len(header)) + "|" * (len(header) == 1)
        blocks.write(f"{line_of_cells(header)}\n{ruler}", BlockKind.TABLE, place=place_of(rows[above]))
    vertical = not names and _is_vertical(rows)
    for row in rows[above + names :]:
        cells = _align(row, used) if aligned else list(row.cells.values())
        if vertical and row.named:
            cells = [": ".join(cells[:2]), *cells[2:]]
        blocks.write_row(cells, place_of(row))


def _is_vertical(rows: Sequence[GridRow]) -> bool:
    """Whether each row of several cells is named by its first one."""
    full = [row.named for row in rows if len(row.cells) > 1]
    return all(full) and any(row.named for row in rows)


def find_names(rows: Sequence[GridRow], used: Sequence[int]) -> tuple[int, int]:
    """How many rows stand above the header of a table, and how many rows the header has. used: the columns with a text."""
    above = next((index for index, row in enumerate(rows[:SAMPLE_ROWS]) if row.header), -1)
    if above >= 0:
        names = next((n for n, row in enumerate(rows[above:]) if not row.header), len(rows) - above)
    elif len(used) < 2 or _is_vertical(rows):
        return 0, 0
    else:
        sample = rows[:SAMPLE_ROWS]
        # Below a row of groups, the next row names the columns.
        start = next((index for index, row in enumerate(sample) if len(row.cells) > 1), 0)
        groups = next((n for n, row in enumerate(sample[start:]) if not row.grouped), 0)
        lines = [_align(row, used, whole=True) for row in sample]
        above, names = header_rows([*lines[:start], *lines[start + groups :]], sure=rows[0].loose)
        if groups and names and above == start:
            names += groups
        elif groups:
            above, names = header_rows(lines, sure=rows[0].loose)
        if any(row.filled for row in rows[above : above + names]):
            return 0, 0
    return above, min(names, _MAX_HEADER_ROWS)


def _align(row: GridRow, used: Sequence[int], *, whole: bool = False) -> list[str]:
    """The texts of a row in all used columns; unless `whole`, only up to its last cell."""
    last = used[-1] if whole else next(reversed(row.cells))
    return [row.cells.get(column, "") for column in used if column <= last]
