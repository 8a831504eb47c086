"""Numbers in messages. Pure."""

from __future__ import annotations


def in_seconds(number: float) -> str:
    """Such as "1 second" and "2.5 seconds"."""
    return f"{number:.10g} second{'' if number == 1 else 's'}"
