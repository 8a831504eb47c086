"""Opens PDF files with pdfium."""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from pypdfium2 import raw

from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import MAX_PATH_CHARS, one_line

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)
_MAX_VALUE_CHARS: Final = 10_000


@contextmanager
def open_pdf(data: bytes) -> Generator[Any, None, None]:
    """The open document. Raises Rejected."""
    document = _pdfium.FPDF_LoadMemDocument64(data, len(data), None)
    if not document:
        if _pdfium.FPDF_GetLastError() in (_pdfium.FPDF_ERR_PASSWORD, _pdfium.FPDF_ERR_SECURITY):
            raise Rejected.as_encrypted()
        raise Rejected.as_malformed("The PDF is damaged and cannot be read.")
    try:
        yield document
    finally:
        _pdfium.FPDF_CloseDocument(document)


def text_of(read: Any, *about: Any) -> str:
    """A text of the library; '' if it is too long. read: the function that reads it. about: its first arguments."""
    size = read(*about, None, 0)
    if not 2 < size <= 2 * _MAX_VALUE_CHARS:
        return ""
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    read(*about, buffer, size)
    return bytes(buffer).decode("utf-16-le", "ignore").partition("\x00")[0]


def label_of(document: Any, number: int) -> str:
    """The label that the file gives to a page, such as "iii"; '' if it is the page's number. number: from 1."""
    label = one_line(text_of(_pdfium.FPDF_GetPageLabel, document, number - 1))[:MAX_PATH_CHARS]
    return label if label != str(number) and label.isprintable() else ""


@contextmanager
def form_of(document: Any) -> Generator[Any, None, None]:
    """The form of the document; None if it has no form."""
    if _pdfium.FPDF_GetFormType(document) == _pdfium.FORMTYPE_NONE:
        yield None
        return
    # The library keeps a pointer to the structure.
    information = _pdfium.FPDF_FORMFILLINFO(version=2)
    form = _pdfium.FPDFDOC_InitFormFillEnvironment(document, information)
    try:
        yield form or None
    finally:
        if form:
            _pdfium.FPDFDOC_ExitFormFillEnvironment(form)
