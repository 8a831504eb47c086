"""ODS (OpenDocument 1.3, part 3): each visible sheet is a heading with its name, and each row with content is a row of a table.

Cells have the text that the sheet shows. Hidden rows and columns are kept, because a filter hides them too. Hidden
sheets, comments, pictures and charts are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.grid import GridRow, Span, spread
from responsa_formats.parsers.odt import OdtReader, count_left_out, open_document, running_lines
from responsa_formats.parsers.office import document, whole, write_running
from responsa_formats.parsers.sniff import Original
from responsa_formats.parsers.xlsx import MAX_CELLS, write_sheet
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, name_document

_MAX_REPEATED: Final = 1_048_576
_VALUES: Final = (
    "office:string-value",
    "office:date-value",
    "office:time-value",
    "office:boolean-value",
    "office:value",
)
_GROUPS: Final = ("table:table-header-rows", "table:table-rows", "table:table-row-group")


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    tree, styles, metadata, reader = open_document(original)
    hidden = {name for name, style in reader.styles.items() if _is_hidden(style)}
    running: set[str] = set()
    lines = list(running_lines(reader, styles))
    left = MAX_CELLS
    for number, sheet in enumerate(
        (sheet for top in tree.iter("office:spreadsheet") for sheet in top.findall("table:table")), 1
    ):
        if sheet.get("table:style-name") in hidden:
            original.left_out[LeftOutKind.HIDDEN_SHEET] += 1
            continue
        name = sheet.get("table:name", "")
        rows, uncomputed, left = _rows(sheet, reader, left)
        original.left_out[LeftOutKind.FORMULA] += uncomputed
        count_left_out(original, sheet)
        if rows:
            reader.blocks.write(
                name or f"Sheet {number}", BlockKind.HEADING, 1, place=Place(page=number, path=name)
            )
            write_running(reader.blocks, lines, running, number)
            write_sheet(reader.blocks, rows, number, name)
            reader.follow()
    return document(
        original,
        reader.blocks,
        name_document(metadata.title, original.name),
        metadata,
        "The spreadsheet has no text on visible sheets. Upload a spreadsheet with visible cells.",
    )


def _is_hidden(style: Element) -> bool:
    properties = style.find("style:table-properties")
    return properties is not None and properties.get("table:display") == "false"


def _rows(sheet: Element, reader: OdtReader, left: int) -> tuple[list[GridRow], int, int]:
    """The rows with content, the number of formulas without a result, and how many cells more may be read. left: that before."""
    rows: list[GridRow] = []
    spans: list[Span] = []
    uncomputed = 0
    number = 1
    for node, header in _nodes(sheet, header=False):
        cells: dict[int, str] = {}
        column = 1
        for cell in node:
            if cell.tag not in ("table:table-cell", "table:covered-table-cell"):
                continue
            repeated = whole(cell.get("table:number-columns-repeated"), 1, _MAX_REPEATED)
            text = reader.text_of(cell) if cell.tag == "table:table-cell" else ""
            text = text or next(filter(None, (cell.get(name, "") for name in _VALUES)), "")
            uncomputed += (
                not text and "table:formula" in cell.attrib and "office:value-type" not in cell.attrib
            )
            if text:
                left -= repeated
                if left < 0:
                    raise Rejected.as_over_limit(
                        f"The spreadsheet has more than {MAX_CELLS:,} cells with content."
                    )
                cells.update(dict.fromkeys(range(column, column + repeated), text))
                height = whole(cell.get("table:number-rows-spanned"), 1, _MAX_REPEATED)
                width = whole(cell.get("table:number-columns-spanned"), 1, _MAX_REPEATED)
                if height > 1 or width > 1:
                    spans.append((len(rows), column, height, width))
            column += repeated
        repeated = whole(node.get("table:number-rows-repeated"), 1, _MAX_REPEATED)
        if cells:
            left -= len(cells) * (repeated - 1)
            if left < 0:
                raise Rejected.as_over_limit(
                    f"The spreadsheet has more than {MAX_CELLS:,} cells with content."
                )
            rows += (GridRow(dict(cells), number + offset, header) for offset in range(repeated))
        number += repeated
    spread(rows, spans)
    return rows, uncomputed, left


def _nodes(table: Element, *, header: bool) -> Iterator[tuple[Element, bool]]:
    """The rows, and whether they repeat on printed pages because they name the columns."""
    for child in table:
        if child.tag == "table:table-row":
            yield child, header
        elif child.tag in _GROUPS:
            yield from _nodes(child, header=header or child.tag == "table:table-header-rows")
