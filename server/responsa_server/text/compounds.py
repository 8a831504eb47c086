"""Finds the parts of compounds in languages that write them together, so that "Frist" finds "Kündigungsfrist". Pure functions.

A part is a noun that is no compound itself. `nouns_de.bin` and its like have the stems of up to 75,000,
as sorted checksums of 32 bits, little-endian; `tools/nouns.py` writes them from a public dictionary. The stemmer removes
the letters that link two parts as it removes endings, so that "Kündigungs" has the stem of "Kündigung".
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final
from zlib import crc32

LANGUAGES: Final = {"de": 4, "nl": 4, "sv": 3, "da": 3, "no": 3, "fi": 3}
"""The languages whose compounds are split, and the fewest letters of a part."""
_MOST: Final = 40
"""The most letters of a word that is split."""
_MOST_PARTS: Final = 4


def split(word: str, is_noun: Callable[[str], bool], least: int, limit: int = _MOST_PARTS) -> Sequence[str]:
    """The parts of a word in small letters: the fewest, and of several such ways that with the longest last part; () if
    it is no compound of 2 to `limit` nouns. least: the fewest letters of a part."""
    best: Sequence[str] = ()
    if limit < 2 or not 2 * least <= len(word) <= _MOST:
        return best
    for end in range(least, len(word) - least + 1):
        if best and len(best) == 2:
            break
        head = word[:end]
        if not is_noun(word[end:]):
            continue
        before = (head,) if is_noun(head) else split(head, is_noun, least, limit - 1)
        if before and (not best or len(before) + 1 < len(best)):
            best = (*before, word[end:])
    return best


def compound_parts(word: str, language: str, stem: Callable[[str], str]) -> Sequence[str]:
    """The same of a word of one of LANGUAGES; in German, a noun has a capital letter. stem: the language's stemmer."""
    if not word.isalpha() or (language == "de" and not word[0].isupper()):
        return ()
    nouns = _nouns(language)

    def is_noun(part: str) -> bool:
        code = crc32(stem(part).encode())
        index = bisect_left(nouns, code)
        return index < len(nouns) and nouns[index] == code

    whole = word.lower()
    return () if is_noun(whole) else split(whole, is_noun, LANGUAGES[language])


@cache
def _nouns(language: str) -> array[int]:
    return array("I", Path(__file__).with_name(f"nouns_{language}.bin").read_bytes())
