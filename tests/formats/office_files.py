"""Small office documents, made from the XML that a test writes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO

from responsa_formats.parsers.office_samples import relationships, zip_members
from responsa_formats.parsers.sniff import sniff
from responsa_formats.parsers.table import FORMATS
from responsa_formats.text.canonical import BlockKind, ParsedDocument

OOXML = "http://schemas.openxmlformats.org/"
RELATIONS = f'xmlns:r="{OOXML}officeDocument/2006/relationships"'
W = (
    f'xmlns:w="{OOXML}wordprocessingml/2006/main" '
    'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml" '
    f'xmlns:mc="{OOXML}markup-compatibility/2006" xmlns:m="{OOXML}officeDocument/2006/math"'
)
P = f'xmlns:p="{OOXML}presentationml/2006/main" xmlns:a="{OOXML}drawingml/2006/main" xmlns:dgm="{OOXML}drawingml/2006/diagram" {RELATIONS}'
X = f'xmlns="{OOXML}spreadsheetml/2006/main" {RELATIONS}'
ODF = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {
        "office": "office",
        "text": "text",
        "table": "table",
        "style": "style",
        "draw": "drawing",
        "form": "form",
        "manifest": "manifest",
    }.items()
) + (
    ' xmlns:loext="urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0"'
    ' xmlns:field="urn:openoffice:names:experimental:ooo-ms-interop:xmlns:field:1.0"'
)
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'


def core(title: str, language: str = "") -> str:
    """The core properties of a document."""
    return f"<cp:coreProperties xmlns:cp='c' {DC}><dc:title>{title}</dc:title><dc:language>{language}</dc:language></cp:coreProperties>"


def docx(body: str, parts: Mapping[str, str] | None = None, properties: str = "") -> bytes:
    """A DOCX file. body: the content of w:body. parts: the content of other parts by kind, such as "styles"."""
    members = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": _package("word/document.xml", properties),
        "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": relationships({f"{kind}.xml": kind for kind in parts or {}}),
    }
    for kind, content in (parts or {}).items():
        members[f"word/{kind}.xml"] = f"<w:{kind} {W}>{content}</w:{kind}>"
    return zip_members(members | ({"docProps/core.xml": properties} if properties else {}))


def pptx(slides: Mapping[str, Mapping[str, str]], properties: str = "") -> bytes:
    """A PPTX file. slides: by name, each slide's XML as "slide", and the XML of related parts by kind."""
    listed = "".join(f'<p:sldId r:id="r{number}"/>' for number in range(1, len(slides) + 1))
    members = {
        "_rels/.rels": _package("ppt/presentation.xml", properties),
        "ppt/presentation.xml": f"<p:presentation {P}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relationships({f"slides/{name}.xml": "slide" for name in slides}),
    }
    for name, parts in slides.items():
        members[f"ppt/slides/{name}.xml"] = parts["slide"]
        others = {kind: xml for kind, xml in parts.items() if kind != "slide"}
        members[f"ppt/slides/_rels/{name}.xml.rels"] = relationships(
            {f"../{kind}/{name}.xml": kind for kind in others}
        )
        members |= {f"ppt/{kind}/{name}.xml": xml for kind, xml in others.items()}
    return zip_members(members | ({"docProps/core.xml": properties} if properties else {}))


def slide(shapes: str, attributes: str = "", root: str = "sld") -> str:
    """The XML of a slide or, with "notes", of a slide's notes."""
    return f"<p:{root} {P} {attributes}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:{root}>"


def shape(paragraphs: str, placeholder: str | None = None, attributes: str = "") -> str:
    """A shape. placeholder: its type, '' for a placeholder without a type."""
    kind = f'type="{placeholder}"' if placeholder else ""
    nv = f"<p:nvPr>{f'<p:ph {kind}/>' if placeholder is not None else ''}</p:nvPr>"
    if not paragraphs.startswith(("<a:p>", "<a:lstStyle>")):
        paragraphs = f"<a:p><a:r><a:t>{paragraphs}</a:t></a:r></a:p>"
    return f"<p:sp><p:nvSpPr><p:cNvPr {attributes}/>{nv}</p:nvSpPr><p:txBody>{paragraphs}</p:txBody></p:sp>"


def xlsx(
    sheets: Mapping[str, str],
    *,
    strings: str = "",
    styles: str = "",
    hidden: Mapping[str, str] | None = None,
    workbook: str = "",
    before: str = "",
    after: str = "",
    tables: Mapping[str, str] | None = None,
) -> bytes:
    """An XLSX file. sheets: the content of each sheet's sheetData by name; before, after: what stands round it in each
    sheet. hidden: the states of hidden sheets. tables: the ranges of the first sheet's tables by name.
    """
    rows = "".join(
        f'<sheet name="{name}" r:id="r{number}" state="{(hidden or {}).get(name, "visible")}"/>'
        for number, name in enumerate(sheets, 1)
    )
    links = {f"sheets/{number}.xml": "worksheet" for number in range(1, len(sheets) + 1)}
    links |= {"strings.xml": "sharedStrings", "styles.xml": "styles"}
    members = {
        "_rels/.rels": _package("xl/workbook.xml", ""),
        "xl/workbook.xml": f"<workbook {X}>{workbook}<sheets>{rows}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relationships(links),
        "xl/strings.xml": f"<sst {X}>{strings}</sst>",
        "xl/styles.xml": f"<styleSheet {X}>{styles}</styleSheet>",
    }
    for number, content in enumerate(sheets.values(), 1):
        members[f"xl/sheets/{number}.xml"] = (
            f"<worksheet {X}>{before}<sheetData>{content}</sheetData>{after}</worksheet>"
        )
    members["xl/sheets/_rels/1.xml.rels"] = relationships(
        {f"../{name}.xml": "table" for name in tables or {}}
    )
    members |= {f"xl/{name}.xml": f'<table {X} ref="{place}"/>' for name, place in (tables or {}).items()}
    return zip_members(members)


def odt(body: str, *, styles: str = "", automatic: str = "", meta: str = "", manifest: str = "") -> bytes:
    """An ODT file. body: the content of office:text."""
    members = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": f"<office:document-content {ODF}><office:automatic-styles>{automatic}</office:automatic-styles>"
        f"<office:body><office:text>{body}</office:text></office:body></office:document-content>",
        "styles.xml": f"<office:document-styles {ODF}><office:styles>{styles}</office:styles></office:document-styles>",
    }
    if meta:
        members["meta.xml"] = (
            f"<office:document-meta {ODF} {DC}><office:meta>{meta}</office:meta></office:document-meta>"
        )
    if manifest:
        members["META-INF/manifest.xml"] = f"<manifest:manifest {ODF}>{manifest}</manifest:manifest>"
    return zip_members(members)


def changed(data: bytes, members: Mapping[str, bytes | None]) -> bytes:
    """An archive with other contents for some members, or without them."""
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        kept: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
        kept.update(members)
        for name, content in kept.items():
            if content is not None:
                new.writestr(name, content)
    return made.getvalue()


def parse(data: bytes, name: str) -> ParsedDocument:
    """Parse a file as the format that its bytes and its name decide."""
    original = sniff(data, name)
    row = FORMATS.with_name(original.format)
    assert row is not None
    return row.load()(original)


def spans(document: ParsedDocument) -> list[tuple[BlockKind, int, str]]:
    """The kind, the level and the text of each block."""
    data = document.canonical_text.encode()
    return [
        (block.kind, block.level, data[block.byte_start : block.byte_end].decode())
        for block in document.blocks
    ]


def paths(document: ParsedDocument) -> list[str]:
    """The path of each block's place."""
    return [block.place.path if block.place is not None else "" for block in document.blocks]


def _package(part: str, properties: str) -> str:
    links = {part: "officeDocument"} | ({"docProps/core.xml": "core-properties"} if properties else {})
    return relationships(links)


def ods(sheets: str, *, automatic: str = "") -> bytes:
    """An ODS file. sheets: the content of office:spreadsheet."""
    return zip_members(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "content.xml": f"<office:document-content {ODF}><office:automatic-styles>{automatic}</office:automatic-styles>"
            f"<office:body><office:spreadsheet>{sheets}</office:spreadsheet></office:body></office:document-content>",
        }
    )


def epub(
    chapters: Mapping[str, str], *, metadata: str = "", items: str = "", more: Mapping[str, str] | None = None
) -> bytes:
    """An EPUB file. chapters: by file name, in the order of the spine. items: further items of the manifest. more: further members."""
    listed = "".join(
        f'<item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    return zip_members(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": f'<package xmlns="http://www.idpf.org/2007/opf" {DC}><metadata>{metadata}</metadata>'
            f"<manifest>{listed}{items}</manifest><spine>{spine}</spine></package>",
            **{f"OEBPS/{name}": text for name, text in chapters.items()},
            **(more or {}),
        }
    )
