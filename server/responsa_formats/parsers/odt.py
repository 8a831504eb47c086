"""ODT (OpenDocument 1.3, part 3), as a reader of the printed document sees its body.

Tracked changes count as accepted. Text boxes and footnotes follow the paragraph or the table that they belong to;
endnotes stand at the end. What headers and footers say besides page numbers stands once, before the body. Comments,
tables of contents, hidden text and placeholders of forms are left out. A table that holds tables or headings, or has
one cell, serves the layout of the page; its cells are read one after the other.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from responsa_formats.containers import Archive
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import NO_MARK, BlockWriter
from responsa_formats.parsers.equations import linear
from responsa_formats.parsers.grid import GridCell, place_cells, write_table
from responsa_formats.parsers.numbering import BULLET, NO_LABEL, Counter, Level, sign_of
from responsa_formats.parsers.office import (
    PAGE_NUMBER,
    Stated,
    document,
    is_on,
    properties,
    read_tree,
    tidy,
    tidy_cell,
    whole,
    write_running,
)
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place
from responsa_formats.text.inline import Form, mark_form
from responsa_formats.text.symbols import TICKED, UNTICKED, in_unicode

_CONTENT: Final = "content.xml"
_MANIFEST: Final = "META-INF/manifest.xml"
_MAX_REPEATED: Final = 64
_MAX_SPACES: Final = 100
# The elements whose text is deleted or not shown, or does not belong to the document.
_UNREAD: Final = frozenset(
    {
        *("text:tracked-changes", "text:ruby-text", "text:note-citation", "text:number"),
        *("text:sequence-decls", "text:variable-decls", "text:user-field-decls", "text:hidden-text"),
        *("text:table-of-content", "text:script", "office:annotation", "office:annotation-end"),
        *("office:forms", "office:event-listeners", "draw:object", "draw:object-ole", "draw:image"),
        "draw:glue-point",
    }
)
# The elements of fields of forms.
_FIELDS: Final = frozenset(
    {"draw:control", "text:text-input", "text:drop-down", "loext:content-control", "field:fieldmark"}
)
_LEFT_OUT: Final = {
    LeftOutKind.COMMENT: "office:annotation",
    LeftOutKind.PICTURE: "draw:image",
    LeftOutKind.EMBEDDED_FILE: "draw:object",
}
"""What is counted as left out. Charts are embedded files."""
_BULLETED: Final = ("text:list-level-style-bullet", "text:list-level-style-image")
_NUMBER: Final = re.compile(r"%([1-9]|10)%")


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    tree, styles, metadata, reader = open_document(original)
    for forms in tree.iter("office:forms"):
        reader.controls.update(
            (node.get(name, ""), node) for node in forms.iter() for name in ("form:id", "xml:id")
        )
    running = write_running(
        reader.blocks,
        running_lines(reader, styles),
        {
            metadata.title,
            *(tidy_cell("".join(p.itertext())) for p in tree.iter() if p.tag in ("text:p", "text:h")),
        },
    )
    for body in tree.iter("office:text"):
        reader.read(body)
        count_left_out(original, body)
    reader.finish()
    blocks = reader.blocks
    return document(
        original,
        blocks,
        "",
        metadata,
        "The OpenDocument file has no text. Upload a document with visible text.",
        running,
    )


def open_document(original: Original) -> tuple[Element, Element, Stated, OdtReader]:
    """The content, the styles with the layouts of pages, what is stated, and a reader. Raises Rejected if the
    file is damaged or protected."""
    archive = Archive.open(original.data)
    if _is_encrypted(archive):
        raise Rejected.as_encrypted()
    tree = read_tree(archive, _CONTENT)
    metadata = properties(read_tree(archive, "meta.xml")) if "meta.xml" in archive else Stated()
    trees = [read_tree(archive, "styles.xml"), tree] if "styles.xml" in archive else [tree]
    reader = OdtReader(
        archive,
        lists={name: levels for part in trees for name, levels in _lists(part)},
        outline={
            level: style
            for part in trees
            for top in part.iter("text:outline-style")
            for level, style in _levels(top).items()
        },
        hidden={name for part in trees for name in _find_hidden(part)},
        styles={style.get("style:name", ""): style for top in trees for style in top.iter("style:style")},
    )
    return tree, trees[0], metadata, reader


def count_left_out(original: Original, body: Element) -> None:
    """Count the parts of a body that are not read."""
    for kind, tag in _LEFT_OUT.items():
        original.left_out[kind] += sum(1 for _ in body.iter(tag))


def running_lines(reader: OdtReader, tree: Element) -> Iterator[tuple[str, str]]:
    """The paths and texts of the lines of headers and footers. tree: the styles, with the layouts of pages."""
    for node in (child for page in tree.iter("style:master-page") for child in page):
        kind = next((name for name in ("header", "footer") if node.tag.startswith(f"style:{name}")), "")
        if kind and node.get("style:display", "true") == "true":
            for part in node.iter():
                if part.tag in ("text:page-number", "text:page-count"):
                    part.tag, part.text = "text:span", PAGE_NUMBER
                elif part.tag == "text:tab":
                    part.tag = "text:line-break"
            for part in reader.lines(node):
                yield kind, part


def _is_encrypted(archive: Archive) -> bool:
    if _CONTENT not in archive and "encrypted-package" in archive:
        return True
    if _MANIFEST not in archive:
        return False
    return next(read_tree(archive, _MANIFEST).iter("manifest:encryption-data"), None) is not None


def _lists(tree: Element) -> Iterator[tuple[str, dict[int, Level]]]:
    for style in tree.iter("text:list-style"):
        yield style.get("style:name", ""), _levels(style)


def _levels(style: Element) -> dict[int, Level]:
    """The levels of a list, or of the headings, from 0."""
    nodes = {whole(node.get("text:level"), 1, 10) - 1: node for node in style}
    forms = {level: _number_form(node) for level, node in nodes.items()}
    return {level: _level(node, level, forms) for level, node in nodes.items()}


def _number_form(node: Element) -> str:
    """The form of a level's numbers, as `numeral` takes it. LibreOffice writes forms that OpenDocument lacks by their
    first numbers, such as "01, 02, 03, ..."."""
    if node.tag in _BULLETED:
        return BULLET
    form = node.get("style:num-format", "").partition(",")[0].strip()
    return form * 2 if is_on(node.get("style:num-letter-sync")) and form in ("a", "A") else form


def _level(node: Element, level: int, forms: Mapping[int, str]) -> Level:
    if forms[level] == BULLET:
        properties = node.find("style:text-properties")
        font = properties.get("style:font-name", "") if properties is not None else ""
        return Level(BULLET, sign=sign_of(node.get("text:bullet-char", ""), font))
    stated = node.get("style:num-list-format") or node.get("loext:num-list-format")
    if stated is not None:
        # Every other part is the number of a level, from 1.
        parts = [
            int(part) - 1 if index % 2 else part for index, part in enumerate(_NUMBER.split(stated[:100]))
        ]
    else:
        above = range(max(level + 1 - whole(node.get("text:display-levels"), 1, 10), 0), level + 1)
        numbers = [number for number in above if forms.get(number, BULLET) not in (BULLET, NO_LABEL)]
        dotted = [part for number in numbers for part in (".", number)][1:]
        parts = [node.get("style:num-prefix", ""), *dotted, node.get("style:num-suffix", "")]
    return Level(
        forms[level],
        tuple(parts) if forms[level] != NO_LABEL else (),
        whole(node.get("text:start-value"), 1, 999_999),
    )


def _find_hidden(tree: Element) -> Iterator[str]:
    for style in tree.iter("style:style"):
        properties = style.find("style:text-properties")
        if properties is not None and properties.get("text:display") == "none":
            yield style.get("style:name", "")


@dataclass(frozen=True, slots=True)
class _Style:
    """How a style shows its text: the font, '' if it names no font, and the form."""

    font: str
    form: Form


def _resolve(name: str, styles: Mapping[str, Element]) -> _Style:
    attributes: dict[str, str] = {}
    seen: set[str] = set()
    while name in styles and name not in seen and len(seen) < 50:
        seen.add(name)
        properties = styles[name].find("style:text-properties")
        attributes = {**(properties.attrib if properties is not None else {}), **attributes}
        name = styles[name].get("style:parent-style-name", "")
    position = attributes.get("style:text-position", "").split(" ")[0]
    shift = 1 if position == "super" else -1 if position == "sub" else 0
    if position.endswith("%") and position.strip("-%0."):
        shift = -1 if position.startswith("-") else 1
    lines = (attributes.get(f"style:text-line-through-{kind}", "none") for kind in ("style", "type"))
    return _Style(attributes.get("style:font-name", ""), Form(shift, any(line != "none" for line in lines)))


@dataclass(slots=True)
class _List:
    """An open list. marker: the marker of the open item, until its first paragraph is written."""

    style: str
    level: int
    counter: Counter
    marker: str = NO_MARK


@dataclass(slots=True)
class OdtReader:
    """Reads the paragraphs, lists and tables of a body."""

    archive: Archive
    lists: Mapping[str, Mapping[int, Level]]
    outline: Mapping[int, Level]
    hidden: set[str]
    styles: Mapping[str, Element]
    resolved: dict[str, _Style] = field(default_factory=dict[str, _Style])
    controls: dict[str, Element] = field(default_factory=dict[str, Element])
    """The controls of forms by id."""
    equations: dict[str, str] = field(default_factory=dict[str, str])
    """The texts of the formulas that stand in separate parts, by part."""
    blocks: BlockWriter = field(default_factory=BlockWriter)
    open: list[_List] = field(default_factory=list[_List])
    """The open lists, outermost first."""
    counted: dict[str, Counter] = field(default_factory=dict[str, Counter])
    """The numbers of the last list of each style, for lists that continue it."""
    headings: Counter = field(default_factory=Counter)
    waiting: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])
    """The footnotes and text boxes that follow the current block, with the path of each."""
    endnotes: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])
    path: str = ""
    """The path of the footnote or text box that is being read; '' in the body."""
    cell: list[str] | None = None
    """The paragraphs of the cell that is being read, if one is."""
    paragraphs: int = 0
    tables: int = 0
    noted: int = 0

    def read(self, node: Element) -> None:
        for child in node:
            match child.tag:
                case "text:p" | "text:h":
                    self.paragraph(child)
                case "text:list":
                    self.list(child)
                case "table:table":
                    self.table(child)
                case "draw:text-box":
                    self.box(child)
                case tag if tag not in _UNREAD and not self.is_hidden(child):
                    self.read(child)
                case _:
                    pass

    def lines(self, node: Element) -> Iterator[str]:
        """The texts of the paragraphs and of the rows of tables in a header or footer, and in its text boxes."""
        for child in node:
            if child.tag == "table:table":
                for row in _rows(child):
                    yield "\t".join(" ".join(self.lines(cell)) for cell in row)
            elif child.tag in ("text:p", "text:h"):
                yield self.inline(child)
            else:
                yield from self.lines(child)
            waiting, self.waiting = self.waiting, []
            for _, box in waiting:
                yield from self.lines(box)

    def finish(self) -> None:
        """Write what has waited until the end of the document."""
        self.follow()
        self.waiting, self.endnotes = self.endnotes, []
        self.follow()

    def is_hidden(self, node: Element) -> bool:
        return (
            node.get("text:display") == "none"
            or node.get("text:style-name") in self.hidden
            or (node.tag == "text:hidden-paragraph" and is_on(node.get("text:is-hidden")))
        )

    def place(self) -> Place:
        return Place(path=self.path or f"paragraph {self.paragraphs}")

    def box(self, node: Element) -> None:
        self.waiting.append((f"paragraph {self.paragraphs + 1}, text box", node))

    def follow(self) -> None:
        while self.waiting:
            waiting, self.waiting = self.waiting, []
            outer, lists = self.path, self.open
            self.open = []
            for path, node in waiting:
                self.path = path
                self.read(node)
            self.path, self.open = outer, lists

    def paragraph(self, node: Element) -> None:
        if self.is_hidden(node):
            return
        text = self.inline(node)
        if self.cell is not None:
            marker = NO_MARK
            if self.open:
                marker, self.open[-1].marker = self.open[-1].marker, NO_MARK
            self.cell.append(text if marker in (NO_MARK, f"{BULLET} ") else marker + text)
            return
        if text:
            if not self.path:
                self.paragraphs += 1
            self.write(node, text)
        if not self.path:
            self.follow()

    def write(self, node: Element, text: str) -> None:
        if node.tag == "text:h":
            level = whole(node.get("text:outline-level"), 1, 10)
            if (label := self.number(node, level)) not in (NO_LABEL, BULLET):
                text = f"{label} {text}"
            self.blocks.write(text, BlockKind.HEADING, min(max(level, 1), 6), place=self.place())
        elif node.get("text:style-name") == "Title":
            self.blocks.write(text, BlockKind.HEADING, 1, place=self.place())
        elif self.open:
            item = self.open[-1]
            self.blocks.write(text, BlockKind.LIST_ITEM, item.level, item.marker, self.place())
            item.marker = NO_MARK
        else:
            self.blocks.write(text, BlockKind.PARAGRAPH, place=self.place())

    def number(self, heading: Element, level: int) -> str:
        if is_on(heading.get("text:is-list-header")) or level - 1 not in self.outline:
            return NO_LABEL
        return _count(self.headings, self.outline, level - 1, heading)

    def list(self, node: Element) -> None:
        above = self.open[-1] if self.open else None
        style = node.get("text:style-name") or (above.style if above is not None else "")
        level = min(above.level + 1, 10) if above is not None else 1
        counter = above.counter if above is not None and above.style == style else Counter()
        if above is None and (
            is_on(node.get("text:continue-numbering")) or node.get("text:continue-list") is not None
        ):
            counter = self.counted.get(style, counter)
        self.counted[style] = counter
        levels = self.lists.get(style, {})
        if level - 1 not in levels:
            levels = {**levels, level - 1: Level(BULLET)}
        opened = _List(style, level, counter)
        self.open.append(opened)
        for item in node:
            # An item that holds only a list of the next level has no number.
            if item.tag == "text:list-item" and any(child.tag in ("text:p", "text:h") for child in item):
                label = _count(counter, levels, level - 1, item)
                opened.marker = f"{label} " if label else NO_MARK
            if item.tag in ("text:list-item", "text:list-header"):
                self.read(item)
        self.open.pop()

    # -- text -------------------------------------------------------------------------------------------------------

    def inline(self, node: Element) -> str:
        parts: list[str] = []
        self.collect(node, parts, self.style(node, _Style("", Form())))
        return tidy("".join(parts))

    def style(self, node: Element, above: _Style) -> _Style:
        """The style of a paragraph or span. above: the style of the text around it."""
        name = node.get("text:style-name")
        if name is None:
            return above
        own = self.resolved.get(name)
        if own is None:
            own = self.resolved[name] = _resolve(name, self.styles)
        form = Form(own.form.shift or above.form.shift, own.form.struck or above.form.struck)
        return _Style(own.font or above.font, form)

    def collect(self, node: Element, parts: list[str], style: _Style) -> None:
        def add(text: str) -> None:
            # The characters of the file. Its line breaks are white space, unlike the line breaks that elements stand for.
            parts.append(
                mark_form(in_unicode(text.replace("\n", " ").replace("\r", " "), style.font), style.form)
            )

        if node.text:
            add(node.text)
        for child in node:
            match child.tag:
                case "text:s":
                    parts.append(" " * whole(child.get("text:c"), 1, _MAX_SPACES))
                case "text:tab":
                    parts.append("\t")
                case "text:line-break":
                    parts.append("\n")
                case "text:note":
                    self.note(child)
                case "draw:control":
                    parts.append(_entry(self.controls.get(child.get("draw:control", ""))))
                case "field:fieldmark":
                    parts.append(_field_entry(child))
                case "loext:content-control" if is_on(child.get("loext:showing-place-holder")):
                    pass
                case "draw:text-box":
                    self.box(child)
                case "draw:frame" | "draw:g" | "draw:a":
                    self.drawing(child, parts)
                case tag if tag.startswith("draw:"):
                    # The text of a drawn shape stands in paragraphs of the shape.
                    self.box(child)
                case tag if tag not in _UNREAD and not self.is_hidden(child):
                    self.collect(child, parts, self.style(child, style))
                case _:
                    pass
            if child.tail:
                add(child.tail)

    def drawing(self, node: Element, parts: list[str]) -> None:
        """Append the formulas of a frame, and let its text boxes wait. Titles and descriptions of pictures are left out."""
        for child in node:
            if child.tag in ("draw:frame", "draw:g", "draw:a"):
                self.drawing(child, parts)
            elif child.tag == "draw:object":
                parts.append(self.equation(child))
            elif child.tag.startswith("draw:") and child.tag not in _UNREAD:
                self.box(child)

    def equation(self, node: Element) -> str:
        """The text of a formula; '' for other objects. Its MathML stands in the object, or in a separate part."""
        part = posixpath.normpath(posixpath.join(node.get("xlink:href", ""), _CONTENT))
        if part == _CONTENT or part not in self.archive:
            return "".join(map(linear, node.iter("math:math")))
        if part not in self.equations:
            self.equations[part] = "".join(map(linear, read_tree(self.archive, part).iter("math:math")))
        return self.equations[part]

    def note(self, node: Element) -> None:
        self.noted += 1
        kind = node.get("text:note-class", "footnote")
        for body in node.findall("text:note-body"):
            (self.endnotes if kind == "endnote" else self.waiting).append((f"{kind} {self.noted}", body))

    # -- tables -----------------------------------------------------------------------------------------------------

    def table(self, node: Element) -> None:
        self.tables += 1
        number = self.tables
        rows = list(_rows(node))
        cells = [cell for row in rows for cell in row if cell.tag == "table:table-cell"]
        layout = len(cells) == 1 or any(
            node.tag in ("table:table", "text:h") for cell in cells for node in cell.iter()
        )
        if layout:
            for cell in cells:
                self.read(cell)
            return
        headers = {row for top in node.iter("table:table-header-rows") for row in _rows(top)}
        write_table(
            self.blocks,
            place_cells(list(self.cells(row, header=row in headers)) for row in rows),
            lambda row: Place(path=self.path or f"table {number}, row {row.number}"),
        )
        if not self.path:
            self.follow()

    def text_of(self, cell: Element) -> str:
        """The text of a cell, on one line."""
        lists, self.open, self.cell = self.open, [], []
        self.read(cell)
        text = tidy_cell("\n".join(self.cell))
        self.open, self.cell = lists, None
        return text

    def cells(self, row: Element, *, header: bool) -> Iterator[GridCell]:
        """A row's cells, without those that a merged cell covers. header: whether the row names the columns."""
        for cell in row.findall("table:table-cell"):
            text = self.text_of(cell)
            rows = whole(cell.get("table:number-rows-spanned"), 1, 9_999)
            columns = whole(cell.get("table:number-columns-spanned"), 1, 9_999)
            repeated = whole(cell.get("table:number-columns-repeated"), 1, _MAX_REPEATED)
            entered = any(child.tag in _FIELDS for child in cell.iter())
            yield from [GridCell(text, rows, columns, header, entered)] * repeated


def _rows(table: Element) -> Iterator[Element]:
    for child in table:
        if child.tag == "table:table-row":
            yield child
        elif child.tag in ("table:table-header-rows", "table:table-rows", "table:table-row-group"):
            yield from _rows(child)


def _count(counter: Counter, levels: Mapping[int, Level], level: int, item: Element) -> str:
    """Count an item or a heading, which may state its own number, and return its label."""
    stated = item.get("text:start-value")
    return tidy_cell(counter.count(levels, level, whole(stated, 1, 999_999) if stated else None))


def _entry(control: Element | None) -> str:
    """What a control of a form shows: its box and label, its value, or what is chosen. Buttons, hidden fields and
    passwords show no state."""
    if control is None:
        return ""

    def attribute(*names: str) -> str:
        return next((value for name in names if (value := control.get(f"form:{name}")) is not None), "")

    match control.tag:
        case "form:checkbox":
            box = TICKED if attribute("current-state", "state") == "checked" else UNTICKED
            return f"{box} {attribute('label')}"
        case "form:radio":
            box = TICKED if is_on(attribute("current-selected", "selected")) else UNTICKED
            return f"{box} {attribute('label')}"
        case "form:listbox":
            options = control.iter("form:option")
            chosen = (
                opt for opt in options if is_on(opt.get("form:current-selected", opt.get("form:selected")))
            )
            return ", ".join(opt.get("form:label", "") for opt in chosen)
        case (
            "form:text"
            | "form:textarea"
            | "form:formatted-text"
            | "form:number"
            | "form:date"
            | "form:time"
            | "form:combobox"
        ):
            return attribute("current-value", "value")
        case _:
            return ""


def _field_entry(mark: Element) -> str:
    """What a box to tick or a drop-down list of a form from Word shows; '' for other fields."""
    pairs = [(node.get("field:name", ""), node.get("field:value", "")) for node in mark.iter("field:param")]
    values = dict(pairs)
    match mark.get("field:type", "").rpartition(".")[2]:
        case "FORMCHECKBOX":
            return TICKED if is_on(values.get("Checkbox_Checked")) else UNTICKED
        case "FORMDROPDOWN":
            entries = [value for name, value in pairs if name == "Dropdown_ListEntry"]
            return "".join(entries[whole(values.get("Dropdown_Selected"), 0, len(entries)) :][:1])
        case _:
            return ""
