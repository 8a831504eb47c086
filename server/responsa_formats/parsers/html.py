"""HTML. The visible text is the canonical text. selectolax (Lexbor, an HTML5 parser) builds the tree.

`pre` keeps its white space; elsewhere a run of white space becomes one space. The state of forms is text (see
html_controls), and a definition begins with its term: "Child: 4 euros". Scripts, styles, templates, comments and
fallback content are left out. Hidden texts, pictures, embedded pages, and what stands around the content of a page (see
html_content) are left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter as CountsOf
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from xml.etree.ElementTree import Element, TreeBuilder

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import NO_MARK, BlockWriter
from responsa_formats.parsers.equations import linear
from responsa_formats.parsers.grid import GridCell, place_cells, write_table
from responsa_formats.parsers.html_content import (
    LEAST_CHARS,
    UNSEEN,
    MainContent,
    content_of,
    is_aside,
    is_hidden,
    is_shown,
    steps,
)
from responsa_formats.parsers.html_controls import CONTROLS, box, entry
from responsa_formats.parsers.html_source import fill_slots, plain_source
from responsa_formats.parsers.numbering import BULLET, NO_LABEL, Counter, Level
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, one_line
from responsa_formats.text.contents import contents_lines
from responsa_formats.text.inline import Form, mark_form, remove_marks, settle_marks
from responsa_formats.text.symbols import TICKED, UNTICKED, in_unicode

# Browsers limit nesting to about 512 levels. Lexbor's time is quadratic in the depth, so the depth is checked before parsing.
MAX_DEPTH = 1000
# The names of meta elements, in lower case. What was published comes before what was changed.
_AUTHORS = ("author", "dc.creator", "dcterms.creator", "article:author")
_DATES = (
    *("article:published_time", "dcterms.issued", "dc.date.issued", "date", "dc.date", "dcterms.date"),
    *("article:modified_time", "dcterms.modified", "dcterms.created"),
)

_BLOCKS = frozenset(
    [
        *("html", "body", "address", "article", "aside", "blockquote", "center", "dd", "details"),
        *("dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1"),
        *("h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "legend", "li", "main", "menu", "nav"),
        *("ol", "p", "pre", "listing", "xmp", "search", "section", "summary", "table", "caption", "tbody"),
        *("thead", "tfoot", "tr", "td", "th", "colgroup", "ul", "optgroup", "ac:rich-text-body"),
        "ac:task",
    ]
)
_HEADINGS = {f"h{n}": n for n in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu", "dir"})
_CODE = frozenset({"pre", "listing", "xmp", "plaintext", "ac:plain-text-body"})
_CELLS = frozenset({"td", "th"})
_ALL_ROWS = 65_534
# A table that contains one of these elements is used for page layout, so its rows are not kept on one line.
_LAYOUT_MARKS = frozenset({"table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "article", "section", "main"})
_SHAPING = frozenset({"tr", "td", "th", "p", "div", "ul", "ol", "blockquote"})

_NESTING_TAG = re.compile(
    r"<(?:!--.*?(?:-->|\Z)|(script|style|textarea|title|xmp|iframe|noembed|noframes)\b.*?(?:</\1|\Z)"
    r"|(/?)(?:div|blockquote|ul|ol|menu|dir|dl|section|article|main|aside|nav|header|footer|figure|figcaption|details"
    r"|fieldset|center|table|address|form|button|object|svg|math|template|summary|dialog|search|hgroup|pre|listing)\b)",
    re.IGNORECASE | re.DOTALL,
)
_SOFT_HYPHEN = "\u00ad"
# Stands for <br> in inline text. HTML text never contains this character, because the parser replaces it.
LINE_BREAK = "\x00"
_SPACES = re.compile(r"[ \t\n\f\r]+")
_SHIFTS = {"sup": 1, "sub": -1}
_FRAMES = frozenset({"iframe", "object", "embed", "applet", "audio", "video"})
_PICTURES = frozenset({"img", "svg", "canvas", "ac:image"})
_NO_SIZE = ("0", "1", "0px", "1px")
"""The width or height of a picture that only counts readers."""
_LINKED = ("ri:content-title", "ri:filename", "ri:value")
"""The attributes that name what a link of Confluence leads to."""
_STRUCK = frozenset({"del", "s", "strike"})
_LINE_THROUGH = re.compile(r"text-decoration(?:-line)?\s{0,9}:[^;:]{0,99}line-through", re.IGNORECASE)
# Browsers do not agree on the font Symbol.
_FONT = re.compile(r"font-family\s{0,9}:[\s\"']{0,9}((?:wing|web)dings(?: [23])?)\b", re.IGNORECASE)
_LEADS = re.compile(r"[\d.\s]*[;,]\s*(?:url\s*=\s*)?[\"']?([^\"'\s]+)", re.IGNORECASE)
_MOVES = re.compile(r"\blocation(?:\.href)?\s*(?:=|\.(?:replace|assign)\()\s*[\"']([^\"']+)")
_FEW_CHARS = 60
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_TYPES = frozenset("1aAiI")
_LIST_STYLE = re.compile(r"list-style(?:-type)?\s{0,9}:\s{0,9}([a-z-]{1,40})", re.IGNORECASE)
# The forms of `numeral` by the names of CSS.
_STYLES = {
    "none": NO_LABEL,
    "decimal-leading-zero": "01",
    "lower-alpha": "a",
    "lower-latin": "a",
    "upper-alpha": "A",
    "upper-latin": "A",
    "lower-roman": "i",
    "upper-roman": "I",
    "lower-greek": "α",
    **dict.fromkeys(("disc", "circle", "square"), BULLET),
}
_LABELS = {NO_LABEL: ()}
"""The labels of forms without a period."""
# No mark of a note takes more steps to walk over it.
_MARK_STEPS = 40


@dataclass(slots=True)
class OpenList:
    """An open list. level: how its items are numbered. counter: its last number. defines: whether it is a list of definitions."""

    level: Level
    counter: Counter = field(default_factory=Counter)
    defines: bool = False


@dataclass(slots=True)
class OpenTable:
    """An open table. layout: whether the table is used for page layout. rows: the open row is the last one. cell: the
    open cell. head: whether the open rows name the columns."""

    layout: bool
    rows: list[list[GridCell]] = field(default_factory=list[list[GridCell]])
    cell: GridCell | None = None
    head: bool = False


@dataclass(slots=True)
class TextWriter:
    """The state of the walk over the tree, and the text written so far."""

    blocks: BlockWriter = field(default_factory=BlockWriter)
    inline: list[str] = field(default_factory=list[str])
    lists: list[OpenList] = field(default_factory=list[OpenList])
    tables: list[OpenTable] = field(default_factory=list[OpenTable])
    code: int = 0
    heading: int = 0
    marker: str | None = None
    term: bool = False
    """Whether the text is a term that is defined, which waits for its definition."""
    terms: list[str] = field(default_factory=list[str])
    """The terms that wait."""
    contents: Set[str] = frozenset()
    """The lines of a table of contents, which are left out."""
    left_out: CountsOf[LeftOutKind] = field(default_factory=CountsOf[LeftOutKind])

    def take(self) -> str:
        """Return the inline text collected so far, with its white space normalised, and empty the buffer."""
        raw = settle_marks("".join(self.inline))
        self.inline.clear()
        if self.code:
            return raw.replace(LINE_BREAK, "\n").strip("\r\n").rstrip(" \t\n\f\r")
        lines = (_SPACES.sub(" ", line).strip(" ") for line in raw.split(LINE_BREAK))
        return "\n".join(lines).strip("\n")

    @property
    def cell(self) -> GridCell | None:
        """The cell of a data table that the text belongs to, if it belongs to one."""
        return self.tables[-1].cell if self.tables else None

    def flush(self) -> None:
        """End the current block. Inside a cell of a data table this only adds a space."""
        if self.cell is not None:
            self.inline.append(" ")
            return
        text = self.take()
        if text:
            self.write(text, self.kind())

    def begins_with_box(self) -> bool:
        """Whether a box to tick is all that there is of an item so far. It belongs to the text after it."""
        return self.marker is not None and "".join(self.inline).strip() in (TICKED, UNTICKED)

    def kind(self) -> BlockKind:
        """The kind of the block that ends here."""
        if self.code:
            return BlockKind.CODE
        if self.heading:
            return BlockKind.HEADING
        if self.lists:
            return BlockKind.LIST_ITEM
        return BlockKind.QUOTE if self.blocks.quotes else BlockKind.PARAGRAPH

    def define(self, text: str = "") -> None:
        """Write the terms that wait, with the beginning of their definition, if there is any."""
        if self.terms:
            term = ", ".join(self.terms)
            self.terms.clear()
            between = " " if term.endswith((":", "?", "!", ".")) else ": "
            level = next(
                (depth for depth in range(len(self.lists), 0, -1) if self.lists[depth - 1].defines), 1
            )
            self.blocks.write(f"{term}{between}{text}" if text else term, BlockKind.LIST_ITEM, level, "")

    def write(self, text: str, kind: BlockKind) -> None:
        if self.term and kind is not BlockKind.HEADING:
            self.terms.append(text.replace("\n", " "))
            return
        if self.terms and kind is BlockKind.LIST_ITEM and self.lists[-1].defines:
            self.define(text)
            return
        self.define()
        if self.contents:
            text = "\n".join(line for line in text.split("\n") if line not in self.contents)
        if not text:
            return
        match kind:
            case BlockKind.HEADING:
                self.blocks.write(text, kind, self.heading)
            case BlockKind.LIST_ITEM:
                self.blocks.write(text, kind, len(self.lists), self.marker or NO_MARK)
                self.marker = None
            case BlockKind.QUOTE:
                self.blocks.write(text, kind, self.blocks.quotes)
            case _:
                self.blocks.write(text, kind)

    def end_cell(self, table: OpenTable, cell: GridCell) -> None:
        cell.text = self.take().replace("\n", " ")
        table.rows[-1].append(cell)
        table.cell = None


def parse(original: Original) -> ParsedDocument:
    """Extract the visible text.

    Raises Rejected if the document is not text, has no visible text, is nested more than MAX_DEPTH deep, or has
    more blocks than the server stores.
    """
    _check_depth(original.text)
    # WO_EVENTS turns off mutation events, which only live pages need. With these events, the time for an element is quadratic in
    # its number of options.
    tree = LexborHTMLParser(plain_source(original.text), options=LexborDocumentOptions.WO_EVENTS)
    fill_slots(tree)
    root = tree.root
    body = tree.body
    writer = TextWriter()
    if root is not None:
        content = content_of(body if body is not None else root)
        layout = _layout_tables(root)
        _write(writer, content, layout)
        lines = writer.blocks.text.split("\n")
        # Each contents line may be a block, so an empty line may follow it.
        lines = [line for line in lines if line]
        if places := contents_lines(lines):
            writer = TextWriter(contents={lines[index] for index in places})
            writer.left_out[LeftOutKind.NAVIGATION] += 1
            _write(writer, content, layout)
        writer.left_out[LeftOutKind.NAVIGATION] += content.around
    if original.depth:
        # The file around a page counts its pictures.
        del writer.left_out[LeftOutKind.PICTURE]
    original.left_out.update(+writer.left_out)
    text = writer.blocks.text
    if len(text) < LEAST_CHARS:
        _refuse_stand_in(tree, text)
    if not text.strip():
        raise Rejected.as_empty("The HTML document shows no text. Upload a page with visible text.")
    title_node = tree.css_first("head > title")
    return writer.blocks.document(
        original,
        named=one_line(_clean(title_node.text()) if title_node is not None else ""),
        language=_language(root),
        author=_meta(tree, _AUTHORS),
        date=_meta(tree, _DATES),
    )


def _refuse_stand_in(tree: LexborHTMLParser, text: str) -> None:
    """Raise Rejected if a page with little text leads to another one, or waits for its scripts."""
    refreshes = (node.attributes.get("content") or "" for node in tree.css("meta[http-equiv=refresh i]"))
    scripts = (node.text() for node in tree.css("script"))
    if leads := next(filter(None, (*map(_LEADS.match, refreshes), *map(_MOVES.search, scripts))), None):
        what = f"The page only leads to another one: {one_line(leads[1])}."
        raise Rejected.as_stand_in(what, "Save that page")
    waits = len(text) < _FEW_CHARS and tree.css_first("h1, h2, p, li, td") is None
    if tree.css_first("script[src]") is not None and (waits or tree.css_first("noscript") is not None):
        what = "The page is filled by scripts, which Responsa does not run."
        raise Rejected.as_stand_in(what, "Print the page to a PDF in a browser")


def _write(writer: TextWriter, content: MainContent, layout: Set[int]) -> None:
    for top in content.tops:
        _walk(top, writer, layout, content.left_out)


def _check_depth(source: str) -> None:
    depth = 0
    for match in _NESTING_TAG.finditer(source):
        closing = match.group(2)
        if closing is None:
            continue
        if closing:
            depth = max(0, depth - 1)
            continue
        depth += 1
        if depth > MAX_DEPTH:
            raise Rejected.as_over_limit(
                f"The HTML elements are nested more than {MAX_DEPTH:,} deep.",
                "Flatten the page, or upload its text as Markdown or plain text.",
            )


def _clean(text: str) -> str:
    return remove_marks(text.replace("\x00", "").replace(_SOFT_HYPHEN, ""))


def _language(root: LexborNode | None) -> str:
    html = root
    while html is not None and html.tag != "html":
        html = html.first_child if html.tag == "-document" else html.next
    return (html.attributes.get("lang") or "").strip() if html is not None else ""


def _meta(tree: LexborHTMLParser, names: Sequence[str]) -> str:
    """The content of the first of these meta elements that the page has; "" if it has none of them."""
    contents: dict[str, str] = {}
    for node in tree.css("head > meta"):
        name = node.attributes.get("name") or node.attributes.get("property") or ""
        content = _clean(node.attributes.get("content") or "").strip()
        if content:
            contents.setdefault(name.strip().lower(), content)
    return next((contents[name] for name in names if name in contents), "")


@dataclass(slots=True)
class _Shape:
    """What is known of an open table. cells: those of the open row. is_column: whether no row has several cells, or names."""

    cells: int = 0
    blocks: int = 0
    is_column: bool = True

    def add(self, tag: str) -> None:
        if tag == "tr":
            self.cells = 0
        elif tag in _CELLS:
            self.cells += 1
            self.is_column = self.is_column and self.cells == 1 and tag == "td"
        else:
            self.blocks += 1


def _layout_tables(top: LexborNode) -> set[int]:
    """The node ids of the tables that are used for page layout rather than data: those that say so, hold other tables or
    sections, or are one column of blocks."""
    layout_tables: set[int] = set()
    open_tables: list[int] = []
    shapes: list[_Shape] = []
    """Those of the open tables."""
    for node, entering in steps(top, lambda _: True):
        tag = node.tag
        if not entering:
            if tag == "table":
                table = open_tables.pop()
                shape = shapes.pop()
                if shape.is_column and shape.blocks:
                    layout_tables.add(table)
            continue
        if shapes and tag in _SHAPING:
            shapes[-1].add(tag)
        if tag in _LAYOUT_MARKS:
            # If a table is marked, all tables around it are marked already. So each table is marked only once.
            for table in reversed(open_tables):
                if table in layout_tables:
                    break
                layout_tables.add(table)
        if tag == "table":
            open_tables.append(node.mem_id)
            shapes.append(_Shape())
            if (node.attributes.get("role") or "").strip().lower() in ("presentation", "none"):
                layout_tables.add(node.mem_id)
    return layout_tables


def _walk(top: LexborNode, writer: TextWriter, layout: Set[int], left_out: Set[int]) -> None:
    """Write the text below an element. layout: the ids of the tables for page layout. left_out: the ids of the elements
    that are not written."""
    shown: list[bool] = []
    forms = [Form()]
    fonts = [""]

    def descend(node: LexborNode) -> bool:
        return shown[-1]

    for node, entering in steps(top, descend):
        tag = node.tag or ""
        if not entering:
            forms.pop()
            fonts.pop()
        if entering:
            if tag == "-text":
                form = Form(forms[-1].shift) if writer.code else forms[-1]
                writer.inline.append(mark_form(in_unicode(_clean(node.text()), fonts[-1]), form))
            forms.append(_form(tag, node, forms[-1]))
            fonts.append(_font(tag, node, fonts[-1]))
            belongs = node.mem_id not in left_out and not _is_note_mark(tag, node, forms[-2])
            visible = belongs and is_shown(node)
            if not tag.startswith("-"):
                if belongs:
                    _count(tag, node, writer, visible=visible)
                visible = visible and not is_aside(node, tag)
            sign = box(tag, node) if visible else ""
            opaque = tag == "math" or (sign and node.first_child is None)
            shown.append((visible and not opaque) or tag == "-document")
            if visible and not opaque:
                _enter(tag, node, writer, layout)
            if sign:
                writer.inline.append(f" {sign} ")
            elif visible and tag == "math":
                writer.inline.append(linear(_math(node)))
            elif tag in CONTROLS and belongs and not is_hidden(node):
                _fill(entry(tag, node), writer)
        elif shown.pop() and not tag.startswith("-"):
            _leave(tag, writer)
    writer.flush()


def _count(tag: str, node: LexborNode, writer: TextWriter, *, visible: bool) -> None:
    """Count an element that is left out. visible: whether it is shown."""
    if is_hidden(node):
        text = tag not in UNSEEN and node.text().strip()
        writer.left_out[LeftOutKind.HIDDEN_TEXT] += bool(text)
    elif tag in _FRAMES:
        writer.left_out[LeftOutKind.EMBEDDED_FILE] += 1
    elif tag in _PICTURES:
        sizes = (node.attributes.get("width"), node.attributes.get("height"))
        writer.left_out[LeftOutKind.PICTURE] += not any(size in _NO_SIZE for size in sizes)
    elif visible and tag == "ac:link" and not node.text().strip():
        named = (
            child.attributes.get(name)
            for child, _ in steps(node, lambda _: True)
            for name in _LINKED
            if child.is_element_node
        )
        writer.inline.append(_clean(next(filter(None, named), "")))


def _fill(entered: str | None, writer: TextWriter) -> None:
    """Write what is entered in a field of a form."""
    if entered is None:
        return
    if writer.cell is not None:
        writer.cell.entered = True
    if written := _clean(entered).replace("\n", LINE_BREAK):
        writer.inline.append(f" {written} ")


def _form(tag: str, node: LexborNode, above: Form) -> Form:
    """The form of an element's text. above: that of the text around it."""
    if tag in _SHIFTS:
        return Form(_SHIFTS[tag], above.struck)
    if tag in _STRUCK or (tag == "span" and _LINE_THROUGH.search(node.attributes.get("style") or "")):
        return Form(above.shift, struck=True)
    return above


def _font(tag: str, node: LexborNode, above: str) -> str:
    """The font of pictures that an element's text is set in; '' for other fonts. above: that of the text around it."""
    if tag not in ("font", "span"):
        return above
    face, style = node.attributes.get("face"), node.attributes.get("style") or ""
    match = _FONT.search(f"font-family:{face}" if face else style)
    if match is not None:
        return match.group(1)
    return "" if face or "font" in style.lower() else above


def _math(top: LexborNode) -> Element:
    builder = TreeBuilder()
    for node, entering in steps(top, lambda _: True):
        tag = node.tag or ""
        if tag.startswith("-"):
            if entering and tag == "-text":
                builder.data(_clean(node.text()))
        elif entering:
            builder.start(f"math:{tag}", {key: value or "" for key, value in node.attributes.items()})
        else:
            builder.end(f"math:{tag}")
    return builder.close()


def _is_note_mark(tag: str, node: LexborNode, above: Form) -> bool:
    """Whether an element is the mark of a note: a raised link to a place within the page. The note itself is text of the page."""
    if tag not in ("a", "sup"):
        return False
    visits = list(islice(steps(node, lambda _: True), _MARK_STEPS + 1))
    link = marks = 0
    raised = above.shift > 0
    for visited, entering in visits:
        step = 1 if entering else -1
        if visited.tag == "sup":
            raised += step
        elif visited.tag == "a":
            noted = visited.attributes.get("role") == "doc-noteref"
            link += step * (noted or (visited.attributes.get("href") or "").startswith("#"))
            raised += step * noted
        elif visited.tag == "-text" and entering and any(map(str.isalnum, visited.text())):
            if not (link and raised):
                return False
            marks += 1
    return marks > 0 and len(visits) <= _MARK_STEPS


def _enter(tag: str, node: LexborNode, writer: TextWriter, layout: Set[int]) -> None:
    if tag == "br":
        writer.inline.append(LINE_BREAK)
        return
    if tag not in _BLOCKS and tag not in _CODE:
        return
    if not (tag in ("p", "div") and writer.begins_with_box()):
        writer.flush()
    if tag in _HEADINGS:
        writer.heading = _HEADINGS[tag]
    elif tag in _CODE:
        writer.code += 1
    elif tag in _LISTS:
        writer.lists.append(_list(tag, node))
    elif tag == "dl":
        writer.lists.append(OpenList(Level(NO_LABEL), defines=True))
    elif tag == "dt":
        writer.term = True
    elif tag == "li" and writer.lists:
        label = _label(node, writer.lists[-1])
        if writer.cell is None:
            writer.marker = f"{label} " if label else None
        elif label != BULLET:
            writer.inline.append(f"{label} ")
    elif tag == "ac:task":
        status = node.css_first("ac\\:task-status")
        ticked = status is not None and status.text().strip() == "complete"
        writer.inline.append(f"{TICKED if ticked else UNTICKED} ")
    elif tag == "blockquote":
        writer.blocks.quotes += 1
    elif tag == "table":
        writer.tables.append(OpenTable(layout=node.mem_id in layout))
    elif writer.tables and not writer.tables[-1].layout:
        table = writer.tables[-1]
        if tag == "tr":
            table.rows.append([])
        elif tag == "thead":
            table.head = True
        elif tag in _CELLS and table.rows:
            rows, columns = _whole(node, "rowspan", 1), _whole(node, "colspan", 1)
            table.cell = GridCell("", rows or _ALL_ROWS, columns, tag == "th" or table.head)


def _leave(tag: str, writer: TextWriter) -> None:
    if tag not in _BLOCKS and tag not in _CODE:
        return
    table = writer.tables[-1] if writer.tables else None
    if table is not None and table.cell and tag in _CELLS:
        writer.end_cell(table, table.cell)
        return
    writer.flush()
    if tag in _HEADINGS:
        writer.heading = 0
    elif tag in _CODE:
        writer.code -= 1
    elif tag in _LISTS:
        writer.lists.pop()
    elif tag == "dl":
        writer.define()
        writer.lists.pop()
    elif tag == "dt":
        writer.term = False
    elif tag == "dd":
        writer.define()
    elif tag == "li":
        writer.marker = None
    elif tag == "blockquote":
        writer.blocks.quotes -= 1
    elif tag == "thead" and table is not None:
        table.head = False
    elif tag == "table" and table is not None:
        writer.define()
        write_table(writer.blocks, place_cells(table.rows), lambda _: None)
        writer.tables.pop()


def _list(tag: str, node: LexborNode) -> OpenList:
    form = "1" if (stated := _form_of(node)) is None else stated
    form = form if tag == "ol" else BULLET
    first, step = 1, 1
    if "reversed" in node.attributes:
        first, step = 0, -1
        child = node.first_child
        while child is not None:
            first += child.tag == "li"
            child = child.next
    return OpenList(Level(form, _LABELS.get(form, (0, ".")), _whole(node, "start", first), step))


def _form_of(node: LexborNode) -> str | None:
    """The form of the numbers of a list or an item, as `numeral` takes it; None if the element does not say."""
    if (style := _LIST_STYLE.search(node.attributes.get("style") or "")) is not None:
        return _STYLES.get(style.group(1).lower(), "1")
    stated = node.attributes.get("type") or ""
    return stated if stated in _TYPES else None


def _label(item: LexborNode, around: OpenList) -> str:
    """Count an item of a list, and return its label."""
    own = around.level
    if own.form != BULLET and (form := _form_of(item)) is not None:
        own = replace(own, form=form, text=_LABELS.get(form, (0, ".")))
    value = item.attributes.get("value") or ""
    return around.counter.count({0: own}, 0, int(value) if _NUMBER.fullmatch(value) else None)


def _whole(node: LexborNode, name: str, default: int) -> int:
    value = node.attributes.get(name) or ""
    return int(value) if _NUMBER.fullmatch(value) else default
