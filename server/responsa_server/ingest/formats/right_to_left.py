"""Puts the letters of printed right-to-left lines into logical order. Pure.

A PDF file may draw its letters from the left, from the right, or mixed. Only the places of the letters are certain.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from statistics import median
from typing import Final

from responsa_server.ingest.formats.page_layout import Line

RIGHT_TO_LEFT: Final = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
"""A right-to-left letter."""
_LEFT_TO_RIGHT: Final = re.compile(r"[^\W\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]|\d")
"""A letter or digit that is read from the left in a line that is read from the right."""

_MOSTLY: Final = 0.4
"""The share of right-to-left letters on a page from which on its mixed lines are read from the right."""
_CELL_GAP: Final = 1.0
"""The least space between two cells, in sizes of the text."""
_WORD_GAP: Final = 0.2
"""The least space between two words, in sizes of the text."""
_LINE_GAP: Final = 0.5
"""The least distance of two lines, in sizes of the text."""
_MIRRORED: Final = str.maketrans("()[]{}", ")(][}{")
_IN_NUMBER: Final = frozenset(".,:/%+-")

Glyph = tuple[float, float, float, str]
"""A drawn shape: its left, right and lower edge, with the space that belongs to it, and the letters that it stands for."""
_bottom = itemgetter(2)


def is_mostly_rtl(text: str) -> bool:
    """Whether the lines of a text are read from the right."""
    return len(RIGHT_TO_LEFT.findall(text)) > _MOSTLY * sum(map(str.isalpha, text))


def logical_lines(characters: Sequence[Glyph], size: float, *, mostly: bool) -> Iterator[Line]:
    """The lines of visible characters that stand side by side, several if wide spaces separate them.

    size: of the text, in points. mostly: whether most of the page is read from the right.
    """
    glyphs = sorted(_glyphs(characters, size), key=_bottom)
    start = 0
    for place in range(1, len(glyphs) + 1):
        if place == len(glyphs) or glyphs[place][2] - glyphs[place - 1][2] > _LINE_GAP * size:
            yield from _cells(glyphs[start:place], size, mostly)
            start = place


def _glyphs(characters: Sequence[Glyph], size: float) -> Sequence[Glyph]:
    """The glyphs of characters. Characters with one box are the letters of one glyph, which the library gives from the last to the first.

    A text that the file gives instead of several glyphs has the box of the first of them; it comes after all others.
    """
    merged: list[Glyph] = []
    before: Glyph | None = None
    for one in characters:
        left, right, bottom, character = one
        if before is not None:
            if before[0] == left and before[1] == right and right > left:
                text = before[3]
                if RIGHT_TO_LEFT.match(character):
                    text = character + text
                elif not text.endswith(character):
                    text += character
                before = merged[-1] = (left, right, before[2], text)
                continue
            if unicodedata.combining(character):
                before = merged[-1] = (*before[:3], before[3] + character)
                continue
        before = one
        merged.append(one)
    if len({one[:2] for one in merged}) == len(merged):
        return merged
    made: list[Glyph] = []
    boxes: set[tuple[float, float]] = set()
    instead: list[Glyph] = []
    for one in merged:
        (instead if one[:2] in boxes else made).append(one)
        boxes.add(one[:2])
    edge = max(one[1] for one in made)
    for number, (_, _, bottom, text) in enumerate(instead):
        left = edge + (number + 0.5) * _CELL_GAP * size
        made.append((left, left + 0.25 * size, bottom, text))
    return made


def _cells(glyphs: list[Glyph], size: float, mostly: bool) -> Iterator[Line]:
    """The lines of glyphs on one baseline."""
    base = median(map(_bottom, glyphs)) - 0.25 * size
    cells: list[list[Glyph]] = []
    edge = -math.inf
    for glyph in sorted(glyphs, key=_middle):
        if glyph[0] - edge < _CELL_GAP * size:
            cells[-1].append(glyph)
        else:
            cells.append([glyph])
        edge = max(edge, glyph[1])
    rtl = mostly or is_mostly_rtl("".join(text for cell in cells for _, _, _, text in cell))
    for cell in reversed(cells) if rtl else cells:
        text = _in_logical_order(cell, rtl=rtl, size=size)
        left, right = min(one[0] for one in cell), max(one[1] for one in cell)
        yield Line(text, left, base - 0.8 * size, right, base + 0.25 * size, base, size, rtl)


def _middle(glyph: Glyph) -> float:
    return glyph[0] + glyph[1]


def _in_logical_order(glyphs: Sequence[Glyph], *, rtl: bool, size: float) -> str:
    """The text of glyphs that stand from left to right: the reverse of the Unicode bidirectional algorithm for one line of one direction."""
    words: list[str] = []
    end = glyphs[0][1]
    for left, right, _, text in glyphs:
        if left - end > _WORD_GAP * size:
            words.append(" ")
        words.append(text)
        end = max(end, right)
    if not rtl:
        return "".join(_turned_runs(words, _is_rtl))
    if _LEFT_TO_RIGHT.search("".join(words)):
        words = list(_turned_runs(words, _is_ltr))
    text = "".join(reversed(words))
    opening, closing = text.find("("), text.find(")")
    if closing >= 0 and (opening < 0 or closing < opening):
        text = text.translate(_MIRRORED)
    return text


def _is_rtl(text: str) -> bool:
    return RIGHT_TO_LEFT.search(text) is not None and not text.isdecimal()


def _is_ltr(text: str) -> bool:
    return any(map(str.isalnum, text)) and not _is_rtl(text)


def _turned_runs(words: Sequence[str], turned: Callable[[str], bool]) -> Iterator[str]:
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
