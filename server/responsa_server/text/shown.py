"""How a quoted part of a document is shown: as Markdown that reads like the document, without the markup of the site it was written for.

A citation keeps the exact bytes of its source. An answer shows the same words in Markdown: emphasis, code, lists and
links stay; table rows stand below the names of their columns; raised and lowered text is in plain characters; HTML,
images and the marks of site generators (containers, shortcodes, attributes, footnotes) go. Everything else is text, and
is escaped where a Markdown renderer would take it for markup. So a document can show no HTML, no image and no address
that its own reader does not see as a link.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.common.html_blocks import block_names
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from responsa_formats.text.inline import STRUCK, subscript, superscript
from responsa_formats.text.rows import split_cells
from responsa_formats.text.symbols import TICKED, UNTICKED

MAX_SHOWN_BYTES: Final = 64 * 1024
"""Longer code is cut. No piece of a passage is that long."""
MAX_PARSED_BYTES: Final = 4 * 1024
"""Longer prose, which no piece contains, is shown without its Markdown, because a parser's time may grow with the square of the length."""
_MOST_BRACKETS: Final = 500
"""So is prose with more of them: the parser looks for the end of each."""

MARKDOWN: Final = "text/markdown"
"""The media type of the documents whose text is Markdown."""
_MAX_NESTING: Final = 20
MOST_COLUMNS: Final = 8
"""A wider table is not readable on a card."""
_MAX_ADDRESS: Final = 2_000

# --- Marks of site generators. None of them is part of CommonMark. ---

_SITE_MARKS: Final = (
    re.compile(r"(?<!\{)\{\{[^\n]{0,400}?\}\}"),  # variables and shortcodes: Jinja, Hugo, mdBook, Vue
    re.compile(r"\{%[^\n]{0,400}?%\}"),  # tags: Liquid, Jinja
    re.compile(
        r"\{(?::(?=[ .#])|[ \t]*[#.](?=[A-Za-z]))[^{}\n]{0,200}\}"
    ),  # attributes: kramdown, Python-Markdown, Pandoc
    re.compile(r"\[\^[^\]\s]{1,60}\](?::[ \t]+)?"),  # footnotes
    re.compile(r":(?:material|octicons|fontawesome|simple|twemoji)-[\w-]{1,60}:"),  # icons: MkDocs Material
)
_SITE_LINE: Final = re.compile(
    r":{3,}[^\n]*|(?:!!!|\?\?\?\+?)[ \t]+[\w-]+(?=[ \t\"\n]|$)[ \t]*|={3}[ \t]+(?=\")|-+8<-+[^\n]*|\[TOC\][ \t]*(?=\n|$)"
    r"|\[![A-Z]{2,20}\][ \t]*"
)
"""Marks at the beginning of a line: containers, admonitions, tabs, snippets and alerts. The title after the mark of an
admonition or a tab stays."""
_WIKI_LINK: Final = re.compile(r"\[\[(?=[^\s\[\]])(?:[^\[\]|\n]{1,200}\|)?([^\[\]|\n]{1,200})\]\]")
_REFERENCE: Final = re.compile(
    r"\](?:\[[^\[\]\n]{0,200}\]|\([^()\n]{0,400}(?:\([^()\n]{0,400}\))?[^()\n]{0,400}\))"
)
_UNSEEN: Final = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\u0000]")
"""Characters that reorder the text around them, which could make an answer read differently from its bytes."""


# A sentence may be cut out of an emphasised text, so that only one of the marks is left.
_HALF_EMPHASIS: Final = re.compile(
    r"(?<![\w*])\*{1,3}(?=\w)|(?<=[\w.!?:])\*{1,3}(?![\w*])|\*{2,3}(?!\w)|(?<!\w)_{2,3}|_{2,3}(?!\w)"
)


def _half_emphasis(state: StateCore) -> None:
    """A core rule of the parser: leaves out marks of emphasis that have lost the other mark. Escaped characters are not marks."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "text":
                child.content = _HALF_EMPHASIS.sub("", child.content)


def _site_line(state: StateInline, silent: bool) -> bool:
    """An inline rule of the parser: passes over the mark of a site generator at the beginning of a line."""
    if state.src[state.pos] not in ":!?=-[" or state.src[: state.pos].rpartition("\n")[2].strip():
        return False
    match = _SITE_LINE.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    state.pos = match.end()
    return True


def _site_mark(state: StateInline, silent: bool) -> bool:
    """An inline rule of the parser: passes over the mark of a site generator."""
    if state.src[state.pos] not in "{[:":
        return False
    for pattern in _SITE_MARKS:
        match = pattern.match(state.src, state.pos, state.posMax)
        if match is not None:
            state.pos = match.end()
            return True
    wiki = _WIKI_LINK.match(state.src, state.pos, state.posMax)
    if wiki is None:
        return False
    if not silent:
        state.push("text", "", 0).content = wiki.group(1)
    state.pos = wiki.end()
    return True


def _reference(state: StateInline, silent: bool) -> bool:
    """An inline rule of the parser: a link whose address stands elsewhere (`[text][label]`), or that is not allowed, is its text."""
    if state.src[state.pos] != "[":
        return False
    end = state.md.helpers.parseLinkLabel(state, state.pos)
    if end < 0:
        return False
    label = _REFERENCE.match(state.src, end, state.posMax)
    if label is None:
        return False
    if not silent:
        start, whole = state.pos, state.posMax
        state.pos, state.posMax = start + 1, end
        state.md.inline.tokenize(state)
        state.pos, state.posMax = start, whole
    state.pos = label.end()
    return True


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable(["table", "strikethrough"])
    parser.inline.ruler.before("text", "site_line", _site_line)
    parser.inline.ruler.before("link", "site_mark", _site_mark)
    parser.inline.ruler.after("link", "reference_text", _reference)
    parser.core.ruler.before("text_join", "half_emphasis", _half_emphasis)
    return parser


_MARKDOWN: Final = _parser()
_RENDERED: Final = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable(["table", "strikethrough"])
"""Reads what is shown as a renderer does, to check that a reader sees the intended text."""


@dataclass(frozen=True, slots=True)
class QuoteOrigin:
    """Where a quoted text comes from.

    markdown: whether its document is Markdown; otherwise all of it is visible text. indent: the columns before the text
    on its first line. named: whether the cells of table rows begin with the names of their columns (see `rows.py`). listed: whether each
    line of a text that is not Markdown is an item of a list or a part of one.
    """

    markdown: bool = True
    indent: int = 0
    named: bool = False
    listed: bool = False


def shown_blocks(text: str, origin: QuoteOrigin) -> str:
    """Sentences with the list, code or table after them, each in its own form; '' if nothing is visible."""
    text = _readable(text)
    if not _is_parsed(text, origin):
        return _plain_lines(text, listed=origin.listed)
    if _shown_as_it_is(text):
        return _dedent(text, origin.indent).strip("\n")
    return _blocks(SyntaxTreeNode(_MARKDOWN.parse(_dedent(_unquote(text), origin.indent)))).strip("\n")


# Anything that is not shown as it is: HTML, links, images, escapes, marks of site generators, headings, quotes and
# fences, and emphasis that may have lost a mark.
_TREATED: Final = re.compile(
    r"[<>\[\]&{}\\~=\t\r]|!!!|\?\?\?|:::|``|-8<|-{3}|__|(?<!\w)_|_(?!\w)|^ {0,3}#|(?<!\*)\*(?!\*)(?! )|\*{3}",
    re.MULTILINE,
)


def _shown_as_it_is(text: str) -> bool:
    """Whether Markdown of several lines shows the same words to every reader, so that it need not be parsed and written again."""
    if _TREATED.search(text) is not None or _UNSEEN.search(text) is not None:
        return False
    return text.count("**") % 2 == 0 and text.count("`") % 2 == 0


def shown_heading(text: str) -> str:
    """A heading as a line of its own, below which an excerpt goes on; '' if nothing of it is visible."""
    words = escaped(visible(text)).strip()
    return f"**{words}**" if words else ""


def shown_code(text: str, origin: QuoteOrigin) -> str:
    """A block of code in a fence, with its language if the document names it; '' if there is no code in it."""
    text = _readable(text)
    if not origin.markdown:
        return _fence(_dedent(text, origin.indent), "")
    whole = " " * origin.indent + text
    body = _dedent(whole, _indent(whole))
    if _HTML_CODE.match(body):
        return _html_code(body)
    return _code_of(body)


def shown_table(header: Sequence[str], rows: Sequence[str], origin: QuoteOrigin) -> str:
    """Table rows below the names of their columns; '' if all cells are empty. header: the names; () if they are not
    known, or if each row says them (`origin.named`), and then a row of many columns is a list of its cells."""
    texts = [_readable(row) for row in rows]
    if not all(_is_parsed(text, origin) for text in texts):
        origin = replace(origin, markdown=False)
    names = [escaped(name) for name in header]
    if origin.named:
        named = list(map(_by_name, texts))
        columns = list(dict.fromkeys(name for row in named for name in row))
        if len(columns) > MOST_COLUMNS:
            return "\n".join(f"- {_list_cells(row, origin)}" for row in named if any(row.values()))
        names = [escaped(name) for name in columns]
        cells = [[_cell(row.get(name, ""), origin) for name in columns] for row in named]
    else:
        cells = [[_cell(cell, origin) for cell in cells_of(text)] for text in texts]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    width = max(len(names), *map(len, cells))
    bars = ([cell.replace("|", "\\|") for cell in row] for row in (names, *cells))
    head, *body = (f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in bars)
    return "\n".join((head, f"|{'---|' * width}", *body))


def _by_name(row: str) -> Mapping[str, str]:
    """The values of a row's cells by the names of their columns."""
    cells: dict[str, str] = {}
    for name, value in split_cells(row):
        cells[name] = f"{cells[name]} {value}" if name in cells else value
    return cells


def _list_cells(row: Mapping[str, str], origin: QuoteOrigin) -> str:
    cells = ((name, _cell(value, origin)) for name, value in row.items())
    return _begin("; ".join(f"**{escaped(name)}**: {cell}" if name else cell for name, cell in cells if cell))


def cells_of(row: str) -> list[str]:
    """The cells of a table row, as they are written. A bar within code, or after a backslash, does not separate cells."""
    return [row[start:end] for start, end in cell_spans(row)]


def cell_spans(row: str) -> list[tuple[int, int]]:
    """Where the cells of a table row stand in it, without the white space at their edges."""
    spans: list[tuple[int, int]] = []
    end = len(row.rstrip())
    position = len(row) - len(row.lstrip())
    position += row.startswith("|", position, end)
    start = position
    while position < end:
        if row[position] == "|":
            spans.append(_strip(row, start, position))
            start = position + 1
        position += 2 if row[position] == "\\" else 1
    if row[start:end].strip() or not spans:
        spans.append(_strip(row, start, end))
    return spans


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    cell = text[start:end]
    start += len(cell) - len(cell.lstrip())
    return start, start + len(cell.strip())


def visible(text: str) -> str:
    """What a reader sees of Markdown without code marks and emphasis: the words, on one line."""
    parts: list[str] = []
    for token in _MARKDOWN.parseInline(text[:MAX_PARSED_BYTES]):
        for child in _form(token.children or ()):
            if child.type in ("text", "code_inline", "image"):
                parts.append(child.content)
            elif child.type in ("softbreak", "hardbreak"):
                parts.append(" ")
    return " ".join("".join(parts).split())


_RULER: Final = re.compile(r"[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*$")


def header_of(before: str) -> Sequence[str]:
    """The names of the columns of the table that `before` ends in: the line above the table's first ruler, such as
    `|---|---|`. () if there is none.

    before: the text before a table row.
    """
    lines = _table_lines(before)
    ruler = next((index for index, line in enumerate(lines) if index and _is_ruler(line)), None)
    return [visible(name) for name in cells_of(lines[ruler - 1])] if ruler is not None else ()


def is_header(before: str, after: str) -> bool:
    """Whether a row is the header of its table. before, after: the text before and after the row."""
    following = after.lstrip("\r").removeprefix("\n").partition("\n")[0]
    return _is_ruler(following) and not any(map(_is_ruler, _table_lines(before)))


def _table_lines(text: str) -> Sequence[str]:
    """The lines since the last empty line, without the marks of block quotes. The last, unfinished line is left out."""
    lines: list[str] = []
    for line in reversed(text.split("\n")[:-1]):
        if not line.strip(" \t>\r"):
            break
        lines.append(line.strip(" \t>\r"))
    return lines[::-1]


def _is_ruler(line: str) -> bool:
    return "-" in line and "|" in line and _RULER.match(line) is not None


# --- Text to Markdown ---

_FENCE: Final = re.compile(r"[ \t]*(?:`{3,}|~{3,})")
_CLOSING: Final = re.compile(r" {0,3}(?:`{3,}|~{3,})[ \t]*")
_HTML_CODE: Final = re.compile(r"[ \t]*<pre\b", re.IGNORECASE)
_LANGUAGE: Final = re.compile(r"[\w+#.-]{1,40}")
_STRUCTURED: Final = re.compile(r"\n[ \t]*(?:[-*+•][ \t]|\d{1,9}[.)][ \t])|\S {3,}\S|\t")
_SPACES: Final = re.compile(r"[ \t\r\n\f\v]+")

# Characters that begin or end markup wherever they stand, with the condition under which they do.
_SPECIAL: Final = re.compile(
    r"\\(?=[!-/:-@\[-`{-~]|$)|`|(?<!\s)\*|\*(?!\s)|(?<![\w])_|_(?![\w])|<(?=[A-Za-z/!?])|&(?=#?\w{1,40};)|~(?=~)|(?<=~)~"
    r"|\](?=[(\[:])|(?<=!)\[|\[(?=\^|\[)"
)
_MARKUP: Final = re.compile(r"[\\`*_<&~\[\]\n\x00]")
"""Without one of these characters, a paragraph of CommonMark with strikethrough is its own text."""
_ANY_SPECIAL: Final = re.compile(r"[\\`*_<>&~\[\]{}()#+.!|:=-]")
_LINE_SPECIAL: Final = re.compile(
    r"#{1,6}(?=\s|$)|>|[-+*](?=\s|$)|(?:[-=*_][ \t]*)+$|\d{1,9}(?=[.)](?:\s|$))", re.MULTILINE
)


def escaped(text: str) -> str:
    """The text as Markdown that shows it unchanged. Only characters that a renderer would take for markup get a backslash."""
    return _SPECIAL.sub(lambda match: f"\\{match.group()}", text)


def _is_parsed(text: str, origin: QuoteOrigin) -> bool:
    few = text.count("[") <= _MOST_BRACKETS
    return origin.markdown and few and len(text.encode()) <= MAX_PARSED_BYTES


def _readable(text: str) -> str:
    return _UNSEEN.sub("", text.encode()[:MAX_SHOWN_BYTES].decode(errors="ignore"))


def _unquote(text: str) -> str:
    """The text without the marks of a block quote at the beginnings of its further lines."""
    first, *rest = text.split("\n")
    if not rest or not all(line.lstrip().startswith(">") for line in rest if line.strip()):
        return text
    return "\n".join((first, *(re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line) for line in rest)))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _dedent(text: str, columns: int) -> str:
    lines = text.expandtabs(4).split("\n") if "\t" in text[:1] or "\n\t" in text else text.split("\n")
    return "\n".join(line[min(columns, _indent(line)) :] for line in lines)


def _begin(text: str) -> str:
    return "\n".join(
        _line_start(match.group()) + line[match.end() :] if (match := _LINE_SPECIAL.match(line)) else line
        for line in text.lstrip().split("\n")
    )


def _line_start(mark: str) -> str:
    return f"{mark}\\" if mark[0].isdigit() else f"\\{mark}"


def _plain_lines(text: str, *, listed: bool = False) -> str:
    """Text of a document that is not Markdown. Lines are joined, unless they form a list or columns."""
    text = text.strip()
    if listed or _STRUCTURED.search(text):
        lines = (_SPACES.sub(" ", line).strip() for line in text.splitlines())
        return "  \n".join(_begin(_escape_but_struck(line)) for line in lines if line)
    return _begin(_escape_but_struck(_SPACES.sub(" ", text)))


def _escape_but_struck(text: str) -> str:
    """Text of a document that is not Markdown, escaped but for the marks of what is struck, as the parsers write them."""
    parts: list[str] = []
    out = ""
    position = 0
    for match in STRUCK.finditer(text):
        if match.group().startswith("~~"):
            words = match.group()[2:-2]
            parts += (text[position : match.start()], words)
            out += f"{escaped(text[position : match.start()])}~~{escaped(words)}~~"
            position = match.end()
    if not parts:
        return escaped(text)
    parts.append(text[position:])
    out += escaped(text[position:])
    read = _read([child for token in _RENDERED.parseInline(out) for child in token.children or ()], raw=_RAW)
    return out if read.words == "".join("".join(parts).split()) else escaped(text)


def _fence(code: str, language: str) -> str:
    code = code.strip("\n")
    if not code.strip():
        return ""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _blocks(node: SyntaxTreeNode) -> str:
    return "\n\n".join(text for child in node.children if (text := _block(child)))


def _block(node: SyntaxTreeNode) -> str:
    match node.type:
        case "paragraph":
            return _inline([child.token for child in node.children if child.token is not None])
        case "fence" | "code_block":
            body = node.content
            if node.type == "code_block":
                return _code_of(body)
            return _fence(body, _language(node.info))
        case "bullet_list" | "ordered_list":
            return _list(node)
        case "html_block":
            # A block of HTML: code if it is `<pre>`, otherwise the text between its tags.
            if _HTML_CODE.match(node.content):
                return _html_code(node.content)
            return _inline(_MARKDOWN.parseInline(node.content))
        case "table":
            return _table(node)
        case "heading":
            return shown_heading("".join(child.content for child in node.children))
        case "hr":
            return ""
        case _:
            return _blocks(node)


def _code_of(body: str) -> str:
    """Code that may itself begin with a fence, because site generators indent the content of tabs and admonitions."""
    opened = _FENCE.match(body)
    if opened is None:
        begun, _, last = body.rstrip().rpartition("\n")
        # Code that began before the text ends with a fence that nothing opened.
        return _fence(begun if _CLOSING.fullmatch(last) else body, "")
    indent, fence = _indent(body), opened.group().strip()
    info, _, rest = body[opened.end() :].partition("\n")
    lines: list[str] = []
    for line in rest.split("\n"):
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            break
        lines.append(line[min(indent, _indent(line)) :])
    return _fence("\n".join(lines), _language(info))


def _language(info: str) -> str:
    match = _LANGUAGE.match(info.strip().lstrip("{."))
    return match.group() if match else ""


def _list(node: SyntaxTreeNode) -> str:
    number = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else 0
    lines: list[str] = []
    for index, item in enumerate(node.children):
        mark = f"{number + index}. " if node.type == "ordered_list" else "- "
        body = _item(item)
        if body:
            lines.append(
                mark
                + body.replace("\n", "\n" + " " * len(mark)).replace("\n" + " " * len(mark) + "\n", "\n\n")
            )
    return "\n".join(lines)


_TASK: Final = re.compile(r"\A\[([ xX])\](?=[ \t])")


def _item(node: SyntaxTreeNode) -> str:
    parts: list[str] = []
    for child in node.children:
        text = _block(child)
        if not parts:
            text = _TASK.sub(lambda task: UNTICKED if task[1] == " " else TICKED, text, count=1)
        if text:
            # A list below an item follows it without an empty line.
            parts.append(
                ("\n" if child.type in ("bullet_list", "ordered_list") else "\n\n") + text if parts else text
            )
    return "".join(parts)


def _html_code(content: str) -> str:
    return _fence(html.unescape(re.sub(r"<[^<>]*>", "", content)), "")


def _table(node: SyntaxTreeNode) -> str:
    rows = [
        [
            _inline([child.token for child in cell.children if child.token is not None]).replace("|", "\\|")
            for cell in row.children
        ]
        for part in node.children
        for row in part.children
    ]
    if not rows:
        return ""
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join((head, f"|{'---|' * len(rows[0])}", *rest))


def _cell(text: str, origin: QuoteOrigin) -> str:
    if not origin.markdown:
        return _escape_but_struck(_SPACES.sub(" ", text.replace("\\|", "|")))
    # A backslash before a bar belongs to the table and not to the cell, even in code.
    return _inline(_MARKDOWN.parseInline(text.replace("\\|", "|")), begins=False).replace("  \n", " ").strip()


# --- Inline markup ---

_BREAK: Final = re.compile(r"<br\b", re.IGNORECASE)
_HIDDEN: Final = re.compile(r"<(/?)(?:script|style|template)\b", re.IGNORECASE)
_TAG: Final = re.compile(r"(</?[A-Za-z][^<>]{0,200}>)")
_FORMED: Final = re.compile(r"<(/?)(sup|sub|del|s|strike)\b[^<>]*>", re.IGNORECASE)
_TICKS: Final = re.compile(
    r"<input\b(?=[^<>]*\btype\s*=\s*[\"']?(?:checkbox|radio)\b)([^<>]*)>", re.IGNORECASE
)
_CHECKED: Final = re.compile(r"\schecked(?![\w-])", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"<([a-z][\w-]{0,60}|[A-Z][A-Z0-9]?)>")
_ELEMENTS: Final = frozenset(block_names) | frozenset(
    re.findall(
        r"\w+",
        "a abbr acronym applet area audio b bdi bdo big blink br button canvas cite code data "
        "datalist del dfn em embed font i img input ins"
        " kbd label map mark math meter noscript object output picture pre progress q rb rp rt ruby s samp script select slot small span"
        " strike strong style sub sup svg template textarea time tt u var video wbr",
    )
)
"""The names of HTML's elements: those of blocks, and those within text."""
_WRAPS: Final = {"em": "*", "strong": "**", "s": "~~"}


@dataclass(frozen=True, slots=True)
class _Said:
    """What a reader gets from inline tokens: the words without white space, with code marked as code, and the addresses of the links."""

    words: str
    addresses: frozenset[str]


_CODE_BEGINS: Final = "\x01"
_RAW: Final = "\x02"
"""Stands for HTML or an image, which must not be in what is shown."""
_SOFT_BREAK: Final = "\x03"
_CODE_EDGE: Final = "\x04"
"""Stands at both ends of code, because two runs of backticks that touch each other would be one."""
_WIDE: Final = r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
_BETWEEN_WIDE: Final = re.compile(rf"(?<={_WIDE}) ?{_SOFT_BREAK} ?(?={_WIDE})")


def _inline(tokens: Sequence[Token], *, begins: bool = True) -> str:
    """Inline tokens as Markdown. begins: whether the result begins a line.

    A parser checks that the result says the same as the tokens. If not, only the text is written, and everything in it is escaped.
    """
    children = [child for token in tokens for child in (token.children or ())]
    out = _write(children, wraps=True)
    if not _has_words(out, _read(children)):
        out = _write(children, wraps=False)
    return _begin(out) if begins else out


def _has_words(markdown: str, wanted: _Said) -> bool:
    """Whether a reader of the Markdown gets these words, and no other addresses."""
    if _MARKUP.search(markdown) is None and "".join(markdown.split()) == wanted.words:
        return True  # a parser would find nothing but text
    tokens = [child for token in _RENDERED.parseInline(markdown) for child in (token.children or ())]
    read = _read(tokens, raw=_RAW)
    return read.words == wanted.words and read.addresses <= wanted.addresses


def _all_escaped(text: str) -> str:
    return _ANY_SPECIAL.sub(r"\\\g<0>", text)


def _visible_tokens(children: Sequence[Token]) -> Iterator[Token]:
    """The tokens that a reader sees: all but those within a script or a style sheet. Text with the form of a tag becomes code."""
    hidden = False
    closed = {
        tag.content.lower() for tag in children if tag.type == "html_inline" and tag.content.startswith("</")
    }
    for child in _form(children):
        match = _HIDDEN.match(child.content) if child.type == "html_inline" else None
        if match is not None:
            hidden = not match.group(1)
        elif hidden:
            continue
        elif child.type == "html_inline" and _is_placeholder(child.content, closed):
            yield Token("code_inline", "code", 0, content=child.content)
        elif child.type == "text":
            for index, part in enumerate(_TAG.split(child.content)):
                yield Token("code_inline" if index % 2 else "text", "", 0, content=part)
        else:
            yield child


def _form(children: Sequence[Token]) -> Iterator[Token]:
    """The tokens with the text of `<sup>` and `<sub>` in plain characters, with `<del>`, `<s>` and `<strike>` as
    strikethrough, and with boxes to tick as ☑ or ☐."""
    index = 0
    while index < len(children):
        child = children[index]
        match = _FORMED.fullmatch(child.content) if child.type == "html_inline" else None
        index += 1
        if child.type == "html_inline" and (ticks := _TICKS.match(child.content)) is not None:
            yield Token("text", "", 0, content=TICKED if _CHECKED.search(ticks.group(1)) else UNTICKED)
        elif match is None:
            yield child
        elif (tag := match.group(2).lower()) not in ("sup", "sub"):
            yield Token("s_close" if match.group(1) else "s_open", "s", -1 if match.group(1) else 1)
        elif not match.group(1) and index + 1 < len(children) and children[index].type == "text":
            write = superscript if tag == "sup" else subscript
            yield Token("text", "", 0, content=write(children[index].content))
            index += 1


def _is_placeholder(tag: str, closed: Collection[str]) -> bool:
    """Whether a tag only looks like one: `<port>` stands for something that the reader fills in. closed: the closing tags near it."""
    match = _PLACEHOLDER.fullmatch(tag)
    return (
        match is not None
        and match.group(1).lower() not in _ELEMENTS
        and f"</{match.group(1).lower()}>" not in closed
    )


def _read(children: Sequence[Token], raw: str = "") -> _Said:
    """raw: what stands for HTML and images, if the tokens are those of Markdown to show; '' for the tokens of a document."""
    words: list[str] = []
    addresses: list[str] = []
    for child in children if raw else _visible_tokens(children):
        match child.type:
            case "text" | "text_special":
                words.append(child.content)
            case "code_inline":
                words.append(_CODE_BEGINS + child.content + _CODE_BEGINS)
            case "image":
                words.append(raw or child.content)
            case "html_inline":
                words.append(raw)
            case "link_open":
                addresses.append(str(child.attrs.get("href", "")))
            case _:
                pass
    return _Said("".join("".join(words).split()), frozenset(addresses))


@dataclass(slots=True)
class _Open:
    """An open emphasis or link with the Markdown of its content so far. mark: '' if only the content is shown."""

    mark: str
    address: str
    parts: list[str]

    def close(self) -> str:
        inner = "".join(self.parts)
        words = inner.strip(f" \t\n{_SOFT_BREAK}")
        if not words or not (self.mark or self.address):
            return inner
        before, _, after = inner.partition(words)
        whole = f"[{words}]({self.address})" if self.address else f"{self.mark}{words}{self.mark}"
        return f"{before}{whole}{after}"


def _write(children: Sequence[Token], *, wraps: bool) -> str:
    """The tokens as Markdown. wraps: whether emphasis and links are kept; otherwise, everything is escaped."""
    escape = escaped if wraps else _all_escaped
    stack = [_Open("", "", [])]
    for child in _visible_tokens(children):
        out = stack[-1].parts
        match child.type:
            case "text" | "text_special":
                out.append(escape(child.content))
            case "softbreak":
                out.append(_SOFT_BREAK)
            case "hardbreak":
                out.append("\n")
            case "code_inline":
                code = child.content
                longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
                fence = "`" * (longest + 1)
                space = (
                    " "
                    if code[:1] == "`" or code[-1:] == "`" or (code[:1] == " " == code[-1:] and code.strip())
                    else ""
                )
                out.append(f"{_CODE_EDGE}{fence}{space}{code}{space}{fence}{_CODE_EDGE}")
            case "image":
                out.append(escape(child.content))
            case "html_inline" if _BREAK.match(child.content):
                out.append("\n")
            case "em_open" | "strong_open" | "s_open":
                stack.append(_Open(_WRAPS[child.tag] if wraps else "", "", []))
            case "link_open":
                stack.append(_Open("", _address(child) if wraps else "", []))
            case "em_close" | "strong_close" | "s_close" | "link_close" if len(stack) > 1:
                closed = stack.pop().close()
                stack[-1].parts.append(closed)
            case _:
                pass
    while len(stack) > 1:
        closed = stack.pop().close()
        stack[-1].parts.append(closed)
    text = _BETWEEN_WIDE.sub("", "".join(stack[0].parts)).replace(_SOFT_BREAK, " ")
    text = text.replace(_CODE_EDGE * 2, " ").replace(_CODE_EDGE, "")
    return re.sub(r"[ \t]?\n[ \t]?", "  \n", re.sub(r"[ \t]{2,}", " ", text)).strip()


def _address(link: Token) -> str:
    """The address of a link as Markdown; '' if it leads elsewhere than to the web, or cannot be written plainly."""
    address = str(link.attrs.get("href", ""))
    plain = address.startswith(("https://", "http://")) and len(address) <= _MAX_ADDRESS
    return address if plain and not re.search(r"[\s<>()\\]", address) else ""
