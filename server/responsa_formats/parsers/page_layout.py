"""Turns the lines of printed pages into headings, paragraphs, list items and table rows in reading order. Pure.

A page's lines come in the order in which the file draws them. Most programs draw text in reading order, so this order
is kept except where a line is drawn after lines that stand below it. Lines that follow each other closely form a stack:
a paragraph, a table cell or a heading. Stacks side by side form the rows of a table. Columns of running text are found
before, by the edge at which their lines begin. What repeats at the top or bottom of pages comes once, before the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, pairwise, zip_longest
from typing import cast

from responsa_formats.parsers.blocks import line_of_cells
from responsa_formats.parsers.grid import GridRow, find_names
from responsa_formats.parsers.ruled_tables import Area, Grid, RuledLine, bands, grids, row_edges
from responsa_formats.text.canonical import BlockKind
from responsa_formats.text.contents import contents_lines
from responsa_formats.text.headers import SAMPLE_ROWS, column_names, header_rows
from responsa_formats.text.languages import STOPWORDS, language_of

HYPHEN = "\ufffe"
"""Stands for a hyphen that the file's reader recognised as one at the end of a line."""

_HYPHENS = (HYPHEN, "\u00ad", "-", "\u2010")
_JOINING = frozenset(("", *_HYPHENS))
_MARGIN = 0.15
"""The part of a page's height, at the top and at the bottom, that running heads are in."""
_NUMBER_MARGIN = 0.2
"""The same for a line that is only a number."""
_SAME_HEIGHT = 0.012
_MAX_NUMBERS = 6
_REPEATED = 3
"""The number of pages on which a line must repeat. In a document of two pages, two."""
_HEADING = 1.15
_MAX_HEADING_CHARS = 250
_MAX_HEADING_LINES = 4
_MAX_SENTENCE = 8
"""Of more words with a period, size alone makes no heading."""
_SMALL = 0.92
_SAME_SIZE = 1.12
_LEADING = 1.2
_LOOSER = 1.3
"""How much larger than the usual distance of lines the distance within a paragraph may be."""
_MAX_CELL_LINES = 5
_MAX_CELL_CHARS = 300
_MAX_EMPTY = 4
"""How many columns a row of joined cells may leave empty for it to be aligned with the others."""
_LEAST_FILLED = 0.7
"""The least share of the cells of a table without names and rules that have a text. Listings and formulas have less."""
_LARGER = 1.4
"""Of rows of which one is so many times as large as the other, the larger one is a heading."""
_ROW_GAP = 2.5
"""The largest space between two rows of a table, in sizes of the text."""
_LOOK_BACK = 200
"""The number of stacks above which one that is drawn too late is looked for."""
_MIN_COLUMN = 11.0
"""The least width of a column of text, in sizes of the text."""
_COLUMN_LINES = 3
_COLUMN_WORDS = 3.5
_INDENT = 4.5
_RAGGED = 6.0
"""How far from the edge of its column a full line ends at most, in sizes of the text."""
_MAX_EDGES = 8
_MAX_DEPTH = 8
_LEVELS = 6
_LONG_LINE = 30
_MAX_JOINED_CHARS = 3000
"""A paragraph that is longer than this is not joined with its continuation, because a block has one place."""

_HEADER_GAP = 2.0
"""The largest distance between the header of a table and its first row, in sizes of the text."""
_MAX_RULED_LINES = 15
"""Of an area with more lines, the rules are the frame of a text, not of a cell."""
_MOST_WRAPPED = 2
"""How many lines of all columns may belong to one row."""
_TALLEST = 1.3
"""How many times as high as its cell a text is at most. The notes of music are higher than the spaces between their lines."""
_MAX_ACROSS = 0.2
"""The greatest share of the lines of a table that may run across its rules."""
_MAX_REPEATED = 200
_CAPITAL = 1.8
"""How many times as large as the text a capital is that begins a paragraph."""
_SAME_EDGE = 4.0
_TURNED_GAP = 3.0
_COUNT = "\0"
"""Stands for a number that differs from page to page."""
_PARTS = re.compile(r"[|,;·•/()\[\]]|(?<=\s)[-–—](?=\s)")

_YEAR = re.compile(r"(?<![\d-])\d{4}(?![\d-])")
_PAGE_NUMBER = re.compile(r"(?<!\d)\d{1,6}(?!\d)")
_MARK = re.compile(
    r"(?:[•◦▪‣●○■□➢✓❖·∙⁃–—*\-\uf0b7\uf0a7\uf0d8]|o(?=\s))(?:\s+|\Z)"
    r"|((?:\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})\)|\d{1,3}\.)(?:\s+|\Z))"
)
"""The mark of a list item. The only group is a number."""
_ENDED = re.compile(r"[.!?:;…。！？؟][\"'”’»)\]]*\Z")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_LAST_WORD = re.compile(r"(?<![^\W\d_])(?:(?<![^\W\d_]-)[^\W\d_]++)?(?:-[^\W\d_]++)*+\Z")
_FIRST_WORD = re.compile(r"[^\W\d_]+")
_WORDS = re.compile(r"(?<![^\W\d_])(?<![^\W\d_]-)[^\W\d_]++(?:-[^\W\d_]++)*+(?!-?\Z)")
_SAMPLE_LINES = 100
# English words that rather begin a compound with a hyphen than a word without, and how such words go on.
_WHOLE_HEADS = frozenset(
    (
        *("long", "short", "high", "low", "well", "self", "half", "full", "real", "large", "small", "two"),
        *("three", "four", "first"),
    )
)
_ENDINGS = frozenset(
    ("ness", "ware", "ways", "land", "hand", "time", "ened", "ages", "fall", "hood", "some", "stand", "breed")
)


@dataclass(slots=True)
class Line:
    """A line of text, or a part of one. The edges, the baseline and the size of the letters are in points; the top left
    corner of the page, as it is shown, is the origin. rtl: whether the line is read from right to left. alone: whether
    it is a paragraph for itself.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    base: float
    size: float
    rtl: bool = False
    alone: bool = False
    table: Sequence[PageBlock] = ()
    """The rows of a table that the line stands for."""


@dataclass(slots=True)
class PageLayout:
    """A page as it is shown. lines: in the order of the file. turned: the lines that are not horizontal. rules: what
    may separate the cells of tables. uncertain: how many of its tables are read as lines. label: as in `label_of`."""

    number: int
    width: float
    height: float
    lines: list[Line]
    turned: list[Line] = field(default_factory=list[Line])
    rules: Sequence[RuledLine] = ()
    uncertain: int = 0
    label: str = ""


Box = tuple[float, float, float, float]


@dataclass(slots=True)
class PageBlock:
    """A block of the document. level: as in `Block`. marker: of a list item, such as "- ". box: in points."""

    kind: BlockKind
    text: str
    page: PageLayout
    box: Box
    level: int = 0
    marker: str = ""
    size: float = 0.0
    broken: bool = False
    """Whether the last line of a paragraph fills its column, so that the paragraph may go on elsewhere."""
    running: bool = False
    """Whether it repeats on the pages."""


@dataclass(slots=True)
class _Stack:
    lines: list[Line]
    forced: list[bool]
    """For each line, whether its author ended the line before it."""
    left: float
    top: float
    right: float
    bottom: float
    edge: float
    """The end of the longest line, as in `_end`."""

    @classmethod
    def of(cls, line: Line) -> _Stack:
        return cls([line], [False], line.left, line.top, line.right, line.bottom, _end(line))

    def add(self, line: Line) -> None:
        self.forced.append(_forced(self, line))
        self.lines.append(line)
        end = _end(line)
        # Comparisons, because this runs for every line, and `min` and `max` take three times as long.
        if line.left < self.left:
            self.left = line.left
        if line.right > self.right:
            self.right = line.right
        if line.top < self.top:
            self.top = line.top
        if line.bottom > self.bottom:
            self.bottom = line.bottom
        if end > self.edge:
            self.edge = end

    @property
    def size(self) -> float:
        return self.lines[0].size

    @property
    def box(self) -> Box:
        return self.left, self.top, self.right, self.bottom


_Row = list[_Stack]


def arrange(pages: Sequence[PageLayout]) -> list[PageBlock]:
    """The blocks of the document in reading order."""
    body = _body_size(pages)
    running = _running(pages, body)
    parts: list[PageBlock] = []
    # If nothing else stands on any page, the lines that repeat are the text.
    if running and any(id(line) not in running for page in pages for line in page.lines):
        parts = list(_running_blocks(pages, running))
        for page in pages:
            page.lines = [line for line in page.lines if id(line) not in running]
    _leave_out_contents(pages)
    compounds = _Compounds(pages)
    for page in pages:
        for part in _page_parts(page, body, compounds):
            if not _continued(parts, part, body, compounds):
                parts.append(part)
    _set_levels(parts)
    return parts


def _leave_out_contents(pages: Sequence[PageLayout]) -> None:
    """Remove the lines of tables of contents. Their dots and page numbers may be drawn apart from the titles."""
    rows: list[list[Line]] = []
    for page in pages:
        begun = len(rows)
        for line in page.lines:
            last = rows[-1][-1] if len(rows) > begun else None
            if last is not None and abs(line.base - last.base) < 1 and line.left >= last.right - 1:
                rows[-1].append(line)
            else:
                rows.append([line])
    contents = contents_lines([" ".join(line.text for line in row) for row in rows])
    if contents:
        left_out = {id(line) for index in contents for line in rows[index]}
        for page in pages:
            page.lines = [line for line in page.lines if id(line) not in left_out]


# -- what repeats ------------------------------------------------------------------------------------------------------


def _running(pages: Sequence[PageLayout], body: float) -> set[int]:
    """The ids of the lines that repeat at the same height of several pages, but for a number that counts the pages, and
    that have no other line between them and the edge of their page. Cells of a table may repeat too, but other cells of
    their rows do not. body: the size of most letters.
    """
    least = min(_REPEATED, max(2, len(pages)))
    if len(pages) < least:
        return set()
    places: defaultdict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for lines in _alike(pages):
        if len(lines) < least:
            continue
        for line, page, height in lines:
            position = height, page, id(line)
            places[line.text].append(position)
            if line.size < _HEADING * body:  # headings may count too
                for reading in _readings(line.text, page):
                    places[reading].append(position)
    repeated: set[int] = set()
    for lines in places.values():
        if len(lines) < least:
            continue
        lines.sort()
        heights = [height for height, _, _ in lines]
        for height, _, key in lines:
            near = lines[
                bisect_left(heights, height - _SAME_HEIGHT) : bisect_left(heights, height + _SAME_HEIGHT)
            ]
            if len({number for _, number, _ in near[: 4 * least]}) >= least:
                repeated.add(key)
    return {key for page in pages for key in _outermost(page, repeated)} if repeated else repeated


def _running_blocks(pages: Sequence[PageLayout], running: Container[int]) -> Iterator[PageBlock]:
    """What the lines that repeat say about the document: each once, without what counts the pages. Those of few pages,
    such as names of chapters, are left out."""
    groups: defaultdict[str, list[tuple[PageLayout, Line]]] = defaultdict(list)
    seen: set[str] = set()
    for page in pages:
        for line in sorted(page.lines, key=lambda line: (line.base, line.left)):
            if id(line) in running:
                groups[_PAGE_NUMBER.sub("0", line.text)].append((page, line))
            else:
                seen.add(line.text)
    for lines in groups.values():
        if 3 * len({page.number for page, _ in lines}) < len(pages):
            continue
        page, line = lines[0]
        numbers = zip(*(_PAGE_NUMBER.findall(other.text) for _, other in lines), strict=True)
        written = [_COUNT if len(set(values)) > 1 else values[0] for values in numbers]
        text = "".join(chain.from_iterable(zip_longest(_PAGE_NUMBER.split(line.text), written, fillvalue="")))
        if _COUNT in text:
            some = [
                part
                for part in _PARTS.split(text)
                if _COUNT not in part or len(_WORDS.findall(part)) > 2 or _YEAR.search(part)
            ]
            text = " | ".join(filter(None, (" ".join(part.replace(_COUNT, "").split()) for part in some)))
        if any(map(str.isalpha, text)) and text not in seen:
            seen.add(text)
            box = (line.left, line.top, line.right, line.bottom)
            yield PageBlock(BlockKind.PARAGRAPH, text, page, box, running=True)


def _alike(pages: Sequence[PageLayout]) -> Iterable[Sequence[tuple[Line, int, float]]]:
    """The lines in the margins, with their pages and heights, in groups that are alike but for their numbers."""
    groups: defaultdict[str, list[tuple[Line, int, float]]] = defaultdict(list)
    for page in pages:
        for line in page.lines:
            height = line.base / page.height if page.height else 0.5
            if _NUMBER_MARGIN < height < 1 - _NUMBER_MARGIN:
                continue
            margin = _MARGIN if any(map(str.isalpha, line.text)) else _NUMBER_MARGIN
            if not margin < height < 1 - margin:
                groups[_PAGE_NUMBER.sub("0", line.text)].append((line, page.number, height))
    return groups.values()


def _outermost(page: PageLayout, repeated: Container[int]) -> Iterator[int]:
    """The ids of the repeated lines that have no other line between them and the upper or the lower edge of the page,
    nor on their own baseline."""
    rows = _by_base(page.lines)
    no_row: list[Line] = []
    for ordered in (rows, rows[::-1]):
        for row, after in zip(ordered, [*ordered[1:], no_row], strict=False):
            # The names of the columns of a table stand close to its cells.
            if (
                len(row) > 1 < len(after)
                and abs(after[0].base - row[0].base) < _HEADER_GAP * row[0].size
                and any(id(line) not in repeated for line in after)
            ):
                break
            # A page number may stand next to the name of a chapter, which changes.
            others = [line for line in row if id(line) not in repeated]
            yield from (
                id(line) for line in row if not others or (id(line) in repeated and line.text.isdecimal())
            )
            if others:
                break


def _readings(text: str, page: int) -> Iterator[str]:
    """The text with each of its first numbers as its distance from the page's number, and from twice that (two printed
    pages on one). Rows of a table also differ only in numbers, but those do not count the pages.
    """
    for number in islice(_PAGE_NUMBER.finditer(text), _MAX_NUMBERS):
        before, after = text[: number.start()], text[number.end() :]
        for step in (1, 2):
            yield f"{before}\0{step} {int(number.group()) - step * page}\0{after}"


def _body_size(pages: Sequence[PageLayout]) -> float:
    exact: defaultdict[float, int] = defaultdict(int)
    for page in pages:
        for line in page.lines:
            exact[line.size] += len(line.text)
    sizes: Counter[float] = Counter()
    for size, count in exact.items():
        sizes[round(size * 2) / 2] += count
    return sizes.most_common(1)[0][0] if sizes else 0.0


# -- a page ------------------------------------------------------------------------------------------------------------


def _page_parts(page: PageLayout, body: float, compounds: _Compounds) -> Iterator[PageBlock]:
    lines = _with_capitals(_with_tables(page, compounds), body)
    areas = list(_areas(_with_markers(_with_turned_names(page, lines))))
    limit = _leading_limit([line for area in areas for line in area])
    indents: list[float] = []
    for area in areas:
        for item in _tables(_in_order(_stacks(area, limit))):
            if isinstance(item, _Stack) and item.lines[0].table:
                yield from item.lines[0].table
            elif isinstance(item, _Stack):
                yield _part(item, page, body, compounds, indents)
            else:
                yield from _table_rows(item, page, compounds)
    for line in page.turned:
        yield PageBlock(BlockKind.PARAGRAPH, line.text, page, (line.left, line.top, line.right, line.bottom))


def _with_tables(page: PageLayout, compounds: _Compounds) -> list[Line]:
    """The lines of the page, with one for each table that rules make in place of its lines."""
    lines = list(page.lines)
    if not page.rules:
        return lines
    for grid in (
        *grids(page.rules),
        *(grid for run in bands(page.rules) if (grid := _row_grid(run, lines)) is not None),
    ):
        if _holds_rows(grid, lines):
            continue
        cells: dict[Area, list[Line]] = {}
        across = high = 0
        for line in (*lines, *page.turned):
            height = (line.top + line.bottom) / 2 if not line.size else line.base - 0.3 * line.size
            area = grid.at((line.left + line.right) / 2, height)
            if area is not None and not line.table:
                cells.setdefault(area, []).append(line)
                edges = grid.xs[area.column], grid.xs[area.column + area.columns]
                high += line.size > _TALLEST * (grid.ys[area.row + area.rows] - grid.ys[area.row])
                across += line.left < edges[0] - line.size or line.right > edges[1] + line.size
        within = {id(line) for some in cells.values() for line in some}
        if (
            len({area.row for area in cells}) < 2
            or len({area.column for area in cells}) < 2
            or any(len(some) > _MAX_RULED_LINES for some in cells.values())
            or high > _MAX_ACROSS * len(within)
        ):
            continue
        first = next((number for number, line in enumerate(lines) if id(line) in within), len(lines))
        if across > _MAX_ACROSS * len(within):
            page.uncertain += 1
            for line in lines:
                line.alone = line.alone or id(line) in within
            continue
        table = list(_rows_of_grid(grid, cells, page, compounds))
        box = (grid.xs[0], grid.ys[0], grid.xs[-1], grid.ys[-1])
        size = next(iter(cells.values()))[0].size or 1.0
        lines.insert(first, Line("", *box, box[3] - 1, size, alone=True, table=table))
        lines = [line for line in lines if id(line) not in within]
        page.turned = [line for line in page.turned if id(line) not in within]
    return lines


def _row_grid(run: Sequence[RuledLine], lines: Sequence[Line]) -> Grid | None:
    """The table whose rows stand between rules, if each has the lines of one row. Its columns are where the lines stand."""
    rows = [
        [
            line
            for line in lines
            if above < line.base < below + 1 and run[0].start - 1 <= line.left < run[0].end
        ]
        for above, below in row_edges(run)
    ]
    upper, lower = (sorted(row, key=lambda line: line.left) for row in rows[:2])
    # The name of a group of columns stands over the spaces between them.
    below = rows[bool(_find_groups(upper, lower)) :]
    xs: list[float] = []
    right = 0.0
    for line in sorted((line for row in below for line in row), key=lambda line: line.left):
        if xs and line.left > right:
            xs.append((right + line.left) / 2)
        elif not xs:
            xs.append(min(run[0].start, line.left) - 1)
        right = max(right, line.right)
    if (
        len(xs) < 2
        or sum(len(row) > 1 for row in rows) < 2
        or any(len(_pairs(row, xs[1])) > 1 for row in rows)
    ):
        return None
    areas = [[Area(row, column, 1, 1) for column in range(len(xs))] for row in range(len(rows))]
    for columns in _find_groups(upper, lower, len(xs)):
        areas[0][columns.start : columns.stop] = [Area(0, columns.start, 1, len(columns))] * len(columns)
    return Grid([rule.coord for rule in run], [*xs, max(right, run[0].end) + 1], areas)


def _pairs(lines: Sequence[Line], edge: float) -> list[list[Line]]:
    """The rows of lines with cells on both sides of an edge."""
    return [
        row
        for row in _by_base(lines)
        if min(line.left for line in row) < edge <= max(line.left for line in row)
    ]


def _holds_rows(grid: Grid, lines: Sequence[Line]) -> bool:
    """Whether what stands between two rules of a table is several rows, so that the rules do not make its cells."""
    for (top, bottom), (first, *_) in zip(pairwise(grid.ys), grid.areas, strict=True):
        if first.rows > 1 or first.columns == grid.columns:
            continue
        within = [
            line
            for line in lines
            if top < line.base - 0.3 * line.size < bottom and grid.xs[0] <= line.left < grid.xs[-1]
        ]
        pairs = _pairs(within, grid.xs[first.columns])
        goes_on = any(line.text[:1].islower() for row in pairs[1:] for line in row)
        if len(pairs) > _MOST_WRAPPED and not goes_on:
            return True
    return False


def _rows_of_grid(
    grid: Grid, cells: dict[Area, list[Line]], page: PageLayout, compounds: _Compounds
) -> Iterator[PageBlock]:
    texts: dict[Area, str] = {}
    for area, some in cells.items():
        ordered = [line for row in _by_base(some) for line in sorted(row, key=_start)]
        text = ordered[0].text
        for line in ordered[1:]:
            text = compounds.join(text, line.text)
        texts[area] = text.replace(HYPHEN, "-").replace("\n", " ")
    used = sorted({column for area in texts for column in range(area.column, area.column + area.columns)})
    rows: list[list[str]] = []
    numbered: list[GridRow] = []
    boxes: list[Box] = []
    for number, areas in enumerate(grid.areas):
        some = {area: texts[area] for area in areas if area in texts}
        if not some:
            continue
        box = (grid.xs[0], grid.ys[number], grid.xs[-1], grid.ys[number + 1])
        if len(some) == 1 and not rows and next(iter(some)).columns > 1:
            # A title above the names of the columns.
            yield PageBlock(BlockKind.PARAGRAPH, next(iter(some.values())), page, box)
            continue
        row: list[str] = []
        for column in used:
            area = areas[column]
            begins = area.row == number and area.column == column
            repeated = len(some) > 1 and len(texts.get(area, "")) <= _MAX_REPEATED
            row.append(texts.get(area, "") if begins or repeated else "")
        rows.append(row)
        boxes.append(box)
        grouped = len(some) > 1 and any(area.columns > 1 for area in some)
        numbered.append(GridRow({at: text for at, text in enumerate(row) if text}, number, grouped=grouped))
    yield from _write_rows(rows, boxes, *find_names(numbered, range(len(used))), page)


def _write_rows(
    rows: list[list[str]], boxes: list[Box], above: int, names: int, page: PageLayout
) -> Iterator[PageBlock]:
    """The rows of a table. above, names: as in `header_rows`."""
    if names:
        rows[above : above + names] = [column_names(rows[above : above + names], spread=False)]
        boxes[above : above + names] = [(*boxes[above][:3], boxes[above + names - 1][3])]
    for number, (row, box) in enumerate(zip(rows, boxes, strict=True)):
        ruler = f"\n{'|'.join(['---'] * len(row))}" if names and number == above else ""
        if any(cell.strip("-:") for cell in row):
            yield PageBlock(BlockKind.TABLE, line_of_cells(row) + ruler, page, box)


def _with_capitals(lines: list[Line], body: float) -> list[Line]:
    """The lines, in which a large capital at the beginning of a paragraph belongs to its word."""
    result: list[Line] = []
    for capital in lines:
        beside = (
            [
                line
                for line in lines
                if line is not capital
                and capital.right - 1 <= line.left < capital.right + 2 * line.size
                and capital.top - line.size < line.base <= capital.base + 0.3 * line.size
            ]
            if len(capital.text) == 1 and capital.text.isalpha() and capital.size > _CAPITAL * body
            else []
        )
        if not beside or beside[0].size * _CAPITAL > capital.size:
            result.append(capital)
            continue
        first = min(beside, key=lambda line: line.base)
        first.text = capital.text + first.text
        for line in beside:
            line.left = capital.left
    return result


def _with_turned_names(page: PageLayout, lines: list[Line]) -> list[Line]:
    """The lines, with the turned names of columns as a row above the rows that they head."""
    groups: defaultdict[int, list[Line]] = defaultdict(list)
    for line in page.turned:
        groups[round(line.bottom / _SAME_EDGE)].append(line)
        groups[-1 - round(line.top / _SAME_EDGE)].append(line)
    for names in groups.values():
        names = [line for line in names if line in page.turned]
        bottom = max((line.bottom for line in names), default=0.0)
        below = [line for line in lines if 0 < line.base - bottom < _TURNED_GAP * line.size]
        headed = [
            name
            for name in names
            if any(
                line.left < name.right + line.size and name.left < line.right + line.size for line in below
            )
        ]
        if len(headed) < 2:
            continue
        size = below[0].size
        row = [
            Line(name.text, name.left, bottom - size, name.right, bottom, bottom - 0.2 * size, size)
            for name in sorted(headed, key=lambda name: name.left)
        ]
        index = next(number for number, line in enumerate(lines) if line is below[0])
        lines = [*lines[:index], *row, *lines[index:]]
        page.turned = [line for line in page.turned if line not in headed]
    return lines


def _with_markers(lines: Sequence[Line]) -> list[Line]:
    """The lines. The mark of a list item that is drawn for itself belongs to the text that follows it on its line."""
    result: list[Line] = []
    before: Line | None = None
    for line in lines:
        if (
            before is not None
            and len(before.text) <= 5
            and _MARK.fullmatch(before.text)
            and abs(line.base - before.base) < 0.4 * line.size
            and _start(line) >= _start(before)
            and _start(line) - _end(before) < 4 * line.size
        ):
            result[-1] = before = _join_lines([before, line], [before, line], line)
        else:
            result.append(line)
            before = line
    return result


def _overlap(box: Line | _Stack, other: Line | _Stack) -> bool:
    return box.left < box.right > other.left < other.right > box.left


def _start(line: Line) -> float:
    """The edge at which a reader begins, on an axis that grows in the direction of reading."""
    return -line.right if line.rtl else line.left


def _end(line: Line) -> float:
    return -line.left if line.rtl else line.right


def _leading_limit(lines: Sequence[Line]) -> float:
    """The largest distance between two lines of a paragraph, in sizes of the text."""
    distances = sorted(
        [
            distance / after.size
            for before, after in pairwise(lines)
            if 0.8 * after.size < (distance := after.base - before.base) < 3 * after.size
            and _overlap(before, after)
        ]
    )
    usual = distances[len(distances) // 4] if len(distances) > 3 else _LEADING
    return max(usual, 1.1) * _LOOSER


def _stacks(lines: Sequence[Line], limit: float) -> list[_Stack]:
    stacks: list[_Stack] = []
    for line, after in zip_longest(lines, lines[1:]):
        if stacks and _continues(stacks[-1], line, after, limit):
            stacks[-1].add(line)
        else:
            stacks.append(_Stack.of(line))
    return stacks


def _continues(stack: _Stack, line: Line, after: Line | None, limit: float) -> bool:
    """Whether a line belongs to the stack. after: the line after it, which is the cell of a table if it stands on the same baseline."""
    last, size = stack.lines[-1], line.size
    if line.alone or last.alone:
        return False
    small, large = (size, last.size) if size < last.size else (last.size, size)
    if not 0.3 * size < line.base - last.base < limit * large or large > _SAME_SIZE * small:
        return False
    if not _overlap(stack, line) or (_marker(line.text) and not _hangs(last.text)):
        return False
    if after is not None and abs(after.base - line.base) < 0.3 * size and _overlap(last, after):
        return False
    return _aligned(stack, line)


def _aligned(stack: _Stack, line: Line) -> bool:
    """Whether the line begins where the lines of the stack do, or is centred like them, and does not begin a new paragraph."""
    first, last, size = stack.lines[0], stack.lines[-1], line.size
    if abs((line.left + line.right) - (last.left + last.right)) < size:
        return True
    shift = _start(line) - _start(last)
    if len(stack.lines) == 1:
        # The first line may be indented, or hang out because of its mark.
        return -3.5 * size < shift < (4.5 if _marker(first.text) else 0.7) * size
    if shift > 0.7 * size:
        return not (_ENDED.search(last.text) or _forced(stack, line)) and shift < 4 * size
    return shift > -0.7 * size or (len(stack.lines) == 2 and -3.5 * size < shift)


def _forced(stack: _Stack, line: Line) -> bool:
    """Whether the last line of the stack ends where the first word of this line would still have fitted."""
    last, size = _end(stack.lines[-1]), line.size
    edge, end = stack.edge, _end(line)
    edge = (end if end > edge else edge) - 0.5 * size
    # Most lines are full, so that not even a space would fit.
    if last + 0.5 * size >= edge:
        return False
    word = len(line.text.split(" ", 1)[0]) * 0.55 * size
    return last + word + 0.5 * size < edge


def _marker(text: str) -> str:
    """The mark of a list item at the beginning of the text, as it is written in canonical text; '' if the text does not
    begin with a mark."""
    match = _MARK.match(text)
    if match is None or match.end() == len(text):
        return ""
    # A dash alone also begins the parts of a dialogue, but is a mark all the same.
    return f"{match.group().strip()} " if match.lastindex else "- "


def _in_order(stacks: list[_Stack]) -> list[_Stack]:
    """The stacks in their order. A stack that is drawn after others that stand below it, in the same column, comes before them."""
    ordered: list[_Stack] = []
    edges: list[tuple[float, float, float]] = []
    """Of each stack in order: the left and the right edge, and the lowest place of the bottom of a stack above it."""
    lowest = 0.0
    for stack in stacks:
        position = len(ordered)
        left, right, bottom = stack.left, stack.right, stack.bottom
        if bottom < lowest:
            first = max(0, position - _LOOK_BACK)
            position = next(
                (
                    number
                    for number, (start, end, top) in enumerate(edges[first:], first)
                    if start < right
                    and left < end
                    and bottom < top
                    and min(right, end) - max(left, start) > 0.5 * min(right - left, end - start)
                ),
                position,
            )
        ordered.insert(position, stack)
        edges.insert(position, (left, right, stack.top + 0.2 * stack.size))
        if stack.top > lowest:
            lowest = stack.top
    return ordered


# -- columns -----------------------------------------------------------------------------------------------------------


def _areas(lines: list[Line], depth: int = 0) -> Iterator[list[Line]]:
    """The lines in the areas that are read one after the other: above columns of running text, each column, and below them."""
    split = (
        next(filter(None, (_runs(lines, edge) for edge in _edges(lines))), None)
        if depth < _MAX_DEPTH
        else None
    )
    if not split:
        if lines:
            yield lines
        return
    edge, runs = split
    rest = lines
    for top, bottom in runs:
        yield from _areas([line for line in rest if line.base < top], depth + 1)
        within = [line for line in rest if top <= line.base <= bottom]
        yield from _areas([line for line in within if _start(line) < edge], depth + 1)
        yield from _areas([line for line in within if _start(line) >= edge], depth + 1)
        rest = [line for line in rest if line.base > bottom]
    yield from _areas(rest, depth + 1)


def _edges(lines: Sequence[Line]) -> Sequence[float]:
    """Where several lines begin to the right of others, as `_start`."""
    starts = Counter(round(_start(line)) for line in lines)
    often = [
        start
        for start, count in starts.most_common(4 * _MAX_EDGES)
        if count + starts[start + 1] >= _COLUMN_LINES
    ]
    return [start - 1.0 for start in sorted(often[:_MAX_EDGES])[1:]]


def _runs(lines: Sequence[Line], edge: float) -> tuple[float, Sequence[tuple[float, float]]] | None:
    """The edge, and the first and the last baseline of each run of rows in which columns of text stand on both sides of the edge."""
    if sum([_end(line) < edge for line in lines]) < _COLUMN_LINES:
        return None
    rows = _by_base(lines)
    across = [any(_start(line) < edge < _end(line) + 0.4 * line.size for line in row) for row in rows]
    celled = [len(row) > 2 and _has_cells(row, edge) for row in rows]
    runs: list[tuple[float, float]] = []
    first = 0
    for number in range(len(rows) + 1):
        # A table has several rows; the words of a single one may only be far apart.
        if (
            number < len(rows)
            and not across[number]
            and not (
                celled[number] and any(celled[max(0, number - 1) : number] + celled[number + 1 : number + 2])
            )
        ):
            continue
        if _are_columns([line for row in rows[first:number] for line in row], edge):
            runs.append((rows[first][0].base, max(line.base for line in rows[number - 1])))
        first = number + 1
    return (edge, runs) if runs else None


def _by_base(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines in rows: those on about the same baseline."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.base):
        if rows and line.base - rows[-1][0].base < 0.3 * line.size:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _has_cells(row: Sequence[Line], edge: float) -> bool:
    """Whether the lines of a row look like cells of a table on both sides of the edge."""
    after = sorted(_start(line) for line in row if _start(line) >= edge)
    before = len(row) - len(after)
    return 0 < before < len(row) and (after[0] > edge + _INDENT * row[0].size or before > 1 < len(after))


def _are_columns(lines: Sequence[Line], edge: float) -> bool:
    before = [line for line in lines if _start(line) < edge]
    after = [line for line in lines if edge <= _start(line) < edge + _INDENT * line.size]
    begun = [line for line in after if _start(line) < edge + 0.3 * line.size]
    return 3 * len(begun) >= len(after) and _is_text(before) and _is_text(after)


def _is_text(lines: Sequence[Line]) -> bool:
    """Whether lines below each other are running text: most fill their column."""
    if len(lines) < _COLUMN_LINES:
        return False
    size = lines[len(lines) // 2].size
    ends = sorted(map(_end, lines))
    edge = ends[-1 - len(ends) // 4]
    full = [line for line in lines if _end(line) > edge - _RAGGED * size]
    words = sum(len(line.text.split()) for line in full)
    return (
        edge - min(map(_start, lines)) > _MIN_COLUMN * size
        and 2 * len(full) >= len(lines)
        and words > _COLUMN_WORDS * len(full)
    )


# -- tables ------------------------------------------------------------------------------------------------------------


def _tables(stacks: Sequence[_Stack]) -> Iterator[_Stack | list[_Row]]:
    """The stacks in order. Stacks side by side, in several rows, come as a list of rows."""
    rows = list(_rows(stacks))
    index = 0
    while index < len(rows):
        table = [rows[index]]
        index += 1
        if len(table[0]) > 1:
            below = rows[index : index + 2]
            if len(below) > 1 and _follows(table[0], below[0]) and _find_groups(table[0], below[0]):
                table += below[: _next_row(below[:1], below[1])]
                index += len(table) - 1
            while index < len(rows) and _next_row(table, rows[index]):
                table.append(rows[index])
                index += 1
            while len(table[-1]) == 1:
                index -= 1
                table.pop()
        if len(table) > 1:
            yield table
        elif len(table[0]) > 1 and all(len(cell.lines) == 1 for cell in table[0]):
            yield _join_cells(table[0])
        else:
            yield from table[0]


def _rows(stacks: Sequence[_Stack]) -> Iterator[_Row]:
    row: _Row = []
    for stack in stacks:
        if row and _side_by_side(row, stack):
            row.append(stack)
        else:
            if row:
                yield row
            row = [stack]
    if row:
        yield row


def _side_by_side(row: _Row, stack: _Stack) -> bool:
    if len(stack.lines) > _MAX_CELL_LINES * 2 or len(row[-1].lines) > _MAX_CELL_LINES * 2:
        return False
    if stack.lines[0].alone or row[-1].lines[0].alone:
        return False
    top, bottom = row[0].top, row[0].bottom
    if len(row) > 1:
        top, bottom = min([box.top for box in row]), max([box.bottom for box in row])
    shared = min(bottom, stack.bottom) - max(top, stack.top)
    if shared < 0.5 * min(bottom - top, stack.bottom - stack.top):
        return False
    if stack.lines[0].rtl or row[0].lines[0].rtl:
        return (
            stack.right <= min(box.left for box in row) + 1 or stack.left >= max(box.right for box in row) - 1
        )
    return stack.left >= max([box.right for box in row]) - 1


def _next_row(table: Sequence[_Row], row: _Row) -> bool:
    """Whether a row belongs to the table: it follows closely, and a row of a single cell fits into a column."""
    size, first = row[0].size, table[0][0].size
    if not _follows(table[-1], row):
        return False
    if max(size, first) > _LARGER * min(size, first):
        return False
    if len(row) > 1:
        return _gutters_meet(table[-1] if len(table[-1]) > 1 else max(table, key=len), row)
    widest = max(table, key=len)
    column = _column(widest, row[0])
    edge = widest[column + 1].left if column + 1 < len(widest) else widest[column].right + 2 * size
    return len(row[0].lines) <= 2 and widest[column].left - size <= row[0].left and row[0].right < edge


def _follows(above: _Row, row: _Row) -> bool:
    gap = min(cell.top for cell in row) - max(cell.bottom for cell in above)
    return -0.6 < gap / row[0].size < _ROW_GAP and not row[0].lines[0].alone


def _gutters_meet(row: _Row, other: _Row) -> bool:
    """Whether a space between two cells of a row stands above one of the other row, and cells at its sides begin, end
    or are centred alike."""
    near = 0.5 * row[0].size
    return any(
        min(after.left, follower.left) - max(before.right, leader.right) > 0.5 * near
        and min(
            abs(after.left - follower.left),
            abs(before.right - leader.right),
            abs(after.left + after.right - follower.left - follower.right) / 2,
            abs(before.left + before.right - leader.left - leader.right) / 2,
        )
        < near
        for before, after in _neighbours(row)
        for leader, follower in _neighbours(other)
    )


def _neighbours(row: _Row) -> Sequence[tuple[_Stack, _Stack]]:
    return list(pairwise(sorted(row, key=lambda cell: cell.left)))


def _join_cells(row: _Row) -> _Stack:
    lines = [cell.lines[0] for cell in row]
    return _Stack.of(_join_lines(lines, row, lines[0]))


def _join_lines(lines: Sequence[Line], boxes: Sequence[Line] | _Row, like: Line) -> Line:
    """Several lines as one around these boxes, with the baseline of `like`."""
    return Line(
        " ".join(line.text for line in lines),
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
        like.base,
        like.size,
        like.rtl,
    )


def _column(widest: _Row, cell: _Stack) -> int:
    """The column of a cell: the one that it shares most width with, or the nearest."""
    return max(
        range(len(widest)),
        key=lambda number: min(widest[number].right, cell.right) - max(widest[number].left, cell.left),
    )


def _table_rows(rows: Sequence[_Row], page: PageLayout, compounds: _Compounds) -> Iterator[PageBlock]:
    long = any(
        len(cell.lines) > _MAX_CELL_LINES or sum(len(line.text) for line in cell.lines) > _MAX_CELL_CHARS
        for row in rows
        for cell in row
    )
    rows = [_with_whole_names(rows[0], rows[1:]), *rows[1:]]
    widest = max(rows, key=len)
    texts: list[list[str]] = []
    for row in rows:
        cells = [_text_of(cell, compounds).replace("\n", " ") for cell in row]
        if long:
            for cell, text in zip(row, cells, strict=True):
                yield PageBlock(BlockKind.PARAGRAPH, text, page, cell.box)
            continue
        places = [_column(widest, cell) for cell in row]
        if len(cells) > 1 and places == sorted(places):
            by_place: dict[int, str] = {}
            for column, text in zip(places, cells, strict=True):
                by_place[column] = f"{by_place[column]} {text}" if column in by_place else text
            aligned = len(by_place) == len(cells) or len(widest) - len(by_place) <= _MAX_EMPTY
            cells = (
                [by_place.get(column, "") for column in range(len(widest))]
                if aligned
                else [*by_place.values()]
            )
        texts.append(cells)
    above, names = header_rows(texts[:SAMPLE_ROWS]) if len(widest) > 1 else (0, 0)
    upper = above - (names == 1)
    groups = _find_groups(rows[upper], rows[upper + 1], len(widest)) if names and upper >= 0 else ()
    if groups:
        above, names = upper, 2
        named = {at: cell for columns, cell in zip(groups, rows[above], strict=True) for at in columns}
        cells = [_text_of(named[at], compounds) if at in named else "" for at in range(len(widest))]
        texts[above] = [cell.replace("\n", " ") for cell in cells]
    misfits = _misfits(rows[above + names - 1], rows[above + names :], widest) if names else []
    filled = sum(bool(cell.strip(". ")) for row in texts for cell in row)
    ragged = not names and filled < _LEAST_FILLED * len(rows) * len(widest)
    end = len(rows)
    if not long and (ragged or (misfits and 3 * sum(misfits) >= len(misfits))):
        page.uncertain += 1
        end = 0
    while end and misfits and misfits[end - len(rows) - 1]:
        end -= 1
    boxes = [_join_cells(row).box for row in rows[: end if not long else 0]]
    yield from _write_rows(texts[: len(boxes)], boxes, above, names if boxes else 0, page)
    for row in rows[end:] if not long else ():
        stack = _join_cells([_Stack.of(line) for cell in row for line in cell.lines])
        yield PageBlock(BlockKind.PARAGRAPH, _text_of(stack, compounds), page, stack.box)


def _find_groups(
    groups: Sequence[Line] | _Row, names: Sequence[Line] | _Row, width: int = 0
) -> Sequence[range]:
    """The columns of each name of a group of columns; () if one of them stands neither at the beginning nor above the
    middle of several columns. names: those of all columns, or of all but the first, whose name may stand beside those of the
    groups. width: the number of columns; 0 if it is not known."""
    if not 1 < len(groups) < len(names):
        return ()
    beside = groups[0].right < names[0].left
    shift, groups = max(width - len(names), beside), groups[beside:]
    if len(groups) < 2 or shift > 1 or 0 < width < len(names) + shift:
        return ()
    near = 0.5 * names[0].size
    starts = [
        next((at for at, name in enumerate(names) if abs(name.left - group.left) < near), -1)
        for group in groups
    ]
    places = [*starts, len(names)]
    if -1 in starts:
        inner = [(before.right + after.left) / 2 for before, after in pairwise(groups)]
        first, last = (groups[at].left + groups[at].right for at in (0, -1))
        edges = [first - inner[0], *inner, last - inner[-1]]
        middles = [(name.left + name.right) / 2 for name in names]
        places = [bisect_left(middles, edge) for edge in edges]
    columns = [range(start + shift, end + shift) for start, end in pairwise(places)]
    return () if any(len(some) < 2 for some in columns) else [*[range(1)] * beside, *columns]


def _with_whole_names(names: _Row, rows: Sequence[_Row]) -> _Row:
    """The first row of a table. Two words below the first of which nothing stands are one name."""
    whole = names[:1]
    for name in names[1:]:
        near = name.left - whole[-1].right < 0.6 * name.size
        if near and not any(_overlap(whole[-1], cell) for row in rows for cell in row):
            whole[-1] = _join_cells([whole[-1], name])
        else:
            whole.append(name)
    return whole


def _misfits(names: _Row, rows: Sequence[_Row], widest: _Row) -> list[bool]:
    """Whether cells of each row stand below names of other columns than theirs, so that nobody knows which name is whose."""
    columns = [(name, _column(widest, name)) for name in names]
    return [
        len(row) > 1 < len(names)
        and any(
            _overlap(cell, name) and _column(widest, cell) != column
            for cell in row
            for name, column in columns
        )
        for row in rows
    ]


# -- blocks ------------------------------------------------------------------------------------------------------------


def _part(
    stack: _Stack, page: PageLayout, body: float, compounds: _Compounds, indents: list[float]
) -> PageBlock:
    text = _text_of(stack, compounds)
    size = stack.size
    if (
        size >= _HEADING * body
        and len(text) <= _MAX_HEADING_CHARS
        and len(stack.lines) <= _MAX_HEADING_LINES
        and _FIRST_WORD.search(text)
        and not (text.endswith((".", ",", ";")) and len(text.split()) > _MAX_SENTENCE)
    ):
        indents.clear()
        return PageBlock(BlockKind.HEADING, text.replace("\n", " "), page, stack.box, size=size)
    marker = _marker(text)
    if marker:
        match = _MARK.match(text)
        assert match is not None
        start = _start(stack.lines[0])
        while indents and indents[-1] > start - 0.5 * size:
            indents.pop()
        indents.append(start)
        words = text[match.end() :]
        return PageBlock(
            BlockKind.LIST_ITEM, words, page, stack.box, len(indents), marker, size, _full(stack)
        )
    indents.clear()
    return PageBlock(BlockKind.PARAGRAPH, text, page, stack.box, size=size, broken=_full(stack))


def _full(stack: _Stack) -> bool:
    last = stack.lines[-1]
    if _hangs(last.text):
        return True
    if len(stack.lines) == 1 and len(last.text) < _LONG_LINE:
        return False
    return _end(last) > stack.edge - 6 * last.size and not _ENDED.search(last.text)


def _text_of(stack: _Stack, compounds: _Compounds) -> str:
    text = stack.lines[0].text
    if len(stack.lines) == 1:
        return text.replace(HYPHEN, "-")
    written: list[str] = []
    for line, forced in zip(stack.lines[1:], stack.forced[1:], strict=True):
        separator = "\n" if forced else " "
        if text[-1:] in _JOINING or not text.isascii():
            text = compounds.join(text, line.text, separator)
        else:
            written.append(text)
            written.append(separator)
            text = line.text
    written.append(text.replace(HYPHEN, "-"))
    return "".join(written)


class _Compounds:
    """Joins texts at line ends. The words of the document decide about a hyphen there: a word that the document has
    without the hyphen elsewhere loses it, one that it has with the hyphen keeps it. If it has neither, the hyphen stays
    before a digit or a capital, and before a common word of the language, with a space ("Ein- und Ausbau"), because
    such a word is no syllable.
    """

    def __init__(self, pages: Sequence[PageLayout]) -> None:
        self._pages = pages

    @cached_property
    def _words(self) -> frozenset[str]:
        lines = (line.text.lower() for page in self._pages for line in page.lines)
        # Not the last word of a line that ends with a hyphen.
        return frozenset(word for text in lines for word in _WORDS.findall(text))

    @cached_property
    def _language(self) -> str:
        sample = islice((line.text for page in self._pages for line in page.lines), _SAMPLE_LINES)
        return language_of(" ".join(sample))

    @property
    def _common(self) -> frozenset[str]:
        return STOPWORDS.get(self._language, frozenset())

    def join(self, before: str, after: str, separator: str = " ") -> str:
        mark, first = before[-1:], after[:1]
        if mark not in _JOINING:
            unspaced = _UNSPACED.match(mark) and _UNSPACED.match(first)
            return before + after if unspaced else f"{before}{separator}{after}"
        stem = before[:-1]
        if not (_hangs(before) and first.isalnum()):
            return f"{stem}-{separator}{after}" if mark == HYPHEN else f"{before}{separator}{after}"
        if first.islower() and mark not in ("-", HYPHEN):
            return stem + after
        if first.isdigit() or stem[-1].isdigit():
            return f"{stem}-{after}"
        head = cast("re.Match[str]", _LAST_WORD.search(stem)).group().lower()
        tail = cast("re.Match[str]", _FIRST_WORD.match(after)).group()
        if head.rpartition("-")[2] + tail.lower() in self._words:
            return stem + after
        if f"{head}-{tail}".lower() in self._words or (first.isupper() and not stem.isupper()):
            return f"{stem}-{after}"
        if head in _WHOLE_HEADS and len(tail) > 3 and tail not in _ENDINGS and self._language == "en":
            return f"{stem}-{after}"
        if tail in self._common and after[len(tail) :][:1] in ("", " "):
            return f"{stem}- {after}"
        return stem + after


def _hangs(text: str) -> bool:
    """Whether a text ends within a word, after a hyphen."""
    return text[-1:] in _HYPHENS and text[-2:-1].isalnum()


def _continued(parts: Sequence[PageBlock], part: PageBlock, body: float, compounds: _Compounds) -> bool:
    """Join a part that continues a paragraph from the foot of the column or page before. Notes at the foot come after the paragraph."""
    if not parts or (part.page is parts[-1].page and part.box[1] > parts[-1].box[1]):
        return False
    page = parts[-1].page
    for before in reversed(parts):
        if before.page is not page:
            return False
        if before.kind not in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM) or before.broken:
            break
        if before.size >= _SMALL * body and before.kind is not BlockKind.LIST_ITEM:
            break
    else:
        return False
    if not _goes_on(before, part):
        return False
    before.text = compounds.join(before.text, part.text)
    before.broken = part.broken
    return True


def _goes_on(before: PageBlock, after: PageBlock) -> bool:
    return (
        before.broken
        and len(before.text) < _MAX_JOINED_CHARS
        and before.kind in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM)
        and after.kind is BlockKind.PARAGRAPH
        and max(before.size, after.size) < _SAME_SIZE * min(before.size, after.size)
        and (
            (not after.text[:1].isupper() and (after.text[:1].isalpha() or after.text[:1] in "(\"'“‘«"))
            or (_hangs(before.text) and after.text[:1].isalnum())
        )
    )


def _set_levels(parts: Iterable[PageBlock]) -> None:
    headings = [part for part in parts if part.kind is BlockKind.HEADING]
    sizes: list[float] = []
    for size in sorted({part.size for part in headings}, reverse=True):
        if not sizes or size < sizes[-1] * 0.96:
            sizes.append(size)
    for part in headings:
        part.level = min(sum(size > part.size * 1.02 for size in sizes) + 1, _LEVELS)
