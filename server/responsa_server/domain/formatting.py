"""Numbers in messages, and texts that can be seen. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters of visible categories that show nothing."""
_MOST_MARKS: Final = 4


def counted(number: int, singular: str, more: str = "") -> str:
    """Such as "1 message a minute" and "1,000 messages a minute". more: the words for any other number; "" for `singular` with an s."""
    return f"{number:,} {singular if number == 1 else more or singular + 's'}"


def is_visible(text: str) -> bool:
    """Whether a reader sees any of the text: not if it consists of white space, control characters, and format
    characters such as U+200B."""
    return any(unicodedata.category(char) not in _INVISIBLE for char in text)


def plain_name(text: str) -> str | None:
    """A name that strangers give, as people may see it: composed (NFC), in one line, and without what shows nothing or
    turns the direction of text. None if combining marks could hide or change its letters: if one encloses, stands
    behind anything but a letter, or behind a letter of ASCII with which it does not compose, or if more than four stand
    in a row or one twice (Unicode Technical Standard 39, 5.4)."""
    seen = "".join(char for char in _BLANK.sub("", " ".join(text.split())) if char.isprintable())
    composed = unicodedata.normalize("NFC", seen).strip()
    marks, before = 0, ""
    for character in composed:
        category = unicodedata.category(character)
        marks = marks + 1 if category.startswith("M") else 0
        if marks and (
            category == "Me"
            or character == before
            or marks > _MOST_MARKS
            or (marks == 1 and (before.isascii() or not before.isalpha()))
        ):
            return None
        before = character
    return composed


def in_seconds(number: float) -> str:
    """Such as "1 second" and "2.5 seconds"."""
    return f"{number:.10g} second{'' if number == 1 else 's'}"
