"""DOCX (WordprocessingML, ISO/IEC 29500-1), as a reader of the printed document sees its body.

Headings are recognised by their outline level or by the names of their styles, which do not depend on the language of
Word. Tracked changes count as accepted. Text boxes, charts and footnotes follow the paragraph or the table that they
belong to; endnotes stand at the end. What headers and footers say besides page numbers stands once, before the body.
Comments, tables of contents, hidden text, field instructions and placeholders of forms are left out. A table that holds
tables or headings, or has one cell, serves the layout of the page; its cells are read one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from responsa_formats.containers import Archive
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.charts import write_chart
from responsa_formats.parsers.equations import linear
from responsa_formats.parsers.grid import GridCell, place_cells, write_table
from responsa_formats.parsers.nested import write_nested
from responsa_formats.parsers.numbering import BULLET, NO_LABEL, Counter, Level, sign_of
from responsa_formats.parsers.office import (
    PAGE_NUMBER,
    Related,
    choose_variant,
    count_left_out,
    document,
    first,
    is_on,
    main_part,
    metadata_of,
    read_tree,
    relations_of,
    tidy,
    tidy_cell,
    whole,
    write_embedded,
    write_running,
)
from responsa_formats.parsers.sniff import Original
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place
from responsa_formats.text.inline import Form, mark_form
from responsa_formats.text.symbols import TICKED, UNTICKED, in_unicode, symbol

_VAL: Final = "w:val"
_MAX_COLUMNS: Final = 63
# A table arranges a page, rather than data, if more than one in this number of its cells has a table.
_CELLS_FOR_TABLE: Final = 6
_HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)
_CONTENTS_NAME = re.compile(r"toc ?[1-9]", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"%([1-9])")
# The forms of `numeral` by the names of ST_NumberFormat. Numbers of other forms are in figures.
_FORMS: Final = {
    "none": NO_LABEL,
    "bullet": BULLET,
    "decimalZero": "01",
    "ordinal": "1st",
    "lowerLetter": "aa",
    "upperLetter": "AA",
    "lowerRoman": "i",
    "upperRoman": "I",
    "russianLower": "аа",
    "russianUpper": "АА",
    "decimalEnclosedCircle": "①",
    "decimalEnclosedCircleChinese": "①",
    **dict.fromkeys(
        (
            *("chineseCounting", "chineseCountingThousand", "ideographDigital", "japaneseCounting"),
            *("taiwaneseCounting", "taiwaneseCountingThousand"),
        ),
        "一",
    ),
}
# The elements of fields of forms: old ones, and content controls.
_FIELDS: Final = frozenset({"w:ffData", "w:text", "w:dropDownList", "w:comboBox", "w:date", "w14:checkbox"})
# The elements without text, and the elements whose text is deleted, is not shown, or belongs to properties.
_UNREAD: Final = frozenset(
    {
        *("w:del", "w:moveFrom", "w:pPr", "w:rPr", "w:tblPr", "w:tblGrid", "w:trPr", "w:tcPr", "w:sdtPr"),
        *("w:sdtEndPr", "w:sectPr", "w:rt"),
    }
)


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    count_left_out(original, archive)
    part = main_part(archive)
    links = relations_of(archive, part)
    parts = {link.kind: link.part for link in links.values()}
    metadata = metadata_of(archive)
    reader = _DocxReader(
        original,
        archive,
        links,
        _Styles.read(archive, parts.get("styles", "")),
        _Numbering.read(archive, parts.get("numbering", "")),
        {kind: _notes(archive, parts.get(f"{kind}s", ""), kind) for kind in ("footnote", "endnote")},
    )
    tree = read_tree(archive, part)
    reader.closed_fields = _find_closed(tree)
    settings = read_tree(archive, parts["settings"]) if parts.get("settings", "") in archive else None
    running = write_running(
        reader.blocks,
        _running_lines(reader, tree, even=_switched_on(settings, "w:evenAndOddHeaders")),
        {
            metadata.title,
            *(tidy_cell("".join(t.text or "" for t in p.iter("w:t"))) for p in tree.iter("w:p")),
        },
    )
    for body in tree.iter("w:body"):
        reader.read(body)
    reader.finish()
    blocks = reader.blocks
    write_embedded(original, archive, part, blocks, Place())
    return document(
        original,
        blocks,
        "",
        metadata,
        "The Word document has no text. Upload a document with visible text.",
        running,
    )


def _running_lines(reader: _DocxReader, tree: Element, *, even: bool) -> Iterator[tuple[str, str]]:
    """The paths and texts of the lines of the headers and footers that are printed. even: whether even pages have their own."""
    for section in tree.iter("w:sectPr"):
        printed = {"default": True, "even": even, "first": _switched_on(section, "w:titlePg")}
        for reference in section:
            link = reader.links.get(reference.get("r:id", ""))
            if (
                link is None
                or link.part not in reader.archive
                or not printed.get(reference.get("w:type", ""))
            ):
                continue
            part = read_tree(reader.archive, link.part)
            _mark_page_numbers(part)
            reader.closed_fields |= _find_closed(part)
            for line in reader.lines(part):
                yield link.kind, line


def _mark_page_numbers(tree: Element) -> None:
    """Put PAGE_NUMBER in the place of each field whose result differs from page to page."""
    begun: list[tuple[list[Element], list[Element]]] = []
    for node in list(tree.iter()):
        if node.tag == "w:fldSimple" and _is_page_number(node.get("w:instr", "")):
            for text in node.iter("w:t"):
                text.text = PAGE_NUMBER
        kind = node.get("w:fldCharType") if node.tag == "w:fldChar" else None
        if kind == "begin":
            begun.append(([], []))
        if begun:
            marks, results = begun[-1]
            (results if node.tag == "w:t" else marks).append(node)
        if kind == "end" and begun:
            marks, results = begun.pop()
            if _is_page_number("".join(mark.text or "" for mark in marks if mark.tag == "w:instrText")):
                for text in results:
                    text.text = ""
                for mark in marks:
                    if mark.tag == "w:fldChar":
                        mark.tag, mark.text, mark.attrib = "w:t", PAGE_NUMBER, {}


def _is_page_number(instruction: str) -> bool:
    return instruction.split()[:1] in (["PAGE"], ["NUMPAGES"], ["SECTIONPAGES"])


def _notes(archive: Archive, part: str, kind: str) -> dict[str, Element]:
    if part not in archive:
        return {}
    return {note.get("w:id", ""): note for note in read_tree(archive, part).iter(f"w:{kind}")}


def _find_closed(tree: Element) -> set[Element]:
    """The beginnings of the fields that also end. The instruction of a field that never ends would swallow the rest of the document."""
    begun: list[Element] = []
    closed: set[Element] = set()
    for mark in tree.iter("w:fldChar"):
        kind = mark.get("w:fldCharType")
        if kind == "begin":
            begun.append(mark)
        elif kind == "end" and begun:
            closed.add(begun.pop())
    return closed


def _value(node: Element | None, *names: str) -> str | None:
    """The w:val of an element, as `first` finds it; None if there is no such element."""
    element = first(node, *names)
    return element.get(_VAL) if element is not None else None


def _switched_on(node: Element | None, name: str) -> bool:
    """Whether a toggle property is on: it is present, and its w:val is not false."""
    switch = node.find(name) if node is not None else None
    return switch is not None and is_on(switch.get(_VAL, "1"))


# -- styles ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Style:
    """A style with what it inherits. heading: 1 to 9, or 0. numbering, level: the numbering's id, and the level in it;
    None if not stated. shift, struck: as in `Form`."""

    heading: int = 0
    numbering: str | None = None
    level: int | None = None
    hidden: bool = False
    shift: int = 0
    struck: bool = False


@dataclass(frozen=True, slots=True)
class _Styles:
    nodes: Mapping[str, Element]
    usual: str
    """The id of the style of paragraphs that name no style."""
    resolved: dict[str, _Style] = field(default_factory=dict[str, _Style])

    @classmethod
    def read(cls, archive: Archive, part: str) -> _Styles:
        if part not in archive:
            return cls({}, "")
        nodes: dict[str, Element] = {}
        usual = ""
        for style in read_tree(archive, part).iter("w:style"):
            name = style.get("w:styleId", "")
            nodes[name] = style
            if style.get("w:type") == "paragraph" and is_on(style.get("w:default")):
                usual = name
        return cls(nodes, usual)

    def of(self, properties: Element | None, kind: str) -> _Style:
        """The style that paragraph or run properties name. kind: "w:pStyle" or "w:rStyle"."""
        name = _value(properties, kind)
        if name is None:
            name = self.usual if kind == "w:pStyle" else ""
        style = self.resolved.get(name)
        if style is None:
            style = self.resolved[name] = _resolve(name, self.nodes)
        return style


def _resolve(name: str, nodes: Mapping[str, Element]) -> _Style:
    heading: int | None = None
    numbering: str | None = None
    level: int | None = None
    hidden = False
    shift: int | None = None
    struck: bool | None = None
    seen: set[str] = set()
    while name in nodes and name not in seen and len(seen) < 50:
        seen.add(name)
        node = nodes[name]
        if heading is None:
            heading = _outline(node.find("w:pPr"))
        if heading is None:
            heading = _heading_of_name(_value(node, "w:name") or "")
        if numbering is None:
            numbering, stated = _numbering(node.find("w:pPr"))
            level = stated if level is None else level
        run = node.find("w:rPr")
        hidden = hidden or _switched_on(run, "w:vanish")
        shift = _shift(run) if shift is None else shift
        struck = _is_struck(run) if struck is None else struck
        name = _value(node, "w:basedOn") or ""
    return _Style(heading or 0, numbering, level, hidden, shift or 0, struck or False)


def _shift(properties: Element | None) -> int | None:
    """The shift of run properties, as in `Form`; None if they do not say."""
    value = _value(properties, "w:vertAlign")
    return {"superscript": 1, "subscript": -1}.get(value, 0) if value is not None else None


def _is_struck(properties: Element | None) -> bool | None:
    """Whether run properties strike the text; None if they do not say."""
    marks = [name for name in ("w:strike", "w:dstrike") if first(properties, name) is not None]
    return any(_switched_on(properties, name) for name in marks) if marks else None


def _heading_of_name(name: str) -> int | None:
    if name.lower() == "title":
        return 1
    match = _HEADING_NAME.fullmatch(name)
    return int(match.group(1)) if match else None


def _outline(properties: Element | None) -> int | None:
    """The heading level that properties state: 1 to 9, 0 for the level of body text; None if they state no level."""
    value = _value(properties, "w:outlineLvl")
    if value is None:
        return None
    level = whole(value, 9, 9)
    return level + 1 if level < 9 else 0


def _numbering(properties: Element | None) -> tuple[str | None, int | None]:
    """The numbering's id and the level that properties state; None for what they do not state."""
    level = _value(properties, "w:numPr", "w:ilvl")
    return _value(properties, "w:numPr", "w:numId"), whole(level, 0, 8) if level is not None else None


# -- numbering ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Numbering:
    levels: dict[str, dict[int, Level]]
    """The levels by the id of the numbering."""
    counted: dict[str, str]
    """The id of the list that counts, by the id of the numbering. Several numberings may count together."""
    restarts: dict[str, dict[int, int]]
    """The first numbers of the levels that a numbering starts again, until its first item."""
    counters: dict[str, Counter] = field(default_factory=dict[str, Counter])

    @classmethod
    def read(cls, archive: Archive, part: str) -> _Numbering:
        table = cls({}, {}, {})
        if part not in archive:
            return table
        tree = read_tree(archive, part)
        abstract = {node.get("w:abstractNumId", ""): node for node in tree.iter("w:abstractNum")}
        styled = {_value(node, "w:styleLink"): node for node in abstract.values()}
        for numbering in tree.iter("w:num"):
            name = numbering.get("w:numId", "")
            key = _value(numbering, "w:abstractNumId") or ""
            base = abstract.get(key)
            if base is not None and (link := _value(base, "w:numStyleLink")) is not None:
                base = styled.get(link, base)
            table.counted[name] = key
            table.levels[name] = dict(_levels(base)) if base is not None else {}
            for override in numbering.iter("w:lvlOverride"):
                level = whole(override.get("w:ilvl"), 0, 8)
                table.levels[name].update(_levels(override))
                if (start := _value(override, "w:startOverride")) is not None:
                    table.restarts.setdefault(name, {})[level] = whole(start, 1, 999_999)
        return table

    def label(self, numbering: str, level: int) -> str | None:
        """Count one item, and return its label; None if there is no such level."""
        levels = self.levels.get(numbering, {})
        if level not in levels:
            return None
        counter = self.counters.setdefault(self.counted[numbering], Counter())
        start = self.restarts.get(numbering, {}).pop(level, None)
        return tidy_cell(counter.count(levels, level, start))


def _number_form(level: Element) -> str:
    """The form of a level's numbers, as `numeral` takes it. A form of its own is stated by its first numbers, such as
    "001, 002, 003, ..."."""
    variants = level.find("mc:AlternateContent")
    stated = first(variants, "mc:Choice", "w:numFmt") if variants is not None else level.find("w:numFmt")
    if stated is None:
        return "1"
    own = stated.get("w:format", "").partition(",")[0].strip()
    return own if own.strip("0") == "1" else _FORMS.get(stated.get(_VAL, ""), "1")


def _levels(node: Element) -> Iterator[tuple[int, Level]]:
    for element in node.iter("w:lvl"):
        level = whole(element.get("w:ilvl"), 0, 8)
        form = _number_form(element)
        text = (_value(element, "w:lvlText") or "")[:100]
        fonts = first(element, "w:rPr", "w:rFonts")
        restart = _value(element, "w:lvlRestart")
        yield (
            level,
            Level(
                form,
                # Every other part is the number of a level, from 1.
                tuple(
                    int(part) - 1 if index % 2 else part
                    for index, part in enumerate(_PLACEHOLDER.split(text))
                ),
                whole(_value(element, "w:start"), 1, 999_999),
                sign=sign_of(text, fonts.get("w:ascii", "") if fonts is not None else ""),
                legal=_switched_on(element, "w:isLgl"),
                restarts=whole(restart, level, 9) if restart is not None else None,
            ),
        )


# -- the body -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _DocxReader:
    original: Original
    archive: Archive
    links: Mapping[str, Related]
    """The relationships of the main part, by id."""
    styles: _Styles
    numbering: _Numbering
    notes: dict[str, dict[str, Element]]
    """The notes that have not been read yet, by kind and id."""
    blocks: BlockWriter = field(default_factory=BlockWriter)
    closed_fields: set[Element] = field(default_factory=set[Element])
    fields: list[str] = field(default_factory=list[str])
    """The open fields: "instruction" if it is being read, "form" if the entry of a form stands for the whole field, ''
    if the result is being read."""
    struck: bool = False
    """Whether the style of the paragraph strikes its text."""
    font: str = ""
    """The font of the run that is being read, if the run names one."""
    carried: str = ""
    """The text of paragraphs whose ends are deleted. The next paragraph begins with it."""
    waiting: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])
    """The footnotes and text boxes that follow the current block, with the path of each."""
    endnotes: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])
    path: str = ""
    """The path of the footnote or text box that is being read; '' in the body."""
    inserted: set[str] = field(default_factory=set[str])
    """The inserted files that have been read."""
    paragraphs: int = 0
    tables: int = 0
    noted: int = 0

    def read(self, node: Element) -> None:
        for child in node:
            match child.tag:
                case "w:p":
                    self.paragraph(child)
                case "w:tbl":
                    self.table(child)
                case "w:altChunk":
                    self.insert(child)
                case "c:chart":
                    if (link := self.links.get(child.get("r:id", ""))) is not None:
                        write_chart(self.original, self.archive, link.part, self.blocks, self.place())
                case "mc:AlternateContent":
                    if (variant := choose_variant(child)) is not None:
                        self.read(variant)
                case tag if tag not in _UNREAD and not _is_placeholder(child):
                    self.read(child)
                case _:
                    pass

    def insert(self, node: Element) -> None:
        """Read the file that an altChunk inserts, once; Word converts it when it opens the document."""
        link = self.links.get(node.get("r:id", ""))
        if link is not None and link.part in self.archive and link.part not in self.inserted:
            self.inserted.add(link.part)
            data = self.archive.read(link.part)
            write_nested(
                self.original, data, link.part, "", self.blocks, f"paragraph {self.paragraphs}, inserted file"
            )

    def lines(self, node: Element) -> Iterator[str]:
        """The texts of the paragraphs and of the rows of tables in a header or footer, and in its text boxes."""
        for child in _children(node, "w:p", "w:tbl"):
            if child.tag == "w:p":
                yield self.inline(child)
            else:
                for row in _children(child, "w:tr"):
                    yield "\t".join(" ".join(self.lines(cell)) for cell in _children(row, "w:tc"))
            waiting, self.waiting = self.waiting, []
            for _, box in waiting:
                yield from self.lines(box)

    def finish(self) -> None:
        """Write what has waited until the end of the document."""
        if text := tidy(self.carried):
            self.blocks.write(text, BlockKind.PARAGRAPH, place=self.place())
        self.follow()
        self.waiting, self.endnotes = self.endnotes, []
        self.follow()

    def place(self) -> Place:
        return Place(path=self.path or f"paragraph {self.paragraphs}")

    def follow(self) -> None:
        while self.waiting:
            waiting, self.waiting = self.waiting, []
            outer = self.path
            for path, node in waiting:
                self.path = path
                self.read(node)
            self.path = outer

    def paragraph(self, node: Element) -> None:
        raw = self.carried + self.inline(node)
        properties = node.find("w:pPr")
        # Whether a tracked change deletes the end of a paragraph, which joins it with the next paragraph.
        self.carried = (
            raw if any(first(properties, "w:rPr", tag) is not None for tag in ("w:del", "w:moveFrom")) else ""
        )
        if self.carried:
            return
        text = tidy(raw)
        if text and self.is_of_contents(properties):
            return
        if text:
            if not self.path:
                self.paragraphs += 1
            self.write(text, properties)
        elif not _switched_on(first(properties, "w:rPr"), "w:vanish"):
            # Word numbers what has no text, too.
            self.label(properties, self.styles.of(properties, "w:pStyle"))
        if not self.path:
            self.follow()

    def write(self, text: str, properties: Element | None) -> None:
        style = self.styles.of(properties, "w:pStyle")
        heading = self.heading(properties)
        label, level = self.label(properties, style)
        if heading:
            text = f"{label} {text}" if label not in (None, NO_LABEL, BULLET) else text
            self.blocks.write(text, BlockKind.HEADING, min(heading, 6), place=self.place())
        elif label:
            self.blocks.write(text, BlockKind.LIST_ITEM, level + 1, f"{label} ", self.place())
        else:
            self.blocks.write(text, BlockKind.PARAGRAPH, place=self.place())

    def is_of_contents(self, properties: Element | None) -> bool:
        """Whether a paragraph is a line of the table of contents, which says no more than the headings."""
        style = _value(properties, "w:pStyle") or ""
        name = _value(self.styles.nodes.get(style), "w:name") or style
        return _CONTENTS_NAME.fullmatch(name) is not None

    def heading(self, properties: Element | None) -> int:
        own = _outline(properties)
        return own if own is not None else self.styles.of(properties, "w:pStyle").heading

    def label(self, properties: Element | None, style: _Style) -> tuple[str | None, int]:
        """The label of a paragraph of a list, and its level from 0; None if the paragraph is in no list."""
        number, level = _numbering(properties)
        number = style.numbering if number is None else number
        level = style.level if level is None else level
        if number is None:
            return None, 0
        level = max(style.heading - 1, 0) if level is None else level
        return self.numbering.label(number, level), level

    def inline(self, node: Element) -> str:
        self.struck = self.styles.of(node.find("w:pPr"), "w:pStyle").struck
        parts: list[str] = []
        self.collect(node, parts)
        return "".join(parts)

    def collect(self, node: Element, parts: list[str], hidden: bool = False) -> None:
        """Append the text in a node. hidden: whether the run is hidden; then only fields and anchors are followed."""
        shown = not hidden and not any(self.fields)
        for child in node:
            match child.tag:
                case "m:oMathPara" if shown:
                    parts.append("\n".join(map(linear, child.findall("m:oMath"))))
                case "m:oMath" if shown:
                    parts.append(linear(child))
                case "w:t" | "m:t":
                    if shown:
                        parts.append(in_unicode(child.text or "", self.font))
                case "w:r":
                    fonts = first(child, "w:rPr", "w:rFonts")
                    self.font = fonts.get("w:ascii", "") if fonts is not None else ""
                    inner: list[str] = []
                    self.collect(child, inner, self.is_hidden(child))
                    parts.append(mark_form("".join(inner), self.form(child.find("w:rPr"))))
                    self.font = ""
                    shown = not hidden and not any(self.fields)
                case "w:tab" | "w:ptab" if shown:
                    parts.append("\t")
                case "w:br" | "w:cr" if shown:
                    parts.append("\n")
                case "w:noBreakHyphen" if shown:
                    parts.append("-")
                case "w:sym" if shown:
                    parts.append(symbol(child.get("w:char", ""), child.get("w:font", "")))
                case "w:sdt" if shown and (box := first(child, "w:sdtPr", "w14:checkbox")) is not None:
                    sign: list[str] = []
                    self.collect(child, sign)
                    ticked = first(box, "w14:checked")
                    stated = TICKED if ticked is not None and is_on(ticked.get("w14:val")) else UNTICKED
                    parts.append("".join(sign).strip() or stated)
                case "w:fldChar":
                    if shown and child.get("w:fldCharType") == "begin":
                        parts.append(_entry(child))
                    self.step(child)
                    shown = not hidden and not any(self.fields)
                case "w:footnoteReference" | "w:endnoteReference":
                    self.note(child)
                case "a:graphicData" if child.find("c:chart") is not None:
                    self.waiting.append((f"paragraph {self.paragraphs + 1}, chart", child))
                case "w:txbxContent":
                    self.waiting.append((f"paragraph {self.paragraphs + 1}, text box", child))
                case "mc:AlternateContent":
                    if (variant := choose_variant(child)) is not None:
                        self.collect(variant, parts, hidden)
                case tag if tag not in _UNREAD and not _is_placeholder(child):
                    self.collect(child, parts, hidden)
                    shown = not hidden and not any(self.fields)
                case _:
                    pass

    def is_hidden(self, run: Element) -> bool:
        properties = run.find("w:rPr")
        if properties is None:
            return False
        if properties.find("w:vanish") is not None:
            return _switched_on(properties, "w:vanish")
        return self.styles.of(properties, "w:rStyle").hidden

    def form(self, properties: Element | None) -> Form:
        if properties is None:
            return Form(0, self.struck)
        style = self.styles.of(properties, "w:rStyle")
        shift, struck = _shift(properties), _is_struck(properties)
        return Form(
            style.shift if shift is None else shift,
            (style.struck or self.struck) if struck is None else struck,
        )

    def step(self, mark: Element) -> None:
        match mark.get("w:fldCharType"):
            case "begin":
                kind = "form" if _entry(mark) else "instruction"
                self.fields.append(kind if mark in self.closed_fields else "")
            case "separate" if self.fields and self.fields[-1] == "instruction":
                self.fields[-1] = ""
            case "end" if self.fields:
                self.fields.pop()
            case _:
                pass

    def note(self, reference: Element) -> None:
        kind = reference.tag.removeprefix("w:").removesuffix("Reference")
        # Each note is read once, however often the document refers to it.
        note = self.notes[kind].pop(reference.get("w:id", ""), None)
        if note is not None:
            self.noted += 1
            (self.waiting if kind == "footnote" else self.endnotes).append((f"{kind} {self.noted}", note))

    # -- tables -----------------------------------------------------------------------------------------------------

    def table(self, node: Element) -> None:
        self.tables += 1
        number = self.tables
        nodes = [row for row in _children(node, "w:tr") if first(row, "w:trPr", "w:del") is None]
        rows = [list(_children(row, "w:tc")) for row in nodes]
        if self.is_layout(rows):
            for cell in (cell for row in rows for cell in row):
                self.read(cell)
            return
        cells = self.cells(rows, [_switched_on(row.find("w:trPr"), "w:tblHeader") for row in nodes])
        write_table(
            self.blocks,
            place_cells(cells),
            lambda row: Place(path=self.path or f"table {number}, row {row.number}"),
        )
        if not self.path:
            self.follow()

    def is_layout(self, rows: list[list[Element]]) -> bool:
        if len(rows) == 1 and len(rows[0]) == 1:
            return True
        cells = [cell for row in rows for cell in row]
        tables = sum(next(cell.iter("w:tbl"), None) is not None for cell in cells)
        if tables * _CELLS_FOR_TABLE > len(cells):
            return True
        return any(self.heading(paragraph.find("w:pPr")) for cell in cells for paragraph in cell.iter("w:p"))

    def in_cell(self, paragraph: Element) -> str:
        """The text of a paragraph of a cell, with its number."""
        properties = paragraph.find("w:pPr")
        label, _ = self.label(properties, self.styles.of(properties, "w:pStyle"))
        text = self.inline(paragraph)
        return f"{label} {text}" if label not in (None, NO_LABEL, BULLET) else text

    def cells(self, rows: Sequence[Sequence[Element]], headers: Sequence[bool]) -> list[list[GridCell]]:
        """The cells of a table. headers: for each row, whether it repeats on each page as a header."""
        table: list[list[GridCell]] = []
        merging: dict[int, GridCell] = {}
        """The cells that go on in the next row, by column."""
        for row, header in zip(rows, headers, strict=True):
            table.append([])
            above, merging = merging, {}
            column = 0
            for node in row:
                properties = node.find("w:tcPr")
                text = tidy_cell("".join(f"{self.in_cell(paragraph)}\n" for paragraph in _paragraphs(node)))
                span = whole(_value(properties, "w:gridSpan"), 1, _MAX_COLUMNS) if len(row) > 1 else 1
                merge = first(properties, "w:vMerge")
                if merge is not None and merge.get(_VAL) != "restart" and column in above:
                    cell = merging[column] = above[column]
                    cell.rows += 1
                else:
                    entered = any(child.tag in _FIELDS for child in node.iter())
                    cell = GridCell(text, 1, span, header, entered)
                    table[-1].append(cell)
                    if merge is not None:
                        merging[column] = cell
                column += cell.columns
        return table


def _paragraphs(cell: Element) -> Iterator[Element]:
    for child in _children(cell, "w:p", "w:tbl"):
        if child.tag == "w:p":
            yield child
            continue
        for row in _children(child, "w:tr"):
            for inner in _children(row, "w:tc"):
                yield from _paragraphs(inner)


def _children(node: Element, *names: str) -> Iterator[Element]:
    """The children with these names, also those inside content controls, inserted content and the like."""
    for child in node:
        if child.tag in names:
            yield child
        elif child.tag == "mc:AlternateContent":
            if (variant := choose_variant(child)) is not None:
                yield from _children(variant, *names)
        elif (
            child.tag not in _UNREAD
            and child.tag not in ("w:p", "w:tbl", "w:tr", "w:tc")
            and not _is_placeholder(child)
        ):
            yield from _children(child, *names)


def _entry(field: Element) -> str:
    """What a box to tick or a drop-down list of an old form shows, by the beginning of its field; '' for other fields."""
    box = first(field, "w:ffData", "w:checkBox")
    if box is not None:
        state = "w:checked" if box.find("w:checked") is not None else "w:default"
        return TICKED if _switched_on(box, state) else UNTICKED
    choices = first(field, "w:ffData", "w:ddList")
    entries = [entry.get(_VAL, "") for entry in choices.iter("w:listEntry")] if choices is not None else []
    chosen = _value(choices, "w:result") or _value(choices, "w:default")
    return "".join(entries[whole(chosen, 0, len(entries)) :][:1])


def _is_placeholder(node: Element) -> bool:
    """Whether a content control shows only the prompt of the form, such as "Click here to enter text"."""
    return node.tag == "w:sdt" and first(node, "w:sdtPr", "w:showingPlcHdr") is not None
