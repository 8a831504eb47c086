"""Plain text: the decoded file is the canonical text; paragraphs are what blank lines part."""

from __future__ import annotations

import re

from responsa_server.ingest.formats.bounds import BlockCollector
from responsa_server.text.canonical import (
    BlockKind,
    DecodedDocument,
    ParsedDocument,
    first_line,
    title_from_name,
)

# A line without its end. LF, CRLF and lone CR all end a line.
_LINE = re.compile(r"[^\r\n]+")


def parse(document: DecodedDocument) -> ParsedDocument:
    """Parse plain text. Raises DocumentParserLimit for more blocks than are stored."""
    text = document.text
    collector = BlockCollector()
    start = end = -1
    for match in _LINE.finditer(text):
        if match.group().isspace():
            continue
        # Lines that only one line break parts belong together.
        if start >= 0 and text[end : min(match.start(), end + 3)] in ("\n", "\r\n", "\r"):
            end = match.end()
            continue
        if start >= 0:
            collector.add(BlockKind.PARAGRAPH, start, end)
        start, end = match.span()
    if start >= 0:
        collector.add(BlockKind.PARAGRAPH, start, end)
    return ParsedDocument(
        title=first_line(text) or title_from_name(document.name),
        canonical_text=text,
        blocks=collector.blocks(text),
        language=None,
        document_type=document.document_type,
    )
