"""RTF (Rich Text Format 1.9.1), as a reader of the printed document sees its body.

Headings, the labels of lists, tables with merged cells, footnotes and text boxes below their paragraph, and headers and
footers before the body are read. Hidden and deleted text, comments, pictures and embedded objects are left out and
counted. The results of fields are read, and their codes are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import NO_MARK, BlockWriter
from responsa_formats.parsers.grid import GridCell, place_cells, write_table
from responsa_formats.parsers.office import (
    PAGE_NUMBER,
    Stated,
    document,
    tidy,
    tidy_cell,
    write_running,
)
from responsa_formats.parsers.sniff import CHARSETS, Original, charset_of_page
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, one_line
from responsa_formats.text.inline import Form, mark_form
from responsa_formats.text.symbols import in_unicode

MAX_DEPTH: Final = 1000
_TOKEN: Final = re.compile(
    r"\\([a-zA-Z]{1,32})(-?[0-9]{1,9})?+ ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]++)|[\r\n]++|."
)
# The words whose groups have no text of the document. Those after \* are unread unless they are known.
_UNREAD: Final = re.compile(
    "colortbl|filetbl|list(?:override)?table|revtbl|rsidtbl|generator|xmlnstbl|fldinst|pntxt[ab]|sp|shprslt|nesttableprops"
    "|nonesttables|bkmk(?:start|end)|datafield|[rt]?xe|tcl?|template|themedata|colorschememapping|datastore|latentstyles"
    "|docvar|userprops|atn(?:id|author|ref|date|time)|a?ftn(?:sepc?|cn)|operator|keywords|subject|category|manager|company"
    "|doccomm|hlinkbase|comment"
)
_COUNTED: Final = {
    **dict.fromkeys(("pict", "mmath"), LeftOutKind.PICTURE),
    "annotation": LeftOutKind.COMMENT,
    "objdata": LeftOutKind.EMBEDDED_FILE,
}
_RUNNING: Final = re.compile("header[lrf]?|footer[lrf]?")
_ASIDES: Final = {"footnote": "footnote", "shptxt": "text box"}
_LABELS: Final = ("listtext", "pntext")
_STATED: Final = ("title", "author", "creatim", "revtim")
_KNOWN: Final = frozenset((*_COUNTED, *_ASIDES, *_LABELS, "shpinst", "ud", "stylesheet", "fonttbl"))
_TYPED: Final = ("tab", "emdash", "endash", "bullet", "lquote", "rquote", "ldblquote", "rdblquote")
_SIGNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("par", "sect", "\n", "\r"), "\n"),
    **dict.fromkeys(("nestcell", "nestrow", "emspace", "enspace", "qmspace"), " "),
    **dict.fromkeys(("line", "lbr"), "\x0b"),
    **dict(zip((*_TYPED, *"~_-\\{}"), "\t—–•‘’“”\xa0\u2011\xad\\{}", strict=True)),
    "chpgn": PAGE_NUMBER,
}
_FONT_SETS: Final = (77, 128, 129, 134, 136, 161, 162, 163, 177, 178, 186, 204, 222, 238, 255)
_PAGES: Final = (10000, 932, 949, 936, 950, 1253, 1254, 1258, 1255, 1256, 1257, 1251, 874, 1250, 850)
"""The code pages of these character sets of fonts."""
_PAGE_OF: Final[Mapping[int, int]] = dict(zip(_FONT_SETS, _PAGES, strict=True))
_HEADING: Final = re.compile(r"(?:heading|überschrift|titre|título|titolo|kop) ([1-9])", re.IGNORECASE)

_Block = tuple[str, BlockKind, int, str, Place]
"""The text, the kind, the level, the marker and the place of a block."""
_Edge = tuple[int, bool, bool]
"""The right edge of a cell, and whether it belongs to the cell on its left, or above it."""
_Row = tuple[Sequence[_Edge], Sequence[str], bool]
"""The edges and the texts of the cells of a row, and whether it names the columns."""


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the document has no text, or exceeds a limit."""
    reader = _RtfReader(original, original.data.decode("latin-1"))
    reader.read()
    blocks = BlockWriter()
    written = {block[0] for block in reader.body if isinstance(block, tuple)}
    stated = {name: one_line(tidy("".join(parts))) for name, parts in reader.stated.items()}
    running = write_running(blocks, reader.running, {stated.get("title", ""), *written})
    tables = 0
    for block in reader.body:
        if isinstance(block, tuple):
            blocks.write(*block)
        else:
            tables += 1
            _write_table(blocks, block, f"table {tables}")
    date = stated.get("creatim") or stated.get("revtim", "")
    return document(
        original,
        blocks,
        "",
        Stated(stated.get("title", ""), "", stated.get("author", ""), date),
        "The RTF document has no text. Upload a document with visible text.",
        running,
    )


def _write_table(blocks: BlockWriter, rows: Sequence[_Row], path: str) -> None:
    edges = sorted({edge for defined, _, _ in rows for edge, _, _ in defined})
    columns = {edge: number for number, edge in enumerate(edges, 1)}
    above: dict[int, GridCell] = {}
    table: list[list[GridCell]] = []
    for defined, texts, header in rows:
        row: list[GridCell] = []
        last = 0
        for number, text in enumerate(texts):
            edge, beside, below = defined[number] if number < len(defined) else (-1, False, False)
            right = columns.get(edge, last + 1)
            if beside and row:
                row[-1].columns += right - last
            elif below and right in above:
                above[right].rows += 1
            else:
                row.append(GridCell(text, 1, max(right - last, 1), header))
                above[right] = row[-1]
            last = right
        table.append(row)
    write_table(blocks, place_cells(table), lambda row: Place(path=f"{path}, row {row.number}"))


_PLAIN: Final = Form()


@dataclass(slots=True)
class _Group:
    """The state of a group. out: whether its text is not read. sink: what gets its text. skip: how many characters stand
    for an old program after one of Unicode. name: the destination that the group begins; '' within it. table: the table
    of fonts or styles that the group defines."""

    sink: list[str]
    codec: str
    out: bool = False
    hidden: bool = False
    form: Form = _PLAIN
    font: str = ""
    skip: int = 1
    starred: bool = False
    name: str = ""
    table: str = ""


@dataclass(slots=True)
class _RtfReader:
    """fonts: the codec and the name of each. levels: those of the styles of headings. pending: the bytes of the text that
    is being read, which may be parts of characters. asides: the footnotes and text boxes that follow the paragraph.
    defined, naming, charset: the font or style that is being defined. hiding: whether the text before was hidden."""

    original: Original
    source: str
    body: list[_Block | list[_Row]] = field(default_factory=list[_Block | list[_Row]])
    running: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    stated: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    fonts: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])
    levels: dict[int, int] = field(default_factory=dict[int, int])
    codec: str = "cp1252"
    pending: bytearray = field(default_factory=bytearray)
    text: list[str] = field(default_factory=list[str])
    label: list[str] = field(default_factory=list[str])
    asides: list[_Block] = field(default_factory=list[_Block])
    cells: list[str] = field(default_factory=list[str])
    cell: list[str] = field(default_factory=list[str])
    edges: list[_Edge] = field(default_factory=list[_Edge])
    beside: bool = False
    below: bool = False
    header: bool = False
    in_table: bool = False
    level: int = 0
    depth: int = 1
    paragraphs: int = 0
    noted: int = 0
    defined: int = 0
    naming: list[str] = field(default_factory=list[str])
    charset: str = ""
    hiding: bool = False

    def read(self) -> None:
        group = _Group(self.text, self.codec)
        stack: list[_Group] = []
        skipped = offset = 0
        while (match := _TOKEN.match(self.source, offset)) is not None:
            offset = match.end()
            word, number, code, sign, brace, text = match.groups()
            if code is not None or text is not None:
                data = bytes([int(code, 16)]) if code is not None else text.encode("latin-1")
                passed = min(skipped, len(data))
                skipped -= passed
                if not group.out:
                    self.pending += data[passed:]
                continue
            if self.pending:
                self.put(group, self.pending.decode(group.codec, "replace"))
                self.pending.clear()
            skipped = skipped if brace is None else 0
            if brace == "{":
                if len(stack) >= MAX_DEPTH:
                    raise Rejected.as_over_limit(f"The groups are nested more than {MAX_DEPTH:,} deep.")
                stack.append(group)
                group = replace(group, starred=False, name="")
            elif brace == "}" and stack:
                self.leave(group, stack[-1])
                group = stack.pop()
                if not stack:
                    break
            elif sign == "*":
                group.starred = True
            elif word == "bin":
                offset += max(int(number or 0), 0)
            elif word == "u" and number is not None:
                self.put(group, chr(int(number) % 0x10000))
                skipped = group.skip
            elif word is not None:
                self.control(group, word, int(number or 0), on=number is None or int(number) != 0)
            elif sign is not None and sign in _SIGNS:
                self.put(group, _SIGNS[sign])
        self.put(group, self.pending.decode(group.codec, "replace"))
        self.end_paragraph()

    def put(self, group: _Group, text: str) -> None:
        if group.out or not text:
            return
        if group.table:
            self.naming.append(text)
            if ";" in text:
                self.define(group.table, "".join(self.naming).strip("; \n"))
            return
        if group.hidden:
            self.original.left_out[LeftOutKind.HIDDEN_TEXT] += not self.hiding and bool(text.strip())
        elif text == "\n" and group.sink is self.text:
            self.end_paragraph()
        else:
            group.sink.append(mark_form(in_unicode(text.replace("\x0b", "\n"), group.font), group.form))
        self.hiding = group.hidden

    def enter(self, group: _Group, word: str) -> bool:
        """Begin a destination. Returns whether the word is one."""
        if word in _COUNTED and not group.out:
            self.original.left_out[_COUNTED[word]] += 1
        # The group within "upr" has the same text in Unicode.
        if word in (*_COUNTED, "upr") or _UNREAD.fullmatch(word) or (group.starred and word not in _KNOWN):
            group.out = True
        elif word in ("stylesheet", "fonttbl"):
            group.table = word
        elif word in (*_STATED, *_ASIDES, *_LABELS) or _RUNNING.fullmatch(word):
            group.sink, group.form, group.hidden = [], _PLAIN, False
        elif word == "ud":
            group.out = False
        elif word != "shpinst":
            return False
        group.name = word
        group.starred = False
        return True

    def leave(self, group: _Group, outer: _Group) -> None:
        if outer.sink is group.sink or group.out:
            return
        text = _join_halves(group.sink)
        if group.name in _LABELS:
            self.label.append(tidy(text))
        elif _RUNNING.fullmatch(group.name):
            self.running += [(group.name[:6], line) for line in text.split("\n")]
        elif group.name in _ASIDES:
            self.noted += 1
            place = Place(path=f"{_ASIDES[group.name]} {self.noted}")
            lines = filter(None, tidy(text).split("\n"))
            self.asides += [(line, BlockKind.PARAGRAPH, 0, "", place) for line in lines]
        elif text.strip():
            self.stated[group.name] = group.sink

    def define(self, table: str, name: str) -> None:
        if table == "fonttbl":
            self.fonts[self.defined] = self.charset, name
        elif (match := _HEADING.match(name)) is not None:
            self.levels[self.defined] = min(int(match.group(1)), 6)
        self.defined, self.charset = 0, ""
        self.naming.clear()

    def control(self, group: _Group, word: str, number: int, *, on: bool) -> None:
        if self.enter(group, word) or group.out:
            return
        match word:
            case _ if word in _SIGNS:
                self.put(group, _SIGNS[word])
            case "ansicpg":
                group.codec = self.codec = CHARSETS.get(charset_of_page(number), self.codec)
            case "mac" | "pc" | "pca":
                group.codec = self.codec = {"mac": "mac_roman", "pc": "cp437"}.get(word, "cp850")
            case "uc":
                group.skip = min(max(number, 0), 10)
            case "f" | "s" if group.table:
                self.defined = number
            case "fcharset":
                self.charset = CHARSETS.get(charset_of_page(_PAGE_OF.get(number, 0)), "")
            case "f":
                charset, group.font = self.fonts.get(number, ("", ""))
                group.codec = charset or self.codec
            case "v" | "deleted":
                group.hidden = on
            case "strike" | "striked":
                group.form = Form(group.form.shift, on)
            case "super" | "sub" | "nosupersub":
                group.form = Form({"super": 1, "sub": -1}.get(word, 0), group.form.struck)
            case "plain":
                group.form, group.font, group.codec, group.hidden = _PLAIN, "", self.codec, False
            case "cell" | "row" if group.sink is not self.text:
                self.put(group, "\t" if word == "cell" else "\n")
            case _ if group.sink is self.text and not group.table:
                self.shape(word, number)
            case _:
                pass

    def shape(self, word: str, number: int) -> None:
        """Follow a word about the paragraph or the table."""
        match word:
            case "pard":
                self.level, self.depth, self.in_table = 0, 1, False
            case "s":
                self.level = self.levels.get(number, 0)
            case "outlinelevel":
                self.level = min(number + 1, 6) if number < 9 else 0
            case "ilvl":
                self.depth = min(number + 1, 9)
            case "intbl":
                self.in_table = True
            case "trowd":
                self.edges, self.beside, self.below, self.header = [], False, False, False
            case "trhdr":
                self.header = True
            case "clmrg":
                self.beside = True
            case "clvmrg":
                self.below = True
            case "cellx" if len(self.edges) < MAX_DEPTH:
                self.edges.append((number, self.beside, self.below))
                self.beside = self.below = False
            case "cell":
                self.end_paragraph(in_cell=True)
                self.cells.append(tidy_cell("\n".join(self.cell)))
                self.cell.clear()
            case "row":
                if not self.body or not isinstance(table := self.body[-1], list):
                    table = list[_Row]()
                    self.body.append(table)
                table.append((self.edges, list(self.cells), self.header))
                self.cells.clear()
                self.end_asides()
            case _:
                pass

    def end_paragraph(self, *, in_cell: bool = False) -> None:
        text = tidy(_join_halves(self.text))
        label = " ".join(self.label).strip()
        self.text.clear()
        self.label.clear()
        if self.in_table or in_cell:
            self.cell.append(f"{label} {text}".strip())
            return
        if text:
            self.paragraphs += 1
            place = Place(path=f"paragraph {self.paragraphs}")
            if self.level:
                self.body.append((tidy(f"{label} {text}"), BlockKind.HEADING, self.level, "", place))
            elif label:
                marker = f"{label} " if any(map(str.isalnum, label)) else NO_MARK
                self.body.append((text, BlockKind.LIST_ITEM, self.depth, marker, place))
            else:
                self.body.append((text, BlockKind.PARAGRAPH, 0, "", place))
        self.end_asides()

    def end_asides(self) -> None:
        self.body += self.asides
        self.asides.clear()


def _join_halves(parts: Sequence[str]) -> str:
    """The text of parts, in which characters beyond the first plane may be two halves."""
    text = "".join(parts).replace("\x00", "")
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
