"""English words for numbers below 100, in digits. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_BELOW_20: Final = [
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
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
BELOW_100: Final[Mapping[str, str]] = {word: str(number) for number, word in enumerate(_BELOW_20)} | {
    word: str(10 * number) for number, word in enumerate(_TENS, 2)
}
"""The digits of each number below 100 that is one word."""
_COMPOUND: Final = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(_BELOW_20[1:10])})\b", re.IGNORECASE)
_ONE_WORD: Final = re.compile(rf"\b(?:{'|'.join(one for one in BELOW_100 if one != 'one')})\b", re.IGNORECASE)


def in_digits(text: str) -> str:
    """The text with words for numbers in digits. "one" stays, because it often does not count ("this one")."""
    text = _COMPOUND.sub(
        lambda found: f"{BELOW_100[found[1].casefold()][0]}{BELOW_100[found[2].casefold()]}", text
    )
    return _ONE_WORD.sub(lambda found: BELOW_100[found.group().casefold()], text)
