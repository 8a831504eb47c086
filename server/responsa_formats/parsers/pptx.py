"""PPTX (PresentationML, ISO/IEC 29500-1): the slides in order, each with its title as a heading.

A slide without a title has the heading "Slide 3". The shapes follow by their places if the file has no order
of reading, the slide's notes last. Hidden slides, hidden
shapes, comments, dates and slide numbers are left out. A footer comes once, on its first slide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from responsa_formats.containers import Archive
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.charts import write_chart
from responsa_formats.parsers.equations import linear
from responsa_formats.parsers.grid import GridCell, place_cells, write_table
from responsa_formats.parsers.numbering import BULLET, NO_LABEL, Counter, Level, sign_of
from responsa_formats.parsers.office import (
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
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, name_document, one_line
from responsa_formats.text.inline import Form, mark_form
from responsa_formats.text.symbols import in_unicode

_TITLES: Final = frozenset({"title", "ctrTitle"})
_FAR: Final = 999_999_999
_FURNITURE: Final = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
# Placeholders of these types have bullets in the usual layouts. A placeholder without a type is a body.
_BULLETED: Final = frozenset({"", "body", "obj"})
_BULLETS: Final = ("a:buAutoNum", "a:buNone", "a:buChar", "a:buBlip")
# The characters that are in the font for signs.
_SIGNS: Final = re.compile("[\uf020-\uf0ff]")
# What the names of schemes of automatic numbers (ST_TextAutonumberScheme) begin with: the forms of `numeral`; other schemes are in figures.
_FORMS: Final = {
    "alphaLc": "aa",
    "alphaUc": "AA",
    "romanLc": "i",
    "romanUc": "I",
    "circleNum": "①",
    "ea1": "一",
}
# What they end with: what stands around the number.
_ENDS: Final = {"ParenBoth": ("(", ")"), "ParenR": ("", ")"), "Period": ("", "."), "Minus": ("", " -")}


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    count_left_out(original, archive)
    part = main_part(archive)
    links = relations_of(archive, part)
    metadata = metadata_of(archive)
    blocks = BlockWriter()
    first_title = ""
    footers: set[str] = set()
    for number, slide_id in enumerate(read_tree(archive, part).iter("p:sldId"), 1):
        link = links.get(slide_id.get("r:id", ""))
        if link is None:
            continue
        slide = _Slide(original, archive, relations_of(archive, link.part), number, blocks, footers)
        tree = read_tree(archive, link.part)
        if tree.get("show") in ("0", "false"):
            original.left_out[LeftOutKind.HIDDEN_SLIDE] += 1
            continue
        slide.read(tree)
        write_embedded(original, archive, link.part, blocks, slide.place)
        first_title = first_title or slide.title
    return document(
        original,
        blocks,
        one_line(first_title) or name_document(metadata.title, original.name),
        metadata,
        "The presentation has no text on visible slides. Upload a presentation with visible text.",
    )


@dataclass(slots=True)
class _Slide:
    original: Original
    archive: Archive
    links: dict[str, Related]
    number: int
    blocks: BlockWriter
    footers: set[str]
    """The texts of the footers so far."""
    title: str = ""
    headed: bool = False
    place: Place = field(default_factory=Place)

    def read(self, tree: Element) -> None:
        self.place = Place(page=self.number, path=f"slide {self.number}")
        layout = next((link.part for link in self.links.values() if link.kind == "slideLayout"), None)
        spots: dict[str, _Spot] = {}
        if layout is not None and layout in self.archive:
            for shape in read_tree(self.archive, layout).iter("p:sp"):
                if (index := _index(shape)) and (spot := _spot(shape)) is not None:
                    spots[index] = spot
        shapes = [shape for top in tree.iter("p:spTree") for shape in _shapes(top, spots)]
        titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
        self.title = " ".join(tidy_cell(_text(p)) for shape in titles for p in shape.iter("a:p")).strip()
        for shape in shapes:
            if shape not in titles:
                self.shape(shape)
        if self.title:
            self.head()
        notes = next((link.part for link in self.links.values() if link.kind == "notesSlide"), None)
        if notes is not None and notes in self.archive:
            self.place = Place(page=self.number, path=f"slide {self.number}, notes")
            for top in read_tree(self.archive, notes).iter("p:spTree"):
                for shape in _shapes(top):
                    if _placeholder(shape) not in _FURNITURE:
                        self.paragraphs(list(shape.iter("a:p")), bulleted=False)

    def head(self) -> None:
        """Write the slide's heading, unless it is written already."""
        if not self.headed:
            self.headed = True
            heading = self.title or f"Slide {self.number}"
            page = Place(page=self.number, path=f"slide {self.number}")
            self.blocks.write(heading, BlockKind.HEADING, 1, place=page)

    def shape(self, shape: Element) -> None:
        if shape.tag == "p:graphicFrame":
            self.frame(shape)
            return
        kind = _placeholder(shape)
        if kind == "ftr":
            self.head()
            lines = ((self.place.path, _text(node)) for node in shape.iter("a:p"))
            write_running(self.blocks, lines, self.footers, self.number)
        elif kind not in _FURNITURE:
            for body in shape.findall("p:txBody"):
                self.paragraphs(
                    list(body.findall("a:p")), body.find("a:lstStyle"), bulleted=kind in _BULLETED
                )

    def frame(self, frame: Element) -> None:
        for table in frame.iter("a:tbl"):
            rows = [list(_cells(row)) for row in table.findall("a:tr")]
            if any(cell.text for row in rows for cell in row):
                self.head()
                write_table(self.blocks, place_cells(rows), lambda _: self.place)
        for chart in frame.iter("c:chart"):
            link = self.links.get(chart.get("r:id", ""))
            if link is not None:
                self.head()
                write_chart(self.original, self.archive, link.part, self.blocks, self.place)
        for diagram in frame.iter("dgm:relIds"):
            link = self.links.get(diagram.get("r:dm", ""))
            if link is not None and link.part in self.archive:
                for point in read_tree(self.archive, link.part).iter("dgm:t"):
                    self.paragraphs(list(point.findall("a:p")), bulleted=True)

    def paragraphs(self, nodes: Sequence[Element], styles: Element | None = None, *, bulleted: bool) -> None:
        """Write paragraphs. styles: of their shape. bulleted: whether a paragraph that does not state its bullet has one."""
        lists: list[tuple[Level, Counter]] = []
        """The list of the last paragraph of each level."""
        for node in nodes:
            properties = node.find("a:pPr")
            level = whole(properties.get("lvl"), 0, 8) if properties is not None else 0
            text = tidy(_text(node))
            if not text:
                continue
            self.head()
            stated = (properties, first(styles, f"a:lvl{level + 1}pPr"))
            properties = next(
                (
                    style
                    for style in stated
                    if style is not None and any(style.find(name) is not None for name in _BULLETS)
                ),
                None,
            )
            own = _level(properties, bulleted=bulleted)
            # The numbers go on while the paragraphs of the level have the same form and start.
            lists[level + 1 :] = []
            lists += [(Level(NO_LABEL), Counter())] * (level + 1 - len(lists))
            if lists[level][0] != own:
                lists[level] = own, Counter()
            label = lists[level][1].count({0: own}, 0)
            if label:
                self.blocks.write(text, BlockKind.LIST_ITEM, level + 1, f"{label} ", self.place)
            else:
                self.blocks.write(text, BlockKind.PARAGRAPH, place=self.place)


def _shapes(node: Element, layout: Mapping[str, _Spot] | None = None) -> Iterator[Element]:
    """The shapes that are shown, by their places if the order of the file goes up again within a column. The shapes of a
    group stay together. layout: the places of placeholders."""
    items: list[tuple[_Spot | None, list[Element]]] = []
    for child in node:
        if any(is_on(node.get("hidden")) for part in child for node in part.findall("p:cNvPr")):
            continue
        match child.tag:
            case "p:sp" | "p:cxnSp" | "p:graphicFrame":
                items.append((_spot(child) or (layout or {}).get(_index(child)), [child]))
            case "p:grpSp":
                items.append((_spot(child), list(_shapes(child))))
            case "mc:AlternateContent":
                if (variant := choose_variant(child)) is not None:
                    items += [(_spot(shape), [shape]) for shape in _shapes(variant)]
            case _:
                pass
    spots = [spot for spot, shapes in items if spot is not None and any(map(_text, shapes))]
    rising = any(after.top < before.top and after.left < before.right for before, after in pairwise(spots))
    if rising:
        rows: list[list[tuple[_Spot | None, list[Element]]]] = []
        for spot, shapes in sorted(items, key=lambda item: item[0].top if item[0] is not None else -1):
            last = rows[-1][0][0] if rows else None
            if spot is not None and last is not None and spot.top < (last.top + last.bottom) / 2:
                rows[-1].append((spot, shapes))
            else:
                rows.append([(spot, shapes)])
        items = [
            item
            for row in rows
            for item in sorted(row, key=lambda item: item[0].left if item[0] is not None else -1)
        ]
    for _, shapes in items:
        yield from shapes


class _Spot(NamedTuple):
    """The place of a shape on the slide or in its group."""

    left: int
    top: int
    right: int
    bottom: int


def _spot(shape: Element) -> _Spot | None:
    for path in ("p:spPr/a:xfrm", "p:grpSpPr/a:xfrm", "p:xfrm"):
        frame = first(shape, *path.split("/"))
        offset, size = first(frame, "a:off"), first(frame, "a:ext")
        if offset is not None and size is not None:
            x, y = whole(offset.get("x"), 0, _FAR), whole(offset.get("y"), 0, _FAR)
            return _Spot(x, y, x + whole(size.get("cx"), 0, _FAR), y + whole(size.get("cy"), 0, _FAR))
    return None


def _index(shape: Element) -> str:
    """The number of the placeholder that a shape fills; '' if it fills none."""
    holder = next((holder for part in shape for holder in part.iter("p:ph")), None)
    return holder.get("idx", "0") if holder is not None else ""


def _placeholder(shape: Element) -> str | None:
    """The type of the placeholder that a shape fills, '' if the placeholder has no type; None for other shapes."""
    holder = next((holder for part in shape if (holder := first(part, "p:nvPr", "p:ph")) is not None), None)
    return holder.get("type", "") if holder is not None else None


def _text(paragraph: Element) -> str:
    parts: list[str] = []
    for child in paragraph:
        match child.tag:
            case "a:r" | "a:fld":
                text = "".join(run.text or "" for run in child.findall("a:t"))
                parts.append(_form(text, child.find("a:rPr")))
            case "a:br":
                parts.append("\n")
            case "m:oMath":
                parts.append(linear(child))
            case "mc:AlternateContent":
                if (variant := choose_variant(child)) is not None:
                    parts.append(_text(variant))
            case _:
                parts.append(_text(child))
    return "".join(parts)


def _form(text: str, properties: Element | None) -> str:
    """The text of a run in its form. properties: of the run."""
    if properties is None:
        return text
    if (font := properties.find("a:latin")) is not None:
        text = in_unicode(text, font.get("typeface", ""))
    if (signs := properties.find("a:sym")) is not None:
        text = _SIGNS.sub(lambda match: in_unicode(match.group(), signs.get("typeface", "")), text)
    raising = properties.get("baseline", "0").lstrip("0%")
    shift = (-1 if raising.startswith("-") else 1) if raising else 0
    return mark_form(text, Form(shift, properties.get("strike", "noStrike") != "noStrike"))


def _cells(row: Element) -> Iterator[GridCell]:
    for cell in row.findall("a:tc"):
        if not (is_on(cell.get("hMerge")) or is_on(cell.get("vMerge"))):
            text = tidy_cell("\n".join(_text(node) for node in cell.iter("a:p")))
            yield GridCell(text, whole(cell.get("rowSpan"), 1, 9_999), whole(cell.get("gridSpan"), 1, 9_999))


def _level(properties: Element | None, *, bulleted: bool) -> Level:
    """The list that a paragraph belongs to. properties: those that state its bullet. bulleted: whether it has a bullet if none do."""
    if properties is None:
        return Level(BULLET if bulleted else NO_LABEL)
    if (numbers := properties.find("a:buAutoNum")) is not None:
        scheme = numbers.get("type", "")
        form = next((form for name, form in _FORMS.items() if scheme.startswith(name)), "1")
        ends = next((ends for name, ends in _ENDS.items() if scheme.endswith(name)), ("", ""))
        return Level(form, (ends[0], 0, ends[1]), whole(numbers.get("startAt"), 1, 32_767))
    if properties.find("a:buNone") is not None:
        return Level(NO_LABEL)
    if (bullet := properties.find("a:buChar")) is not None:
        font = properties.find("a:buFont")
        sign = sign_of(bullet.get("char", ""), font.get("typeface", "") if font is not None else "")
        return Level(BULLET, sign=sign)
    return Level(BULLET if bulleted or properties.find("a:buBlip") is not None else NO_LABEL)
