"""What the user's terminal can do, as the environment says it."""

from __future__ import annotations

import os
from typing import Final

_PLAIN: Final = ("", "dumb", "unknown")


def terminal_type() -> str:
    """Return the type of the terminal, such as "xterm-256color". It is "" if the environment does not name one."""
    return os.environ.get("TERM", "")


def can_move_cursor() -> bool:
    """Whether the terminal can move its cursor and change the style of its text."""
    return terminal_type() not in _PLAIN
