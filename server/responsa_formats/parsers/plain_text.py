"""Plain text, whose blank lines separate paragraphs, and text of lines, such as YAML, logs and source code. Of AsciiDoc
and LaTeX, the headings are read. The decoded file is the canonical text."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from responsa_formats.parsers.sniff import Original
from responsa_formats.text.canonical import BlockCollector, BlockKind, ParsedDocument, one_line

# Matches a line without its line end. A line end is LF, CRLF or a lone CR.
_LINE: Final = re.compile(r"[^\r\n]+")
_LINES_CHARS: Final = 300
_HEADING: Final = re.compile(
    r"(={1,6}) +(\S.*)|\s*\\(chapter|(?:sub){0,2}section|paragraph)\*?\{(.{1,300})\}"
)
_LEVELS: Final = ("", "chapter", "section", "subsection", "subsubsection")
_TITLE: Final = re.compile(r"\\title\{([^{}]{1,300})\}")


def parse(
    original: Original, kind: BlockKind = BlockKind.PARAGRAPH, title: str = "", *, headed: bool = False
) -> ParsedDocument:
    """Parse plain text. kind: PARAGRAPH, or CODE for a text of lines. title: the document's, or ''. headed: whether it has
    headings of AsciiDoc or LaTeX. Raises Rejected if it is not text or has more blocks than the server stores."""
    text = original.text
    collector = BlockCollector()
    start = end = -1
    for match in _LINE.finditer(text):
        if match.group().isspace():
            continue
        if headed and (heading := _HEADING.match(match.group())):
            if start >= 0:
                collector.add(kind, start, end)
            level = len(heading[1] or "") or (_LEVELS.index(heading[3]) if heading[3] in _LEVELS else 5)
            collector.add(BlockKind.HEADING, *match.span(), level, one_line(heading[2] or heading[4]))
            start = -1
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
    return collector.document(text, format_name=original.format, file_name=original.name, title=title)


def parse_headed(original: Original) -> ParsedDocument:
    """Parse AsciiDoc or LaTeX. Raises Rejected as `parse` does."""
    stated = _TITLE.search(original.text)
    return parse(original, title=one_line(stated[1]) if stated else "", headed=True)


def parse_code(original: Original) -> ParsedDocument:
    """Parse source code, whose title is the name of its file. Raises Rejected as `parse` does."""
    return parse(original, BlockKind.CODE, one_line(PurePath(original.name).name))


def parse_lines(original: Original) -> ParsedDocument:
    """Parse a text of lines: an indented line belongs to the one above it, and short ones stand together. Nothing else of
    the format is read. Raises Rejected as `parse` does."""
    return parse(original, BlockKind.CODE)
