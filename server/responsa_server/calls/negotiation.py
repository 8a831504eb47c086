"""Content negotiation (RFC 9110, 12.5): what a header such as Accept or Accept-Encoding names, and with which weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_WEIGHT: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


def negotiate(headers: Iterable[str], offered: Sequence[str]) -> list[str]:
    """The offered values that the headers name, the one with the greatest weight first, and among equals in the order
    of the offer. With the weight 0, a client says that it does not accept a value. A wildcard names nothing, because a
    client that sends one also accepts what is sent to those who name nothing.
    """
    weights: dict[str, float] = {}
    for part in ",".join(headers).lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        quality = next((weight.strip() for key, _, weight in pairs if key.strip() == "q"), "")
        weights.setdefault(name, float(quality) if _WEIGHT.fullmatch(quality) else 1.0)
    # Sorting keeps the order of equals.
    return sorted((name for name in offered if weights.get(name)), key=lambda name: -weights[name])
