"""Computes the formulas of an XLSX file that were saved without their results, with the library formualizer.

Each formula is computed for a day long ago and for one that is far away, with two seeds. A result that differs depends
on the day or on chance, so the file does not state it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

import formualizer

_DAYS: Final = (datetime(1950, 1, 2, 6, tzinfo=UTC), datetime(2150, 3, 5, 17, 31, tzinfo=UTC))
_MAX_UNPACKED: Final = 128 * 1024 * 1024
_MAX_SINGLE: Final = 5_000
"""How many formulas are computed if only one after the other can be, because the workbook has names that it does not define."""

_Book = Callable[[str, int, int], Any]


class Results:
    """The results of a workbook's formulas. They are computed when the first one is needed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._books: list[_Book] | None = None

    def of(self, sheet: str, row: int, column: int) -> str | float | bool | None:
        """The result in a cell, counted from 1; dates are numbers. None if it cannot be computed, is an error, or is
        not always the same."""
        try:
            if self._books is None:
                self._books = []
                self._books = [_compute(self._data, day) for day in _DAYS]
            results = [result(sheet, row, column) for result in self._books]
        except (MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except (
            BaseException
        ):  # a panic of the library is no Exception; whatever fails here, the workbook can be read
            return None
        if not results or results[0] != results[1] or not isinstance(results[0], str | float | int):
            return None
        return results[0]


def _compute(data: bytes, day: datetime) -> _Book:
    settings = formualizer.EvaluationConfig()
    settings.enable_parallel = False  # the sandbox allows no threads
    settings.workbook_seed = day.year
    config = formualizer.WorkbookConfig(eval_config=settings)
    load = cast("Any", formualizer.Workbook).from_bytes
    try:
        book = load(data, config=config, load_limits={"max_expanded_bytes": _MAX_UNPACKED})
    except OSError:  # of many formulas, this reader makes a file, which the sandbox does not allow
        book = load(data, "umya", config=config)
    book.set_temporal_egress("serial")
    book.set_deterministic_clock(day)
    try:
        book.evaluate_all()
    except formualizer.ExcelEvaluationError:
        left = _MAX_SINGLE

        def single(sheet: str, row: int, column: int) -> Any:
            nonlocal left
            left -= 1
            return book.evaluate_cell(sheet, row, column) if left >= 0 else None

        return single
    return book.get_value
