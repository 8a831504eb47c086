"""Finds the words that a model copied from a passage. Pure functions.

Compared are the words after folding: white space, quotation marks, dashes, soft hyphens and the signs of Markdown do
not count. What is found is the exact text of the passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

_SKIPPED: Final = re.compile(r"\]\([^()\s]{0,1000}\)|</?[A-Za-z][^<>]{0,300}>|[*_`#>~\[\]\\|\u00ad]")
_TAGS: Final = re.compile(r"\{#[\w.:-]{1,100}\}|\{%[^{}\n]{0,200}%\}")
"""What prompts leave out, unless it is code."""
_ADDRESS: Final = re.compile(r"\]\([^()\s]{0,1000}\)")
_FOLDED: Final = str.maketrans(
    {**dict.fromkeys("“”„«»‟″‘’‚‛′´`", '"'), "'": '"', **dict.fromkeys("‐‑‒–—―−", "-")}
)
_ELLIPSIS: Final = re.compile(r"\[?(?:…|\.\.\.)\]?")
_BOX: Final = re.compile(r"(?:[☐☑☒]|\[[ xX]\])[\s*_`]{0,8}\Z")
_BOX_CHARS: Final = 12


def fold_text(text: str) -> tuple[str, list[int]]:
    """The text as it is compared, and for each of its characters the place in `text`."""
    out: list[str] = []
    places: list[int] = []
    for start, part in _split_at_skipped(text):
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


def _split_at_skipped(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for match in _SKIPPED.finditer(text):
        yield start, text[start : match.start()]
        start = match.end()
    yield start, text[start:]


class Quotable:
    """A text from which words may be quoted."""

    def __init__(self, text: str) -> None:
        self._text = text
        bare = _TAGS.sub(lambda match: " " * len(match.group()), text)
        self._folds = [fold_text(source) for source in dict.fromkeys((text, bare))]

    def find(self, quote: str) -> tuple[int, int] | None:
        """The place of the quote in the text, as a range of characters; None if it is not there. An ellipsis stands for
        words that are left out: the range goes from the first part to the last one. A box to tick before the words
        belongs to them, because it says whether they hold.
        """
        parts = [fold_text(part)[0] for part in _ELLIPSIS.split(_ADDRESS.sub("]", quote))]
        parts = [part.strip('" ') for part in parts if part.strip('" .,;:')]
        if not parts:
            return None
        spans = (_find(parts, *fold) for fold in self._folds)
        if (span := next(filter(None, spans), None)) is None:
            return None
        start, end = span
        if (box := _BOX.search(self._text, max(start - _BOX_CHARS, 0), start)) is not None:
            start = box.start()
        return start, end


def _find(parts: Sequence[str], text: str, places: Sequence[int]) -> tuple[int, int] | None:
    """Where the parts stand in a folded text, one after the other, as characters of the original."""
    end, first = 0, None
    for part in parts:
        if (at := _find_words(part, text, end)) is None:
            return None
        first, end = at if first is None else first, at + len(part)
    return (places[first], places[end - 1] + 1) if first is not None else None


def _find_words(part: str, text: str, start: int) -> int | None:
    """Where the words stand, not within longer words."""
    while (at := text.find(part, start)) >= 0:
        end = at + len(part)
        cut = [text[edge - 1 : edge + 1] for edge in (at, end) if 0 < edge < len(text)]
        if not any(
            index.isalnum() and other.isalnum() and index.isascii() and other.isascii()
            for pair in cut
            for index, other in pairwise(pair)
        ):
            return at
        start = at + 1
    return None
