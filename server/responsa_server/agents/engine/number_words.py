"""English words for numbers below 100, in digits. Pure."""

from __future__ import annotations

import re
from typing import Final

_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL: Final = {
    word: str(place)
    for place, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {word: str(10 * place) for place, word in enumerate(_TENS, 2)}
_COMPOUND: Final = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(list(_SMALL)[1:10])})\b", re.IGNORECASE)
_SMALL_WORD: Final = re.compile(rf"\b(?:{'|'.join(one for one in _SMALL if one != 'one')})\b", re.IGNORECASE)


def in_digits(text: str) -> str:
    """The text with words for numbers in digits. "one" stays, because it often does not count ("this one")."""
    text = _COMPOUND.sub(lambda found: f"{_SMALL[found[1].casefold()][0]}{_SMALL[found[2].casefold()]}", text)
    return _SMALL_WORD.sub(lambda found: _SMALL[found.group().casefold()], text)
