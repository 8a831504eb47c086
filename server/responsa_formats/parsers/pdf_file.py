"""Opens PDF files with pdfium."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from pypdfium2 import raw

from responsa_formats.rejections import Rejected

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
