"""Plain text: the decoded file is the canonical text; blank lines separate paragraphs."""

from __future__ import annotations

import re

from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import BlockCollector, BlockKind, ParsedDocument

# A line without its end. LF, CRLF and lone CR all end a line.
_LINE = re.compile(r"[^\r\n]+")


def parse(original: Original) -> ParsedDocument:
    """Parse plain text. Raises DocumentRejected: not text, or more blocks than are stored."""
    text = original.text
    collector = BlockCollector()
    start = end = -1
    for match in _LINE.finditer(text):
        if match.group().isspace():
            continue
        # Lines with one line break between them belong to one paragraph.
        if start >= 0 and text[end : min(match.start(), end + 3)] in ("\n", "\r\n", "\r"):
            end = match.end()
            continue
        if start >= 0:
            collector.add(BlockKind.PARAGRAPH, start, end)
        start, end = match.span()
    if start >= 0:
        collector.add(BlockKind.PARAGRAPH, start, end)
    return collector.document(text, format_name=original.format, file_name=original.name)
