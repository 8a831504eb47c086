"""Markdown (CommonMark with tables). The decoded file is the canonical text, without the marks of Obsidian; of MDX, only
its Markdown is. markdown-it-py finds its structure.

Only block structure is parsed: inline markup stays as written, and link definitions count as paragraphs. The marks with
which site generators extend Markdown (containers, admonitions, tabs) do not count as text: the title of such a
container counts as a heading, and its content is parsed like any other text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from responsa_formats.parsers.mdx import markdown_of
from responsa_formats.parsers.obsidian import plain
from responsa_formats.parsers.sniff import Original
from responsa_formats.text.canonical import BlockCollector, BlockKind, ParsedDocument, one_line
from responsa_formats.text.front_matter import front_matter
from responsa_formats.text.inline import subscript, superscript

_LINE_END = re.compile(r"\r\n|\r|\n")
_KEYWORDS = ("tags", "keywords", "categories", "aliases")
_HEADING_CHARS = 1000
# The heading level of a container's title. It is the lowest, so that such a heading ends at any other.
_TITLE_LEVEL = 6
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\r\n]*)")
# An admonition or a tab: `!!! note "Title"`, `??? tip`, `=== "Title"`. Its content is indented by four columns.
_INDENTED_CONTAINER = re.compile(
    r"( *)(?:(?:!!!|\?\?\?\+?)(?: ++[\w-]++)++|===[!+]?(?= ++\"))(?: ++\"(.*)\")?[ \t]*$"
)
# The beginning or the end of a container: `::: tip Title`, `:::note[Title]`, `:::`.
_COLONS = re.compile(r" *:{3,} *(?:[\w-]+ *)?(?:\{[^{}]*\} *)?(?:\[(.*)\]|([^\[{].*))?$")
# A line that only includes another file, or calls for something that the site generator makes.
_GENERATED = re.compile(r"[ \t]*(?:\[TOC\]|-+8<-+.*|\{\{[^{}]*\}\}|\{%[^{}]*%\})[ \t]*$")
_CONTENT_COLUMNS = 4
# Comments, scripts and style sheets: no reader sees them.
_UNSEEN_HTML = re.compile(r"\s*<(?:!--|script\b|style\b|template\b)", re.IGNORECASE)
_HTML_CODE = re.compile(r"\s*<pre\b", re.IGNORECASE)
_SHIFTED = re.compile(r"<(sup|sub)>([^<>]*)</\1>", re.IGNORECASE)
# No author nests blocks as deeply as this. Text that is nested more deeply gets no blocks but stays in the canonical text.
_MAX_NESTING = 40


def parse(original: Original) -> ParsedDocument:
    """Parse Markdown. Raises Rejected if the document is not text or has more blocks than the server stores."""
    text = original.text
    if original.name.lower().endswith(".mdx"):
        text = markdown_of(text)
    body_start, fields = front_matter(text)
    text = text[:body_start] + plain(text[body_start:], original.left_out)
    collector = BlockCollector()
    _collect(text, body_start, collector)

    def field_of(*keys: str) -> str:
        return next((" ".join(fields[key]) for key in keys if fields.get(key)), "")

    return collector.document(
        text,
        format_name=original.format,
        file_name=original.name,
        title=one_line(field_of("title")),
        language=field_of("lang", "language"),
        author=field_of("author"),
        date=field_of("date", "updated", "last_modified"),
        keywords=[word for key in _KEYWORDS for value in fields.get(key, ()) for word in value.split(",")],
        body_start=body_start,
    )


def _collect(text: str, body_start: int, collector: BlockCollector) -> None:
    line_starts = [body_start]
    line_ends: list[int] = []
    # Split only at the line ends that markdown-it normalises; str.splitlines() splits at more characters.
    for match in _LINE_END.finditer(text, body_start):
        line_ends.append(match.start())
        line_starts.append(match.end())
    line_ends.append(len(text))
    lines = list(_readable(text[start:end] for start, end in zip(line_starts, line_ends, strict=True)))

    def span(token: Token, first_line_number: int | None = None) -> tuple[int, int] | None:
        if token.map is None:
            return None
        first, last = token.map
        last = min(last, len(line_ends))
        while last > first and not lines[last - 1].strip():
            last -= 1
        if last <= first:
            return None
        start_line = first if first_line_number is None else first_line_number
        return line_starts[start_line], line_ends[last - 1]

    markdown = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table").disable("reference")
    inline = MarkdownIt("commonmark")
    markdown.core.ruler.enableOnly(["normalize", "block"])
    lists = quotes = 0
    item_line: int | None = None
    tokens = markdown.parse("\n".join(lines))
    for index, token in enumerate(tokens):
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                lists += 1
            case "bullet_list_close" | "ordered_list_close":
                lists -= 1
            case "blockquote_open":
                quotes += 1
            case "blockquote_close":
                quotes -= 1
            case "list_item_open":
                # An item's first paragraph begins at the item's marker.
                item_line = token.map[0] if token.map else None
            case "list_item_close":
                item_line = None
            case "heading_open":
                extent = span(token)
                if extent is not None:
                    title = _plain(inline, tokens[index + 1].content)
                    collector.add(BlockKind.HEADING, *extent, level=int(token.tag[1:]), title=title)
                item_line = None
            case "fence" | "code_block":
                _add(collector, BlockKind.CODE, span(token), 0)
                item_line = None
            case "table_open":
                _add(collector, BlockKind.TABLE, span(token), 0)
                item_line = None
            case "html_block" if _UNSEEN_HTML.match(token.content):
                item_line = None
            case "html_block" if _HTML_CODE.match(token.content):
                _add(collector, BlockKind.CODE, span(token), 0)
                item_line = None
            case "paragraph_open" | "html_block":
                if lists:
                    _add(collector, BlockKind.LIST_ITEM, span(token, item_line), lists)
                elif quotes:
                    _add(collector, BlockKind.QUOTE, span(token), quotes)
                else:
                    _add(collector, BlockKind.PARAGRAPH, span(token), 0)
                item_line = None
            case _:
                pass


def _readable(lines: Iterable[str]) -> Iterator[str]:
    """The lines without the marks of site generators, one for one. A container's title becomes a heading, and its
    content is not indented."""
    fence = ""
    opened: list[int] = []
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() and not fence:
            while opened and indent < opened[-1] + _CONTENT_COLUMNS:
                opened.pop()
        left = line[min(indent, len(opened) * _CONTENT_COLUMNS) :]
        match = _FENCE.match(left)
        if fence:
            if match is not None and match.group(1).startswith(fence) and not match.group(2).strip():
                fence = ""
            yield left
        elif match is not None and not (match.group(1)[0] == "`" and "`" in match.group(2)):
            fence = match.group(1)
            yield left
        elif (container := _INDENTED_CONTAINER.match(line)) is not None:
            opened.append(len(container.group(1)))
            yield _title(container.group(2))
        elif (colons := _COLONS.match(left)) is not None:
            yield _title(colons.group(1) or colons.group(2))
        elif _GENERATED.match(left):
            yield ""
        else:
            yield left


def _title(title: str | None) -> str:
    words = (title or "").strip()
    return f"{'#' * _TITLE_LEVEL} {words}" if words else ""


def _add(collector: BlockCollector, kind: BlockKind, extent: tuple[int, int] | None, level: int) -> None:
    if extent is not None:
        collector.add(kind, *extent, level=level)


def _in_characters(match: re.Match[str]) -> str:
    return (superscript if match.group(1).lower() == "sup" else subscript)(match.group(2))


def _plain(inline: MarkdownIt, source: str) -> str:
    """A heading's text without its inline markup. A long heading is shortened before it is parsed."""
    parsed = inline.parseInline(_SHIFTED.sub(_in_characters, source[:_HEADING_CHARS]))
    parts: list[str] = []
    for token in parsed:
        for child in token.children or []:
            if child.type in ("text", "code_inline", "text_special"):
                parts.append(child.content)
            elif child.type in ("softbreak", "hardbreak"):
                parts.append(" ")
            elif child.type == "image":
                parts.append(child.content)
    return one_line("".join(parts))
