"""Puts the letters of printed right-to-left lines into logical order. Pure.

A PDF file may draw its letters from the left, from the right, or mixed. Only the places of the letters are certain.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice, pairwise
from operator import itemgetter
from typing import Final

from responsa_formats.parsers.page_layout import Line

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
_BRACKET: Final = re.compile(r"[()\[\]{}]")
_LIGATURES: Final = frozenset(
    text
    for form in (*range(0xFB1D, 0xFE00), *range(0xFE70, 0xFEFD))
    if len(text := unicodedata.normalize("NFKC", chr(form))) > 1
)
"""The letters of presentation forms, in logical order."""
_IN_NUMBER: Final = frozenset(".,:/%+-")
_KNOWN: Final = 1024
"""The number of pieces of text whose direction is remembered. Nearly all pieces are single letters."""

Glyph = tuple[float, float, float, str]
"""A drawn shape: its left, right and lower edge, with the space that belongs to it, and the letters that it stands for."""
_bottom = itemgetter(2)
_text = itemgetter(3)


def is_mostly_rtl(text: str) -> bool:
    """Whether the lines of a text are read from the right."""
    counts = Counter(text).items()
    return sum(count for letter, count in counts if RIGHT_TO_LEFT.match(letter)) > _MOSTLY * sum(
        count for letter, count in counts if letter.isalpha()
    )


def logical_lines(characters: Sequence[Glyph], size: float, *, mostly: bool) -> Iterator[Line]:
    """The lines of visible characters that stand side by side, several if wide spaces separate them.

    size: of the text, in points. mostly: whether most of the page is read from the right.
    """
    glyphs = sorted(_glyphs(characters, size), key=_bottom)
    far = _LINE_GAP * size
    start = 0
    if glyphs and glyphs[-1][2] - glyphs[0][2] > far:
        for index, (glyph, other) in enumerate(pairwise(glyphs), 1):
            if other[2] - glyph[2] > far:
                yield from _cells(glyphs[start:index], size, mostly=mostly)
                start = index
    if glyphs:
        yield from _cells(glyphs[start:], size, mostly=mostly)


def _glyphs(characters: Sequence[Glyph], size: float) -> Sequence[Glyph]:
    """The glyphs of characters. Characters with one box are the letters of one glyph. The library gives them from the
    last to the first if the file maps the glyph to letters, and from the first to the last if the file maps it to a
    presentation form such as U+FEFB.

    A text that the file gives instead of several glyphs has the box of the first of them; it comes after all others.
    """
    # Most lines have one box for each character, and no marks.
    if _distinct(characters) and not any(map(unicodedata.combining, map(_text, characters))):
        return characters
    merged: list[Glyph] = []
    last_left = last_right = math.nan
    for glyph in characters:
        left, right, _, character = glyph
        if left == last_left and right == last_right and right > left:
            bottom, text = merged[-1][2:]
            if RIGHT_TO_LEFT.match(character):
                text = character + text
            elif not text.endswith(character):
                text += character
            merged[-1] = (left, right, bottom, text)
        elif merged and unicodedata.combining(character):
            left, right, bottom, text = merged[-1]
            merged[-1] = (left, right, bottom, text + character)
        else:
            last_left, last_right = left, right
            merged.append(glyph)
    merged = [(*glyph[:3], _in_order(glyph[3])) if len(glyph[3]) > 1 else glyph for glyph in merged]
    if _distinct(merged):
        return merged
    plain: list[Glyph] = []
    boxes: set[tuple[float, float]] = set()
    instead: list[Glyph] = []
    for glyph in merged:
        (instead if glyph[:2] in boxes else plain).append(glyph)
        boxes.add(glyph[:2])
    edge = max(right for _, right, _, _ in plain)
    for number, (_, _, bottom, text) in enumerate(instead):
        left = edge + (number + 0.5) * _CELL_GAP * size
        plain.append((left, left + 0.25 * size, bottom, text))
    return plain


def _in_order(letters: str) -> str:
    """The letters of a glyph in logical order, unless another order is as likely."""
    backwards = letters[::-1]
    return backwards if backwards in _LIGATURES and letters not in _LIGATURES else letters


def _distinct(glyphs: Sequence[Glyph]) -> bool:
    return len({glyph[0] for glyph in glyphs}) == len(glyphs)


_Cell = tuple[float, float, list[str]]
"""Its left and right edge, and its pieces of text from left to right, with spaces."""


def _cells(glyphs: Sequence[Glyph], size: float, *, mostly: bool) -> Iterator[Line]:
    """The lines of glyphs on one baseline. glyphs: in the order of their lower edges."""
    half = len(glyphs) // 2
    middle = glyphs[half][2] if len(glyphs) % 2 else (glyphs[half - 1][2] + glyphs[half][2]) / 2
    base = middle - 0.25 * size
    cells: list[_Cell] = []
    wide, narrow = _CELL_GAP * size, _WORD_GAP * size
    ordered = sorted(glyphs, key=lambda glyph: glyph[0] + glyph[1])
    start, edge, _, text = ordered[0]
    end, pieces = edge, [text]
    for left, right, _, text in islice(ordered, 1, None):
        gap = left - edge
        if gap > narrow:
            if gap >= wide:
                cells.append((start, end, pieces))
                start, end, pieces = left, right, []
            else:
                pieces.append(" ")
        pieces.append(text)
        if left < start:
            start = left
        if right > edge:
            end = edge = right
    cells.append((start, end, pieces))
    rtl = mostly or is_mostly_rtl("".join([text for _, _, pieces in cells for text in pieces]))
    for left, right, pieces in reversed(cells) if rtl else cells:
        text = _in_logical_order(pieces, rtl=rtl)
        yield Line(text, left, base - 0.8 * size, right, base + 0.25 * size, base, size, rtl)


def _in_logical_order(pieces: Sequence[str], *, rtl: bool) -> str:
    """The text of pieces that stand from left to right: the reverse of the Unicode bidirectional algorithm for one line
    of one direction."""
    if not rtl:
        return "".join(_turn_runs(pieces, _is_rtl))
    if _LEFT_TO_RIGHT.search("".join(pieces)):
        pieces = _turn_runs(pieces, _is_ltr)
    text = "".join(reversed(pieces))
    return text.translate(_MIRRORED) if _is_mirrored(text) else text


def _is_mirrored(text: str) -> bool:
    """Whether the brackets of a text in logical order are those that were drawn: the first one closes, or stands where
    another one belongs."""
    match = _BRACKET.search(text)
    if match is None:
        return False
    closes = match.group() in ")]}"
    if any((bracket in ")]}") != closes for bracket in _BRACKET.findall(text)):
        return closes
    start, end = match.span()
    at_end = start > 0 and not text[start - 1].isspace() and (end == len(text) or text[end].isspace())
    return closes != at_end


@lru_cache(_KNOWN)
def _is_rtl(text: str) -> bool:
    return RIGHT_TO_LEFT.search(text) is not None and not text.isdecimal()


@lru_cache(_KNOWN)
def _is_ltr(text: str) -> bool:
    return any(map(str.isalnum, text)) and not _is_rtl(text)


def _turn_runs(pieces: Sequence[str], is_turned: Callable[[str], bool]) -> list[str]:
    """The pieces, with each run of pieces of the other direction in reverse. What stands between two of them belongs to the run."""
    distinct = set(pieces)
    turned = set(filter(is_turned, distinct))
    neutral = {piece for piece in distinct if not _is_rtl(piece) and not _is_ltr(piece)}
    marks = list(map(turned.__contains__, pieces))
    if True not in marks:
        return list(pieces)
    # Only the pieces from the first to the last turned one can move.
    first, end = marks.index(True), len(marks) - marks[::-1].index(True)
    result = list(pieces[:first])
    run: list[str] = []
    between: list[str] = []
    strong = False
    for piece in pieces[first:end]:
        if piece in turned:
            if run and not strong and any(mark not in _IN_NUMBER for mark in between):
                result += (*reversed(run), *between)
                run, between = [], []
            run += (*between, piece)
            between = []
            strong = strong or not piece.isdecimal()
        elif run and piece in neutral:
            between.append(piece)
        else:
            if run:
                result += (*reversed(run), *between)
                run, between, strong = [], [], False
            result.append(piece)
    return [*result, *reversed(run), *pieces[end:]]
