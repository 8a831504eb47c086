"""Plain text, whose blank lines separate paragraphs, and text of lines, such as YAML and logs. The decoded file is the canonical text."""

from __future__ import annotations

import re

from responsa_server.ingest.formats.sniff import Original
from responsa_server.text.canonical import BlockCollector, BlockKind, ParsedDocument

# Matches a line without its line end. A line end is LF, CRLF or a lone CR.
_LINE = re.compile(r"[^\r\n]+")
_LINES_CHARS = 300


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


def parse_lines(original: Original) -> ParsedDocument:
    """Parse a text of lines: an indented line belongs to the one above it, and short ones stand together. Nothing else of
    the format is read. Raises DocumentRejected as `parse` does."""
    text = original.text
    collector = BlockCollector()
    start = end = -1
    for match in _LINE.finditer(text):
        if match.group().isspace():
            continue
        apart = text[end : min(match.start(), end + 3)] not in ("\n", "\r\n", "\r")
        full = not match.group()[0].isspace() and end - start > _LINES_CHARS
        if start >= 0 and (apart or full):
            collector.add(BlockKind.CODE, start, end)
            start = -1
        start, end = (match.start() if start < 0 else start), match.end()
    if start >= 0:
        collector.add(BlockKind.CODE, start, end)
    return collector.document(text, format_name=original.format, file_name=original.name)
