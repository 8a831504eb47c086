"""XLSX (SpreadsheetML, ISO/IEC 29500-1): each visible sheet is a heading with its name, and each row with content is a row of a table.

Cells have the text that the sheet shows: the results of formulas, and numbers and dates in their formats. The columns
that are empty in the whole sheet are left out. What the headers and footers of printed pages say stands once, below the
name of the first sheet that has it. The texts of shapes and the charts follow the rows. Hidden sheets and comments are
left out. Hidden rows and columns are kept, because a filter or a closed group hides them too.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice, pairwise
from typing import Final
from xml.etree.ElementTree import Element

from responsa_formats.containers import Archive
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.charts import write_chart
from responsa_formats.parsers.formulas import Results
from responsa_formats.parsers.grid import GridRow, Span, spread, write_table
from responsa_formats.parsers.number_formats import BUILT_IN, Shown, compile_format, general
from responsa_formats.parsers.office import (
    PAGE_NUMBER,
    Names,
    count_left_out,
    document,
    is_on,
    main_part,
    metadata_of,
    read_events,
    read_tree,
    relations_of,
    tidy,
    tidy_cell,
    whole,
    write_embedded,
    write_running,
)
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, name_document
from responsa_formats.text.headers import SAMPLE_ROWS, WORDS, form_of, forms_of, goes_on
from responsa_formats.text.inline import Form, mark_form
from responsa_formats.text.symbols import in_unicode

_MAX_CUTS: Final = 3
_MAX_RUNS: Final = 10
"""How many rows a table that goes on below empty rows may have for its columns to be found again."""


def sheet_tables(rows: Sequence[GridRow], cuts: int = _MAX_CUTS) -> Iterator[list[GridRow]]:
    """The tables in a part of a sheet. rows: in order, with the numbers of the sheet, none of them empty. cuts: how
    often the part may be cut into columns."""
    table: list[GridRow] = []
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


def _beside(rows: Sequence[GridRow], cuts: int) -> Iterator[list[GridRow]]:
    used = sorted({column for row in rows for column in row.cells})
    edge = _edge(rows, used) if cuts else 0
    if not edge:
        if rows:
            yield list(rows)
        return
    for side in (range(edge), range(edge, used[-1] + 1)):
        halves = (replace(row, cells={c: row.cells[c] for c in row.cells if c in side}) for row in rows)
        yield from sheet_tables([half for half in halves if half.cells], cuts - 1)


def _edge(rows: Sequence[GridRow], used: Sequence[int]) -> int:
    """The first column where another table begins, and which does not only follow an empty one; 0 if there is none.
    Both sides have several columns, and the first one on the right has the names of rows, or the sides end in different
    rows.
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


MAX_CELLS: Final = 4_000_000
_MAX_COLUMN: Final = 16_384
_LETTERS = re.compile(r"[A-Z]{1,3}")
_RANGE = re.compile(r"([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})")
# A character that XML cannot hold, or an underscore that would look like the beginning of such a code.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
# A code in a header or footer: a font, a size, a colour or a letter, such as &"Arial,Bold", &12, &K00FF00, &P+1.
_RUNNING_CODE = re.compile(
    r'&("[^"]*+"|\d++|K[0-9A-Fa-f]{6}|K[^&]{0,6}|[PN](?=[+-]\d)|[A-Za-z&])(?:(?<=[PN])[+-]\d++)?'
)
_RUNNING: Final = frozenset(
    f"x:{pages}{end}" for pages in ("odd", "first", "even") for end in ("Header", "Footer")
)
_PLAIN_SHEET_NAME = re.compile(r"[^\W\d][\w.]*\Z")


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    count_left_out(original, archive)
    part = main_part(archive)
    links = relations_of(archive, part)
    parts = {link.kind: link.part for link in links.values()}
    metadata = metadata_of(archive)
    workbook = read_tree(archive, part)
    since_1904 = any(is_on(node.get("date1904")) for node in workbook.iter("x:workbookPr"))
    shared = _read_strings(archive, parts.get("sharedStrings", ""))
    styles = read_tree(archive, parts["styles"]) if parts.get("styles", "") in archive else None
    formats, bold = _styles(styles, since_1904=since_1904)
    fonts = _fonts(styles)
    blocks = BlockWriter()
    # The library counts dates from 1900.
    results = Results(b"" if since_1904 else original.data)
    visible = {
        tab.get("name", "") for tab in workbook.iter("x:sheet") if tab.get("state", "visible") == "visible"
    }
    running: set[str] = set()
    cells = 0
    for number, entry in enumerate(workbook.iter("x:sheet"), 1):
        link = links.get(entry.get("r:id", ""))
        if link is None or link.kind not in ("worksheet", "chartsheet"):
            continue
        if entry.get("state", "visible") != "visible":
            original.left_out[LeftOutKind.HIDDEN_SHEET] += 1
            continue
        sheet = _Sheet(shared, formats, fonts, bold, results, entry.get("name", ""), room=MAX_CELLS - cells)
        read_events(archive, link.part, sheet.start, sheet.end, sheet.text)
        cells += sheet.cells
        original.left_out[LeftOutKind.FORMULA] += sheet.uncomputed
        tables = [other.part for other in relations_of(archive, link.part).values() if other.kind == "table"]
        for table in (read_tree(archive, name) for name in tables if name in archive):
            if table.get("headerRowCount", "1") == "1":
                sheet.filtered.append(table.get("ref", ""))
        sheet.arrange()
        name = tidy_cell(entry.get("name", ""))
        drawn = [other.part for other in relations_of(archive, link.part).values() if other.kind == "drawing"]
        drawings = {part: read_tree(archive, part) for part in drawn if part in archive}
        lines = [(name, _running_line(code)) for code in sheet.running]
        if sheet.rows or any(_says(drawing) for drawing in drawings.values()):
            place = Place(page=number, path=name)
            blocks.write(name or f"Sheet {number}", BlockKind.HEADING, 1, place=place)
            write_running(blocks, lines, running, number)
            write_sheet(blocks, sheet.rows, number, name)
            for part, drawing in drawings.items():
                charts = relations_of(archive, part)
                for node in drawing.iter():
                    if node.tag == "a:p" and (text := tidy(_text_of(node))):
                        blocks.write(text, BlockKind.PARAGRAPH, place=place)
                    elif node.tag == "c:chart" and (chart := charts.get(node.get("r:id", ""))) is not None:
                        write_chart(original, archive, chart.part, blocks, place, visible)
        write_embedded(original, archive, link.part, blocks, Place(page=number, path=name))
    return document(
        original,
        blocks,
        name_document(metadata.title, original.name),
        metadata,
        "The workbook has no text on visible sheets. Upload a workbook with visible cells.",
    )


def _running_line(code: str) -> str:
    """The text of the header or footer of a printed page (ISO/IEC 29500-1, 18.3.1.46), with tabs between its parts."""

    def show(match: re.Match[str]) -> str:
        match match.group(1):
            case "L" | "C" | "R":
                return "\t"
            case "P" | "N":
                return PAGE_NUMBER
            case "&":
                return "&"
            case _:
                return ""

    return _RUNNING_CODE.sub(show, code)


def _says(drawing: Element) -> bool:
    """Whether a drawing has a text or a chart."""
    return bool(_text_of(drawing).strip()) or next(drawing.iter("c:chart"), None) is not None


def _text_of(node: Element) -> str:
    return "".join(run.text or "" for run in node.iter("a:t"))


def write_sheet(blocks: BlockWriter, rows: Sequence[GridRow], number: int, name: str) -> None:
    """Write the tables of a sheet. rows: those with content. number, name: the sheet's."""
    prefix = name if _PLAIN_SHEET_NAME.match(name) else "'" + name.replace("'", "''") + "'"

    def place(row: GridRow) -> Place:
        first, last = min(row.cells), max(row.cells)
        path = f"{prefix}!{_letters(first)}{row.number}"
        return Place(page=number, path=path if first == last else f"{path}:{_letters(last)}{row.number}")

    for table in sheet_tables(rows):
        write_table(blocks, table, place)


def _read_strings(archive: Archive, part: str) -> list[str]:
    if part not in archive:
        return []
    strings: list[str] = []
    parts: list[str] = []
    names = Names()
    state = _StringState()
    font = _Font()

    def start(name: str, attributes: dict[str, str]) -> None:
        match names[name]:
            case "x:t":
                state.reading = not state.phonetic
            case "x:si":
                parts.clear()
                font.start("x:si", attributes)
            case "x:rPh":
                state.phonetic = True
            case other:
                font.start(other, attributes)

    def end(name: str) -> None:
        match names[name]:
            case "x:t":
                state.reading = False
            case "x:si":
                strings.append(_unescape("".join(parts)))
            case "x:rPh":
                state.phonetic = False
            case _:
                pass

    def text(characters: str) -> None:
        if state.reading:
            parts.append(font.render(characters))

    read_events(archive, part, start, end, text)
    return strings


@dataclass(slots=True)
class _StringState:
    """phonetic: whether a phonetic hint is open. reading: whether the characters belong to the string."""

    phonetic: bool = False
    reading: bool = False


def _unescape(text: str) -> str:
    if "_x" in text:
        text = _ESCAPED.sub(_character, text)
    return tidy_cell(text)


def _character(match: re.Match[str]) -> str:
    char = chr(int(match.group(1), 16))
    return char if char.isprintable() or char in "\n\t" else " "


def _styles(tree: Element | None, *, since_1904: bool) -> tuple[list[Shown], set[str]]:
    """The functions that show numbers, by the number of the cell's style; and the numbers of the styles with bold letters."""
    if tree is None:
        return [], set()
    codes = dict(BUILT_IN)
    for node in tree.iter("x:numFmt"):
        codes[whole(node.get("numFmtId"), 0, 999_999)] = node.get("formatCode", "")
    formats: dict[str, Shown] = {}

    def of(code: str | None) -> Shown:
        if not code or code.lower() == "general":
            return general
        if code not in formats:
            formats[code] = compile_format(code, since_1904=since_1904)
        return formats[code]

    styles = [style for top in tree.findall("x:cellXfs") for style in top]
    fonts = [font.find("x:b") for top in tree.findall("x:fonts") for font in top]
    heavy = {str(n) for n, font in enumerate(fonts) if font is not None and is_on(font.get("val", "1"))}
    shown = [of(codes.get(whole(style.get("numFmtId"), 0, 999_999))) for style in styles]
    return shown, {str(n) for n, style in enumerate(styles) if style.get("fontId") in heavy}


def _fonts(tree: Element | None) -> dict[str, _Font]:
    """The fonts that strike the text or have signs, by the attribute that names the style of a cell."""
    if tree is None:
        return {}
    fonts: list[_Font] = []
    for element in (font for top in tree.findall("x:fonts") for font in top):
        fonts.append(_Font())
        for part in element:
            fonts[-1].start(part.tag, part.attrib)
        # As a whole, a cell is neither raised nor lowered.
        fonts[-1].shift = 0
    by_style: dict[str, _Font] = {}
    for number, element in enumerate(style for top in tree.findall("x:cellXfs") for style in top):
        font = whole(element.get("fontId"), 0, 999_999)
        if font < len(fonts) and fonts[font].render("aP") != "aP":
            by_style[str(number)] = fonts[font]
    return by_style


@dataclass(slots=True)
class _Font:
    """The font of a cell, or of the run of rich text that is being read. shift, struck: as in `Form`."""

    name: str = ""
    shift: int = 0
    struck: bool = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Read an element of the font. A run or a string begins without a font."""
        match name:
            case "x:strike":
                self.struck = is_on(attributes.get("val", "1"))
            case "x:vertAlign":
                self.shift = {"superscript": 1, "subscript": -1}.get(attributes.get("val", ""), 0)
            case "x:rFont" | "x:name":
                self.name = attributes.get("val", "")
            case "x:r" | "x:si" | "x:is":
                self.name, self.shift, self.struck = "", 0, False
            case _:
                pass

    def render(self, text: str) -> str:
        return mark_form(in_unicode(text, self.name), Form(self.shift, self.struck))


@dataclass(slots=True)
class _Sheet:
    """Reads the cells of one sheet. room: the number of cells that may be read."""

    shared: Sequence[str]
    formats: Sequence[Shown]
    fonts: Mapping[str, _Font]
    bold: set[str]
    """The styles with bold letters."""
    results: Results
    name: str
    room: int
    rows: list[GridRow] = field(default_factory=list[GridRow])
    """The rows with content. Columns count from 1."""
    merged: list[str] = field(default_factory=list[str])
    filtered: list[str] = field(default_factory=list[str])
    """The ranges with a filter, and those that are tables: their first rows name the columns."""
    frozen: int = 0
    """The number of rows that stay when the sheet is scrolled."""
    light: int = 0
    """The last row with letters that are not bold."""
    cells: int = 0
    uncomputed: int = 0
    """The number of formulas without a result."""
    formula: bool = False
    """Whether the open cell has a formula without a result."""
    row: int = 0
    column: int = 0
    kind: str = ""
    style: str = ""
    held: dict[int, str] = field(default_factory=dict[int, str])
    """The texts of the open row by column."""
    value: list[str] = field(default_factory=list[str])
    reading: bool = False
    phonetic: bool = False
    run: _Font = field(default_factory=_Font)
    running: list[str] = field(default_factory=list[str])
    """The headers and footers of printed pages."""
    names: Names = field(default_factory=Names)
    columns: dict[str, int] = field(default_factory=dict[str, int])
    """The numbers of columns by their letters."""
    shown: dict[str, Shown] = field(default_factory=dict[str, Shown])
    """The functions that show numbers, by the attribute that names the style."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        match self.names[name]:
            case "x:v" | "x:t":
                self.reading = not self.phonetic
                # An empty text is a result, too.
                self.formula = self.formula and self.kind != "str"
            case "x:f":
                self.formula = True
            case tag if tag in _RUNNING:
                self.value.clear()
                self.kind = "str"
                self.reading = True
            case "x:c":
                self.formula = False
                self.kind = attributes.get("t", "n")
                self.style = attributes.get("s", "0")
                letters = attributes.get("r", "").rstrip("0123456789")
                column = self.columns.get(letters)
                if column is None:
                    column = self.columns[letters] = _column(letters)
                self.column = column or self.column + 1
                self.value.clear()
            case "x:row":
                self.row = whole(attributes.get("r"), self.row + 1, 9_999_999)
                self.column = 0
            case "x:rPh":
                self.phonetic = True
            case "x:mergeCell":
                self.merged.append(attributes.get("ref", ""))
            case "x:autoFilter":
                self.filtered.append(attributes.get("ref", ""))
            case "x:pane" if attributes.get("state", "").startswith("frozen"):
                self.frozen = whole(attributes.get("ySplit"), 0, 9_999_999)
            case other:
                self.run.start(other, attributes)

    def text(self, characters: str) -> None:
        if self.reading:
            self.value.append(self.run.render(characters) if self.kind == "inlineStr" else characters)

    def end(self, name: str) -> None:
        match self.names[name]:
            case "x:v" | "x:t":
                self.reading = False
            case "x:c":
                if self.formula and not self.value:
                    self.compute()
                text = self.content("".join(self.value)) if self.value else ""
                if text:
                    self.cells += 1
                    if self.cells > self.room:
                        raise Rejected.as_over_limit(
                            f"The workbook has more than {MAX_CELLS:,} cells with content."
                        )
                    font = self.fonts.get(self.style) if self.fonts else None
                    # The runs of a rich text have their own fonts.
                    self.held[self.column] = (
                        tidy_cell(font.render(text)) if font and "~~" not in text else text
                    )
                    if self.style not in self.bold:
                        self.light = self.row
            case "x:row":
                if self.held:
                    bold = self.light != self.row and len(self.held) > 1
                    self.rows.append(GridRow(dict(sorted(self.held.items())), self.row, bold))
                    self.held.clear()
            case "x:rPh":
                self.phonetic = False
            case tag if tag in _RUNNING:
                self.reading = False
                self.running.append("".join(self.value))
            case _:
                pass

    def compute(self) -> None:
        """Compute the value of a cell whose formula was saved without its result."""
        result = self.results.of(self.name, self.row, self.column)
        if result is None:
            self.uncomputed += 1
            return
        self.kind = "b" if isinstance(result, bool) else "str" if isinstance(result, str) else "n"
        self.value.append(str(int(result)) if isinstance(result, bool) else str(result))

    def arrange(self) -> None:
        """Give the text of merged cells to all of them, and find the rows that name columns."""
        last = max((max(row.cells) for row in self.rows), default=0)
        spans: list[Span] = []
        for top, left, bottom, right in _ranges(self.merged):
            index = bisect_left(self.rows, top, key=_number)
            if index < len(self.rows) and self.rows[index].number == top:
                height = bisect_right(self.rows, bottom, key=_number) - index
                spans.append((index, left, height, min(right, last) - left + 1))
        spread(self.rows, spans)
        named = {top for top, *_ in _ranges(self.filtered)} | {self.frozen}
        # Bold letters mark a header only above other rows that stand close; sums are bold, too.
        above: GridRow | None = None
        for row, below in zip(self.rows, [*self.rows[1:], None], strict=False):
            begins = above is None or above.number < row.number - 1 or len(above.cells) == 1
            bold = row.header and begins and below is not None and below.number == row.number + 1
            light = below is not None and not below.header
            row.header = len(row.cells) > 1 and (row.number in named or (bold and light))
            above = row

    def content(self, value: str) -> str:
        match self.kind:
            case "n":
                try:
                    number = float(value)
                except ValueError:
                    return tidy_cell(value)
                shown = self.shown.get(self.style)
                if shown is None:
                    index = whole(self.style, 0, 999_999)
                    shown = self.formats[index] if index < len(self.formats) else general
                    self.shown[self.style] = shown
                if shown is general:
                    return value if value.isdecimal() and len(value) < 16 else general(number)
                return shown(number)
            case "s":
                index = whole(value.strip(), len(self.shared), len(self.shared))
                return self.shared[index] if index < len(self.shared) else ""
            case "b":
                return "TRUE" if value.strip() == "1" else "FALSE"
            case _:
                return _unescape(value)


def _number(row: GridRow) -> int:
    return row.number


def _ranges(references: Iterable[str]) -> Iterator[tuple[int, int, int, int]]:
    for match in filter(None, map(_RANGE.fullmatch, references)):
        left, top, right, bottom = match.groups()
        yield int(top), _column(left), int(bottom), _column(right)


def _column(letters: str) -> int:
    """The number of a column, from 1; 0 if the letters name no column."""
    if not _LETTERS.fullmatch(letters):
        return 0
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return min(number, _MAX_COLUMN)


@cache
def _letters(column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
