"""PDF. The canonical text is what the pages say in reading order; pdfium reads the files, `pdf_lines` finds
the lines, and `page_layout` the structure.

A field of a form is a line of its printed name and its value. Texts that readers have typed onto a page stand where
they are. Images, scripts, comments and attached files are left out. Every block has a place: its page and its box. A
scanned page, which has pictures and no text, is drawn and read by OCR if that is turned on, and otherwise counted as
left out.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, cast

from pypdfium2 import raw

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.page_layout import Line, PageBlock, PageLayout, arrange
from responsa_formats.parsers.pdf_drawn import read_drawn
from responsa_formats.parsers.pdf_file import form_of, label_of, open_pdf, text_of
from responsa_formats.parsers.pdf_lines import View, clean, read_lines
from responsa_formats.parsers.pdf_pages import draw_open
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import ParsedDocument, Place, one_line

MAX_PAGES: Final = 5_000

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)

_THOUSAND: Final = 1000
_COMMENTS: Final = (
    _pdfium.FPDF_ANNOT_TEXT,
    _pdfium.FPDF_ANNOT_HIGHLIGHT,
    _pdfium.FPDF_ANNOT_UNDERLINE,
    _pdfium.FPDF_ANNOT_STRIKEOUT,
    _pdfium.FPDF_ANNOT_SQUIGGLY,
    _pdfium.FPDF_ANNOT_CARET,
)
"""The kinds of annotations whose text is a comment on the page."""
_BOXES: Final = (_pdfium.FPDF_FORMFIELD_CHECKBOX, _pdfium.FPDF_FORMFIELD_RADIOBUTTON)
_CROSS: Final = re.compile(r"\(8\)\s*Tj")
"""The sign of ZapfDingbats that is a cross, as forms draw it."""
_NUMBERED: Final = re.compile(r"(?:\d{1,2}\.)*\d{1,2}[.)]?\s")
"""How sections begin, of which the first is no title, although no heading has larger letters."""
_NOT_READ: Final = (
    "Scanned pages can be read by OCR: run `responsa setup --ocr`, start the server with `RESPONSA_INGESTION__OCR=true`, and upload "
    "the file again; or run OCR on the file yourself and upload the result."
)
_NOTHING_READ: Final = "OCR found no text on them."
_DRAWN_SIDE: Final = 1800
"""The longer side of a page that is drawn for OCR, in pixels: about 155 to the inch of a page of A4."""
_LETTERS: Final = 0.75
"""The size of the letters, in heights of the box that OCR finds around a line."""
_ALIKE: Final = 1.3
"""Boxes of lines whose letters have the same size differ in height by this factor at most, as some lines have no letter
that is high, or low."""


def parse(original: Original) -> ParsedDocument:
    """Extract the text.

    Raises Rejected if the document is damaged, can be opened only with a password, has no text layer, or has
    more than MAX_PAGES pages or more blocks than the server stores.
    """
    with open_pdf(original.data) as document:
        pages = _read(document, original)
        named = _metadata(document, b"Title")
        language = _language(document)
        author = _metadata(document, b"Author")
        # The date of creation is that of the program that wrote the file; so is an equal one of a change.
        created, date = _metadata(document, b"CreationDate"), _metadata(document, b"ModDate")
    parts = [part for part in arrange(pages) if part.text.strip()]
    original.left_out[LeftOutKind.UNCERTAIN_TABLE] += sum(page.uncertain for page in pages)
    if not parts:
        raise Rejected.as_empty(
            "The PDF has no text layer: its pages are empty or show only images. "
            + (_NOTHING_READ if original.reader else _NOT_READ)
        )
    blocks = BlockWriter()
    running = 0
    for part in parts:
        blocks.write(part.text, part.kind, part.level, part.marker, _place(part))
        if part.running:
            running = blocks.length
    opening = next((part.text for part in parts if not part.running), "")
    return blocks.document(
        original,
        named=named,
        running=running,
        headed=not _NUMBERED.match(opening),
        language=language,
        author=author,
        date="" if date == created else date,
    )


def _place(part: PageBlock) -> Place:
    left, top, right, bottom = part.box
    width, height = part.page.width, part.page.height
    if width <= 0 or height <= 0:
        return Place(part.page.number)
    box = (_share(left, width), _share(top, height), _share(right, width), _share(bottom, height))
    return Place(part.page.number, box, part.page.label)


def _share(edge: float, whole: float) -> int:
    """An edge in thousandths of the page."""
    share = round(edge / whole * _THOUSAND)
    return 0 if share < 0 else _THOUSAND if share > _THOUSAND else share


# -- the file ----------------------------------------------------------------------------------------------------------


def _read(document: Any, original: Original) -> list[PageLayout]:
    count = _pdfium.FPDF_GetPageCount(document)
    if count > MAX_PAGES:
        raise Rejected.as_over_limit(f"The PDF has more than {MAX_PAGES:,} pages.")
    pages: list[PageLayout] = []
    # Names stand in the bytes of a file, unless it packs its objects.
    layered = any(name in original.data for name in (b"/OCProperties", b"/ObjStm"))
    with form_of(document) as form:
        for number in range(count):
            page = _pdfium.FPDF_LoadPage(document, number)
            # A damaged page does not make the others useless.
            if page:
                try:
                    pages.append(_page(document, page, number + 1, form, original, layered=layered))
                finally:
                    _pdfium.FPDF_ClosePage(page)
    if not pages:
        raise Rejected.as_malformed("The PDF is damaged: it has no page that can be read.")
    return pages


def _metadata(document: Any, key: bytes) -> str:
    size = _pdfium.FPDF_GetMetaText(document, key, None, 0)
    if not 2 < size <= 1 << 16:
        return ""
    buffer = ctypes.create_string_buffer(size)
    _pdfium.FPDF_GetMetaText(document, key, buffer, size)
    return one_line(clean(buffer.raw[:-2].decode("utf-16-le", "ignore")))


def _language(document: Any) -> str:
    size = _pdfium.FPDFCatalog_GetLanguage(document, None, 0)
    if not 2 < size <= 256:
        return ""
    buffer = (ctypes.c_ushort * size)()
    _pdfium.FPDFCatalog_GetLanguage(document, buffer, size)
    return bytes(buffer).decode("utf-16-le", "ignore").partition("\x00")[0]


# -- a page ------------------------------------------------------------------------------------------------------------


def _page(
    document: Any, page: Any, number: int, form: Any, original: Original, *, layered: bool
) -> PageLayout:
    box = _pdfium.FS_RECTF()
    _pdfium.FPDF_GetPageBoundingBox(page, box)
    view = View(box.left, box.bottom, box.right, box.top, _pdfium.FPDFPage_GetRotation(page))
    layout = PageLayout(number, view.width, view.height, [], label=label_of(document, number))
    drawn_objects = read_drawn(document, page, view, layered=layered)
    layout.rules = drawn_objects.rules
    hidden = read_lines(page, view, layout, drawn_objects.hidden, turned=drawn_objects.turned)
    original.left_out[LeftOutKind.HIDDEN_TEXT] += hidden + drawn_objects.off
    if not layout.lines and not layout.turned and _is_scan(page):
        if original.reader is None:
            original.left_out[LeftOutKind.SCANNED_PAGE] += 1
        else:
            layout.lines = _recognise(page, layout, original)
    else:
        original.left_out[LeftOutKind.PICTURE] += drawn_objects.pictures
    for note in _notes(page, view, original):
        _insert(layout.lines, note, joined=True)
    if form is not None:
        _pdfium.FORM_OnAfterLoadPage(page, form)
        _fill(layout.lines, list(_fields(page, form, view)))
        _pdfium.FORM_OnBeforeClosePage(page, form)
    return layout


# -- scans -------------------------------------------------------------------------------------------------------------


def _is_scan(page: Any) -> bool:
    pictures = (_pdfium.FPDF_PAGEOBJ_IMAGE, _pdfium.FPDF_PAGEOBJ_FORM)
    return any(
        _pdfium.FPDFPageObj_GetType(_pdfium.FPDFPage_GetObject(page, number)) in pictures
        for number in range(_pdfium.FPDFPage_CountObjects(page))
    )


def _recognise(page: Any, layout: PageLayout, original: Original) -> list[Line]:
    assert original.reader is not None, "only a document with a reader has pages that are read"
    picture = draw_open(page, _DRAWN_SIDE)
    recognised_lines = original.reader.read(picture)
    if not recognised_lines:
        return []
    original.ocr_pages += 1
    points = layout.width / picture.width
    usual = median(line.bottom - line.top for line in recognised_lines)
    lines: list[Line] = []
    for line in recognised_lines:
        height = line.bottom - line.top
        size = _LETTERS * points * (usual if usual / _ALIKE < height < usual * _ALIKE else height)
        left, top, right, bottom = (edge * points for edge in (line.left, line.top, line.right, line.bottom))
        lines.append(Line(clean(line.text), left, top, right, bottom, (top + bottom) / 2 + 0.3 * size, size))
    return lines


# -- annotations -----------------------------------------------------------------------------------------------------


def _annotations(page: Any) -> Iterator[Any]:
    for number in range(_pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = _pdfium.FPDFPage_GetAnnot(page, number)
        if annotation:
            try:
                yield annotation
            finally:
                _pdfium.FPDFPage_CloseAnnot(annotation)


def _notes(page: Any, view: View, original: Original) -> Iterator[Line]:
    """The texts that readers have typed onto the page, as lines. The comments, which stand next to the page, are counted as left out."""
    for annotation in _annotations(page):
        kind = _pdfium.FPDFAnnot_GetSubtype(annotation)
        if kind not in (_pdfium.FPDF_ANNOT_FREETEXT, *_COMMENTS):
            continue
        text = " ".join(clean(text_of(_pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")).split())
        if text and kind == _pdfium.FPDF_ANNOT_FREETEXT:
            yield from _line(annotation, text, view)
        elif text:
            original.left_out[LeftOutKind.COMMENT] += 1


def _line(annotation: Any, text: str, view: View) -> Iterator[Line]:
    box = _pdfium.FS_RECTF()
    if _pdfium.FPDFAnnot_GetRect(annotation, box):
        left, top, right, bottom = view.box(box.left, box.bottom, box.right, box.top)
        size = min(bottom - top, 12.0)
        yield Line(text, left, top, right, bottom, (top + bottom) / 2 + 0.3 * size, size)


# -- forms -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Field:
    """A field of a form. name: as the file calls it for readers, or ''. ticked: whether it is a box or a button."""

    line: Line
    name: str
    ticked: bool


def _fields(page: Any, form: Any, view: View) -> Iterator[_Field]:
    for annotation in _annotations(page):
        if _pdfium.FPDFAnnot_GetSubtype(annotation) == _pdfium.FPDF_ANNOT_WIDGET:
            kind = _pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
            value = clean(_value(form, annotation, kind))
            for line in _line(annotation, value, view) if value else ():
                name = text_of(_pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
                yield _Field(line, clean(name), kind in _BOXES)


def _fill(lines: list[Line], fields: Sequence[_Field]) -> None:
    """Write the values of the fields after the names that are printed for them. In rows and columns of fields, the values are cells."""
    printed = list(lines)
    names = [_name_beside(field, printed) or _name_above(field, printed, fields) for field in fields]
    used = Counter(id(name) for name in names if name is not None)
    for field, name in zip(fields, names, strict=True):
        value = field.line
        if name is not None and used[id(name)] == 1:
            name.text = f"{name.text}{'' if name.text[-1] in ':?' else ':'} {value.text}"
            name.left, name.right = min(name.left, value.left), max(name.right, value.right)
            name.alone = True
        else:
            if name is None and field.name:
                value.text, value.alone = f"{field.name}: {value.text}", True
            _insert(lines, value)


def _name_beside(field: _Field, printed: Sequence[Line]) -> Line | None:
    """The printed text next to a field: on its left, or, of a box, also on its right."""
    box = field.line
    row = [line for line in printed if box.top - 2 < line.base < box.bottom + 2]
    gaps = [(box.left - line.right, line) for line in row if line.right <= box.left + 2]
    if field.ticked:
        gaps += [(line.left - box.right, line) for line in row if line.left >= box.right - 2]
    return min(gaps, key=lambda gap: gap[0])[1] if gaps else None


def _name_above(field: _Field, printed: Sequence[Line], fields: Sequence[_Field]) -> Line | None:
    """The printed text right above a field, unless it names a column of fields."""
    box = field.line
    near = [line for line in printed if line.left < box.right and box.left < line.right]
    above = [line for line in near if -2 < box.top - line.base < line.size]
    for other in fields:
        below = other.line
        follows = (
            -2 < below.top - box.bottom < 2 * box.size and below.left < box.right and box.left < below.right
        )
        if follows and not any(box.bottom < line.base < below.top + 2 for line in near):
            return None
    return max(above, key=lambda line: line.base, default=None)


def _value(form: Any, annotation: Any, kind: int) -> str:
    if kind in _BOXES:
        if not _pdfium.FPDFAnnot_IsChecked(form, annotation):
            return "☐"
        drawn_mark = _CROSS.search(
            text_of(_pdfium.FPDFAnnot_GetAP, annotation, _pdfium.FPDF_ANNOT_APPEARANCEMODE_NORMAL)
        )
        return "☒" if drawn_mark else "☑"
    if kind not in (
        _pdfium.FPDF_FORMFIELD_TEXTFIELD,
        _pdfium.FPDF_FORMFIELD_COMBOBOX,
        _pdfium.FPDF_FORMFIELD_LISTBOX,
    ):
        return ""
    return text_of(_pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)


def _insert(lines: list[Line], added: Line, *, joined: bool = False) -> None:
    """Put a line after the text on its left, or else after the last line above it. joined: whether it goes on in the
    line of a text that is near or ends with a colon."""
    beside = [
        number
        for number, line in enumerate(lines)
        if added.top - 2 < line.base < added.bottom + 2 and line.right <= added.left + 2
    ]
    if beside and joined:
        label = lines[beside[-1]]
        if label.text.endswith(":") or added.left - label.right < 3 * added.size:
            label.text = f"{label.text} {added.text}"
            label.right = added.right
            return
    above = [number for number, line in enumerate(lines) if line.base < added.top]
    lines.insert((beside or above or [-1])[-1] + 1, added)
