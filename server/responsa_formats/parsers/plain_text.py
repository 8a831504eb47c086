"""Plain text, whose blank lines separate paragraphs, and text of lines, such as YAML and logs. The decoded file is the canonical text."""

from __future__ import annotations

import re
from typing import Final

from responsa_formats.parsers.sniff import Original
from responsa_formats.text.canonical import BlockCollector, BlockKind, ParsedDocument

# Matches a line without its line end. A line end is LF, CRLF or a lone CR.
_LINE: Final = re.compile(r"[^\r\n]+")
_LINES_CHARS: Final = 300


def parse(original: Original, kind: BlockKind = BlockKind.PARAGRAPH) -> ParsedDocument:
    """Parse plain text. kind: PARAGRAPH, or CODE for a text of lines. Raises Rejected if the document is not text
    or has more blocks than the server stores."""
    text = original.text
    collector = BlockCollector()
    start = end = -1
    for match in _LINE.finditer(text):
        if match.group().isspace():
            continue
        # Lines that only one line break separates belong to one paragraph.
        apart = text[end : min(match.start(), end + 3)] not in ("\n", "\r\n", "\r")
        full = kind is BlockKind.CODE and not match.group()[0].isspace() and end - start > _LINES_CHARS
        if start >= 0 and (apart or full):
            collector.add(kind, start, end)
            start = -1
        start, end = (match.start() if start < 0 else start), match.end()
    if start >= 0:
        collector.add(kind, start, end)
    return collector.document(text, format_name=original.format, file_name=original.name)


def parse_lines(original: Original) -> ParsedDocument:
    """Parse a text of lines: an indented line belongs to the one above it, and short ones stand together. Nothing else of
    the format is read. Raises Rejected as `parse` does."""
    return parse(original, BlockKind.CODE)
