"""Rows of data as lines of text. Each cell begins with the name of its column, so that a row is understandable alone:
`city: Bonn | price: 4`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

NAMED_ROWS: Final = frozenset({"text/csv", "application/json", "application/x-ndjson"})
"""The media types of the documents whose table rows have this form."""

_BETWEEN: Final = " | "
_NAMED: Final = ": "
_COLON: Final = re.compile(r"(?<!:):++(?=\s|\Z)")


def cell_of(name: str, value: str) -> str:
    """A cell. name: the name of its column, or ''. White space becomes one space. A bar gets a backslash, because bars
    stand between cells."""
    return beginning_of(name) + _one_line(value)


@lru_cache(maxsize=1024)
def beginning_of(name: str) -> str:
    """What a cell begins with: the name of its column without colons at the ends of words, and a colon; '' if the name is ''."""
    line = _one_line(_COLON.sub(" ", name))
    return f"{line}{_NAMED}" if line else ""


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def line_of(cells: Iterable[str]) -> str:
    """The line of a row. cells: the results of `cell_of`."""
    return _BETWEEN.join(cells)


def value_start(cell: str) -> int:
    """Where the value of a cell begins, behind the name of its column."""
    return cell.find(_NAMED) + len(_NAMED) if _NAMED in cell else 0


def split_cells(line: str) -> Sequence[tuple[str, str]]:
    """The names and values of a row's cells. In a cell without a name, the text before the first ": " counts as the name."""
    cells: list[tuple[str, str]] = []
    for cell in line.split(_BETWEEN):
        name, named, value = cell.replace("\\|", "|").partition(_NAMED)
        cells.append((name, value) if named else ("", name))
    return cells
