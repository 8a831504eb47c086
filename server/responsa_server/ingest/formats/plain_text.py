"""Plain text. The decoded file is the canonical text. Blank lines separate paragraphs."""

from __future__ import annotations

import re

from responsa_server.ingest.formats.sniff import Original
from responsa_server.text.canonical import BlockCollector, BlockKind, ParsedDocument

# Matches a line without its line end. A line end is LF, CRLF or a lone CR.
_LINE = re.compile(r"[^\r\n]+")


def parse(original: Original) -> ParsedDocument:
    """Parse plain text. Raises DocumentRejected if the document is not text or has more blocks than the server stores."""
    text = original.text
    collector = BlockCollector()
    start = end = -1
    for match in _LINE.finditer(text):
        if match.group().isspace():
            continue
        # Lines that only one line break separates belong to one paragraph.
        if start >= 0 and text[end : min(match.start(), end + 3)] in ("\n", "\r\n", "\r"):
            end = match.end()
            continue
        if start >= 0:
            collector.add(BlockKind.PARAGRAPH, start, end)
        start, end = match.span()
    if start >= 0:
        collector.add(BlockKind.PARAGRAPH, start, end)
    return collector.document(text, format_name=original.format, file_name=original.name)
