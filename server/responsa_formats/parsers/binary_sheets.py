"""Excel's binary workbooks (.xls, .xlsb), read by calamine: each visible sheet is a heading with its name, and each row
with content is a row of a table.

Values are as they are stored, because the library reads no formats of numbers: the number of such values is counted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import partial
from io import BytesIO
from typing import Any, Final, cast

import python_calamine

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.grid import GridRow, Span, spread
from responsa_formats.parsers.number_formats import general
from responsa_formats.parsers.office import Stated, document, tidy_cell
from responsa_formats.parsers.sniff import Original
from responsa_formats.parsers.xlsx import MAX_CELLS, write_sheet
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, title_from_name

_calamine = cast("Any", python_calamine)
_DAMAGED: Final = "The workbook is damaged and cannot be read."


def _read(work: Callable[[], Any]) -> Any:
    """What calamine reads. Raises Rejected if the workbook is damaged or protected."""
    try:
        return work()
    except _calamine.PasswordError:
        raise Rejected.as_encrypted() from None
    except (_calamine.CalamineError, ValueError, OSError):
        raise Rejected.as_malformed(_DAMAGED) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which no module exports
            raise
        raise Rejected.as_malformed(_DAMAGED) from None


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the workbook is damaged, is protected, has no text, or exceeds a limit."""
    workbook = _read(lambda: _calamine.CalamineWorkbook.from_filelike(BytesIO(original.data)))
    blocks = BlockWriter()
    room = MAX_CELLS
    for number, about in enumerate(workbook.sheets_metadata, 1):
        if about.typ != _calamine.SheetTypeEnum.WorkSheet:
            continue
        if about.visible != _calamine.SheetVisibleEnum.Visible:
            original.left_out[LeftOutKind.HIDDEN_SHEET] += 1
            continue
        sheet = _read(partial(workbook.get_sheet_by_index, number - 1))
        rows: list[GridRow] = []
        first = 1 + (sheet.start or (0, 0))[1]
        for row, values in enumerate(sheet.iter_rows(), 1):
            cells = {
                column: text for column, value in enumerate(values, first) if (text := _text(value, original))
            }
            room -= len(cells)
            if room < 0:
                raise Rejected.as_over_limit(f"The workbook has more than {MAX_CELLS:,} cells with content.")
            if cells:
                rows.append(GridRow(cells, row))
        numbers = [row.number for row in rows]
        spans: list[Span] = []
        for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
            index = bisect_left(numbers, top + 1)
            if index < len(rows) and numbers[index] == top + 1:
                spans.append((index, left + 1, bisect_right(numbers, bottom + 1) - index, right - left + 1))
        spread(rows, spans)
        if rows:
            name = tidy_cell(about.name)
            blocks.write(name, BlockKind.HEADING, 1, place=Place(page=number, path=name))
            write_sheet(blocks, rows, number, name)
    return document(
        original,
        blocks,
        title_from_name(original.name),
        Stated(),
        "The workbook has no text on visible sheets. Upload a workbook with visible cells.",
    )


def _text(value: object, original: Original) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            original.left_out[LeftOutKind.NUMBER_FORMAT] += 1
            return general(float(value))
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime():
            return value.isoformat(" ")
        case date() | time() | timedelta():
            return str(value)
        case _:
            return tidy_cell(str(value))
