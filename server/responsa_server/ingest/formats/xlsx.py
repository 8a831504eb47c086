"""XLSX (SpreadsheetML, ISO/IEC 29500-1): each visible sheet is a heading with its name, and each row with content is a row of a table.

Cells have the text that the sheet shows: the results of formulas, and numbers and dates in their formats. The columns that are empty in the
whole sheet are left out. Hidden sheets, charts and comments are left out. Hidden rows and columns are kept, because a filter or a closed
group hides them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from responsa_server.ingest import rejections
from responsa_server.ingest.containers import Archive
from responsa_server.ingest.formats.blocks import BlockWriter
from responsa_server.ingest.formats.number_formats import BUILT_IN, Shown, compiled, general
from responsa_server.ingest.formats.office import (
    Names,
    document,
    is_on,
    main_part,
    read_events,
    read_tree,
    related,
    stated,
    tidy_cell,
    whole,
)
from responsa_server.ingest.formats.symbols import in_unicode
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import BlockKind, ParsedDocument, Place, title_from_name
from responsa_server.text.inline import Form, marked

MAX_CELLS: Final = 4_000_000
_MAX_COLUMN: Final = 16_384
_FREE_CELLS: Final = 1_000_000
_MAX_SPREAD: Final = 20
_LETTERS = re.compile(r"[A-Z]{1,3}")
# A character that XML cannot hold, or an underscore that would look like the beginning of such a code.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_PLAIN_SHEET_NAME = re.compile(r"[^\W\d][\w.]*\Z")


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises DocumentRejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    part = main_part(archive)
    links = related(archive, part)
    parts = {one.kind: one.part for one in links.values()}
    said = stated(archive)
    workbook = read_tree(archive, part)
    since_1904 = any(is_on(one.get("date1904")) for one in workbook.iter("x:workbookPr"))
    shared = _shared_strings(archive, parts.get("sharedStrings", ""))
    styles = read_tree(archive, parts["styles"]) if parts.get("styles", "") in archive else None
    formats = _formats(styles, since_1904=since_1904)
    fonts = _fonts(styles)
    blocks = BlockWriter()
    cells = 0
    for number, one in enumerate(workbook.iter("x:sheet"), 1):
        link = links.get(one.get("r:id", ""))
        if link is None or link.kind != "worksheet" or one.get("state", "visible") != "visible":
            continue
        sheet = _Sheet(shared, formats, fonts, room=MAX_CELLS - cells)
        read_events(archive, link.part, sheet.start, sheet.end, sheet.text)
        cells += sheet.cells
        _write(blocks, sheet, number, tidy_cell(one.get("name", "")))
    return document(
        original,
        blocks,
        said.title or title_from_name(original.name),
        said,
        "The workbook has no text on visible sheets. Upload a workbook with visible cells.",
    )


def _write(blocks: BlockWriter, sheet: _Sheet, number: int, name: str) -> None:
    if not sheet.rows:
        return
    blocks.write(name or f"Sheet {number}", BlockKind.HEADING, 1, place=Place(page=number, path=name))
    used = sorted(sheet.used)
    prefix = name if _PLAIN_SHEET_NAME.match(name) else "'" + name.replace("'", "''") + "'"
    letters = {column: _letters(column) for column in used}
    # Rows whose cells stand far apart are not aligned, because the empty cells would be most of the text.
    aligned = len(sheet.rows) * len(used) <= _FREE_CELLS + _MAX_SPREAD * sheet.cells
    for row, columns, texts in sheet.rows:
        first, last = columns[0], columns[-1]
        cells = texts
        if aligned and len(columns) < len(used):
            held = dict(zip(columns, texts, strict=True))
            cells = [held.get(column, "") for column in used if column <= last]
        path = f"{prefix}!{letters[first]}{row}"
        if first != last:
            path += f":{letters[last]}{row}"
        blocks.write_row(cells, Place(page=number, path=path))


def _shared_strings(archive: Archive, part: str) -> list[str]:
    """The strings that cells refer to by number, without phonetic hints."""
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
                strings.append(_unescaped("".join(parts)))
            case "x:rPh":
                state.phonetic = False
            case _:
                pass

    def text(characters: str) -> None:
        if state.reading:
            parts.append(font.shown(characters))

    read_events(archive, part, start, end, text)
    return strings


@dataclass(slots=True)
class _StringState:
    """phonetic: whether a phonetic hint is open. reading: whether the characters belong to the string."""

    phonetic: bool = False
    reading: bool = False


def _unescaped(text: str) -> str:
    if "_x" in text:
        text = _ESCAPED.sub(_character, text)
    return tidy_cell(text)


def _character(found: re.Match[str]) -> str:
    char = chr(int(found.group(1), 16))
    return char if char.isprintable() or char in "\n\t" else " "


def _formats(tree: Element | None, *, since_1904: bool) -> list[Shown]:
    """The functions that show numbers, by the number of the cell's style."""
    if tree is None:
        return []
    codes = dict(BUILT_IN)
    for one in tree.iter("x:numFmt"):
        codes[whole(one.get("numFmtId"), 0, 999_999)] = one.get("formatCode", "")
    made: dict[str, Shown] = {}

    def of(code: str | None) -> Shown:
        if not code or code.lower() == "general":
            return general
        if code not in made:
            made[code] = compiled(code, since_1904=since_1904)
        return made[code]

    return [
        of(codes.get(whole(one.get("numFmtId"), 0, 999_999)))
        for top in tree.findall("x:cellXfs")
        for one in top
    ]


def _fonts(tree: Element | None) -> dict[str, _Font]:
    """The fonts that strike the text or have signs, by the attribute that names the style of a cell."""
    if tree is None:
        return {}
    made: list[_Font] = []
    for one in (one for top in tree.findall("x:fonts") for one in top):
        made.append(_Font())
        for part in one:
            made[-1].start(part.tag, part.attrib)
        # As a whole, a cell is neither raised nor lowered.
        made[-1].shift = 0
    found: dict[str, _Font] = {}
    for number, one in enumerate(one for top in tree.findall("x:cellXfs") for one in top):
        font = whole(one.get("fontId"), 0, 999_999)
        if font < len(made) and made[font].shown("aP") != "aP":
            found[str(number)] = made[font]
    return found


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

    def shown(self, text: str) -> str:
        """A text in this font, for `settled`."""
        return marked(in_unicode(text, self.name), Form(self.shift, self.struck))


@dataclass(slots=True)
class _Sheet:
    """Reads the cells of one sheet. room: the number of cells that may be read."""

    shared: Sequence[str]
    formats: Sequence[Shown]
    fonts: Mapping[str, _Font]
    room: int
    rows: list[tuple[int, list[int], list[str]]] = field(
        default_factory=list[tuple[int, list[int], list[str]]]
    )
    """The rows with content: the row's number, the columns of its cells in ascending order from 1, and their texts."""
    used: set[int] = field(default_factory=set[int])
    cells: int = 0
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
    names: Names = field(default_factory=Names)
    columns: dict[str, int] = field(default_factory=dict[str, int])
    """The numbers of columns by their letters."""
    shown: dict[str, Shown] = field(default_factory=dict[str, Shown])
    """The functions that show numbers, by the attribute that names the style."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        match self.names[name]:
            case "x:v" | "x:t":
                self.reading = not self.phonetic
            case "x:c":
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
            case other:
                self.run.start(other, attributes)

    def text(self, characters: str) -> None:
        if self.reading:
            self.value.append(self.run.shown(characters) if self.kind == "inlineStr" else characters)

    def end(self, name: str) -> None:
        match self.names[name]:
            case "x:v" | "x:t":
                self.reading = False
            case "x:c":
                text = self.content("".join(self.value)) if self.value else ""
                if text:
                    self.cells += 1
                    if self.cells > self.room:
                        raise rejections.parser_limit(
                            f"The workbook has more than {MAX_CELLS:,} cells with content."
                        )
                    font = self.fonts.get(self.style) if self.fonts else None
                    # The runs of a rich text have their own fonts.
                    self.held[self.column] = (
                        tidy_cell(font.shown(text)) if font and "~~" not in text else text
                    )
            case "x:row":
                if self.held:
                    columns = sorted(self.held)
                    self.rows.append((self.row, columns, [self.held[one] for one in columns]))
                    self.used.update(columns)
                    self.held.clear()
            case "x:rPh":
                self.phonetic = False
            case _:
                pass

    def content(self, value: str) -> str:
        """The text that the open cell shows."""
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
                return _unescaped(value)


def _column(letters: str) -> int:
    """The number of a column, from 1; 0 if the letters name no column."""
    if not _LETTERS.fullmatch(letters):
        return 0
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return min(number, _MAX_COLUMN)


def _letters(column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
