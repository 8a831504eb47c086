"""Numbers in messages. Pure."""

from __future__ import annotations


def counted(number: int, one: str, more: str = "") -> str:
    """Such as "1 message a minute" and "1,000 messages a minute". more: the words for any other number; "" for `one` with an s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def in_seconds(number: float) -> str:
    """Such as "1 second" and "2.5 seconds"."""
    return f"{number:.10g} second{'' if number == 1 else 's'}"
