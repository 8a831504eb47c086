"""ODT (OpenDocument 1.3, part 3), as a reader of the printed document sees its body.

Tracked changes count as accepted. Text boxes and footnotes follow the paragraph or the table that they belong to; endnotes stand at the end.
Comments, headers, footers, tables of contents and hidden text are left out. A table that holds tables or headings, or has one cell, serves the layout of the
page; its cells are read one after the other.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from responsa_server.domain.knowledge import LeftOutKind
from responsa_server.ingest import rejections
from responsa_server.ingest.containers import Archive
from responsa_server.ingest.formats.blocks import NO_MARK, BlockWriter
from responsa_server.ingest.formats.equations import linear
from responsa_server.ingest.formats.grid import Cell, placed, write_table
from responsa_server.ingest.formats.office import (
    Stated,
    document,
    is_on,
    numeral,
    properties,
    read_tree,
    tidy,
    tidy_cell,
    whole,
)
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import BlockKind, ParsedDocument, Place
from responsa_server.text.inline import Form, marked
from responsa_server.text.symbols import in_unicode

_CONTENT: Final = "content.xml"
_MANIFEST: Final = "META-INF/manifest.xml"
_MAX_REPEATED: Final = 64
_MAX_SPACES: Final = 100
# The elements whose text is deleted or not shown, or does not belong to the document.
_UNREAD: Final = frozenset(
    {
        "text:tracked-changes",
        "text:ruby-text",
        "text:note-citation",
        "text:sequence-decls",
        "text:variable-decls",
        "text:user-field-decls",
        "text:hidden-text",
        "text:table-of-content",
        "text:script",
        "office:annotation",
        "office:annotation-end",
        "office:forms",
        "office:event-listeners",
        "draw:object",
        "draw:object-ole",
        "draw:image",
        "draw:glue-point",
    }
)
_LEFT_OUT: Final = {
    LeftOutKind.COMMENT: "office:annotation",
    LeftOutKind.PICTURE: "draw:image",
    LeftOutKind.EMBEDDED_FILE: "draw:object",
}
"""What is counted as left out. Charts are embedded files."""
_LEVELS: Final = (
    "text:list-level-style-number",
    "text:list-level-style-bullet",
    "text:list-level-style-image",
)


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises DocumentRejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    if _is_encrypted(archive):
        raise rejections.encrypted()
    tree = read_tree(archive, _CONTENT)
    said = properties(read_tree(archive, "meta.xml")) if "meta.xml" in archive else Stated()
    trees = [read_tree(archive, "styles.xml"), tree] if "styles.xml" in archive else [tree]
    reader = _Reader(
        archive,
        lists={name: levels for one in trees for name, levels in _lists(one)},
        outline={level: style for one in trees for level, style in _outline(one)},
        hidden={name for one in trees for name in _hidden_styles(one)},
        styles={one.get("style:name", ""): one for top in trees for one in top.iter("style:style")},
    )
    for body in tree.iter("office:text"):
        reader.read(body)
        for kind, tag in _LEFT_OUT.items():
            original.left_out[kind] += sum(1 for _ in body.iter(tag))
    reader.finish()
    blocks = reader.blocks
    return document(
        original,
        blocks,
        said.title or blocks.collector.first_heading(),
        said,
        "The OpenDocument file has no text. Upload a document with visible text.",
    )


def _is_encrypted(archive: Archive) -> bool:
    if _CONTENT not in archive and "encrypted-package" in archive:
        return True
    if _MANIFEST not in archive:
        return False
    return next(read_tree(archive, _MANIFEST).iter("manifest:encryption-data"), None) is not None


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of a list. form: as `numeral` takes it, "-" for bullets, or '' for no number. above: the number of levels in the label."""

    form: str
    prefix: str
    suffix: str
    start: int
    above: int


_BULLET: Final = _Level("-", "", "", 1, 1)


def _lists(tree: Element) -> Iterator[tuple[str, dict[int, _Level]]]:
    for one in tree.iter("text:list-style"):
        yield one.get("style:name", ""), {whole(node.get("text:level"), 1, 10): _level(node) for node in one}


def _outline(tree: Element) -> Iterator[tuple[int, _Level]]:
    for one in tree.iter("text:outline-level-style"):
        yield whole(one.get("text:level"), 1, 10), _level(one)


def _level(node: Element) -> _Level:
    if node.tag in _LEVELS[1:]:
        return _BULLET
    return _Level(
        node.get("style:num-format", ""),
        node.get("style:num-prefix", ""),
        node.get("style:num-suffix", ""),
        whole(node.get("text:start-value"), 1, 999_999),
        whole(node.get("text:display-levels"), 1, 10),
    )


def _hidden_styles(tree: Element) -> Iterator[str]:
    for one in tree.iter("style:style"):
        properties = one.find("style:text-properties")
        if properties is not None and properties.get("text:display") == "none":
            yield one.get("style:name", "")


@dataclass(frozen=True, slots=True)
class _Style:
    """How a style shows its text: the font, '' if it names no font, and the form."""

    font: str
    form: Form


def _resolve(name: str, styles: Mapping[str, Element]) -> _Style:
    found: dict[str, str] = {}
    seen: set[str] = set()
    while name in styles and name not in seen and len(seen) < 50:
        seen.add(name)
        properties = styles[name].find("style:text-properties")
        found = {**(properties.attrib if properties is not None else {}), **found}
        name = styles[name].get("style:parent-style-name", "")
    position = found.get("style:text-position", "").split(" ")[0]
    shift = 1 if position == "super" else -1 if position == "sub" else 0
    if position.endswith("%") and position.strip("-%0."):
        shift = -1 if position.startswith("-") else 1
    lines = (found.get(f"style:text-line-through-{kind}", "none") for kind in ("style", "type"))
    return _Style(found.get("style:font-name", ""), Form(shift, any(line != "none" for line in lines)))


def _label(levels: Mapping[int, _Level], counts: Mapping[int, int], level: int) -> str:
    """The label of an item: '' if its level has no numbers."""
    own = levels.get(level, _BULLET)
    if own.form in ("-", ""):
        return own.form
    first = max(level - own.above + 1, 1)
    numbers = [
        numeral(counts.get(one, levels[one].start), levels[one].form)
        for one in range(first, level + 1)
        if one in levels and levels[one].form not in ("-", "")
    ]
    return tidy_cell(f"{own.prefix}{'.'.join(numbers)}{own.suffix}")


@dataclass(slots=True)
class _List:
    """An open list. marker: the marker of the open item, until its first paragraph is written."""

    style: str
    level: int
    counts: dict[int, int]
    marker: str = NO_MARK


@dataclass(slots=True)
class _Reader:
    archive: Archive
    lists: Mapping[str, Mapping[int, _Level]]
    outline: Mapping[int, _Level]
    hidden: set[str]
    styles: Mapping[str, Element]
    resolved: dict[str, _Style] = field(default_factory=dict[str, _Style])
    equations: dict[str, str] = field(default_factory=dict[str, str])
    """The texts of the formulas that stand in separate parts, by part."""
    blocks: BlockWriter = field(default_factory=BlockWriter)
    open: list[_List] = field(default_factory=list[_List])
    """The open lists, outermost first."""
    counted: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    """The numbers of the last list of each style, for lists that continue it."""
    headings: dict[int, int] = field(default_factory=dict[int, int])
    waiting: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])
    """The footnotes and text boxes that follow the current block, with the path of each."""
    endnotes: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])
    path: str = ""
    """The path of the footnote or text box that is being read; '' in the body."""
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
        if text:
            if not self.path:
                self.paragraphs += 1
            self.write(node, text)
        if not self.path:
            self.follow()

    def write(self, node: Element, text: str) -> None:
        if node.tag == "text:h":
            level = whole(node.get("text:outline-level"), 1, 10)
            if (label := self.number(node, level)) not in ("", "-"):
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
        if is_on(heading.get("text:is-list-header")) or level not in self.outline:
            return ""
        _count(self.headings, level, self.outline[level].start, heading.get("text:start-value"))
        return _label(self.outline, self.headings, level)

    def list(self, node: Element) -> None:
        above = self.open[-1] if self.open else None
        style = node.get("text:style-name") or (above.style if above is not None else "")
        level = min(above.level + 1, 10) if above is not None else 1
        counts: dict[int, int] = above.counts if above is not None and above.style == style else {}
        if above is None and (
            is_on(node.get("text:continue-numbering")) or node.get("text:continue-list") is not None
        ):
            counts = self.counted.get(style, counts)
        self.counted[style] = counts
        levels = self.lists.get(style, {})
        opened = _List(style, level, counts)
        self.open.append(opened)
        for item in node:
            if item.tag == "text:list-item":
                start = levels[level].start if level in levels else 1
                # An item that holds only a list of the next level has no number.
                if any(one.tag in ("text:p", "text:h") for one in item):
                    _count(counts, level, start, item.get("text:start-value"))
                    label = _label(levels, counts, level)
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
            parts.append(marked(in_unicode(_flat(text), style.font), style.form))

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
            one.tag in ("table:table", "text:h") for cell in cells for one in cell.iter()
        )
        if layout:
            for cell in cells:
                self.read(cell)
            return
        headers = {row for top in node.iter("table:table-header-rows") for row in _rows(top)}
        write_table(
            self.blocks,
            placed(list(self.cells(row, header=row in headers)) for row in rows),
            lambda row: Place(path=self.path or f"table {number}, row {row.number}"),
        )
        if not self.path:
            self.follow()

    def cells(self, row: Element, *, header: bool) -> Iterator[Cell]:
        """A row's cells, without those that a merged cell covers. header: whether the row names the columns."""
        for cell in row.findall("table:table-cell"):
            text = tidy_cell("\n".join(self.inline(paragraph) for paragraph in self.paragraphs_in(cell)))
            rows = whole(cell.get("table:number-rows-spanned"), 1, 9_999)
            columns = whole(cell.get("table:number-columns-spanned"), 1, 9_999)
            repeated = whole(cell.get("table:number-columns-repeated"), 1, _MAX_REPEATED)
            yield from [Cell(text, rows, columns, header)] * repeated

    def paragraphs_in(self, node: Element) -> Iterator[Element]:
        for child in node:
            if child.tag == "text:p":
                if not self.is_hidden(child):
                    yield child
            elif child.tag not in _UNREAD and not self.is_hidden(child):
                yield from self.paragraphs_in(child)


def _rows(table: Element) -> Iterator[Element]:
    for child in table:
        if child.tag == "table:table-row":
            yield child
        elif child.tag in ("table:table-header-rows", "table:table-rows", "table:table-row-group"):
            yield from _rows(child)


def _count(counts: dict[int, int], level: int, start: int, stated: str | None) -> None:
    counts[level] = whole(stated, start, 999_999) if stated is not None else counts.get(level, start - 1) + 1
    for deeper in [count for count in counts if count > level]:
        del counts[deeper]


def _flat(text: str) -> str:
    """The characters of the file. Its line breaks are white space, unlike the line breaks that elements stand for."""
    return text.replace("\n", " ").replace("\r", " ")
