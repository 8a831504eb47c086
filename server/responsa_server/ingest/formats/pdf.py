"""PDF. The canonical text is what the pages say in reading order; pdfium reads the files, and `page_layout` finds the structure.

The values of form fields stand where the fields are. Images, scripts, comments and
attached files are left out. Every block has a place: its page and its box.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Final, cast

from pypdfium2 import raw

from responsa_server.ingest import rejections
from responsa_server.ingest.formats.blocks import BlockWriter
from responsa_server.ingest.formats.page_layout import HYPHEN, Line, Page, Part, arrange
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import ParsedDocument, Place, one_line

MAX_PAGES: Final = 5_000

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)

_GAP: Final = 1.0
"""The least space between two cells, in sizes of the text."""
_SMALL_GAP: Final = 0.3
"""The same where a line above or below has a wider space between its cells."""
_MAX_JUSTIFIED: Final = 3.0
"""The widest space between the words of a justified line, in sizes of the text."""
_WORD_GAP: Final = 0.2
"""The least space between two words, in sizes of the text."""
_NEAR: Final = 8.0
"""How far above or below such a line is, in sizes of the text."""
_SHORT: Final = 15
_DENSE: Final = 1.06
_SAMPLED: Final = 4
_THOUSAND: Final = 1000
_MAX_VALUE_CHARS: Final = 10_000
_TURNED: Final = 0.1
_MOSTLY: Final = 0.4
"""The share of right-to-left letters on a page from which on its mixed lines are read from the right."""
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_SHAPES = re.compile(r"[\ufb00-\ufb06\ufb1d-\ufdff\ufe70-\ufefc]+")
_WORD = re.compile(r"\S+")
_LINE_END = re.compile(r"[\r\n]+|(?<=[\ufffe\x02])")
_SPACES = re.compile(r"[\s\u200b\ufeff]+")
_UNPRINTED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufff0-\ufffb\uffff\ud800-\udfff]+")
_GENERATED_TITLE = re.compile(
    r"(?:untitled|microsoft \w+ - .*|.*\.(?:docx?|indd|tex|dvi|pdf|html?|odt|rtf|xlsx?|pptx?))\Z",
    re.IGNORECASE,
)


def parse(original: Original) -> ParsedDocument:
    """Extract the text.

    Raises DocumentRejected if the document is damaged, can be opened only with a password, has no text layer, or has more than MAX_PAGES pages or
    more blocks than the server stores.
    """
    with opened(original.data) as document:
        pages = _read(document)
        title = _metadata(document, b"Title")
        language = _language(document)
        author = _metadata(document, b"Author")
        date = _metadata(document, b"CreationDate")
    parts = [part for part in arrange(pages) if part.text.strip()]
    if not parts:
        raise rejections.empty(
            "The PDF has no text layer: its pages are empty or show only images. Run text recognition (OCR) on the file and upload the result."
        )
    blocks = BlockWriter()
    for part in parts:
        blocks.write(part.text, part.kind, part.level, part.marker, _place(part))
    return blocks.collector.document(
        blocks.text,
        format_name=original.format,
        file_name=original.name,
        title=("" if _GENERATED_TITLE.match(title) else title) or blocks.collector.first_heading(),
        language=language,
        author=author,
        date=date,
    )


def _place(part: Part) -> Place:
    left, top, right, bottom = part.box
    width, height = part.page.width, part.page.height
    if width <= 0 or height <= 0:
        return Place(part.page.number)
    edges = (left / width, top / height, right / width, bottom / height)
    box = cast(
        "tuple[int, int, int, int]", tuple(min(max(round(one * _THOUSAND), 0), _THOUSAND) for one in edges)
    )
    return Place(part.page.number, box)


# -- the file ----------------------------------------------------------------------------------------------------------


@contextmanager
def opened(data: bytes) -> Generator[Any, None, None]:
    """The open document. Raises DocumentRejected."""
    document = _pdfium.FPDF_LoadMemDocument64(data, len(data), None)
    if not document:
        if _pdfium.FPDF_GetLastError() in (_pdfium.FPDF_ERR_PASSWORD, _pdfium.FPDF_ERR_SECURITY):
            raise rejections.encrypted()
        raise rejections.malformed("The PDF is damaged and cannot be read.")
    try:
        yield document
    finally:
        _pdfium.FPDF_CloseDocument(document)


def _read(document: Any) -> list[Page]:
    """The pages of the document."""
    count = _pdfium.FPDF_GetPageCount(document)
    if count > MAX_PAGES:
        raise rejections.parser_limit(f"The PDF has more than {MAX_PAGES:,} pages.")
    pages: list[Page] = []
    with form_of(document) as form:
        for number in range(count):
            page = _pdfium.FPDF_LoadPage(document, number)
            # A damaged page does not make the others useless.
            if page:
                try:
                    pages.append(_page(page, number + 1, form))
                finally:
                    _pdfium.FPDF_ClosePage(page)
    if not pages:
        raise rejections.malformed("The PDF is damaged: it has no page that can be read.")
    return pages


@contextmanager
def form_of(document: Any) -> Generator[Any, None, None]:
    """The form of the document; None if it has no form."""
    if _pdfium.FPDF_GetFormType(document) == _pdfium.FORMTYPE_NONE:
        yield None
        return
    # The library keeps a pointer to the structure.
    information = _pdfium.FPDF_FORMFILLINFO(version=2)
    form = _pdfium.FPDFDOC_InitFormFillEnvironment(document, information)
    try:
        yield form or None
    finally:
        if form:
            _pdfium.FPDFDOC_ExitFormFillEnvironment(form)


def _metadata(document: Any, key: bytes) -> str:
    size = _pdfium.FPDF_GetMetaText(document, key, None, 0)
    if not 2 < size <= 1 << 16:
        return ""
    buffer = ctypes.create_string_buffer(size)
    _pdfium.FPDF_GetMetaText(document, key, buffer, size)
    return one_line(_clean(buffer.raw[:-2].decode("utf-16-le", "ignore")))


def _language(document: Any) -> str:
    size = _pdfium.FPDFCatalog_GetLanguage(document, None, 0)
    if not 2 < size <= 256:
        return ""
    buffer = (ctypes.c_ushort * size)()
    _pdfium.FPDFCatalog_GetLanguage(document, buffer, size)
    return bytes(buffer).decode("utf-16-le", "ignore").partition("\x00")[0]


# -- a page ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _View:
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
        return self.top - self.bottom if self.turns % 2 else self.right - self.left

    @property
    def height(self) -> float:
        return self.right - self.left if self.turns % 2 else self.top - self.bottom

    @property
    def origin(self) -> float:
        """The left edge of the page as it is shown, on the file's axis; the axis is reversed after more than one turn."""
        return (self.left, self.bottom, -self.right, -self.top)[self.turns]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
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
        """A direction."""
        match self.turns:
            case 1:
                return y, x
            case 2:
                return -x, y
            case 3:
                return -y, -x
            case _:
                return x, -y

    def across(self, left: float, bottom: float, right: float, top: float) -> tuple[float, float]:
        """The left and right edge of a rectangle."""
        one, other = self.at(left, bottom)[0], self.at(right, top)[0]
        return min(one, other), max(one, other)


def _page(page: Any, number: int, form: Any) -> Page:
    box = _pdfium.FS_RECTF()
    _pdfium.FPDF_GetPageBoundingBox(page, box)
    view = _View(box.left, box.bottom, box.right, box.top, _pdfium.FPDFPage_GetRotation(page))
    made = Page(number, view.width, view.height, [])
    text = _pdfium.FPDFText_LoadPage(page)
    if text:
        try:
            _TextReader(text, view).read_into(made)
        finally:
            _pdfium.FPDFText_ClosePage(text)
    if form is not None:
        _pdfium.FORM_OnAfterLoadPage(page, form)
        for field in _fields(page, form, view):
            _insert(made.lines, field)
        _pdfium.FORM_OnBeforeClosePage(page, form)
    return made


_Space = tuple[float, float, int]
"""A space between two words: its left and right edge, and the index of the first character after it."""


@dataclass(slots=True)
class _Run:
    """Characters [start, end) of a page that stand on one line. spaces: the spaces between its words. widest: the width of the widest of them."""

    start: int
    end: int
    line: Line
    spaces: list[_Space]
    widest: float = 0.0

    @property
    def density(self) -> float:
        """The width of a character on average, in sizes of the text."""
        line = self.line
        return (
            (line.right - line.left) / line.size / (self.end - self.start) if self.end > self.start else 0.0
        )


def _quick(name: str, *arguments: Any, result: Any = ctypes.c_int) -> Any:
    """A function of the library that takes addresses as numbers. Calls with pointers as arguments take three times as long."""
    address = ctypes.cast(getattr(_pdfium, name), ctypes.c_void_p).value
    return cast("Any", ctypes.CFUNCTYPE(result, *arguments))(address)


_ADDRESS: Final = ctypes.c_void_p
_get_box = _quick("FPDFText_GetCharBox", _ADDRESS, ctypes.c_int, _ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS)
_get_loose_box = _quick("FPDFText_GetLooseCharBox", _ADDRESS, ctypes.c_int, _ADDRESS)
_get_origin = _quick("FPDFText_GetCharOrigin", _ADDRESS, ctypes.c_int, _ADDRESS, _ADDRESS)
_get_matrix = _quick("FPDFText_GetMatrix", _ADDRESS, ctypes.c_int, _ADDRESS)
_get_size = _quick("FPDFText_GetFontSize", _ADDRESS, ctypes.c_int, result=ctypes.c_double)


class _TextReader:
    """Reads the lines of a page. The library counts the characters of a page, with spaces and line ends that it adds."""

    def __init__(self, text: Any, view: _View) -> None:
        self._text = text
        self._address = ctypes.cast(text, _ADDRESS).value
        self._view = view
        # The left, right, lower and upper edge, in this order.
        self._edges = (ctypes.c_double * 4)()
        first = ctypes.addressof(self._edges)
        self._places = (first, first + 8, first + 16, first + 24)
        # The numbers a, b, c, d, e and f.
        self._matrix = (ctypes.c_float * 6)()
        # The left, upper, right and lower edge.
        self._loose = (ctypes.c_float * 4)()
        self._characters = _characters(text)
        self._rtl = not self._characters.isascii() and _RIGHT_TO_LEFT.search(self._characters) is not None

    def read_into(self, page: Page) -> None:
        """Read the lines."""
        runs: list[_Run] = []
        start = 0
        characters = self._characters
        for end, following in _line_ends(characters):
            if not characters[start:end].isspace() and start < end:
                found = self._run(start, end)
                if found is not None:
                    runs += found
                elif (turned := self._turned(start, end)) is not None:
                    page.turned.append(turned)
            start = following
        if self._rtl:
            runs = list(self._logical(runs))
        self._find_spaces(runs)
        for run in self._cells(runs):
            line = run.line
            line.text = line.text or _clean(characters[run.start : run.end])
            if line.text and not (page.lines and _attached(page.lines[-1], line)):
                page.lines.append(line)

    def _run(self, start: int, end: int) -> list[_Run] | None:
        """The line of some characters, or several if the library overlooked the end of a line; None if they are not on a horizontal line."""
        middle = self._visible(start, end)
        if not _get_matrix(self._address, middle, ctypes.addressof(self._matrix)):
            self._matrix[:] = (1, 0, 0, 1, 0, 0)
        one, two, three, four, _, _ = self._matrix
        x, y = self._view.towards(one, two)
        if x <= 0 or abs(y) > _TURNED * x:
            return None
        size = _get_size(self._address, middle) * math.hypot(three, four)
        if not 0.5 < size < 2000:
            left, right = self._across(middle)
            size = max(1.0, 2 * (right - left))
        base = self._base(middle)
        made = Line("", 0.0, base - 0.8 * size, 0.0, base + 0.25 * size, base, size)
        if self._rtl and _RIGHT_TO_LEFT.search(self._characters, start, end):
            return [_Run(start, end, made, [])]
        run = self._measured(_Run(start, end, made, []))
        return [run] if run is not None else list(self._levels(start, end, size))

    def _measured(self, run: _Run) -> _Run | None:
        """The run with its edges; None if its ends are not on one line."""
        characters = self._characters
        start, end = run.start, run.end - 1
        while characters[start].isspace():
            start += 1
        while characters[end].isspace():
            end -= 1
        # On the file's axes, a line may run to the right or, on a turned page, upwards.
        height = 0 if self._view.turns % 2 else 2
        left, right = self._across(start)
        at = self._edges[height]
        if end > start:
            low, right = self._across(end)
            if abs(self._edges[height] - at) > 1.2 * run.line.size:
                return None
            if right < left:
                left = low
        run.line.left, run.line.right = left, max(right, left)
        return run

    def _find_spaces(self, runs: Sequence[_Run]) -> None:
        """Measure the spaces of the lines that may have cells, and of those next to a line that has.

        To measure every line would take longer than all else: so a line is measured if it is wide for its number of characters, if it is short, or
        by its number.
        """
        densities = [run.density for run in runs if run.end - run.start >= _SHORT]
        dense = median(densities) * _DENSE if densities else 0.0
        wanted = [
            number
            for number, run in enumerate(runs)
            if number % _SAMPLED == 0 or run.density > dense or run.end - run.start < _SHORT
        ]
        done: set[int] = set()
        while wanted:
            number = wanted.pop()
            if number in done or not 0 <= number < len(runs):
                continue
            done.add(number)
            run = runs[number]
            self._measure_spaces(run)
            if run.widest > _GAP * run.line.size:
                wanted += (number - 1, number + 1)

    def _measure_spaces(self, run: _Run) -> None:
        text, places, edges = self._address, self._places, self._edges
        turns, origin = self._view.turns, self._view.origin
        first, last = (2, 3) if turns % 2 else (0, 1)
        right = math.nan
        for word in _WORD.finditer(self._characters, run.start, run.end):
            start, end = word.span()
            _get_box(text, start, *places)
            left = (-edges[last] if turns > 1 else edges[first]) - origin
            if not math.isnan(right):
                run.spaces.append((right, left, start))
                run.widest = max(run.widest, left - right)
            if end - start > 1:
                _get_box(text, end - 1, *places)
            right = (-edges[first] if turns > 1 else edges[last]) - origin

    def _levels(self, start: int, end: int, size: float) -> Iterator[_Run]:
        """A run for each line."""
        before = math.nan
        for place in range(start, end + 1):
            base = self._base(place) if place < end and not self._characters[place].isspace() else before
            if place == end or abs(base - before) > 0.6 * size:
                if not self._characters[start:place].isspace() and start < place:
                    line = Line("", 0.0, before - 0.8 * size, 0.0, before + 0.25 * size, before, size)
                    run = self._measured(_Run(start, place, line, []))
                    if run is not None:
                        yield run
                start = place
            before = base

    def _base(self, place: int) -> float:
        """The baseline of a character."""
        _get_origin(self._address, place, self._places[0], self._places[1])
        return self._view.at(self._edges[0], self._edges[1])[1]

    def _visible(self, start: int, end: int) -> int:
        """A visible character near the middle."""
        middle = (start + end) // 2
        if not self._characters[middle].isspace():
            return middle
        for place in (*range(middle, end), *range(middle - 1, start - 1, -1)):
            if not self._characters[place].isspace():
                return place
        return start

    def _across(self, place: int) -> tuple[float, float]:
        """The left and right edge of a character."""
        _get_box(self._address, place, *self._places)
        left, right, bottom, top = self._edges
        if not self._view.turns:
            return left - self._view.left, right - self._view.left
        return self._view.across(left, bottom, right, top)

    def _turned(self, start: int, end: int) -> Line | None:
        text = _clean(self._characters[start:end])
        corners: list[tuple[float, float]] = []
        for place in (start, self._visible(start, end), end - 1):
            if _get_box(self._address, place, *self._places):
                left, right, bottom, top = self._edges
                corners += (self._view.at(left, bottom), self._view.at(right, top))
        if not text or not corners:
            return None
        across, down = [x for x, _ in corners], [y for _, y in corners]
        return Line(text, min(across), min(down), max(across), max(down), max(down), 0.0)

    def _cells(self, runs: Sequence[_Run]) -> Iterator[_Run]:
        """The runs, cut where the space between two pieces is so wide that they are cells or columns."""
        gutters: list[tuple[float, float, float]] = []
        for number, run in enumerate(runs):
            if run.widest > _GAP * run.line.size:
                if _is_justified(run, runs[max(0, number - 1) : number + 2]):
                    run.spaces = []
                gutters += [
                    (run.line.base, low, high)
                    for low, high, _ in run.spaces
                    if high - low > _GAP * run.line.size
                ]
        gutters += [
            (one.line.base, one.line.right, other.line.left)
            for one, other in pairwise(runs)
            if abs(one.line.base - other.line.base) < 0.3 * one.line.size
            and other.line.left - one.line.right > _GAP * one.line.size
        ]
        gutters.sort()
        for run in runs:
            spaces: Sequence[_Space] = ()
            if gutters:
                base, far = run.line.base, _NEAR * run.line.size
                near = gutters[bisect_left(gutters, (base - far,)) : bisect_left(gutters, (base + far,))]
                spaces = [space for space in run.spaces if _separates(space, run.line, near)]
            for low, high, cut in spaces:
                line = run.line
                before = Line("", line.left, line.top, low, line.bottom, line.base, line.size)
                yield _Run(run.start, cut, before, [])
                line.left = high
                run.start = cut
            yield run

    # -- right to left

    def _logical(self, runs: Sequence[_Run]) -> Iterator[_Run]:
        """The runs, with the lines that have right-to-left letters put into logical order.

        The library keeps the order in which a file draws its letters, which may be from the left, from the right, or mixed. Only the places of
        the letters are certain.
        """
        place = 0
        mostly = _is_mostly_rtl(self._characters)
        while place < len(runs):
            group = [runs[place]]
            place += 1
            while (
                place < len(runs)
                and abs(runs[place].line.base - group[0].line.base) < 0.3 * group[0].line.size
            ):
                group.append(runs[place])
                place += 1
            if any(_RIGHT_TO_LEFT.search(self._characters, run.start, run.end) for run in group):
                yield from self._by_place(group, mostly)
            else:
                yield from group

    def _by_place(self, group: Sequence[_Run], mostly: bool) -> Iterator[_Run]:
        """The lines of some runs. mostly: whether most of the page is read from the right."""
        size = group[0].line.size
        glyphs = sorted(self._glyphs(group), key=lambda one: one.bottom)
        start = 0
        for place in range(1, len(glyphs) + 1):
            if place == len(glyphs) or glyphs[place].bottom - glyphs[place - 1].bottom > 0.5 * size:
                yield from self._of_glyphs(glyphs[start:place], size, mostly)
                start = place

    def _of_glyphs(self, glyphs: list[_Glyph], size: float, mostly: bool) -> Iterator[_Run]:
        """The lines of glyphs on one baseline: several if wide spaces separate them."""
        glyphs.sort(key=lambda one: one.left + one.right)
        base = median(one.bottom for one in glyphs) - 0.25 * size
        cells: list[list[_Glyph]] = []
        edge = -math.inf
        for glyph in glyphs:
            if glyph.left - edge < _GAP * size:
                cells[-1].append(glyph)
            else:
                cells.append([glyph])
            edge = max(edge, glyph.right)
        rtl = mostly or _is_mostly_rtl("".join(one.text for one in glyphs))
        for cell in reversed(cells) if rtl else cells:
            text = _clean(_in_logical_order(cell, rtl=rtl, size=size))
            if text:
                left, right = min(one.left for one in cell), max(one.right for one in cell)
                made = Line(text, left, base - 0.8 * size, right, base + 0.25 * size, base, size, rtl)
                yield _Run(0, 0, made, [])

    def _glyphs(self, group: Sequence[_Run]) -> list[_Glyph]:
        """The visible glyphs of some runs. Characters with one box are the letters of one glyph, which the library gives from the last to the first.

        A text that the file gives instead of several glyphs has the box of the first of them; it comes after all others.
        """
        made: list[_Glyph] = []
        boxes: set[tuple[float, float]] = set()
        instead: list[_Glyph] = []
        for run in group:
            for place in range(run.start, run.end):
                character = self._characters[place]
                if character.isspace() or _UNPRINTED.match(character):
                    continue
                left, right, bottom = self._advance(place)
                last = made[-1] if made else None
                if last is not None and (last.left, last.right) == (left, right) and right > left:
                    if _RIGHT_TO_LEFT.match(character):
                        last.text = character + last.text
                    elif not last.text.endswith(character):
                        last.text += character
                elif last is not None and unicodedata.combining(character):
                    last.text += character
                else:
                    if last is not None and (last.left, last.right) in boxes:
                        instead.append(made.pop())
                    elif last is not None:
                        boxes.add((last.left, last.right))
                    made.append(_Glyph(left, right, bottom, character))
        if made and (made[-1].left, made[-1].right) in boxes:
            instead.append(made.pop())
        edge = max((one.right for one in made), default=0.0)
        size = group[0].line.size
        for number, glyph in enumerate(instead):
            glyph.left = edge + (number + 0.5) * _GAP * size
            glyph.right = glyph.left + 0.25 * size
        return made + instead

    def _advance(self, place: int) -> tuple[float, float, float]:
        """The left, right and lower edge of a character, with the space that belongs to it."""
        _get_loose_box(self._address, place, ctypes.addressof(self._loose))
        left, top, right, bottom = self._loose
        view = self._view
        if not view.turns:
            return left - view.left, right - view.left, view.top - bottom
        one, other = view.at(left, bottom), view.at(right, top)
        return min(one[0], other[0]), max(one[0], other[0]), max(one[1], other[1])


@dataclass(slots=True)
class _Glyph:
    """The letters that one drawn shape stands for."""

    left: float
    right: float
    bottom: float
    text: str


def _in_logical_order(glyphs: Sequence[_Glyph], *, rtl: bool, size: float) -> str:
    """The text of glyphs that stand from left to right: the reverse of the Unicode bidirectional algorithm for one line of one direction."""
    words: list[str] = []
    end = math.nan
    for glyph in glyphs:
        if glyph.left - end > _WORD_GAP * size:
            words.append(" ")
        words.append(glyph.text)
        end = glyph.right if math.isnan(end) else max(end, glyph.right)
    if not rtl:
        return "".join(_turned_runs(words, _is_rtl))
    text = "".join(reversed(list(_turned_runs(words, _is_ltr))))
    opening, closing = text.find("("), text.find(")")
    if closing >= 0 and (opening < 0 or closing < opening):
        text = text.translate(_MIRRORED)
    return text


_MIRRORED = str.maketrans("()[]{}", ")(][}{")
_IN_NUMBER = frozenset(".,:/%+-")


def _is_mostly_rtl(text: str) -> bool:
    return len(_RIGHT_TO_LEFT.findall(text)) > _MOSTLY * sum(map(str.isalpha, text))


def _is_rtl(text: str) -> bool:
    return _RIGHT_TO_LEFT.search(text) is not None and not text.isdecimal()


def _is_ltr(text: str) -> bool:
    return any(map(str.isalnum, text)) and not _is_rtl(text)


def _turned_runs(words: Sequence[str], turned: Any) -> Iterator[str]:
    """The pieces, with each run of pieces of the other direction in reverse. What stands between two of them belongs to the run."""
    run: list[str] = []
    between: list[str] = []
    strong = False
    for word in words:
        if turned(word):
            if run and not strong and any(one not in _IN_NUMBER for one in between):
                yield from reversed(run)
                yield from between
                run, between = [], []
            run += [*between, word]
            between = []
            strong = strong or not word.isdecimal()
        elif run and not _is_rtl(word) and not _is_ltr(word):
            between.append(word)
        else:
            yield from reversed(run)
            yield from between
            yield word
            run, between, strong = [], [], False
    yield from reversed(run)
    yield from between


def _is_justified(run: _Run, around: Sequence[_Run]) -> bool:
    """Whether the wide spaces of a line only fill it: they are all alike, and do not stand above or below those of the next lines."""
    widths = [high - low for low, high, _ in run.spaces]
    size = run.line.size
    if len(widths) < 2 or run.widest > _MAX_JUSTIFIED * size or max(widths) - min(widths) > 0.2 * size:
        return False
    return not any(
        other is not run
        and len(other.spaces) == len(widths)
        and all(
            min(one[1], two[1]) > max(one[0], two[0])
            for one, two in zip(run.spaces, other.spaces, strict=True)
        )
        for other in around
    )


def _attached(before: Line, line: Line) -> bool:
    """Join a line with the one before it if it goes on where that one ends, as after a raised letter."""
    gap = line.left - before.right
    near = _SMALL_GAP * line.size
    if line.rtl or before.rtl or abs(line.base - before.base) > near or not -near < gap < near:
        return False
    before.text += (" " if gap > near / 2 else "") + line.text
    before.right = line.right
    return True


def _separates(space: _Space, line: Line, gutters: Sequence[tuple[float, float, float]]) -> bool:
    """Whether a space in a line is between two cells: it is wide itself, or stands at an edge of a wide one above or below.

    gutters: the baselines, left and right edges of the wide spaces nearby.
    """
    low, high, _ = space
    if high - low > _GAP * line.size:
        return True
    near = _SMALL_GAP * line.size
    return high - low > near and any(
        left - 1 <= low and high <= right + 1 and (high > right - near or low < left + near)
        for _, left, right in gutters
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
    codes = (_pdfium.FPDFText_GetUnicode(text, place) for place in range(count))
    return "".join(chr(code) if 0 < code < 0x110000 else " " for code in codes)


def _line_ends(characters: str) -> Iterator[tuple[int, int]]:
    """The end of each line, and the beginning of the line after it."""
    for found in _LINE_END.finditer(characters):
        yield found.span()
    yield len(characters), len(characters)


def _clean(text: str) -> str:
    """A line of text without characters that are not shown, and with single spaces. A hyphen at its end that is one for certain becomes HYPHEN."""
    if text.isprintable() and "  " not in text:
        text = text.strip()
        return text if text.isascii() else _shaped(text)
    text = text.replace("\x02", HYPHEN)
    hyphen = text.endswith(HYPHEN)
    text = _UNPRINTED.sub("", text.replace(HYPHEN, ""))
    return _SPACES.sub(" ", _shaped(text)).strip() + (HYPHEN if hyphen else "")


def _shaped(text: str) -> str:
    """The text with letters in place of ligatures and of the shapes of letters."""
    return _SHAPES.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text)


# -- forms -------------------------------------------------------------------------------------------------------------


def _fields(page: Any, form: Any, view: _View) -> Iterator[Line]:
    """The values of the page's form fields, as lines."""
    for number in range(_pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = _pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            if _pdfium.FPDFAnnot_GetSubtype(annotation) == _pdfium.FPDF_ANNOT_WIDGET:
                value = _clean(_value(form, annotation))
                box = _pdfium.FS_RECTF()
                if value and _pdfium.FPDFAnnot_GetRect(annotation, box):
                    left, right = view.across(box.left, box.bottom, box.right, box.top)
                    edges = (view.at(box.left, box.bottom)[1], view.at(box.right, box.top)[1])
                    top, bottom = min(edges), max(edges)
                    size = min(bottom - top, 12.0)
                    yield Line(value, left, top, right, bottom, (top + bottom) / 2 + 0.3 * size, size)
        finally:
            _pdfium.FPDFPage_CloseAnnot(annotation)


def _value(form: Any, annotation: Any) -> str:
    kind = _pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (_pdfium.FPDF_FORMFIELD_CHECKBOX, _pdfium.FPDF_FORMFIELD_RADIOBUTTON):
        return "[x]" if _pdfium.FPDFAnnot_IsChecked(form, annotation) else ""
    if kind not in (
        _pdfium.FPDF_FORMFIELD_TEXTFIELD,
        _pdfium.FPDF_FORMFIELD_COMBOBOX,
        _pdfium.FPDF_FORMFIELD_LISTBOX,
    ):
        return ""
    size = _pdfium.FPDFAnnot_GetFormFieldValue(form, annotation, None, 0)
    if not 2 < size <= 2 * _MAX_VALUE_CHARS:
        return ""
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    _pdfium.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size)
    return bytes(buffer).decode("utf-16-le", "ignore").partition("\x00")[0]


def _insert(lines: list[Line], field: Line) -> None:
    """Put the value of a field after the text on its left, or else after the last line above it."""
    beside = [
        number
        for number, line in enumerate(lines)
        if field.top - 2 < line.base < field.bottom + 2 and line.right <= field.left + 2
    ]
    if beside:
        label = lines[beside[-1]]
        if label.text.endswith(":") or field.left - label.right < 3 * field.size:
            label.text = f"{label.text} {field.text}"
            label.right = field.right
            return
    above = [number for number, line in enumerate(lines) if line.base < field.top]
    lines.insert((beside or above or [-1])[-1] + 1, field)
