"""The figures in a text."""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = re.compile(r"\d+(?:[.,'\u00a0\u2009\u202f ]\d{3}(?!\d))*(?:[.,]\d+)?")


def numbers_in(text: str) -> frozenset[str]:
    """The numbers in a text, as digits only. Therefore the separators of thousands and fractions make no difference."""
    return frozenset("".join(filter(str.isdigit, one)) for one in _DIGITS.findall(text))
