"""Draws pages of PDF files, with pdfium."""

from __future__ import annotations

import ctypes
import math
from typing import Any, Final, cast

from pypdfium2 import raw

from responsa_formats.parsers.pdf_file import form_of, label_of, open_pdf
from responsa_formats.rejections import Rejected
from responsa_formats.text.drawn import MAX_HEIGHT, MAX_PIXELS, DrawnPage

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)

_CHANNELS: Final = 3
_WHITE: Final = 0xFFFFFFFF
_RARE: Final = 0xFF6D00D6
"""A colour that hardly any text has."""
_SIDE: Final = 900


def draw(data: bytes, page: int, width: int) -> DrawnPage:
    """Draw a page. page: its number, from 1. width: the wanted width in pixels.

    The result has no pixels if there is no such page. Form fields are drawn with their values; other annotations, such
    as comments, are not drawn. Raises Rejected if the document or the page is damaged, or if the document can
    be opened only with a password.
    """
    with open_pdf(data) as document, form_of(document) as form:
        count = int(_pdfium.FPDF_GetPageCount(document))
        if not 1 <= page <= count:
            return DrawnPage(count)
        loaded = _pdfium.FPDF_LoadPage(document, page - 1)
        if not loaded:
            raise Rejected.as_malformed("This page of the PDF is damaged and cannot be rendered.")
        try:
            size = _size(_pdfium.FPDF_GetPageWidthF(loaded), _pdfium.FPDF_GetPageHeightF(loaded), width)
            return DrawnPage(count, *size, _pixels(loaded, form, *size), label_of(document, page))
        finally:
            _pdfium.FPDF_ClosePage(loaded)


def draw_open(page: Any, side: int, paper: int = _WHITE) -> DrawnPage:
    """Draw a page that is open, without its form. side: the longer side of the picture in pixels. paper: its colour.
    Raises Rejected if the page has no size."""
    width, height = _pdfium.FPDF_GetPageWidthF(page), _pdfium.FPDF_GetPageHeightF(page)
    size = _size(width, height, round(side * min(1.0, width / height)) if height > 0 else side)
    return DrawnPage(1, *size, _pixels(page, None, *size, paper))


def is_blank(page: Any) -> bool:
    """Whether the active objects of a page that is open leave it as it is. Raises Rejected if the page has no size."""
    pixels = draw_open(page, _SIDE, _RARE).pixels
    return pixels == pixels[:_CHANNELS] * (len(pixels) // _CHANNELS)


def _size(page_width: float, page_height: float, width: int) -> tuple[int, int]:
    """The width and height of the image in pixels. A page of any size and proportion fits the limits of an image."""
    if not (0 < page_width < math.inf and 0 < page_height < math.inf):
        raise Rejected.as_malformed("This page of the PDF has no size, so it cannot be rendered.")
    scale = min(
        width / page_width, MAX_HEIGHT / page_height, math.sqrt(MAX_PIXELS / (page_width * page_height))
    )
    return max(1, min(width, int(page_width * scale))), max(1, min(MAX_HEIGHT, int(page_height * scale)))


def _pixels(page: Any, form: Any, width: int, height: int, paper: int = _WHITE) -> bytes:
    """The pixels of the page on paper of a colour: a byte each of red, green and blue, row by row."""
    buffer = ctypes.create_string_buffer(width * height * _CHANNELS)
    bitmap = _pdfium.FPDFBitmap_CreateEx(width, height, _pdfium.FPDFBitmap_BGR, buffer, width * _CHANNELS)
    if not bitmap:
        raise Rejected.as_over_limit("Rendering this page takes more memory than is allowed.")
    try:
        _pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, paper)
        area = (0, 0, width, height, 0, _pdfium.FPDF_REVERSE_BYTE_ORDER)
        _pdfium.FPDF_RenderPageBitmap(bitmap, page, *area)
        if form is not None:
            _pdfium.FORM_OnAfterLoadPage(page, form)
            _pdfium.FPDF_SetFormFieldHighlightAlpha(form, 0)
            _pdfium.FPDF_FFLDraw(form, bitmap, page, *area)
            _pdfium.FORM_OnBeforeClosePage(page, form)
    finally:
        _pdfium.FPDFBitmap_Destroy(bitmap)
    return buffer.raw
