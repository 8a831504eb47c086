"""Finds the words that a model copied from a passage. Pure functions.

Compared are the words after folding: white space, quotation marks, dashes, soft hyphens and the signs of Markdown do
not count. What is found is the exact text of the passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

_SKIPPED: Final = re.compile(r"\]\([^()\s]{0,1000}\)|</?[A-Za-z][^<>]{0,300}>|[*_`#>~\[\]\\|\u00ad]")
_SPACE: Final = re.compile(r"\s+")
_FOLDED: Final = str.maketrans(
    {**dict.fromkeys("“”„«»‟″‘’‚‛′´`", '"'), "'": '"', **dict.fromkeys("‐‑‒–—―−", "-")}
)
_ELLIPSIS: Final = re.compile(r"\[?(?:…|\.\.\.)\]?")
_BOX: Final = re.compile(r"(?:[☐☑☒]|\[[ xX]\])[\s*_`]{0,8}\Z")
_BOX_CHARS: Final = 12


def folded(text: str) -> tuple[str, list[int]]:
    """The text as it is compared, and for each of its characters the place in `text`."""
    out: list[str] = []
    places: list[int] = []
    for start, part in _kept(text):
        for at, character in enumerate(part, start):
            if character.isspace():
                if out and out[-1] != " ":
                    out.append(" ")
                    places.append(at)
                continue
            for lowered in character.translate(_FOLDED).lower():
                out.append(lowered)
                places.append(at)
        if start + len(part) < len(text) and text[start + len(part)] == "|" and out and out[-1] != " ":
            out.append(" ")  # the border of a cell
            places.append(start + len(part))
    while out and out[-1] == " ":
        out.pop()
        places.pop()
    return "".join(out), places


def _kept(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for match in _SKIPPED.finditer(text):
        yield start, text[start : match.start()]
        start = match.end()
    yield start, text[start:]


class Quotable:
    """A text from which words may be quoted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._folded, self._places = folded(text)

    def find(self, quote: str) -> tuple[int, int] | None:
        """The place of the quote in the text, as a range of characters; None if it is not there. An ellipsis stands for
        words that are left out: the range goes from the first part to the last one. A box to tick before the words
        belongs to them, because it says whether they hold.
        """
        parts = [folded(part)[0] for part in _ELLIPSIS.split(quote)]
        parts = [part.strip('" ') for part in parts if part.strip('" .,;:')]
        if not parts:
            return None
        place, ranges = 0, list[tuple[int, int]]()
        for part in parts:
            at = self._at(part, place)
            if at is None:
                return None
            ranges.append((at, at + len(part)))
            place = at + len(part)
        start, end = self._places[ranges[0][0]], self._places[ranges[-1][1] - 1] + 1
        if (box := _BOX.search(self._text, max(start - _BOX_CHARS, 0), start)) is not None:
            start = box.start()
        return start, end

    def _at(self, part: str, place: int) -> int | None:
        """Where the words stand, not within longer words."""
        while (at := self._folded.find(part, place)) >= 0:
            end = at + len(part)
            cut = [self._folded[edge - 1 : edge + 1] for edge in (at, end) if 0 < edge < len(self._folded)]
            if not any(
                one.isalnum() and other.isalnum() and one.isascii() and other.isascii()
                for pair in cut
                for one, other in pairwise(pair)
            ):
                return at
            place = at + 1
        return None
