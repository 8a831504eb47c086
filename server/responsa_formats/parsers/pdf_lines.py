"""Reads the lines of a PDF page with pdfium. Lines are cut where spaces separate cells or columns.

The library counts the characters of a page, with spaces and line ends that it adds; a character's index is its *place*.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, pairwise, repeat
from operator import sub
from statistics import median
from typing import Any, Final, cast

from pypdfium2 import raw

from responsa_formats.parsers.page_layout import HYPHEN, Box, Line, PageLayout
from responsa_formats.parsers.right_to_left import RIGHT_TO_LEFT, Glyph, is_mostly_rtl, logical_lines
from responsa_formats.parsers.ruled_tables import RuledLine, merge_rules
from responsa_formats.text.inline import subscript, superscript
from responsa_formats.text.symbols import in_unicode

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)

_GAP: Final = 1.0
"""The least space between two cells, in sizes of the text."""
_DOUBTFUL_GAP: Final = 0.6
"""The same where several lines have such a space with the same edge. The lines next to a line with such a space are looked at too."""
_UNLIKE: Final = 1.6
"""How many times as wide as the narrowest space of its line a doubtful space is at least. The spaces of a justified line are all alike."""
_SMALL_GAP: Final = 0.3
"""The same where lines above or below have wider spaces with the same edge."""
_SAME_EDGE: Final = 0.15
"""How far apart the edges of cells in a column are at most, in sizes of the text."""
_EXACT_EDGE: Final = 0.06
"""The same for doubtful spaces."""
_AGREEING: Final = 2
"""The number of lines whose cells must have an edge where a small space does."""
_ALIGNED: Final = 3
"""The number of lines next to each other that have the same edge after a space where columns meet."""
_GUTTER_EDGE: Final = 2.0
"""How far apart these edges are at most, in points."""
_BETWEEN: Final = 6
"""How many lines between two of these are looked at."""
_MAX_JUSTIFIED: Final = 3.0
"""The widest space between the words of a justified line, in sizes of the text."""
_NEAR: Final = 8.0
"""How far above or below such a line is, in sizes of the text."""
_SHORT: Final = 15
_MARK_CHARS: Final = 4
_DENSE: Final = 1.06
_SAMPLED: Final = 4
_TURNED: Final = 0.1
_SAME_LINE: Final = 1.2
"""How far apart the lower edges of the first and the last character of a line are at most, in sizes of the text."""
_OF_HEIGHT: Final = 1.4
"""The size of a line, in heights of its highest letter, if the file does not state it."""
_SHAPES = re.compile(r"[\ufb00-\ufb06\ufb1d-\ufdff\ufe70-\ufefc]+")
_JOINED: Final = "\x1c"
"""Stands for a line end that the library saw before or after a figure that is only raised or lowered."""
_SPACE = re.compile(r"[^\S\x1c]+")
_FIGURES = re.compile(r"\S(?:\r\n)?(?:[-\u2212\u2013+]?\d(?:\r\n)?)+")
"""Figures, with the character before them, that may be the power or the index of what stands before them."""
_SIGNS = re.compile("[\uf020-\uf0ff]")
_UNNAMED = re.compile(
    r"(?<=[^\W\d_])[\x0b\x0c\x0e\x0f\x1b-\x1f]|[\x0b\x0c\x0e\x0f\x1b-\x1f](?=[^\W\d_])|\r(?!\n)(?=[^\W\d_])"
    r"|\x10(?=[\w\x1b-\x1f])|(?<=[\w.,!?])\x11|(?<=\w)\x15|(?<= )\x16(?= \w)"
)
"""Letters of fonts of TeX that do not name their characters, by the codes of the encodings OT1 and T1. In formulas, the
codes stand for other signs."""
_NAMES: Final = str.maketrans("\x0b\x0c\r\x0e\x0f\x10\x11\x15\x16\x1b\x1c\x1d\x1e\x1f", "ﬀﬁﬂﬃﬄ“”–—ﬀﬁﬂﬃﬄ")
_SHIFTED: Final = frozenset("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉₊₋")
_SMALLER: Final = 0.9
"""The greatest size of a power or an index, in sizes of the text before it."""
_RISE: Final = (0.12, 0.8)
"""How far above the baseline a power stands, in these sizes."""
_DROP: Final = (0.04, 0.55)
"""How far below it an index stands."""
_TOUCHING: Final = 0.35
"""The greatest space before and after a power or an index."""
_span = re.Match[str].span
_MAX_RULES: Final = 1000
_HYPHENS: Final = "\ufffe\x02"
"""What the library writes for a hyphen at the end of a line."""
_LINE_END = re.compile(r"[\r\n\ufffe\x02][\r\n]*")
_SPACES = re.compile(r"[\s\u200b\ufeff]+")
_UNPRINTED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufff0-\ufffb\uffff\ud800-\udfff]")


def read_lines(
    page: Any, view: View, target: PageLayout, hidden: Container[int] = (), *, turned: bool = False
) -> int:
    """Read the lines of the library's page into `target`. hidden: the addresses of the text objects that are not seen.
    turned: whether some are not horizontal. Returns the number of texts that are not seen."""
    text = _pdfium.FPDFText_LoadPage(page)
    if not text:
        return 0
    try:
        reader = _TextReader(text, view)
        left_out = reader.leave_out(hidden) if hidden else 0
        reader.read_into(target, turned=turned)
        return left_out
    finally:
        _pdfium.FPDFText_ClosePage(text)


@dataclass(frozen=True, slots=True)
class View:
    """The view of a page: turns the file's coordinates into points from the top left corner of the page as it is shown.

    turns: the number of quarter turns, clockwise.
    """

    left: float
    bottom: float
    right: float
    top: float
    turns: int

    @property
    def width(self) -> float:
        """The width of the page as it is shown, in points."""
        return self.top - self.bottom if self.turns % 2 else self.right - self.left

    @property
    def height(self) -> float:
        """The height of the page as it is shown, in points."""
        return self.right - self.left if self.turns % 2 else self.top - self.bottom

    def at(self, x: float, y: float) -> tuple[float, float]:
        match self.turns:
            case 1:
                return y - self.bottom, x - self.left
            case 2:
                return self.right - x, y - self.bottom
            case 3:
                return self.top - y, self.right - x
            case _:
                return x - self.left, self.top - y

    def towards(self, x: float, y: float) -> tuple[float, float]:
        match self.turns:
            case 1:
                return y, x
            case 2:
                return -x, y
            case 3:
                return -y, -x
            case _:
                return x, -y

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        x, y = self.at(left, bottom)
        other_x, other_y = self.at(right, top)
        return min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y)


# -- measures ----------------------------------------------------------------------------------------------------------


def _function(name: str, result: Any = ctypes.c_int) -> Any:
    """A function of the library that takes its arguments as they are: whole numbers, and pointers made by `ctypes.byref`.

    To convert the arguments, and to release Python's lock, takes longer than the functions that measure a character.
    """
    address = ctypes.cast(getattr(_pdfium, name), ctypes.c_void_p).value
    return cast("Any", ctypes.PYFUNCTYPE(result))(address)


_get_unicode = _function("FPDFText_GetUnicode", ctypes.c_uint)
_get_size = _function("FPDFText_GetFontSize", ctypes.c_double)
_get_object = _function("FPDFText_GetTextObject", ctypes.c_void_p)
_is_generated = _function("FPDFText_IsGenerated")


class _Measure:
    """A function of the library that measures a character: calls it for many characters without a Python statement for each of them.

    One buffer serves all pages, because pdfium does not support calls from several threads.
    """

    _ROWS: Final = 256
    """The number of characters that are measured before the numbers are read from the buffer."""

    def __init__(
        self, name: str, kind: str, count: int, *, each: bool = False, default: tuple[float, ...] = ()
    ) -> None:
        """count: how many numbers the library writes for a character. kind: their type, as in `array`. each: whether
        the library takes the address of each of them, not that of the first. default: the numbers of a character that
        the library cannot measure; zeros if not given.
        """
        self._call = _function(name)
        self._count = count
        self._default = array(kind, default or [0.0] * count)
        self._buffer = array(kind, [0.0] * (count * self._ROWS))
        content = (ctypes.c_char * (len(self._buffer) * self._buffer.itemsize)).from_buffer(self._buffer)
        self._addresses = [
            [
                ctypes.byref(content, (row * count + number) * self._buffer.itemsize)
                for row in range(self._ROWS)
            ]
            for number in range(count if each else 1)
        ]

    def __call__(self, text: Any, places: Sequence[int]) -> array[float]:
        """The numbers of the characters, one after the other. text: a pointer to the page's text."""
        count = self._count
        numbers = self._buffer[:0]
        for start in range(0, len(places), self._ROWS):
            some = places[start : start + self._ROWS]
            known: list[int] = list(map(self._call, repeat(text), some, *self._addresses))
            rows = self._buffer[: len(some) * count]
            if not all(known):
                for number, is_known in enumerate(known):
                    if not is_known:
                        rows[number * count : (number + 1) * count] = self._default
            numbers += rows
        return numbers


# The left, right, lower and upper edge.
_char_boxes = _Measure("FPDFText_GetCharBox", "d", 4, each=True)
# The left, upper, right and lower edge.
_loose_boxes = _Measure("FPDFText_GetLooseCharBox", "f", 4)
# The place on both axes.
_origins = _Measure("FPDFText_GetCharOrigin", "d", 2, each=True)
# The numbers a, b, c, d, e and f.
_matrices = _Measure("FPDFText_GetMatrix", "f", 6, default=(1.0, 0.0, 0.0, 1.0, 0.0, 0.0))


# -- lines -------------------------------------------------------------------------------------------------------------

_Edges = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""The left and the right edges of characters as they are shown, and their places on the vertical axis to compare them with each other."""
_Space = tuple[float, float, int]
"""A space between two words: its left and right edge, and the place of the first character after it."""
_Gutter = tuple[float, float, float]
"""A wide space between cells: the baseline of its line, and its left and right edge."""


@dataclass(slots=True)
class _TextRun:
    """The characters [start, end) of a page, which stand on one line. widest: the width of the widest space between its
    words. spaces: these spaces, if the widest is larger than a small one. rtl: whether it has right-to-left letters.
    """

    start: int
    end: int
    line: Line
    rtl: bool = False
    spaces: Sequence[_Space] = ()
    widest: float = 0.0

    def wide(self) -> Sequence[_Space]:
        least = _GAP * self.line.size
        return [space for space in self.spaces if space[1] - space[0] > least] if self.widest > least else ()

    def doubtful(self) -> Sequence[_Space]:
        least = _DOUBTFUL_GAP * self.line.size
        if self.widest <= least:
            return ()
        if len(self.spaces) > 1:
            least = max(least, _UNLIKE * min([high - low for low, high, _ in self.spaces]))
        return [space for space in self.spaces if space[1] - space[0] > least]

    @property
    def density(self) -> float:
        """The width of a character on average, in sizes of the text."""
        line = self.line
        return (
            (line.right - line.left) / line.size / (self.end - self.start) if self.end > self.start else 0.0
        )


class _TextReader:
    def __init__(self, text: Any, view: View) -> None:
        self._text = ctypes.byref(text.contents)
        self._view = view
        self._characters = _UNNAMED.sub(lambda match: match.group().translate(_NAMES), _characters(text))
        self._cuts: set[int] = set()
        """The first characters after rules."""
        self._rtl = not self._characters.isascii() and RIGHT_TO_LEFT.search(self._characters) is not None
        if not self._rtl:
            self._characters = _with_signs(text, self._characters)
        self._characters = self._with_shifts(self._characters)

    def leave_out(self, hidden: Container[int]) -> int:
        """Leave out the characters of text objects. Returns the number of their runs."""
        letters = list(self._characters)
        runs = 0
        last = -1
        for index in range(len(letters)):
            if _get_object(self._text, index) in hidden:
                runs += last < 0 and not letters[index].isspace()
                last = index if last >= 0 or not letters[index].isspace() else last
                letters[index] = "\r"
            elif not letters[index].isspace():
                last = -1
        self._characters = "".join(letters)
        return runs

    def read_into(self, page: PageLayout, *, turned: bool) -> None:
        runs = self._runs(page.turned, turned_text=turned)
        if self._rtl:
            runs = list(self._logical(runs))
        self._find_spaces(runs)
        if page.rules:
            runs = list(self._cut_at_rules(runs, [rule for rule in merge_rules(page.rules) if rule.upright]))
        lines = page.lines
        for run in self._cells(runs):
            line = run.line
            line.text = line.text or clean(self._characters[run.start : run.end])
            if line.text and (run.start in self._cuts or not (lines and _attached(lines[-1], line))):
                lines.append(line)

    def _cut_at_rules(self, runs: Sequence[_TextRun], rules: Sequence[RuledLine]) -> Iterator[_TextRun]:
        """The runs, cut where a rule stands in a space between two words."""
        crossed: dict[int, list[float]] = {}
        for number, run in enumerate(runs if len(rules) <= _MAX_RULES else ()):
            line = run.line
            middle = line.base - 0.3 * line.size
            if run.end > run.start:
                crossed[number] = [
                    rule.coord
                    for rule in rules
                    if rule.start < middle < rule.end and line.left < rule.coord < line.right
                ]
        self._measure_spaces(
            [runs[number] for number, places in crossed.items() if places and not runs[number].spaces]
        )
        for number, run in enumerate(runs):
            for position in sorted(crossed.get(number, ())):
                space = next(
                    (space for space in run.spaces if space[0] - 1 <= position <= space[1] + 1), None
                ) or self._seam(run, position)
                if space is None:
                    continue
                low, high, cut = space
                self._cuts.add(cut)
                line = run.line
                yield _part_of(run, run.start, cut, replace(line, right=low))
                run = _part_of(run, cut, run.end, replace(line, left=high))
            yield run

    def _seam(self, run: _TextRun, position: float) -> _Space | None:
        """Where another object of the file begins next to a rule, without a space."""
        places = [number for number in range(run.start, run.end) if not self._characters[number].isspace()]
        lefts, rights, _ = self._edges(places)
        near = 2 * run.line.size
        for number, (before, after) in enumerate(pairwise(places)):
            apart = _get_object(self._text, before) != _get_object(self._text, after)
            if apart and abs(lefts[number + 1] - position) < near:
                return rights[number], lefts[number + 1], after
        return None

    def _apart(self, spans: Sequence[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
        """The spans, cut where the direction of the letters changes, and between turned lines side by side."""
        for start, end, _, _ in spans:
            matrices = _matrices(self._text, range(start, end))
            turns = [
                self._characters[start + n].isspace() or _direction(*self._view.towards(a, b))
                for n, (a, b) in enumerate(zip(matrices[0::6], matrices[1::6], strict=True))
            ]
            first = start
            known: object = True
            for index, turn in enumerate(turns, start):
                if turn is not True and known is not True and turn != known:
                    yield from _spans_within(self._characters, first, index)
                    first = index
                known = turn if turn is not True else known
            yield from _spans_within(self._characters, first, end)

    def _runs(self, turned: list[Line], *, turned_text: bool) -> list[_TextRun]:
        """The horizontal lines. The others are added to `turned`."""
        spans = _spans(self._characters)
        if turned_text:
            spans = list(self._apart(spans))
        middles = [self._visible(start, end) for start, end, _, _ in spans]
        matrices = _matrices(self._text, middles)
        runs: list[_TextRun] = []
        upright = not self._view.turns
        for span, middle, a, b, c, d, size, base, left, _, low, last_left, last_right, last_low in zip(
            spans,
            middles,
            matrices[0::6],
            matrices[1::6],
            matrices[2::6],
            matrices[3::6],
            map(_get_size, repeat(self._text), middles),
            self._bases(middles),
            *self._edges([first for _, _, first, _ in spans]),
            *self._edges([last for _, _, _, last in spans]),
            strict=True,
        ):
            start, end, _, _ = span
            x, y = (a, b) if upright else self._view.towards(a, b)
            if x <= 0 or abs(y) > _TURNED * x:
                turned += self._read_turned(start, middle, end)
                continue
            size *= math.hypot(c, d)
            if not 0.5 < size < 2000:
                # A font of pictures may state no size.
                letters = [n for n in range(span[2], span[3] + 1) if self._characters[n].isalnum()]
                boxes = _char_boxes(self._text, letters or [middle])
                size = max(1.0, _OF_HEIGHT * max(map(sub, boxes[3::4], boxes[2::4])))
            line = Line("", left, base - 0.8 * size, 0.0, base + 0.25 * size, base, size)
            if self._rtl and RIGHT_TO_LEFT.search(self._characters, start, end):
                runs.append(_TextRun(start, end, line, rtl=True))
            elif abs(last_low - low) > _SAME_LINE * size or last_left < left - size:
                runs += self._levels(start, end, size)
            else:
                _set_ends(line, left, last_left, last_right)
                runs.append(_TextRun(start, end, line))
        return runs

    def _with_shifts(self, characters: str) -> str:
        """The characters with powers and indexes in place of the figures that are raised or lowered."""
        spans = [match.span() for match in _FIGURES.finditer(characters)]
        if not spans:
            return characters
        # If the ends of the figures stand on one line with what is before them, so does all between.
        firsts = [start for start, _ in spans]
        lasts = [start + len(characters[start:end].rstrip("\r\n")) - 1 for start, end in spans]
        letters = list(characters)
        for start, last, base, end_base in zip(
            firsts, lasts, self._bases(firsts), self._bases(lasts), strict=True
        ):
            if base != end_base or "\r" in characters[start:last]:
                self._shift(letters, characters, start, last)
        return "".join(letters)

    def _shift(self, letters: list[str], characters: str, start: int, last: int) -> None:
        after = last + 3 if characters[last + 1 : last + 3] == "\r\n" else last + 1
        places = [
            index
            for index in (*range(start, last + 1), after)
            if index < len(characters) and not characters[index].isspace()
        ]
        lefts, rights, _ = self._edges(places)
        matrices = _matrices(self._text, places)
        fonts: list[float] = list(map(_get_size, repeat(self._text), places))
        scales = map(math.hypot, matrices[2::6], matrices[3::6])
        sizes = [font * scale for font, scale in zip(fonts, scales, strict=True)]
        bases = self._bases(places)
        base, size = bases[0], sizes[0]
        shifted = False
        for number in range(1, len(places)):
            index, before = places[number], places[number - 1]
            up = (base - bases[number]) / size if size else 0.0
            near = abs(lefts[number] - rights[number - 1]) < _TOUCHING * size
            write = None
            if near and index <= last and sizes[number] < _SMALLER * size:
                drops = _DROP[0] < -up < _DROP[1]
                write = superscript if _RISE[0] < up < _RISE[1] else subscript if drops else None
            if write is not None:
                letters[index] = write(characters[index])
            if near and (write is not None or (shifted and abs(up) < _DROP[0])):
                letters[before + 1 : index] = _JOINED * (index - before - 1)
            shifted = write is not None
            if not shifted:
                base, size = bases[number], sizes[number]

    def _visible(self, start: int, end: int) -> int:
        middle = (start + end) // 2
        if self._is_measured(middle):
            return middle
        places = (*range(middle, end), *range(middle - 1, start - 1, -1))
        visible = [index for index in places if not self._characters[index].isspace()]
        return next(filter(self._is_measured, visible), visible[0])

    def _is_measured(self, index: int) -> bool:
        letter = self._characters[index]
        return not letter.isspace() and letter not in _SHIFTED

    def _edges(self, places: Sequence[int]) -> _Edges:
        boxes = _char_boxes(self._text, places)
        lefts, rights, lows, highs = boxes[0::4], boxes[1::4], boxes[2::4], boxes[3::4]
        x, y, end, top = self._view.left, self._view.bottom, self._view.right, self._view.top
        match self._view.turns:
            case 1:
                return [low - y for low in lows], [high - y for high in highs], lefts
            case 2:
                return [end - right for right in rights], [end - left for left in lefts], lows
            case 3:
                return [top - high for high in highs], [top - low for low in lows], lefts
            case _:
                if x:
                    return [left - x for left in lefts], [right - x for right in rights], lows
                return lefts, rights, lows

    def _bases(self, places: Sequence[int]) -> list[float]:
        origins = _origins(self._text, places)
        if self._view.turns:
            return [self._view.at(x, y)[1] for x, y in zip(origins[0::2], origins[1::2], strict=True)]
        top = self._view.top
        return [top - y for y in origins[1::2]]

    def _levels(self, start: int, end: int, size: float) -> Iterator[_TextRun]:
        """The separate lines in a range of characters that the library took for one line, because it overlooked a line
        end: those at other heights, and those that begin to the left of where the line before them ends.
        """
        places = [index for index in range(start, end) if not self._characters[index].isspace()]
        before, behind = math.nan, -math.inf
        starts, _, _ = self._edges(places)
        for index, base, left in zip(
            (*places, end), (*self._bases(places), math.inf), (*starts, math.inf), strict=True
        ):
            if abs(base - before) > 0.6 * size or left < behind - size:
                line = Line("", 0.0, before - 0.8 * size, 0.0, before + 0.25 * size, before, size)
                last = places[bisect_left(places, index) - 1]
                lefts, rights, _ = self._edges([places[bisect_left(places, start)], last])
                _set_ends(line, lefts[0], lefts[1], rights[1])
                yield _TextRun(start, index, line)
                start = index
            before, behind = base, left

    def _read_turned(self, start: int, middle: int, end: int) -> Iterator[Line]:
        text = clean(self._characters[start:end])
        if text:
            boxes = _char_boxes(self._text, (start, middle, end - 1))
            edges = [
                self._view.box(left, bottom, right, top)
                for left, right, bottom, top in zip(*(boxes[offset::4] for offset in range(4)), strict=True)
            ]
            lefts, tops, rights, bottoms = zip(*edges, strict=True)
            yield Line(text, min(lefts), min(tops), max(rights), max(bottoms), max(bottoms), 0.0)

    def _logical(self, runs: Sequence[_TextRun]) -> Iterator[_TextRun]:
        mostly = is_mostly_rtl(self._characters)
        shown = {
            character
            for character in set(self._characters)
            if not (character.isspace() or _UNPRINTED.match(character))
        }
        start = 0
        while start < len(runs):
            base, size = runs[start].line.base, runs[start].line.size
            end = start + 1
            while end < len(runs) and abs(runs[end].line.base - base) < 0.3 * size:
                end += 1
            group = runs[start:end]
            start = end
            if not any(run.rtl for run in group):
                yield from group
                continue
            places: list[int] = []
            letters: list[str] = []
            for run in group:
                text = self._characters[run.start : run.end]
                chosen = list(map(shown.__contains__, text))
                places += compress(range(run.start, run.end), chosen)
                letters += compress(text, chosen)
            for line in logical_lines(self._glyphs(places, letters), size, mostly=mostly):
                line.text = clean(line.text)
                if line.text:
                    yield _TextRun(0, 0, line)

    def _glyphs(self, places: Sequence[int], letters: Sequence[str]) -> list[Glyph]:
        boxes = _loose_boxes(self._text, places)
        lefts, tops, rights, bottoms = boxes[0::4], boxes[1::4], boxes[2::4], boxes[3::4]
        if self._view.turns:
            upright = map(self._view.box, lefts, tops, rights, bottoms)
            return [
                (left, right, bottom, letter)
                for (left, _, right, bottom), letter in zip(upright, letters, strict=True)
            ]
        if x := self._view.left:
            lefts, rights = [left - x for left in lefts], [right - x for right in rights]
        y = self._view.top
        return list(zip(lefts, rights, [y - bottom for bottom in bottoms], letters, strict=True))

    def _find_spaces(self, runs: Sequence[_TextRun]) -> None:
        """Measure the spaces of the lines that may have cells, and of those next to a line that has.

        To save time, a line is measured only if it is wide for its number of characters, if it is short, or by its
        number. If that shows several lines with cells, or if several lines stand side by side, all are measured.
        """
        lengths = [run.end - run.start for run in runs]
        densities = [run.density for run in runs]
        usual = [density for density, length in zip(densities, lengths, strict=True) if length >= _SHORT]
        dense = median(usual) * _DENSE if usual else 0.0
        # The marks of lists stand beside their texts too.
        cells = sum(
            run.end - run.start > _MARK_CHARS and _is_beside(run.line, other.line)
            for run, other in pairwise(runs)
        )
        wanted = {
            number
            for number, (density, length) in enumerate(zip(densities, lengths, strict=True))
            if length and (number % _SAMPLED == 0 or density > dense or length < _SHORT)
        }
        done: set[int] = set()
        while wanted:
            self._measure_spaces([runs[number] for number in wanted])
            done |= wanted
            wide = [
                number for number in wanted if runs[number].widest > _DOUBTFUL_GAP * runs[number].line.size
            ]
            cells += sum(
                runs[number].widest > _GAP * (size := runs[number].line.size)
                and not _is_justified(runs[number].spaces, size, ())
                for number in wide
            )
            wanted = {near for number in wide for near in (number - 1, number + 1) if 0 <= near < len(runs)}
            if cells >= _ALIGNED:
                wanted = {number for number, length in enumerate(lengths) if length}
            wanted -= done

    def _measure_spaces(self, runs: Sequence[_TextRun]) -> None:
        places: list[int] = []
        """The characters before and after each space."""
        ends: list[int] = []
        """Of each run, in `places`."""
        for run in runs:
            some = [
                index
                for start, end in map(_span, _SPACE.finditer(self._characters, run.start, run.end))
                for index in (start - 1, end)
            ]
            if some and some[0] < run.start:
                del some[:2]
            if some and some[-1] == run.end:
                del some[-2:]
            places += some
            ends.append(len(places))
        lefts, rights, _ = self._edges(places)
        start = 0
        for run, end in zip(runs, ends, strict=True):
            if start < end:
                lows, highs = rights[start:end:2], lefts[start + 1 : end : 2]
                run.widest = max(map(sub, highs, lows))
                if run.widest > _SMALL_GAP * run.line.size:
                    run.spaces = list(zip(lows, highs, places[start + 1 : end : 2], strict=True))
            start = end

    def _is_written(self, space: _Space) -> bool:
        """Whether a space is a single one that the file writes within a text. However wide a justified line makes it,
        no cell ends at it."""
        after = space[2]
        return (
            self._characters[after - 1].isspace()
            and not self._characters[after - 2].isspace()
            and not _is_generated(self._text, after - 1)
            and not self._is_drawn_apart(space)
        )

    def _is_drawn_apart(self, space: _Space) -> bool:
        """Whether another object of the file begins after a space."""
        return _get_object(self._text, space[2] - 2) != _get_object(self._text, space[2])

    def _cells(self, runs: Sequence[_TextRun]) -> Iterator[_TextRun]:
        """The runs, cut where the space between two pieces is so wide that they are cells or columns."""
        spaced = [number for number, run in enumerate(runs) if run.spaces]
        wides: list[Sequence[_Space]] = [()] * len(runs)
        for number in spaced:
            run = runs[number]
            least = _DOUBTFUL_GAP * run.line.size
            if run.widest > least:
                run.spaces = [
                    space
                    for space in run.spaces
                    if space[1] - space[0] <= least or not self._is_written(space)
                ]
                run.widest = max([high - low for low, high, _ in run.spaces], default=0.0)
                wides[number] = run.wide()
        columns = _between_columns(runs, self._is_drawn_apart)
        gutters: list[_Gutter] = []
        for number in spaced:
            run = runs[number]
            sure = [space for space in run.spaces if (number, space[1]) in columns]
            if wides[number] or sure:
                if (
                    len(run.spaces) == 1
                    and not sure
                    and _is_filled(run, runs[max(0, number - 1) : number + 2])
                ):
                    run.spaces, run.widest, wides[number] = (), 0.0, ()
                    continue
                others = [*wides[max(0, number - 2) : number], *wides[number + 1 : number + 3]]
                run.spaces = _without_justified(run, sure, others)
                run.widest = max([high - low for low, high, _ in run.spaces], default=0.0)
                wides[number] = [space for space in run.spaces if space in sure or space in wides[number]]
                gutters += [
                    (run.line.base, columns.get((number, high), low), high) for low, high, _ in wides[number]
                ]
        gutters += [
            (line.base, columns.get((number, other.left), line.right), other.left)
            for number, (line, other) in enumerate(pairwise([run.line for run in runs]))
            if _is_beside(line, other)
        ]
        doubtful = {number: runs[number].doubtful() for number in spaced}
        bases = [(runs[number].line.base, some) for number, some in doubtful.items()]
        maybe = sorted({*gutters, *((base, low, high) for base, some in bases for low, high, _ in some)})
        if not maybe:
            yield from runs
            return
        gutters.sort()
        for number, run in enumerate(runs):
            if run.spaces:
                yield from _cut(run, wides[number], doubtful[number], gutters, maybe, self._is_written)
            yield run


def _set_ends(line: Line, start: float, left: float, right: float) -> None:
    """Set the edges of a line. start: the left edge of its first visible character. left, right: the edges of its last one."""
    line.left = start = left if right < start else start
    line.right = right if right > start else start


def _is_beside(before: Line, line: Line) -> bool:
    return abs(before.base - line.base) < 0.3 * before.size and line.left - before.right > _GAP * before.size


def _between_columns(
    runs: Sequence[_TextRun], is_drawn_apart: Callable[[_Space], bool]
) -> Mapping[tuple[int, float], float]:
    """The gutters between columns: wide spaces after which several lines next to each other go on at the same edge. For
    the number of the run before a gutter and its right edge, the left edge that it has in all these lines.
    """
    edges = [
        (high, number, low)
        for number, run in enumerate(runs)
        if run.widest > _DOUBTFUL_GAP * run.line.size
        for low, high, index in run.spaces
        if high - low > _DOUBTFUL_GAP * run.line.size and is_drawn_apart((low, high, index))
    ]
    edges += [
        (other.left, number, line.right)
        for number, (line, other) in enumerate(pairwise([run.line for run in runs]))
        if _is_beside(line, other)
    ]
    gutters: dict[tuple[int, float], float] = {}
    for alike in _alike(sorted(edges)):
        streak: list[tuple[int, float, float]] = []
        for after, low, high in [
            *sorted((number, low, high) for high, number, low in alike),
            (len(runs), 0.0, math.inf),
        ]:
            between = runs[streak[-1][0] + 1 : after][: _BETWEEN + 1] if streak else ()
            if after == len(runs) or any(_runs_across(run, high) for run in between):
                if len(streak) >= _ALIGNED:
                    narrow = max([left for _, left, _ in streak])
                    for base, _, right in streak:
                        gutters[base, right] = max(gutters.get((base, right), narrow), narrow)
                streak = []
            streak.append((after, low, high))
    return gutters


def _alike(edges: Sequence[tuple[float, int, float]]) -> Iterator[Sequence[tuple[float, int, float]]]:
    """The groups of sorted edges that are about the same. An edge is in at most three groups, so that a page of many does not take long."""
    first = 0
    before = -math.inf
    for last, (edge, _, _) in enumerate(edges):
        while edge - edges[first][0] > _GUTTER_EDGE:
            first += 1
        ended = last + 1 == len(edges) or edges[last + 1][0] - edges[first][0] > _GUTTER_EDGE
        if ended and last - first + 1 >= _ALIGNED and edges[first][0] - before > _GUTTER_EDGE / 2:
            before = edges[first][0]
            yield edges[first : last + 1]


def _runs_across(run: _TextRun, edge: float) -> bool:
    size = run.line.size
    return run.line.left < edge - size < run.line.right - size and not any(
        low < edge - _SMALL_GAP * size < high for low, high, _ in run.spaces
    )


def _without_justified(
    run: _TextRun, gutters: Container[_Space], others: Sequence[Sequence[_Space]]
) -> list[_Space]:
    """The spaces of a run but for those that only justify a piece of it. gutters: end its pieces. others: the wide
    spaces of the next lines."""
    spaces: list[_Space] = []
    if _is_justified(run.spaces, run.line.size, others):
        return spaces
    piece: list[_Space] = []
    left = run.line.left
    for space in [*run.spaces, None]:
        if space is not None and space not in gutters:
            piece.append(space)
            continue
        right = run.line.right if space is None else space[0]
        beside = [[space for space in other if left <= space[0] < right] for other in others]
        if not _is_justified(piece, run.line.size, beside):
            spaces += piece
        if space is not None:
            spaces.append(space)
            left, piece = space[1], []
    return spaces


def _cut(
    run: _TextRun,
    wide: Sequence[_Space],
    doubtful: Sequence[_Space],
    gutters: list[_Gutter],
    maybe: Sequence[_Gutter],
    is_written: Callable[[_Space], bool],
) -> Iterator[_TextRun]:
    """Cut the cells off a run, all but its last one. Adds the spaces between them to the sorted `gutters`. wide,
    doubtful: the run's spaces. maybe: all gutters, and the doubtful spaces of all runs.
    """
    line = run.line
    near = _around(gutters, line, _NEAR)
    if not doubtful and len(near) < _AGREEING:
        return
    cells = set(wide)
    if doubtful:
        around = _around(maybe, line, 2 * _NEAR)
        # A line that surely has cells needs less to show that it has more of them.
        needed = 1 if wide else _AGREEING
        cells.update(space for space in doubtful if _agrees(space, line, around, needed))
    least = _SMALL_GAP * line.size
    spaces = [
        space
        for space in run.spaces
        if space[1] - space[0] > least
        and (space in cells or (_separates(space, line.size, near) and not is_written(space)))
    ]
    if not spaces or (not cells and len(spaces) < _count_crossed(line, near)):
        return
    # A long table may have many rows of which each has only small spaces.
    for low, high, _ in set(spaces).difference(wide):
        insort(gutters, (line.base, low, high))
    for low, high, cut in spaces:
        before = Line("", line.left, line.top, low, line.bottom, line.base, line.size)
        yield _TextRun(run.start, cut, before)
        line.left = high
        run.start = cut


def _is_filled(run: _TextRun, near: Sequence[_TextRun]) -> bool:
    """Whether a line with one wide space only fills its column: a line next to it begins and ends where it does, and has none."""
    size = run.line.size
    return any(
        other.widest <= _GAP * size
        and abs(other.line.left - run.line.left) < _SAME_EDGE * size
        and abs(other.line.right - run.line.right) < _SAME_EDGE * size
        for other in near
    )


def _is_justified(spaces: Sequence[_Space], size: float, others: Sequence[Sequence[_Space]]) -> bool:
    """Whether the spaces of a line only fill it: they are all alike, and have no edge where the cells of the next lines have one.

    size: of the line's text. others: the wide spaces of these lines.
    """
    widths = [high - low for low, high, _ in spaces]
    if (
        len(widths) < 2
        or not _DOUBTFUL_GAP * size < max(widths) <= _MAX_JUSTIFIED * size
        or max(widths) - min(widths) > 0.2 * size
    ):
        return False
    edge = _SAME_EDGE * size
    return not all(
        any(
            abs(low - left) < edge or abs(high - right) < edge for other in others for left, right, _ in other
        )
        for low, high, _ in spaces
    )


def _attached(before: Line, line: Line) -> bool:
    """Join a line with the one before it if it goes on where that one ends, as after a raised letter."""
    near = _SMALL_GAP * line.size
    if abs(line.base - before.base) > near or line.rtl or before.rtl:
        return False
    gap = line.left - before.right
    if not -near < gap < near:
        return False
    before.text += (" " if gap > near / 2 else "") + line.text
    before.right = line.right
    return True


def _count_crossed(line: Line, around: Sequence[_Gutter]) -> int:
    """The number of wide spaces of the nearest line that has some which are above or below a line. A line of prose runs across them."""
    index = bisect_left(around, (line.base,))
    bases = [base for base, _, _ in around[max(0, index - 1) : index + 1]]
    if not bases:
        return 0
    nearest = min(bases, key=lambda base: abs(base - line.base))
    return sum([base == nearest and line.left < low and high < line.right for base, low, high in around])


def _around(gutters: Sequence[_Gutter], line: Line, sizes: float) -> Sequence[_Gutter]:
    far = sizes * line.size
    return gutters[bisect_left(gutters, (line.base - far,)) : bisect_left(gutters, (line.base + far,))]


def _agrees(space: _Space, line: Line, around: Sequence[_Gutter], needed: int) -> bool:
    """Whether so many other lines have a space with the left or the right edge of this one."""
    low, high, _ = space
    edge = _EXACT_EDGE * line.size
    others = [(left, right) for base, left, right in around if base != line.base]
    return (
        max(
            sum([abs(low - left) < edge for left, _ in others]),
            sum([abs(high - right) < edge for _, right in others]),
        )
        >= needed
    )


def _separates(space: _Space, size: float, gutters: Sequence[_Gutter]) -> bool:
    """Whether a small space in a line is between two cells: it lies within the wide spaces of lines nearby, and shares
    an edge with several of them.

    size: of the line's text.
    """
    low, high, _ = space
    edge = _SAME_EDGE * size
    around = [(left, right) for _, left, right in gutters if left - edge <= low and high <= right + edge]
    return len(around) >= _AGREEING and (
        max(
            sum([abs(low - left) < edge for left, _ in around]),
            sum([abs(high - right) < edge for _, right in around]),
        )
        >= _AGREEING
    )


def _characters(text: Any) -> str:
    """The characters of a page. A character's index is the library's index."""
    count = _pdfium.FPDFText_CountChars(text)
    if count <= 0:
        return ""
    buffer = (ctypes.c_ushort * (count + 1))()
    written = _pdfium.FPDFText_GetText(text, 0, count, buffer)
    characters = bytes(buffer)[: 2 * (written - 1)].decode("utf-16-le", "surrogatepass")
    if len(characters) == count:
        return characters
    # The text leaves characters out, or has some that need two units.
    codes = map(_get_unicode, repeat(ctypes.byref(text.contents)), range(count))
    return "".join(chr(code) if 0 < code < 0x110000 else " " for code in codes)


def _with_signs(text: Any, characters: str) -> str:
    def sign(match: re.Match[str]) -> str:
        name = ctypes.create_string_buffer(100)
        _pdfium.FPDFText_GetFontInfo(text, match.start(), name, len(name), None)
        return in_unicode(match.group(), name.value.decode("utf-8", "ignore"))

    return _SIGNS.sub(sign, characters)


def _spans(characters: str) -> list[tuple[int, int, int, int]]:
    """The lines of a page: their beginnings and ends, and their first and last visible characters."""
    spans: list[tuple[int, int, int, int]] = []
    start = 0
    whole = len(characters)
    for end, following in chain(map(_span, _LINE_END.finditer(characters)), ((whole, whole),)):
        last = end + 1 if end < following and characters[end] in _HYPHENS else end
        line = characters[start:last]
        visible = line.strip()
        if visible:
            first = start if len(visible) == len(line) else last - len(line.lstrip())
            spans.append((start, last, first, first + len(visible) - 1))
        start = following
    return spans


def _spans_within(characters: str, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    for low, high, first, last in _spans(characters[start:end]):
        yield start + low, start + high, start + first, start + last


def _direction(x: float, y: float) -> tuple[int, int]:
    """The direction of a letter that stands this way, to whole quarters of a turn."""
    return (0, 1 if y > 0 else -1) if abs(y) > abs(x) else (1 if x > 0 else -1, 0)


def _part_of(run: _TextRun, start: int, end: int, line: Line) -> _TextRun:
    spaces = [space for space in run.spaces if line.left <= space[0] and space[1] <= line.right]
    widest = max((high - low for low, high, _ in spaces), default=0.0)
    return _TextRun(start, end, line, run.rtl, spaces, widest)


def clean(text: str) -> str:
    """A line of text without characters that are not shown, and with single spaces. A hyphen at its end that is one for
    certain becomes HYPHEN."""
    if text.isprintable() and "  " not in text:
        text = text.strip()
        return text if text.isascii() else _shape(text)
    text = text.replace("\x02", HYPHEN)
    hyphen = text.endswith(HYPHEN)
    text = _UNPRINTED.sub("", text.replace(HYPHEN, ""))
    return _SPACES.sub(" ", _shape(text)).strip() + (HYPHEN if hyphen else "")


def _shape(text: str) -> str:
    return _SHAPES.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
