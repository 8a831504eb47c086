"""Reads the XML parts of office documents: OPC packages (ISO/IEC 29500-2: DOCX, PPTX, XLSX) and OpenDocument packages.

Names of elements and attributes have the prefixes of this module's table, whatever prefixes the file uses. A document type declaration is
refused, so XML has neither entities nor external parts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from responsa_formats.containers import Archive, printable
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.nested import write_nested
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, one_line
from responsa_formats.text.inline import settle_marks

MAX_DEPTH: Final = 200
"""The parsers walk over trees recursively, so this depth is well below Python's limit."""

_OOXML = "http://schemas.openxmlformats.org/"
_ODF = "urn:oasis:names:tc:opendocument:xmlns:"
_PREFIXES: Final = {
    f"{_OOXML}wordprocessingml/2006/main": "w",
    f"{_OOXML}spreadsheetml/2006/main": "x",
    f"{_OOXML}presentationml/2006/main": "p",
    f"{_OOXML}drawingml/2006/main": "a",
    f"{_OOXML}drawingml/2006/diagram": "dgm",
    f"{_OOXML}drawingml/2006/chart": "c",
    f"{_OOXML}officeDocument/2006/relationships": "r",
    f"{_OOXML}officeDocument/2006/math": "m",
    f"{_OOXML}markup-compatibility/2006": "mc",
    "http://schemas.microsoft.com/office/word/2010/wordml": "w14",
    f"{_OOXML}package/2006/relationships": "rel",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    **{
        f"{_ODF}{name}:1.0": name for name in ("office", "text", "table", "style", "form", "manifest", "meta")
    },
    # What LibreOffice adds to OpenDocument: content controls, and the fields of forms of Word.
    "urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0": "loext",
    "urn:openoffice:names:experimental:ooo-ms-interop:xmlns:field:1.0": "field",
    "http://www.w3.org/XML/1998/namespace": "xml",
    f"{_ODF}drawing:1.0": "draw",
    f"{_ODF}presentation:1.0": "presentation",
    "http://www.w3.org/1998/Math/MathML": "math",
    "http://www.w3.org/1999/xlink": "xlink",
}
# The strict form of Office Open XML differs in the names of its namespaces.
_STRICT = re.compile(r"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
_SPACES = re.compile(r"[^\S\n\u00a0\u202f]+")
_SOFT_HYPHEN = "\u00ad"
# Most texts need no change, and this search is much cheaper than the change.
_UNTIDY = re.compile(r"[\u00ad\n\x01-\x07]|[^\S\u00a0\u202f ]|  |\A | \Z")


class Names(dict[str, str]):
    """The prefixed form of expat's names, which are a namespace, a space and a local name."""

    def __missing__(self, name: str) -> str:
        space, _, local = name.rpartition(" ")
        prefix = _PREFIXES.get(_STRICT.sub(rf"{_OOXML}\1/2006/\2", space), "?")
        short = f"{prefix}:{local}" if space else local
        self[name] = short
        return short


def read_events(
    archive: Archive,
    part: str,
    start: Callable[[str, dict[str, str]], object],
    end: Callable[[str], object],
    text: Callable[[str], object],
) -> None:
    """Read an XML part and call `start(name, attributes)`, `end(name)` and `text(characters)` in the order of the part.

    The names are expat's, because the events of a large part are many; `Names` translates them. Raises Rejected if the part is
    missing or damaged, or declares a document type.
    """

    def refuse(*_: object) -> None:
        raise Rejected.as_malformed(
            f'The part "{printable(part)}" of the document has a document type declaration, which office documents never have.'
        )

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        for piece in archive.pieces(part):
            parser.Parse(piece)
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError):
        raise Rejected.as_malformed(
            f'The XML of the part "{printable(part)}" of the document is damaged.'
        ) from None


def read_tree(archive: Archive, part: str) -> Element:
    """Read an XML part as a tree with prefixed names.

    Raises as `read_events` does, and if the part is nested more than MAX_DEPTH deep.
    """
    names = Names()
    builder = TreeBuilder()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Rejected.as_over_limit(
                f"The document's elements are nested more than {MAX_DEPTH} deep.",
                "Flatten its tables and lists, or upload its text as Markdown or plain text.",
            )
        if attributes:
            attributes = {names[key]: value for key, value in attributes.items()}
        builder.start(names[name], attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    read_events(archive, part, start, end, builder.data)
    return builder.close()


@dataclass(frozen=True, slots=True)
class Related:
    """One relationship of a part. kind: the last component of its type, such as "styles". part: the name of the part that it leads to."""

    kind: str
    part: str


def relations_of(archive: Archive, part: str = "") -> dict[str, Related]:
    """The relationships of a part, or of the package with '', by id. Relationships that lead out of the package are left out."""
    folder, base = posixpath.split(part)
    name = posixpath.join(folder, "_rels", f"{base}.rels")
    if name not in archive:
        return {}
    relationships: dict[str, Related] = {}
    for node in read_tree(archive, name).iter("rel:Relationship"):
        if node.get("TargetMode") == "External":
            continue
        target = posixpath.join("/", folder, node.get("Target", "").replace("\\", "/"))
        path = posixpath.normpath(target).lstrip("/")
        relationships[node.get("Id", "")] = Related(node.get("Type", "").rpartition("/")[2], path)
    return relationships


def main_part(archive: Archive) -> str:
    """The name of an OPC package's main part. Raises Rejected if the package has no main part."""
    for link in relations_of(archive).values():
        if link.kind == "officeDocument":
            return link.part
    raise Rejected.as_malformed("The document does not name its main part.")


# The libraries python-docx and python-pptx leave the date of their templates in the files that they make.
_TEMPLATE_DATES: Final = ("2013-12-23T23:15:00Z", "2013-01-27T09:14:16Z")


@dataclass(frozen=True, slots=True)
class Stated:
    """What a document's properties state; '' for each property that is missing."""

    title: str = ""
    language: str = ""
    author: str = ""
    date: str = ""


def metadata_of(archive: Archive) -> Stated:
    """What the core properties of an OPC package state."""
    part = next((link.part for link in relations_of(archive).values() if link.kind == "core-properties"), "")
    return properties(read_tree(archive, part)) if part in archive else Stated()


def properties(tree: Element) -> Stated:
    """What the properties of an OPC package or of an OpenDocument package state. The first author comes before those of
    later changes, and the last change before the creation, which may be that of a template."""

    def text(*names: str) -> str:
        nodes = (next(tree.iter(name), None) for name in names)
        return next((node.text.strip() for node in nodes if node is not None and node.text), "")

    date = text("dcterms:modified", "dc:date", "dcterms:created", "meta:creation-date")
    return Stated(
        one_line(text("dc:title")),
        text("dc:language"),
        text("meta:initial-creator", "dc:creator"),
        "" if date in _TEMPLATE_DATES else date,
    )


PAGE_NUMBER: Final = "\ufdd0"
"""Stands for a page number in the text of a header or footer. It is a noncharacter, so no document has it."""


def write_running(
    blocks: BlockWriter, lines: Iterable[tuple[str, str]], seen: set[str], page: int = 0
) -> int:
    """Write what the headers and footers of the pages say, each text once, as paragraphs before the body, because it is
    about the whole document.

    lines: the path and the text of each line. Its parts between tabs and line breaks that have a PAGE_NUMBER are left
    out. seen: what the document says anyway; gets the texts that are written. Returns where the body begins.
    """
    for path, line in lines:
        parts = [tidy_cell(part) for part in re.split(r"[\t\n]", line) if PAGE_NUMBER not in part]
        text = " | ".join(filter(None, parts))
        if text and text not in seen:
            seen.add(text)
            blocks.write(text, BlockKind.PARAGRAPH, place=Place(page, path=path))
    return blocks.length


def document(
    original: Original, blocks: BlockWriter, title: str, metadata: Stated, nothing: str, running: int = 0
) -> ParsedDocument:
    """The parsed document. title, running: as in `BlockCollector.document`. nothing: the sentence about a document without
    text. Raises Rejected if there is no text."""
    if not blocks.text.strip():
        raise Rejected.as_empty(nothing)
    return blocks.document(
        original,
        title=title,
        named=metadata.title,
        running=running,
        language=metadata.language,
        author=metadata.author,
        date=metadata.date,
    )


_MEMBERS_LEFT_OUT: Final = {
    LeftOutKind.PICTURE: re.compile(r"(?:word|xl|ppt)/media/.+|pictures/.+"),
    LeftOutKind.CHART: re.compile(r"(?:word|xl|ppt)/charts?/chart(?:Ex)?\d*\.xml"),
    LeftOutKind.EMBEDDED_FILE: re.compile(r"(?:word|xl|ppt)/embeddings/.+"),
}
_COMMENTS: Final = re.compile(
    r"word/comments\.xml|xl/comments[^/]*\.xml|xl/comments/.+\.xml|ppt/comments/.+\.xml"
)


def count_left_out(original: Original, archive: Archive) -> None:
    """Count the parts of an OPC package that no parser reads, and its charts, each of which counts until it is read.
    Hidden sheets and slides are counted by their parsers."""
    for kind, pattern in _MEMBERS_LEFT_OUT.items():
        original.left_out[kind] += sum(1 for name in archive.members if pattern.fullmatch(name))
    for name in archive.members:
        if _COMMENTS.fullmatch(name):
            tags = (node.tag for node in read_tree(archive, name).iter())
            original.left_out[LeftOutKind.COMMENT] += sum(
                1 for tag in tags if tag in ("w:comment", "x:comment") or tag.endswith(":cm")
            )


def write_embedded(
    original: Original, archive: Archive, part: str, blocks: BlockWriter, place: Place
) -> None:
    """Write the office documents that are embedded in a part, which then do not count as left out."""
    embedded = {link.part for link in relations_of(archive, part).values() if link.kind == "package"}
    for name in sorted(embedded):
        if name in archive and not name.endswith(".bin"):
            original.left_out[LeftOutKind.EMBEDDED_FILE] -= 1
            short = posixpath.basename(name)
            blocks.write(f"Embedded file: {short}", BlockKind.HEADING, 2, place=place)
            write_nested(original, archive.read(name), short, "", blocks, f"embedded file {short}")


def first(node: Element | None, *names: str) -> Element | None:
    """The first child with the first name, its first child with the second name, and so on; None if one is missing."""
    for name in names:
        node = node.find(name) if node is not None else None
    return node


def choose_variant(alternatives: Element) -> Element | None:
    """The variant of an mc:AlternateContent to read. Its variants hold the same content for newer and for older programs."""
    choice = alternatives.find("mc:Choice")
    return choice if choice is not None else alternatives.find("mc:Fallback")


def tidy(text: str) -> str:
    """A paragraph's text: with its marked runs settled, without soft hyphens, and with one space for each run of spaces
    and tabs. Line breaks stay."""
    if _UNTIDY.search(text) is None:
        return text if text.strip() else ""
    lines = _SPACES.sub(" ", settle_marks(text).replace(_SOFT_HYPHEN, "").replace("\r", "\n")).split("\n")
    joined = "\n".join(line.strip(" ") for line in lines).strip("\n")
    return joined if joined.strip() else ""


def tidy_cell(text: str) -> str:
    """The text of a table's cell, on one line."""
    return " ".join(line for line in tidy(text).split("\n") if line)


def is_on(attribute: str | None) -> bool:
    """Whether an attribute of type ST_OnOff or xsd:boolean is true."""
    return attribute in ("1", "true", "on")


def whole(attribute: str | None, default: int, highest: int) -> int:
    """An attribute as an integer between 0 and `highest`; `default` if it is missing or is not a number."""
    if attribute is None or not re.fullmatch(r"[0-9]{1,9}", attribute):
        return default
    return min(int(attribute), highest)
