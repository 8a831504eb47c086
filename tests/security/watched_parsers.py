"""The product's formats with test parsers. The titles of their documents list the modules that were imported since the fork. Only a zygote loads this module."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace

from responsa_server.domain.errors import DocumentRejected
from responsa_server.ingest.formats import table
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import ParsedDocument

_before: set[str] = set()
os.register_at_fork(after_in_child=lambda: _before.update(sys.modules))


def parse(original: Original) -> ParsedDocument:
    """Parse with the product's parser. Reports the parser's imports instead of its result."""
    row = table.FORMATS.named(original.format)
    assert row is not None
    with contextlib.suppress(DocumentRejected):
        row.load()(original)
    imported = sorted(set(sys.modules) - _before)
    return ParsedDocument(" ".join(["imported:", *imported]), "text", (), None, original.format)


FORMATS = table.Formats([replace(row, parser="watched_parsers:parse") for row in table.FORMATS])
