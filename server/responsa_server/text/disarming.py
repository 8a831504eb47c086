"""Makes Markdown of models, documents and tools reach no host by being shown.

Whoever renders the result with a CommonMark parser, with or without tables, gets no image, no raw HTML, and no link but
those to known addresses. Only what would be one of these is changed: an image becomes its words, a link in angle
brackets its address, and a backslash makes everything else text. Code stays as it is, if it is code in every reading.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.html_blocks import block_names
from markdown_it.common.utils import normalizeReference
from markdown_it.helpers import parseLinkDestination, parseLinkTitle
from markdown_it.token import Token

MOST_HELD: Final = 1024
"""The maximum number of characters that are held back as the beginning of what might be changed."""
_MOST_PARSED: Final = 32 * 1024
"""How many characters are parsed to find code within lists and quotes. After that, nothing there counts as code."""

_MOST_SEARCHED: Final = 64 * 1024 * 1024
"""How many characters of sources are searched for addresses. After that, further addresses are unknown."""
_HIT_CHARACTERS: Final = 500
"""As how many characters a place counts at which an address begins."""


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Whether an address may become a link: any, because other parsers ask nothing."""
        return True

    def normalizeLink(self, url: str) -> str:
        """The address as it was written."""
        return url


_MOST_BRACKETS: Final = 8
"""An image with more brackets within each other becomes text."""
_BLOCKS: Final = MarkdownIt("commonmark").disable("inline")
_INLINE: Final = _Markdown("commonmark")
_HTML_BLOCKS: Final = frozenset({*block_names, "script", "pre", "style", "textarea"})

_PASSING: Final = re.compile(r"[^\\`!\[\](:<|\n]+")
# The beginning of a line before its content: white space and the marks of quotes and lists.
_PREFIX: Final = re.compile(r"(?:[ \t>]|[-+*](?=[ \t])|[0-9]{1,9}[.)](?=[ \t]))*")
_INDENT: Final = re.compile(r"[ \t]*")
_ADDRESS: Final = re.compile(r"[ \t]*[^ \t<][^ \t]*[ \t]*")
_FENCE: Final = re.compile(r"`{3,}|~{3,}")
_RULER: Final = re.compile(r"[ \t>|:-]*")
# What may stand before the beginning of a block: marks of quotes, lists, tasks and footnotes, and a byte order mark.
_MARKS_OF_BLOCKS: Final = re.compile(r"(?:[ \t>\ufeff+*.)0-9-]|\[\^[^\]\s]*+\]:|\[[ xX]\])*+")
_RUN: Final = re.compile(r"`+")
_BRACKET: Final = re.compile(r"\\.|[\[\]]")
_BAR: Final = re.compile(r"(?<!\\)(?:\\\\)*\|")
_BLANK: Final = re.compile(r"\n[ \t]*\n")
# What a tag and a link in angle brackets have before their last character.
_TAG: Final = re.compile(
    r"<(?:/?(?P<name>[A-Za-z][A-Za-z0-9-]*+)"
    r"(?:\s++[A-Za-z_:][\w:.-]*+(?:\s*+=\s*+(?:'[^']*+'|\"[^\"]*+\"|[^\s\"'=<>`]++))?+)*+"
    r"\s*+(?:=\s*+)?+(?:'[^']*+|\"[^\"]*+)?+/?)?"
)
_AUTOLINK: Final = re.compile(r"<(?:[^\x00-\x20<>!]|!(?!\[))*+")
_SPECIAL: Final = re.compile(r"[\\`!\[\]<~]|\A[!-/:-@\[-`{-~]")
_UNPLAIN: Final = re.compile(r"[\\`<\[\]|\n]")
_SCHEME: Final = re.compile(r"https?://|mailto:", re.IGNORECASE)
# What follows an address in a text.
_ADDRESS_END: Final = re.compile(r"[.,;:!?*_'\")\]}]*+(?:[\s<>()\[\]{}\"'`|]|\Z)")

_Change = tuple[int, str]
"""How many characters are replaced, and by what."""


class _Fence(NamedTuple):
    """Open code. indent: the columns before it, which its lines have, too; -1 if they have marks of quotes. nested:
    whether it ends with the list or quote around it."""

    marks: str
    indent: int
    nested: bool


def disarm(text: str, sources: Iterable[str] = (), before: str = "", most_bytes: int | None = None) -> str:
    """Return a whole text as it may be shown, or its beginning of at most `most_bytes` bytes. See `Disarmer`."""
    while True:
        disarmer = Disarmer(lambda: sources, before)
        text = disarmer.feed(text) + disarmer.end()
        if most_bytes is None or len(data := text.encode()) <= most_bytes:
            return text
        # The end may have lost what makes it code.
        text = data[:most_bytes].decode(errors="ignore")


def disarm_quoted(text: str) -> str:
    """Return the text of a document or a tool as it may be shown. Links may have the addresses in it."""
    return disarm(text, [text])


def links(text: str) -> Sequence[str]:
    """Return the addresses of the links in a text."""
    return [
        str(child.attrs["href"])
        for token in _INLINE.parse(text)
        for child in token.children or ()
        if child.type == "link_open"
    ]


class Disarmer:
    """Makes a text fit to be shown as it arrives. The result does not depend on the pieces.

    Where it is uncertain what a renderer takes for code, as after a backtick without a partner, nothing counts as code.
    """

    def __init__(
        self, sources: Callable[[], Iterable[str]] = tuple, before: str = "", start: int | None = None
    ) -> None:
        """sources: the texts with the addresses that links may have. before: the result so far. start: the offset of
        the first piece, in bytes; by default, the size of `before`."""
        self._sources = sources
        self._held = ""
        # The current line so far, and the lines before it from the last one that begins a block at the outermost level.
        self._line, self._lines = "", list[str]()
        self._parsed = self._searched = 0
        self._known = dict[str, bool]()
        self._was_blank = True
        # The last character, and whether it escapes the next one.
        self._last, self._escapes = "", False
        # The size of the current run of backticks, and of the one that opened code on this line; whether that code is
        # closed on this line, and whether a backtick may belong to one of an earlier line.
        self._run = self._open = 0
        self._is_closed = self._is_muddled = False
        self._fence: _Fence | None = None
        self._is_code = False
        # Whether the text may be the label of a reference's definition, or in a table, and whether code on this line
        # and the last one has a bar, which would end it in a table.
        self._is_label = self._is_table = self._has_bar = self._had_bar = False
        self._read = self._sent = 0
        self._seams = set[int]()
        self._anchors = [(0, 0)]
        if before:
            self._scan(before, ended=True)
        self._read = self._sent = len(before.encode()) if start is None else start
        self._anchors = [(self._read, self._sent)]
        self._seams = {self._read} if before else set[int]()

    def feed(self, text: str, seams: Iterable[int] = ()) -> str:
        """Process the next piece. Returns what can be shown now, which may be empty. seams: the offsets of the marks
        that were removed, where a reader may put marks in."""
        self._seams.update(seams)
        return self._scan(text.replace("\r", "").replace("\0", "\ufffd"), ended=False)

    def end(self) -> str:
        """End the text. Returns the rest that was held back."""
        return self._scan("", ended=True)

    def moved(self, offset: int) -> int:
        """Return where an offset in the pieces is in the result, both in bytes."""
        at = bisect_right(self._anchors, offset, key=lambda anchor: anchor[0]) - 1
        read, sent = self._anchors[at]
        end = self._anchors[at + 1][1] if at + 1 < len(self._anchors) else self._sent
        return min(sent + offset - read, end)

    def _scan(self, piece: str, *, ended: bool) -> str:
        text, out, at = self._held + piece, list[str](), 0
        self._held = ""
        self._read += len(piece.encode())
        while at < len(text):
            if (end := self._step(text, at, out, ended=ended)) == at:
                self._held = text[at:]
                break
            at = end
        return "".join(out)

    def _step(self, text: str, at: int, out: list[str], *, ended: bool) -> int:
        """Process the next characters. Returns the offset behind them, which is `at` if what follows decides about them."""
        char = text[at]
        if self._run and char != "`":
            if not self._open and not self._is_muddled:
                self._open = self._run
            elif self._open == self._run:
                self._open, self._is_closed = 0, False
            self._run = 0
        if char == "\n":
            self._end_line()
            self._pass("\n", out)
            self._line = self._last = ""
            return at + 1
        if self._had_bar and not self._line:
            return self._begin_row(text, at, out, ended=ended)
        if (fence := self._fence) is not None and not self._is_code:
            prefix = (_INDENT if fence.indent >= 0 else _PREFIX).match(text, at)
            if prefix and prefix.group():
                self._pass(prefix.group(), out)
                return prefix.end()
            self._is_code = self._continues(fence, char)
            self._fence = fence if self._is_code else None
        if self._is_code:
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            self._has_bar = self._has_bar or (self._fence is None and "|" in self._line + text[at:end])
            self._pass(text[at:end], out)
            return end
        self._is_label = self._is_label and (self._last != "]" or char == ":")
        if match := _PASSING.match(text, at):
            self._pass(match.group(), out)
            return match.end()
        change = self._change(text, at, ended=ended)
        if change is None:
            return at
        size, new = change
        if new != text[at : at + size]:
            start = self._read - len(text[at:].encode())
            shown = self._sent + len(new.encode())
            self._anchors += [(start + 1, shown), (start + len(text[at : at + size].encode()), shown)]
        self._pass(new, out)
        if new != text[at : at + size]:
            self._last = ""
        return at + size

    def _pass(self, text: str, out: list[str]) -> None:
        if not self._line and self._was_blank and self._fence is None and text[0] not in " \t\n":
            self._lines.clear()
        out.append(text)
        self._sent += len(text.encode())
        self._line += text
        self._last = "" if self._escapes else text[-1]
        self._escapes = text == "\\" and not self._escapes

    def _end_line(self) -> None:
        line, fence = self._line, self._fence
        content, is_blank = line.strip(" \t>"), not line.strip(" \t")
        if fence is not None:
            before = line[: line.find(content)]
            closes = fence.nested or (len(before) < 4 and not before.strip(" "))
            if closes and len(content) >= len(fence.marks) and set(content) == {fence.marks[0]}:
                self._fence = None
                self._lines.append(line)
            elif is_blank and fence.indent < 0:
                self._fence = None
        else:
            self._lines.append(line)
            self._fence = self._fence_at(line)
            self._has_bar = self._has_bar or (self._fence is not None and "|" in line)
            self._is_muddled = not is_blank and (self._is_muddled or (self._open > 0 and self._fence is None))
            self._is_table = not is_blank and (self._is_table or _is_ruler(line))
            self._is_label = not is_blank and self._is_label
        self._was_blank = is_blank and self._fence is None
        self._had_bar, self._has_bar = self._has_bar, False
        self._open, self._is_closed, self._is_code, self._escapes = 0, False, False, False

    def _fence_at(self, line: str) -> _Fence | None:
        """Return the code that the last line opens."""
        prefix = _PREFIX.match(line)
        marks = _FENCE.match(line, prefix.end()) if prefix else None
        code = self._code(self._lines) if marks else None
        if (
            marks is None
            or code is None
            or code.type != "fence"
            or (code.map or [0])[0] != len(self._lines) - 1
        ):
            return None
        before = line[: marks.start()]
        return _Fence(code.markup, -1 if ">" in before else len(before.expandtabs(4)), code.level > 0)

    def _continues(self, fence: _Fence, char: str) -> bool:
        """Whether the current line belongs to code that an earlier one opened. char: its first character after the indent."""
        if not fence.nested or 0 <= fence.indent <= len(self._line.expandtabs(4)):
            return True
        code = self._code([*self._lines, self._line + char])
        return code is not None and code.type == "fence" and (code.map or [0])[0] < len(self._lines)

    def _code(self, lines: Sequence[str]) -> Token | None:
        """Return the block of code to which the last of these lines belongs."""
        source = "\n".join(lines)
        self._parsed += len(source)
        if self._parsed > _MOST_PARSED:
            return None
        for token in reversed(_BLOCKS.parse(source)):
            if token.type in ("fence", "code_block") and token.map and token.map[1] >= len(lines):
                return token
        return None

    def _begin_row(self, text: str, at: int, out: list[str], *, ended: bool) -> int:
        """Keep the line below code with a bar from making a table, in which the bar would end the code."""
        ruler = _RULER.match(text, at)
        end = ruler.end() if ruler else at
        if end == len(text) and not ended and end - at < MOST_HELD:
            return at
        self._had_bar = False
        first = next((index for index in range(at, end) if text[index] in "|:-"), end)
        if first < end and (end == len(text) or (text[end] == "\n" and _is_ruler(text[at:end]))):
            start = self._read - len(text[first:].encode())
            self._anchors.append((start + 1, self._sent + first - at + 2))
            self._pass(f"{text[at:first]}\\{text[first]}", out)
            return first + 1
        return self._step(text, at, out, ended=ended)

    def _change(self, text: str, at: int, *, ended: bool) -> _Change | None:
        """Return what becomes of a special character and those after it; None if what follows decides it."""
        char, following = text[at], text[at + 1 : at + 2]
        same, escaped = (1, char), (1, f"\\{char}")
        is_end = self._last == "]"
        if self._escapes and (char != "`" or not self._open):
            return same
        joins = char == "(" or (char, self._last) in (("`", "`"), ("[", "!"), (":", "]"))
        if joins and self._seams and self._read - len(text[at:].encode()) in self._seams:
            if char == "`":
                self._is_muddled, self._open, self._run = True, 0, 0
            return escaped
        if char == "`":
            self._run += 1
        if char == "|" and self._open:
            self._is_muddled, self._has_bar = self._is_muddled or self._is_table, True
            self._open = 0 if self._is_table else self._open
        if char == "[":
            self._is_label = _MARKS_OF_BLOCKS.fullmatch(self._line) is not None
        if char in "\\`|[]":
            return same
        if not following and not ended and char in "!<":
            return None
        if not (
            (char == "!" and following == "[")
            or (char == "<" and following not in (" ", "\t", "\n", "<", "=", ">"))
            or (char == "(" and is_end)
            or (char == ":" and is_end and self._is_label)
        ):
            return same
        if self._is_indented(char):
            self._is_code, self._open = True, 0
            return same
        look = text[at : at + MOST_HELD]
        line = look.partition("\n")[0]
        is_whole = ended or len(look) == MOST_HELD
        if line == look and not is_whole and (char != "<" or self._open):
            return None
        if self._open and char != ":":
            if self._is_closed or self._closes(line):
                self._is_closed = True
                return same
            self._is_muddled, self._open = True, 0
        if char == "!":
            return _image(line) or (2, "!\\[")
        if char == "<":
            return self._angle(look, is_whole=is_whole)
        if char == ":":
            return escaped if _defines(line) else same
        end, address = _target(line)
        if end and (end < 0 or _UNPLAIN.search(line, 0, end) or not self._is_known(address)):
            return escaped
        return (end, line[:end]) if end else same

    def _is_indented(self, char: str) -> bool:
        prefix = _PREFIX.match(self._line)
        before = prefix.group() if prefix else ""
        # Below a footnote, which CommonMark does not have, such a line is a paragraph.
        if ("    " not in before and "\t" not in before) or any("]:" in line for line in self._lines):
            return False
        code = self._code([*self._lines, self._line + char])
        if code is None or code.type != "code_block" or not code.map:
            return False
        # Elsewhere, some renderers take it for the rest of a paragraph.
        return code.map[0] == 0 or not self._lines[code.map[0] - 1].strip(" \t>")

    def _closes(self, line: str) -> bool:
        """Whether the rest of the line closes the open code, so that it is code in every reading."""
        for run in _RUN.finditer(line):
            if len(run.group()) == self._open and run.end() < MOST_HELD:
                bar = _BAR.search(line, 0, run.start()) is not None
                self._has_bar = self._has_bar or bar
                return not (bar and self._is_table)
        return False

    def _angle(self, look: str, *, is_whole: bool) -> _Change | None:
        escaped = (1, "\\<")
        look, *others = _BLANK.split(look, maxsplit=1)
        tag, link = _TAG.match(look), _AUTOLINK.match(look)
        if look[1:2] in ("!", "?", "") or tag is None or link is None:
            return escaped
        name = tag["name"] or ""
        behind = look[1 + len(name) + (look[1] == "/") :] or ("\n" if others else "")
        ends = behind[:1].isspace() or behind[:1] in ("/", ">")
        if ends and name.lower() in _HTML_BLOCKS and _MARKS_OF_BLOCKS.fullmatch(self._line):
            return escaped
        is_open = False
        for end in (tag.end(), link.end()):
            if look[end : end + 1] == ">":
                first = (_INLINE.parseInline(look[: end + 1])[0].children or [])[0]
                address = f"{'' if ':' in look[:end] else 'mailto:'}{look[1:end]}"
                if first.type != "text":
                    known = first.type == "link_open" and self._is_known(address)
                    return (end + 1, look[: end + 1]) if known else escaped
            if look.startswith("![", end):
                # The words of the image may be in a tag.
                return escaped
            is_open = is_open or look[end:] in ("", "!")
        if is_open and not others:
            return None if not is_whole else escaped if name or look[1] == "/" or "@" in look else (1, "<")
        return 1, "<"

    def _is_known(self, address: str) -> bool:
        if (scheme := _SCHEME.match(address)) is None or _UNPLAIN.search(address):
            return False
        wanted = address
        if scheme.group().lower() == "mailto:":
            wanted = address[scheme.end() :]
            if "@" not in wanted:
                return False
        if wanted not in self._known:
            self._known[wanted] = any(self._stands(wanted, source) for source in self._sources())
        return self._known[wanted]

    def _stands(self, address: str, text: str) -> bool:
        """Whether an address stands in a text, and not only as the beginning or the end of another one."""
        at = -1
        while self._searched < _MOST_SEARCHED:
            start, at = at + 1, text.find(address, at + 1)
            self._searched += (at if at >= 0 else len(text)) - start + _HIT_CHARACTERS
            if at < 0:
                return False
            if not text[max(0, at - 1) : at].isalnum() and _ADDRESS_END.match(text, at + len(address)):
                return True
        return False


def _is_ruler(line: str) -> bool:
    return not line.strip(" \t>|:-") and "|" in line and "-" in line


def _words(tokens: Sequence[Token]) -> str:
    return "".join(
        _words(token.children) if token.children else " " if token.type == "softbreak" else token.content
        for token in tokens
    )


def _image(line: str) -> _Change | None:
    """Return the words of the image with which the rest of a line begins, or what looks like one and cannot be one."""
    depth, end = 1, 0
    for bracket in _BRACKET.finditer(line, 2):
        depth += {"[": 1, "]": -1}.get(bracket.group(), 0)
        if not depth:
            end = bracket.end()
        if not 0 < depth <= _MOST_BRACKETS:
            break
    if not end:
        return None
    alt, references = line[2 : end - 1], dict[str, object]()
    if line[end : end + 1] == "(":
        size = end + _target(line[end:])[0]
    elif line[end : end + 1] == "[" and any(character.isalpha() for character in alt):
        size = line.find("]", end) + 1
        references[normalizeReference(line[end + 1 : size - 1] or alt)] = {"href": "x", "title": ""}
    else:
        return None if _UNPLAIN.search(alt) else (end, line[:end])
    parsed = _INLINE.parseInline(line[:size], {"references": references})[0].children or []
    words = _words(parsed).strip()
    return (
        (size, _SPECIAL.sub(r"\\\g<0>", words))
        if words and [token.type for token in parsed] == ["image"]
        else None
    )


def _target(line: str) -> tuple[int, str]:
    """Return the size and the address of what makes a link of the square brackets before the rest of a line. The size is
    0 if nothing does, and -1 if the next line may."""
    start = _skip(line, 1)
    if line[start : start + 1] == ")":
        return start + 1, ""
    address = parseLinkDestination(line, start, len(line))
    if not address.ok or line[start] == "<":
        return -1, ""
    end = _skip(line, address.pos)
    if line[end : end + 1] in ('"', "'", "(") and end > address.pos:
        title = parseLinkTitle(line, end, len(line))
        if not title.ok:
            return -1, ""
        end = _skip(line, title.pos)
    if end == len(line):
        return -1, ""
    if line[end] == ")":
        return end + 1, address.str
    # What is changed in an address may end it.
    return (-1 if _UNPLAIN.search(line, start, address.pos) else 0), ""


def _defines(line: str) -> bool:
    """Whether the rest of a line, which begins with the colon, may define a reference."""
    address = _ADDRESS.match(line, 1)
    if address is None or "![" in line or "\\" in line:
        return True
    end = address.end()
    if title := line[end : end + 1] in ('"', "'", "(") and parseLinkTitle(line, end, len(line)):
        end = _skip(line, title.pos) if title.ok else len(line)
    return end == len(line)


def _skip(line: str, at: int) -> int:
    match = _INDENT.match(line, at)
    return match.end() if match else at
