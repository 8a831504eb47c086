"""Pages of columns, and tables without rules over two pages, made at random from a seed, with the order of their words.

`python -m tests.formats.page_layouts` prints how many of them are read right.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from responsa_formats.parsers import pdf as parser
from responsa_formats.parsers.sniff import sniff
from tests.formats.printed_pages import Text, pdf, width

_LEFT: Final = 50.0
_WIDE: Final = 500.0
_TOP: Final = 740.0
_TOKEN: Final = re.compile(r"\w+")
_SYLLABLES: Final = (
    "ba",
    "de",
    "fi",
    "go",
    "lu",
    "ma",
    "ne",
    "pi",
    "ro",
    "su",
    "ta",
    "ve",
    "wi",
    "zo",
    "kar",
    "len",
    "mis",
    "tor",
)


@dataclass(slots=True)
class Layout:
    """A page. flow: its words in reading order, without numbers. notes: the words of each note, which may stand before
    or after the text beside it."""

    name: str
    texts: list[Text] = field(default_factory=list[Text])
    flow: list[str] = field(default_factory=list[str])
    notes: list[list[str]] = field(default_factory=list[list[str]])

    def is_read(self) -> bool:
        """Whether the parser reads the words in order, and the columns not as cells."""
        text = _read([self.texts])
        words = [word for word in _TOKEN.findall(text) if word.isalpha()]
        for note in self.notes:
            start = words.index(note[0]) if note[0] in words else 0
            if words[start : start + len(note)] != note:
                return False
            del words[start : start + len(note)]
        cells = {word for line in text.split("\n") if "|" in line for word in _TOKEN.findall(line)}
        prose = {text.text for text in self.texts if len(text.text) > 24}
        return words == self.flow and not any(cells & set(_TOKEN.findall(line)) for line in prose)


@dataclass(slots=True)
class Table:
    """A table over several pages. rows: the cells of each row, also of the header."""

    name: str
    pages: list[list[Text]] = field(default_factory=list[list[Text]])
    rows: list[list[str]] = field(default_factory=list[list[str]])

    def rows_read(self) -> int:
        """How many rows the parser reads with each value in its column."""
        read = Counter(
            tuple(cell.strip() for cell in line.removeprefix("|").split("|"))
            for line in _read(self.pages).split("\n")
        )
        wanted = Counter(map(tuple, self.rows))
        return sum(min(read[row], count) for row, count in wanted.items())


def _read(pages: Sequence[Sequence[Text]]) -> str:
    return parser.parse(sniff(pdf(*pages), "a.pdf")).canonical_text


class _Sheet:
    """Writes a page. Its words differ from each other."""

    def __init__(self, name: str, seed: int, *, by_line: bool) -> None:
        self.rng = random.Random(f"{name} {seed}")
        self.layout = Layout(name)
        self.size = self.rng.choice([8.5, 9.0, 10.0])
        self.leading = self.size * self.rng.choice([1.15, 1.2, 1.3])
        self.justified = self.rng.random() < 0.5
        self.indented = self.rng.random() < 0.5
        self._by_line = by_line
        self._seen: set[str] = set()

    def word(self) -> str:
        while True:
            made = "".join(self.rng.choices(_SYLLABLES, k=self.rng.choice([1, 1, 2, 2, 2, 3, 4])))
            made += self.rng.choice(_SYLLABLES) if made in self._seen else ""
            if made not in self._seen:
                self._seen.add(made)
                return made

    def wrapped(self, wide: float, count: int, size: float = 0, indent: float = 0) -> list[str]:
        """A paragraph of so many lines, whose last one is not full."""
        size = size or self.size
        made: list[str] = []
        line, begun = "", True
        while True:
            word = self.word()
            word = word.capitalize() if begun else word
            begun = self.rng.random() < 0.1
            word += "." if begun else "," if self.rng.random() < 0.06 else ""
            if line and width(f"{line} {word}", size) > wide - (0 if made else indent):
                made.append(line)
                if len(made) == count:
                    made[-1] = made[-1][: max(12, int(len(line) * self.rng.uniform(0.3, 0.95)))]
                    made[-1] = made[-1].rpartition(" ")[0].rstrip(".,") + "."
                    return made
                line = word
            else:
                line = f"{line} {word}" if line else word

    def write(self, x: float, y: float, text: str, size: float = 0, wide: float = 0) -> None:
        """Write a line. wide: to what width it is justified."""
        size = size or self.size
        spaces = text.count(" ")
        spacing = (wide - width(text, size)) / spaces if wide and spaces else 0.0
        self.layout.texts.append(Text(x, round(y, 2), text, size, spacing=round(spacing, 3)))
        self.layout.flow += [word for word in _TOKEN.findall(text) if word.isalpha()]

    def column(self, x: float, y: float, wide: float, count: int, *, heading: bool = False) -> float:
        """Write so many lines in paragraphs. Returns the height below them."""
        if heading:
            self.write(x, y, self.wrapped(wide, 1)[0].rstrip("."), self.size * 1.3)
            y -= 2 * self.leading
        while count > 0:
            part = count if count < 5 else self.rng.randint(2, min(count, 12))
            count -= part
            first = self.size if self.indented else 0.0
            for number, line in enumerate(made := self.wrapped(wide, part, indent=first)):
                indent = 0.0 if number else first
                full = self.justified and number < len(made) - 1
                self.write(x + indent, y, line, wide=wide - indent if full else 0)
                y -= self.leading
            if not self.indented:
                y -= self.leading
        return y

    def note(self, x: float, y: float, wide: float, count: int) -> None:
        begun = len(self.layout.flow)
        for line in self.wrapped(wide, count, self.size * 0.8):
            self.write(x, y, line, self.size * 0.8)
            y -= self.leading * 0.8
        self.layout.notes.append(self.layout.flow[begun:])
        del self.layout.flow[begun:]

    def table(self, y: float, columns: int, rows: int) -> float:
        for _ in range(rows):
            for column in range(columns):
                self.write(_LEFT + column * _WIDE / columns, y, self.word())
            y -= self.leading * 1.2
        return y - self.leading

    def done(self) -> Layout:
        if self._by_line:
            self.layout.texts.sort(key=lambda text: (-text.y, text.x))
        return self.layout


def _edges(sheet: _Sheet, count: int) -> list[tuple[float, float]]:
    """The left edges and the widths of columns of the same width."""
    gap = sheet.rng.uniform(14, 26)
    wide = (_WIDE - gap * (count - 1)) / count
    return [(_LEFT + number * (wide + gap), wide) for number in range(count)]


def _two(sheet: _Sheet) -> None:
    count = sheet.rng.randint(4, 40)
    for x, wide in _edges(sheet, 2):
        sheet.column(x, _TOP, wide, count)


def _three(sheet: _Sheet) -> None:
    count = sheet.rng.randint(4, 40)
    for x, wide in _edges(sheet, 3):
        sheet.column(x, _TOP, wide, count - sheet.rng.randint(0, 1))


def _titled(sheet: _Sheet) -> None:
    sheet.write(_LEFT, _TOP, sheet.wrapped(300, 1, 18)[0].rstrip("."), 18)
    first = sheet.rng.randint(6, 40)
    for (x, wide), count in zip(_edges(sheet, 2), (first, sheet.rng.randint(4, first)), strict=True):
        sheet.column(x, _TOP - 30, wide, count, heading=True)


def _notes_across(sheet: _Sheet) -> None:
    count = sheet.rng.randint(4, 36)
    low = min([sheet.column(x, _TOP, wide, count) for x, wide in _edges(sheet, 2)])
    sheet.note(_LEFT, max(low - 20, 30), _WIDE, sheet.rng.randint(1, 3))


def _table_across(sheet: _Sheet) -> None:
    columns = sheet.rng.choice([2, 3])
    count = sheet.rng.randint(4, 14)
    edges = _edges(sheet, columns)
    low = min([sheet.column(x, _TOP, wide, count) for x, wide in edges])
    low = sheet.table(low - 10, sheet.rng.choice([3, 4, 5]), sheet.rng.randint(3, 8))
    for x, wide in edges:
        sheet.column(x, low, wide, count)


def _figure(sheet: _Sheet) -> None:
    """A figure with its caption within each column."""
    for x, wide in _edges(sheet, sheet.rng.choice([2, 3])):
        y = sheet.column(x, _TOP, wide, sheet.rng.randint(3, 14)) - sheet.rng.uniform(60, 150)
        for line in sheet.wrapped(wide, sheet.rng.randint(1, 2), sheet.size * 0.9):
            sheet.write(x, y, line, sheet.size * 0.9)
            y -= sheet.leading
        sheet.column(x, y - sheet.leading, wide, sheet.rng.randint(4, 14))


def _figure_across(sheet: _Sheet) -> None:
    edges = _edges(sheet, 2)
    count = sheet.rng.randint(4, 14)
    low = min([sheet.column(x, _TOP, wide, count) for x, wide in edges]) - 120
    caption = sheet.wrapped(440, 1, sheet.size * 0.9)[0]
    sheet.write(_LEFT + (_WIDE - width(caption, sheet.size * 0.9)) / 2, low, caption, sheet.size * 0.9)
    for x, wide in edges:
        sheet.column(x, low - 30, wide, sheet.rng.randint(4, 14))


def _staggered(sheet: _Sheet) -> None:
    """The lines of one column do not stand on the baselines of the other."""
    for number, (x, wide) in enumerate(_edges(sheet, 2)):
        sheet.column(x, _TOP - number * sheet.rng.uniform(2, 6), wide, sheet.rng.randint(5, 36))


def _notes_below(sheet: _Sheet) -> None:
    """Each column has a note at its foot."""
    for x, wide in _edges(sheet, 2):
        y = sheet.column(x, _TOP, wide, sheet.rng.randint(8, 34))
        sheet.note(x, min(y - 14, 120), wide, sheet.rng.randint(1, 3))


def _unequal(sheet: _Sheet) -> None:
    wide = sheet.rng.uniform(150, 200)
    for x, part in ((_LEFT, wide), (_LEFT + wide + 20, _WIDE - wide - 20)):
        sheet.column(x, _TOP, part, sheet.rng.randint(4, 36), heading=sheet.rng.random() < 0.5)


def _listed(sheet: _Sheet) -> None:
    """Lists within the columns."""
    for x, wide in _edges(sheet, 2):
        y = sheet.column(x, _TOP, wide, sheet.rng.randint(4, 10))
        for number in range(1, sheet.rng.randint(3, 7)):
            for place, line in enumerate(sheet.wrapped(wide - 14, sheet.rng.randint(1, 4))):
                if place == 0:
                    sheet.write(x, y, f"{number}.")
                sheet.write(x + 14, y, line)
                y -= sheet.leading
        sheet.column(x, y - sheet.leading, wide, sheet.rng.randint(4, 10))


def _abstract(sheet: _Sheet) -> None:
    """A paragraph across above three columns, and a table across below them."""
    y = _TOP
    for line in sheet.wrapped(_WIDE, sheet.rng.randint(2, 5)):
        sheet.write(_LEFT, y, line)
        y -= sheet.leading
    low = min([sheet.column(x, y - 14, wide, sheet.rng.randint(6, 30)) for x, wide in _edges(sheet, 3)])
    sheet.table(low - 10, sheet.rng.choice([4, 5]), sheet.rng.randint(3, 6))


def _words(sheet: _Sheet) -> None:
    """Each word is drawn for itself."""
    sheet.justified = True
    _two(sheet)
    drawn = sheet.layout.texts
    sheet.layout.texts = []
    for text in drawn:
        x = text.x
        for word in text.text.split():
            sheet.layout.texts.append(Text(round(x, 2), text.y, word, text.size))
            x += width(f"{word} ", text.size) + text.spacing


LAYOUTS: Final[Sequence[Callable[[_Sheet], None]]] = (
    *(_two, _three, _titled, _notes_across, _table_across),
    *(_figure, _figure_across, _staggered, _notes_below, _unequal, _listed, _abstract, _words),
)


def layouts(seeds: int) -> Iterator[Layout]:
    """Pages of each kind, drawn line by line and column by column."""
    for write in LAYOUTS:
        for by_line in (True, False):
            for seed in range(seeds):
                name = f"{write.__name__.strip('_')} by {'line' if by_line else 'column'}"
                sheet = _Sheet(name, seed, by_line=by_line)
                write(sheet)
                yield sheet.done()


# -- tables ------------------------------------------------------------------------------------------------------------


def _table(
    name: str,
    seed: int,
    *,
    lefts: Sequence[float],
    right: bool = False,
    blank: float = 0.0,
    again: bool = False,
    words: bool = False,
) -> Table:
    """lefts: the edges of the columns. right: whether the cells of the columns after the first end at the edges. blank:
    the share of empty cells. again: whether the header stands on the second page too. words: whether the cells are
    words.
    """
    rng = random.Random(f"{name} {seed}")
    names = ["Name", "Extension", "Room", "Floor", "Share"][: len(lefts)]
    made = Table(name)
    first, second = rng.randint(12, 30), rng.randint(3, 20)
    rows = [names]
    for number in range(first + second):
        row = [
            "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3))).capitalize(),
            str(4000 + 7 * number),
            f"R{rng.randint(100, 900)}",
            str(rng.randint(0, 9)),
            f"{rng.randint(1, 99_999):,}.{rng.randint(0, 99):02}",
        ][: len(lefts)]
        if words:
            row = ["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4))).capitalize() for _ in lefts]
        rows.append([cell if place == 0 or rng.random() >= blank else "" for place, cell in enumerate(row)])
    for page in (rows[: first + 1], [*([names] if again else []), *rows[first + 1 :]]):
        texts: list[Text] = []
        for number, row in enumerate(page):
            for place, (edge, cell) in enumerate(zip(lefts, row, strict=True)):
                x = edge - width(cell) if right and place else edge
                if cell:
                    texts.append(Text(round(x, 2), 700 - 14 * number, cell))
        made.pages.append(texts)
        made.rows += page
    return made


def tables(seeds: int) -> Iterator[Table]:
    for seed in range(seeds):
        yield _table("wide", seed, lefts=(60, 180, 300, 380))
        yield _table("narrow", seed, lefts=(60, 110, 160, 195))
        yield _table("right", seed, lefts=(60, 180, 230, 260, 330), right=True)
        yield _table("blank", seed, lefts=(60, 180, 300, 380, 440), blank=0.15)
        yield _table("again", seed, lefts=(60, 130, 190, 250), again=True)
        yield _table("words", seed, lefts=(60, 150, 240, 330), words=True)
        yield _table("words with blanks", seed, lefts=(60, 130, 200, 270), words=True, blank=0.1)
        yield _table("narrow right", seed, lefts=(60, 150, 190, 215, 280), right=True, blank=0.1)
        yield _table("two", seed, lefts=(60, 200))
        yield _table("two words", seed, lefts=(60, 180), words=True)


def main() -> None:
    """Print how many of the pages and rows are read right."""
    good: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for layout in layouts(8):
        for key in (layout.name, "pages"):
            good[key] += layout.is_read()
            count[key] += 1
    for table in tables(4):
        for key in (f"{table.name} table", "rows"):
            good[key] += table.rows_read()
            count[key] += len(table.rows)
    for key, number in count.items():
        print(f"{key}: {good[key]} of {number} ({good[key] / number:.3f})")


if __name__ == "__main__":
    main()
