"""Addresses that a browser may show."""

from __future__ import annotations

import re
from typing import Final

_SKIPPED: Final = re.compile(r"[\x00-\x20]+")
_ACTIVE: Final = re.compile(r"(?:about|blob|data|filesystem|javascript|vbscript|view-source):", re.IGNORECASE)


def safe_uri(uri: str) -> str:
    """The URI of a source as callers get it: "" if a browser would run it or show its content as a page."""
    # Browsers skip control characters and white space in front of a scheme and within it.
    return "" if _ACTIVE.match(_SKIPPED.sub("", uri)) else uri
