"""Opens PDF files with pdfium."""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from pypdfium2 import raw

from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import MAX_PATH_CHARS, one_line

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)


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


def label_of(document: Any, number: int) -> str:
    """The label that the file gives to a page, such as "iii"; '' if it is the page's number. number: from 1."""
    buffer = (ctypes.c_ushort * MAX_PATH_CHARS)()
    if (
        not 2
        < _pdfium.FPDF_GetPageLabel(document, number - 1, buffer, 2 * MAX_PATH_CHARS)
        <= 2 * MAX_PATH_CHARS
    ):
        return ""
    label = one_line(bytes(buffer).decode("utf-16-le", "ignore").partition("\0")[0])
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
