"""Numbers in messages, and texts that can be seen. Pure."""

from __future__ import annotations

import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})


def counted(number: int, one: str, more: str = "") -> str:
    """Such as "1 message a minute" and "1,000 messages a minute". more: the words for any other number; "" for `one` with an s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def is_visible(text: str) -> bool:
    """Whether a reader sees any of the text: not if it consists of white space, control characters, and format characters such as U+200B."""
    return any(unicodedata.category(one) not in _INVISIBLE for one in text)


def in_seconds(number: float) -> str:
    """Such as "1 second" and "2.5 seconds"."""
    return f"{number:.10g} second{'' if number == 1 else 's'}"
