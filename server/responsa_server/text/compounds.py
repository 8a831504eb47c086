"""Finds the parts of German compounds, so that "Frist" finds "Kündigungsfrist". Pure functions.

A part is a noun that is not a compound itself. `german_nouns.bin` has the stems of 60,000, as sorted checksums of 32
bits, little-endian; `tools/german_nouns.py` writes it from a public dictionary. The stemmer removes the letters that
link two parts as it removes endings, so that "Kündigungs" has the stem of "Kündigung".
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final
from zlib import crc32

_LEAST: Final = 4
"""The fewest letters of a part."""
_MOST: Final = 40
"""The most letters of a word that is split."""
_MOST_PARTS: Final = 4


def split(word: str, is_noun: Callable[[str], bool], limit: int = _MOST_PARTS) -> Sequence[str]:
    """The parts of a word in small letters: the fewest, and of several such ways that with the longest last part; () if
    it is no compound of 2 to `limit` nouns."""
    best: Sequence[str] = ()
    if limit < 2 or not 2 * _LEAST <= len(word) <= _MOST:
        return best
    for end in range(_LEAST, len(word) - _LEAST + 1):
        if best and len(best) == 2:
            break
        head = word[:end]
        if not is_noun(word[end:]):
            continue
        before = (head,) if is_noun(head) else split(head, is_noun, limit - 1)
        if before and (not best or len(before) + 1 < len(best)):
            best = (*before, word[end:])
    return best


def german_parts(word: str, stem: Callable[[str], str]) -> Sequence[str]:
    """The same of a German noun, which has a capital letter. stem: the German stemmer."""
    if len(word) < 2 * _LEAST or not word[0].isupper() or not word.isalpha():
        return ()
    nouns = _nouns()

    def is_noun(part: str) -> bool:
        code = crc32(stem(part).encode())
        index = bisect_left(nouns, code)
        return index < len(nouns) and nouns[index] == code

    return split(word.lower(), is_noun)


@cache
def _nouns() -> array[int]:
    return array("I", Path(__file__).with_name("german_nouns.bin").read_bytes())
