"""PPTX (PresentationML, ISO/IEC 29500-1): the slides in order, each with its title as a heading.

A slide without a title has the heading "Slide 3". The shapes follow in the order of the file, the slide's notes last. Hidden slides, hidden
shapes, comments, dates, footers and slide numbers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from responsa_server.domain.knowledge import LeftOutKind
from responsa_server.ingest.containers import Archive
from responsa_server.ingest.formats.blocks import BlockWriter
from responsa_server.ingest.formats.equations import linear
from responsa_server.ingest.formats.grid import Cell, placed, write_table
from responsa_server.ingest.formats.office import (
    Related,
    count_left_out,
    document,
    first,
    is_on,
    main_part,
    numeral,
    read_tree,
    related,
    stated,
    tidy,
    tidy_cell,
    understood,
    whole,
)
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import BlockKind, ParsedDocument, Place, one_line
from responsa_server.text.inline import Form, marked
from responsa_server.text.symbols import in_unicode

_TITLES: Final = frozenset({"title", "ctrTitle"})
_FURNITURE: Final = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
# Placeholders of these types have bullets in the usual layouts. A placeholder without a type is a body.
_BULLETED: Final = frozenset({"", "body", "obj"})
# The characters that are in the font for signs.
_SIGNS: Final = re.compile("[\uf020-\uf0ff]")
# PowerPoint writes this title into presentations that have no title.
_NO_TITLE: Final = "PowerPoint Presentation"


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises DocumentRejected if the document is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    count_left_out(original, archive)
    part = main_part(archive)
    links = related(archive, part)
    said = stated(archive)
    blocks = BlockWriter()
    first_title = ""
    for number, one in enumerate(read_tree(archive, part).iter("p:sldId"), 1):
        link = links.get(one.get("r:id", ""))
        if link is None:
            continue
        slide = _Slide(archive, related(archive, link.part), number, blocks)
        tree = read_tree(archive, link.part)
        if tree.get("show") in ("0", "false"):
            original.left_out[LeftOutKind.HIDDEN_SLIDE] += 1
            continue
        slide.read(tree)
        first_title = first_title or slide.title
    return document(
        original,
        blocks,
        (said.title if said.title != _NO_TITLE else "") or one_line(first_title),
        said,
        "The presentation has no text on visible slides. Upload a presentation with visible text.",
    )


@dataclass(slots=True)
class _Slide:
    archive: Archive
    links: dict[str, Related]
    number: int
    blocks: BlockWriter
    title: str = ""
    headed: bool = False
    place: Place = field(default_factory=Place)

    def read(self, tree: Element) -> None:
        self.place = Place(page=self.number, path=f"slide {self.number}")
        shapes = [one for top in tree.iter("p:spTree") for one in _shapes(top)]
        titles = [one for one in shapes if _placeholder(one) in _TITLES]
        self.title = " ".join(tidy_cell(_text(one)) for shape in titles for one in shape.iter("a:p")).strip()
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
        if kind not in _FURNITURE:
            for body in shape.findall("p:txBody"):
                self.paragraphs(list(body.findall("a:p")), bulleted=kind in _BULLETED)

    def frame(self, frame: Element) -> None:
        for table in frame.iter("a:tbl"):
            rows = [list(_cells(row)) for row in table.findall("a:tr")]
            if any(cell.text for row in rows for cell in row):
                self.head()
                write_table(self.blocks, placed(rows), lambda _: self.place)
        for diagram in frame.iter("dgm:relIds"):
            link = self.links.get(diagram.get("r:dm", ""))
            if link is not None and link.part in self.archive:
                for point in read_tree(self.archive, link.part).iter("dgm:t"):
                    self.paragraphs(list(point.findall("a:p")), bulleted=True)

    def paragraphs(self, nodes: Sequence[Element], *, bulleted: bool) -> None:
        """Write paragraphs. bulleted: whether a paragraph that does not state its bullet has one."""
        counts: dict[int, int] = {}
        for node in nodes:
            properties = node.find("a:pPr")
            level = whole(properties.get("lvl"), 0, 8) if properties is not None else 0
            text = tidy(_text(node))
            if not text:
                continue
            self.head()
            marker = _marker(properties, level, counts, bulleted=bulleted)
            if marker:
                self.blocks.write(text, BlockKind.LIST_ITEM, level + 1, marker, self.place)
            else:
                self.blocks.write(text, BlockKind.PARAGRAPH, place=self.place)


def _shapes(node: Element) -> Iterator[Element]:
    for child in node:
        if any(is_on(one.get("hidden")) for part in child for one in part.findall("p:cNvPr")):
            continue
        match child.tag:
            case "p:sp" | "p:cxnSp" | "p:graphicFrame":
                yield child
            case "p:grpSp":
                yield from _shapes(child)
            case "mc:AlternateContent":
                if (variant := understood(child)) is not None:
                    yield from _shapes(variant)
            case _:
                pass


def _placeholder(shape: Element) -> str | None:
    """The type of the placeholder that a shape fills, '' if the placeholder has no type; None for other shapes."""
    found = next((one for part in shape if (one := first(part, "p:nvPr", "p:ph")) is not None), None)
    return found.get("type", "") if found is not None else None


def _text(paragraph: Element) -> str:
    parts: list[str] = []
    for child in paragraph:
        match child.tag:
            case "a:r" | "a:fld":
                text = "".join(one.text or "" for one in child.findall("a:t"))
                parts.append(_formed(text, child.find("a:rPr")))
            case "a:br":
                parts.append("\n")
            case "m:oMath":
                parts.append(linear(child))
            case "mc:AlternateContent":
                if (variant := understood(child)) is not None:
                    parts.append(_text(variant))
            case _:
                parts.append(_text(child))
    return "".join(parts)


def _formed(text: str, properties: Element | None) -> str:
    """The text of a run in its form. properties: of the run."""
    if properties is None:
        return text
    if (font := properties.find("a:latin")) is not None:
        text = in_unicode(text, font.get("typeface", ""))
    if (signs := properties.find("a:sym")) is not None:
        text = _SIGNS.sub(lambda found: in_unicode(found.group(), signs.get("typeface", "")), text)
    raising = properties.get("baseline", "0").lstrip("0%")
    shift = (-1 if raising.startswith("-") else 1) if raising else 0
    return marked(text, Form(shift, properties.get("strike", "noStrike") != "noStrike"))


def _cells(row: Element) -> Iterator[Cell]:
    for cell in row.findall("a:tc"):
        if not (is_on(cell.get("hMerge")) or is_on(cell.get("vMerge"))):
            text = tidy_cell("\n".join(_text(one) for one in cell.iter("a:p")))
            yield Cell(text, whole(cell.get("rowSpan"), 1, 9_999), whole(cell.get("gridSpan"), 1, 9_999))


def _marker(properties: Element | None, level: int, counts: dict[int, int], *, bulleted: bool) -> str:
    """The marker of a paragraph, with a space; '' if the paragraph is not a list item. counts: the numbers of the open levels."""
    for deeper in [count for count in counts if count > level]:
        del counts[deeper]
    numbers = properties.find("a:buAutoNum") if properties is not None else None
    if numbers is None:
        counts.pop(level, None)
    if properties is not None and numbers is not None:
        counts[level] = counts.get(level, whole(numbers.get("startAt"), 1, 32_767) - 1) + 1
        scheme = numbers.get("type", "")
        form = "a" if "lphaLc" in scheme else "A" if "lphaUc" in scheme else "1"
        form = "i" if scheme.startswith("romanLc") else "I" if scheme.startswith("romanUc") else form
        label = numeral(counts[level], form)
        if scheme.endswith("ParenBoth"):
            return f"({label}) "
        return f"{label}) " if scheme.endswith("ParenR") else f"{label}. "
    if properties is not None and properties.find("a:buNone") is not None:
        return ""
    stated_bullet = properties is not None and (
        properties.find("a:buChar") is not None or properties.find("a:buBlip") is not None
    )
    return "- " if bulleted or stated_bullet else ""
