"""Finds the cells that the rules of a page make: horizontal and vertical lines, and the edges of rectangles. Pure.

Rules that meet form a grid. Two cells between which no rule stands are one. Rules alone without verticals make rows, if
each of them has the lines of a row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

_NEAR: Final = 3.0
"""How far apart two rules are at most that are one, or that meet, in points."""
_MAX_RULES: Final = 1000
_MAX_SLOTS: Final = 20_000
_LEAST: Final = 4.0
"""The least width and height of a cell."""
_BANDS: Final = 3
"""The least number of rows between rules without verticals."""


class RuledLine(NamedTuple):
    """A rule. coord: on the other axis. start, end: its ends."""

    upright: bool
    coord: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Area:
    """A cell, with its rows and columns from 0 and how many of them it covers."""

    row: int
    column: int
    rows: int
    columns: int


@dataclass(slots=True)
class Grid:
    """A table. ys, xs: the edges of its rows and columns. areas: of each row, the cell at each column."""

    ys: Sequence[float]
    xs: Sequence[float]
    areas: Sequence[Sequence[Area]]

    @property
    def columns(self) -> int:
        return len(self.xs) - 1

    def at(self, x: float, y: float) -> Area | None:
        """The cell at a place; None outside of the table."""
        row, column = bisect_right(self.ys, y) - 1, bisect_right(self.xs, x) - 1
        if 0 <= row < len(self.areas) and 0 <= column < self.columns:
            return self.areas[row][column]
        return None


def merge_rules(rules: Sequence[RuledLine]) -> list[RuledLine]:
    """The rules, of which those in one line that touch are one."""
    result: list[RuledLine] = []
    for upright in (False, True):
        level: list[RuledLine] = []
        for rule in sorted(rule for rule in rules if rule.upright is upright):
            if level and rule.coord - level[0].coord > _NEAR / 2:
                result += _join(level)
                level = []
            level.append(rule)
        result += _join(level)
    return result


def _join(level: Sequence[RuledLine]) -> Iterator[RuledLine]:
    last: RuledLine | None = None
    for rule in sorted(level, key=lambda rule: rule.start):
        if last is not None and rule.start <= last.end + _NEAR:
            last = last._replace(end=max(last.end, rule.end))
        else:
            if last is not None:
                yield last
            last = rule
    if last is not None:
        yield last


def grids(rules: Sequence[RuledLine]) -> list[Grid]:
    """The tables that rules make, without those of a single row or column."""
    rules = merge_rules(rules)
    if len(rules) > _MAX_RULES:
        return []
    flat = [rule for rule in rules if not rule.upright]
    upright = [rule for rule in rules if rule.upright]
    group = list(range(len(rules)))

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    for number, rule in enumerate(flat):
        for other, crossing in enumerate(upright, len(flat)):
            if (
                rule.start - _NEAR <= crossing.coord <= rule.end + _NEAR
                and crossing.start - _NEAR <= rule.coord <= crossing.end + _NEAR
            ):
                group[root(number)] = root(other)
    parts: dict[int, list[RuledLine]] = {}
    for number, rule in enumerate([*flat, *upright]):
        parts.setdefault(root(number), []).append(rule)
    return [grid for part in parts.values() if (grid := _grid(part)) is not None]


def bands(rules: Sequence[RuledLine]) -> Iterator[Sequence[RuledLine]]:
    """The runs of horizontal rules of one length below each other, without verticals between them, that may separate rows."""
    rules = merge_rules(rules)
    upright = [rule for rule in rules if rule.upright]
    alike: dict[tuple[int, int], list[RuledLine]] = {}
    for rule in rules:
        if not rule.upright:
            alike.setdefault((round(rule.start / _NEAR), round(rule.end / _NEAR)), []).append(rule)
    for run in alike.values():
        top, bottom, left, right = run[0].coord, run[-1].coord, run[0].start, run[0].end
        crossed = any(
            left - _NEAR < bar.coord < right + _NEAR and bar.start < bottom - _NEAR and bar.end > top + _NEAR
            for bar in upright
        )
        if len(run) > _BANDS and not crossed:
            yield run


def _grid(rules: Sequence[RuledLine]) -> Grid | None:
    flat = [rule for rule in rules if not rule.upright]
    upright = [rule for rule in rules if rule.upright]
    if not flat or not upright:
        return None
    # A table may have no rules at its sides.
    xs = _edges([rule.coord for rule in upright], [*(r.start for r in flat), *(r.end for r in flat)])
    ys = _edges([rule.coord for rule in flat], [*(r.start for r in upright), *(r.end for r in upright)])
    rows, columns = len(ys) - 1, len(xs) - 1
    if rows < 2 or columns < 2 or rows * columns > _MAX_SLOTS:
        return None
    areas: list[list[Area | None]] = [[None] * columns for _ in range(rows)]
    for row in range(rows):
        for column in range(columns):
            if areas[row][column] is not None:
                continue
            middle = (ys[row] + ys[row + 1]) / 2
            width = 1
            while column + width < columns and not _stands(upright, xs[column + width], middle):
                width += 1
            height = 1
            middle = (xs[column] + xs[column + 1]) / 2
            while row + height < rows and not _stands(flat, ys[row + height], middle):
                height += 1
            area = Area(row, column, height, width)
            for covered in range(row, row + height):
                for beside in range(column, column + width):
                    if areas[covered][beside] is not None:
                        return None  # what the rules enclose is no rectangle
                    areas[covered][beside] = area
    return Grid(ys, xs, [[area for area in row if area is not None] for row in areas])


def _stands(rules: Sequence[RuledLine], coord: float, middle: float) -> bool:
    return any(
        abs(rule.coord - coord) <= _NEAR and rule.start - _NEAR < middle < rule.end + _NEAR for rule in rules
    )


def _edges(places: Sequence[float], ends: Sequence[float]) -> list[float]:
    """The places in order, those that are near as one, with the outermost ends if they are farther out."""
    edges: list[float] = []
    for edge in sorted([*places, min(ends), max(ends)]):
        if not edges or edge - edges[-1] > _LEAST:
            edges.append(edge)
    return edges


def row_edges(run: Sequence[RuledLine]) -> Iterator[tuple[float, float]]:
    """The upper and the lower edges of the rows between rules."""
    return pairwise(rule.coord for rule in run)
