"""RTF (Rich Text Format 1.9.1), as a reader of the printed document sees its body.

Headings, the labels of lists, tables with merged cells, footnotes and text boxes below their paragraph, and headers and
footers before the body are read. Hidden and deleted text, comments, pictures and embedded objects are left out and
counted. The results of fields are read, and their codes are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from responsa_server.domain.documents import LeftOutKind
from responsa_server.ingest import rejections
from responsa_server.ingest.formats.blocks import NO_MARK, BlockWriter
from responsa_server.ingest.formats.grid import Cell, placed, write_table
from responsa_server.ingest.formats.office import (
    PAGE_NUMBER,
    Stated,
    document,
    tidy,
    tidy_cell,
    write_running,
)
from responsa_server.ingest.formats.sniff import CHARSETS, Original
from responsa_server.text.canonical import BlockKind, ParsedDocument, Place, one_line
from responsa_server.text.inline import Form, marked
from responsa_server.text.symbols import in_unicode

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
    "annotation": LeftOutKind.COMMENT,
    "pict": LeftOutKind.PICTURE,
    "mmath": LeftOutKind.PICTURE,
    "objdata": LeftOutKind.EMBEDDED_FILE,
}
_RUNNING: Final = re.compile("header[lrf]?|footer[lrf]?")
_ASIDES: Final = {"footnote": "footnote", "shptxt": "text box", "listtext": "", "pntext": ""}
_STATED: Final = ("title", "author", "creatim", "revtim")
_KNOWN: Final = frozenset((*_COUNTED, *_ASIDES, "shpinst", "ud", "stylesheet", "fonttbl"))
_WORDS: Final = (
    "par",
    "sect",
    "line",
    "lbr",
    "tab",
    "nestcell",
    "nestrow",
    "emdash",
    "endash",
    "bullet",
    "lquote",
    "rquote",
)
_MORE_WORDS: Final = ("ldblquote", "rdblquote", "emspace", "enspace", "qmspace", "chpgn", *"~_-\\{}\n\r")
_SIGNS: Final[Mapping[str, str]] = dict(
    zip(
        (*_WORDS, *_MORE_WORDS),
        f"\n\n\x0b\x0b\t  —–•‘’“”   {PAGE_NUMBER}\xa0\u2011\xad\\{{}}\n\n",
        strict=True,
    )
)
_CODE_PAGES: Final[Mapping[int, str]] = dict(
    zip(
        (77, 128, 129, 134, 136, 161, 162, 163, 177, 178, 186, 204, 222, 238, 255),
        (
            *("macintosh", "shift_jis", "euc-kr", "gb18030", "big5"),
            *(f"windows-{page}" for page in (1253, 1254, 1258, 1255, 1256, 1257, 1251, 874, 1250)),
            "ibm850",
        ),
        strict=True,
    )
)
"""The character sets of fonts by the numbers of Windows."""
_PAGES: Final = {
    932: "shift_jis",
    936: "gb18030",
    949: "euc-kr",
    950: "big5",
    65001: "utf-8",
    10000: "macintosh",
}
_PLAIN: Final = Form()
_HEADING: Final = re.compile(r"(?:heading|überschrift|titre|título|titolo|kop) ([1-9])", re.IGNORECASE)


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises DocumentRejected if the document has no text, or exceeds a limit."""
    reader = _Reader(original, original.data.decode("latin-1"))
    reader.read()
    blocks = BlockWriter()
    said = {text for block in reader.body for text in block.texts()}
    stated = {name: one_line(tidy("".join(parts))) for name, parts in reader.stated.items()}
    body = write_running(blocks, reader.running, {stated.get("title", ""), *said})
    for block in reader.body:
        block.write(blocks)
    title = stated.get("title") or blocks.collector.first_heading()
    date = next((one for one in (stated.get("creatim"), stated.get("revtim")) if one), "")
    return document(
        original,
        blocks,
        title,
        Stated(title, "", stated.get("author", ""), date),
        "The RTF document has no text. Upload a document with visible text.",
        body,
    )


@dataclass(slots=True)
class _Group:
    """The state of a group. out: whether its text is not read. sink: what gets its text."""

    sink: list[str]
    codec: str
    out: bool = False
    hidden: bool = False
    form: Form = _PLAIN
    font: str = ""
    skip: int = 1
    """How many characters stand for an old program after one of Unicode."""
    starred: bool = False
    name: str = ""
    """The destination that the group begins; '' within it."""
    table: str = ""
    """The table of fonts or styles that the group defines."""


@dataclass(slots=True)
class _Paragraph:
    text: str
    place: Place
    level: int = 0
    label: str = ""
    depth: int = 1

    def texts(self) -> Iterator[str]:
        yield self.text

    def write(self, blocks: BlockWriter) -> None:
        if self.level:
            blocks.write(tidy(f"{self.label} {self.text}"), BlockKind.HEADING, self.level, place=self.place)
        elif self.label:
            marker = f"{self.label} " if any(map(str.isalnum, self.label)) else NO_MARK
            blocks.write(self.text, BlockKind.LIST_ITEM, self.depth, marker, self.place)
        else:
            blocks.write(self.text, BlockKind.PARAGRAPH, place=self.place)


@dataclass(slots=True)
class _Edge:
    """The definition of a cell: its right edge, and whether it belongs to the cell on its left or above it."""

    right: int
    beside: bool = False
    below: bool = False


@dataclass(slots=True)
class _Table:
    """A table. rows: the definitions and texts of its cells, and whether the row names the columns."""

    number: int
    rows: list[tuple[list[_Edge], list[str], bool]] = field(
        default_factory=list[tuple[list[_Edge], list[str], bool]]
    )

    def texts(self) -> Iterator[str]:
        return iter(())

    def write(self, blocks: BlockWriter) -> None:
        edges = sorted({edge.right for defined, _, _ in self.rows for edge in defined})
        columns = {edge: number for number, edge in enumerate(edges, 1)}
        above: dict[int, Cell] = {}
        rows: list[list[Cell]] = []
        for defined, texts, header in self.rows:
            row: list[Cell] = []
            last = 0
            for number, text in enumerate(texts):
                edge = defined[number] if number < len(defined) else None
                right = columns[edge.right] if edge is not None else last + 1
                if edge is not None and edge.beside and row:
                    row[-1].columns += right - last
                elif edge is not None and edge.below and right in above:
                    above[right].rows += 1
                else:
                    row.append(Cell(text, 1, max(right - last, 1), header))
                    above[right] = row[-1]
                last = right
            rows.append(row)
        write_table(blocks, placed(rows), lambda row: Place(path=f"table {self.number}, row {row.number}"))


@dataclass(slots=True)
class _Reader:
    original: Original
    source: str
    body: list[_Paragraph | _Table] = field(default_factory=list[_Paragraph | _Table])
    running: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    stated: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    fonts: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])
    """The character set and the name of each font."""
    levels: dict[int, int] = field(default_factory=dict[int, int])
    """The levels of the styles of headings."""
    codec: str = "cp1252"
    pending: bytearray = field(default_factory=bytearray)
    """The bytes of the text that is being read, which may be parts of characters."""
    text: list[str] = field(default_factory=list[str])
    label: list[str] = field(default_factory=list[str])
    asides: list[_Paragraph] = field(default_factory=list[_Paragraph])
    """The footnotes and text boxes that follow the paragraph."""
    cells: list[str] = field(default_factory=list[str])
    cell: list[str] = field(default_factory=list[str])
    edges: list[_Edge] = field(default_factory=list[_Edge])
    coming: _Edge = field(default_factory=lambda: _Edge(0))
    header: bool = False
    in_table: bool = False
    level: int = 0
    depth: int = 1
    number: int = 0
    tables: int = 0
    noted: int = 0
    defined: int = 0
    """The font or style that is being defined, with its name and character set."""
    naming: list[str] = field(default_factory=list[str])
    charset: str = ""
    hiding: bool = False
    """Whether the text before was hidden."""

    def read(self) -> None:
        group = _Group(self.text, self.codec)
        stack: list[_Group] = []
        skipped = place = 0
        while (match := _TOKEN.match(self.source, place)) is not None:
            place = match.end()
            word, number, code, sign, brace, text = match.groups()
            if code is not None or text is not None:
                data = bytes([int(code, 16)]) if code is not None else text.encode("latin-1")
                passed = min(skipped, len(data))
                skipped -= passed
                if not group.out:
                    self.pending += data[passed:]
                continue
            self.flush(group)
            if brace == "{":
                if len(stack) >= MAX_DEPTH:
                    raise rejections.parser_limit(f"The groups are nested more than {MAX_DEPTH:,} deep.")
                stack.append(group)
                group = replace(group, starred=False, name="")
                skipped = 0
            elif brace == "}":
                skipped = 0
                if not stack:
                    continue
                self.leave(group, stack[-1])
                group = stack.pop()
                if not stack:
                    break
            elif sign == "*":
                group.starred = True
            elif word == "bin":
                place += max(int(number or 0), 0)
            elif word == "u" and number is not None:
                self.put(group, chr(int(number) % 0x10000))
                skipped = group.skip
            elif word is not None:
                self.control(group, word, int(number) if number is not None else None)
            elif sign is not None and sign in _SIGNS:
                self.put(group, _SIGNS[sign])
        self.flush(group)
        self.end_paragraph()

    def flush(self, group: _Group) -> None:
        if self.pending:
            text = self.pending.decode(group.codec, "replace")
            self.pending.clear()
            self.put(group, text)

    def put(self, group: _Group, text: str) -> None:
        if group.out:
            return
        if group.table:
            self.naming.append(text)
            if ";" in text:
                self.define(group.table, "".join(self.naming).strip("; \n"))
            return
        if group.hidden:
            self.original.left_out[LeftOutKind.HIDDEN_TEXT] += not self.hiding and bool(text.strip())
            self.hiding = True
            return
        self.hiding = False
        if text == "\n" and group.sink is self.text:
            self.end_paragraph()
            return
        group.sink.append(marked(in_unicode(text.replace("\x0b", "\n"), group.font), group.form))

    # -- groups -----------------------------------------------------------------------------------------------------

    def enter(self, group: _Group, word: str) -> bool:
        """Begin a destination. Returns whether the word is one."""
        if word in _COUNTED and not group.out:
            self.original.left_out[_COUNTED[word]] += 1
        if word in _COUNTED or _UNREAD.fullmatch(word) or (group.starred and word not in _KNOWN):
            group.out = True
        elif word in ("stylesheet", "fonttbl"):
            group.table = word
        elif word in _STATED or word in _ASIDES or _RUNNING.fullmatch(word):
            group.sink, group.form, group.hidden = [], Form(), False
        elif word == "ud":
            group.out = False
        elif word == "upr":
            # The group within it has the same text in Unicode.
            group.out = True
        elif word != "shpinst":
            return False
        group.name = word
        group.starred = False
        return True

    def leave(self, group: _Group, outer: _Group) -> None:
        if outer.sink is group.sink or group.out:
            return
        text = tidy(_joined(group.sink))
        if group.name in ("listtext", "pntext"):
            self.label.append(text)
        elif _RUNNING.fullmatch(group.name):
            self.running += [(group.name[:6], line) for line in _joined(group.sink).split("\n")]
        elif group.name in _ASIDES:
            self.noted += 1
            path = f"{_ASIDES[group.name]} {self.noted}"
            self.asides += [_Paragraph(line, Place(path=path)) for line in text.split("\n") if line]
        elif text:
            self.stated[group.name] = group.sink

    def define(self, table: str, name: str) -> None:
        if table == "fonttbl":
            self.fonts[self.defined] = self.charset, name
        elif (match := _HEADING.match(name)) is not None:
            self.levels[self.defined] = min(int(match.group(1)), 6)
        self.defined, self.charset = 0, ""
        self.naming.clear()

    # -- control words ----------------------------------------------------------------------------------------------

    def control(self, group: _Group, word: str, number: int | None) -> None:
        if self.enter(group, word) or group.out:
            return
        on = number != 0
        match word:
            case _ if word in _SIGNS:
                self.put(group, _SIGNS[word])
            case "ansicpg":
                label = _PAGES.get(number or 0, f"windows-{number}")
                group.codec = self.codec = CHARSETS.get(label, self.codec)
            case "mac" | "pc" | "pca":
                group.codec = self.codec = {"mac": "mac_roman", "pc": "cp437"}.get(word, "cp850")
            case "uc":
                group.skip = min(max(number or 0, 0), 10)
            case "f" | "s" if group.table:
                self.defined = number or 0
            case "fcharset":
                self.charset = CHARSETS.get(_CODE_PAGES.get(number or 0, ""), "")
            case "f":
                charset, group.font = self.fonts.get(number or 0, ("", ""))
                group.codec = charset or self.codec
            case "v" | "deleted":
                group.hidden = on
            case "strike" | "striked":
                group.form = Form(group.form.shift, on)
            case "super" | "sub" | "nosupersub":
                group.form = Form({"super": 1, "sub": -1}.get(word, 0), group.form.struck)
            case "plain":
                group.form, group.font, group.codec, group.hidden = Form(), "", self.codec, False
            case "cell" | "row" if group.sink is not self.text:
                self.put(group, "\t" if word == "cell" else "\n")
            case _ if group.sink is self.text and not group.table:
                self.paragraph(word, number or 0)
                self.of_table(word, number or 0)
            case _:
                pass

    def paragraph(self, word: str, number: int) -> None:
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
            case _:
                pass

    def of_table(self, word: str, number: int) -> None:
        match word:
            case "trowd":
                self.edges, self.coming, self.header = [], _Edge(0), False
            case "trhdr":
                self.header = True
            case "clmrg":
                self.coming.beside = True
            case "clvmrg":
                self.coming.below = True
            case "cellx" if len(self.edges) < MAX_DEPTH:
                self.coming.right = number
                self.edges.append(self.coming)
                self.coming = _Edge(0)
            case "cell":
                self.end_paragraph(in_cell=True)
                self.cells.append(tidy_cell("\n".join(self.cell)))
                self.cell.clear()
            case "row":
                self.end_row()
            case _:
                pass

    # -- blocks -----------------------------------------------------------------------------------------------------

    def end_paragraph(self, *, in_cell: bool = False) -> None:
        text = tidy(_joined(self.text))
        label = " ".join(self.label).strip()
        self.text.clear()
        self.label.clear()
        if self.in_table or in_cell:
            self.cell.append(f"{label} {text}".strip())
            return
        if text:
            self.number += 1
            place = Place(path=f"paragraph {self.number}")
            self.body.append(_Paragraph(text, place, self.level, label, self.depth))
        self.body += self.asides
        self.asides.clear()

    def end_row(self) -> None:
        if not self.body or not isinstance(table := self.body[-1], _Table):
            self.tables += 1
            table = _Table(self.tables)
            self.body.append(table)
        table.rows.append((self.edges, list(self.cells), self.header))
        self.cells.clear()
        self.body += self.asides
        self.asides.clear()


def _joined(parts: list[str]) -> str:
    """The text of parts, in which characters beyond the first plane may be two halves."""
    text = "".join(parts).replace("\x00", "")
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
