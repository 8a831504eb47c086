"""The product's formats with test parsers. The titles of their documents list the modules that were imported since the
fork. Only a zygote loads this module."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace

from responsa_formats.parsers import table
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import ParsedDocument
from responsa_formats.text.drawn import DrawnPage

_before: set[str] = set()
os.register_at_fork(after_in_child=lambda: _before.update(sys.modules))


def parse(original: Original) -> ParsedDocument:
    """Parse with the product's parser. Reports the parser's imports instead of its result."""
    row = table.FORMATS.with_name(original.format)
    assert row is not None
    with contextlib.suppress(Rejected):
        row.load()(original)
    imported = sorted(set(sys.modules) - _before)
    return ParsedDocument(" ".join(["imported:", *imported]), "text", (), None, original.format)


def draw(data: bytes, page: int, width: int) -> DrawnPage:
    """Draw with the product's drawer. Reports the number of its imports instead of the number of pages."""
    for row in table.FORMATS:
        if row.drawer:
            row.load_drawer()(data, page, width)
    return DrawnPage(len(sys.modules.keys() - _before))


FORMATS = table.Formats(
    [
        replace(row, parser="watched_parsers:parse", drawer=row.drawer and "watched_parsers:draw")
        for row in table.FORMATS
    ]
)
