"""The words of a text that may be names. Pure."""

from __future__ import annotations

import re
from typing import Final

WORD: Final = re.compile(r"[^\W\d_]+(?:[-’'][^\W\d_]+)*")
"""A word, with its hyphens and apostrophes."""
_GENITIVE: Final = re.compile(r"['’]s$")


def without_s(word: str) -> str:
    """The word without “'s” at its end."""
    return _GENITIVE.sub("", word)
