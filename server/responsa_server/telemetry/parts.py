"""How long the parts of a turn took, for the line of the log at its end. Stages have more, but are not always recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

SEARCH: Final = "search"
_TOOK: ContextVar[dict[str, float] | None] = ContextVar("responsa_took", default=None)


def add_up() -> Mapping[str, float]:
    """Begin to add up the parts of what the running task does, and all tasks that it starts from now on. Returns the
    seconds by part, to be read at the end. Parts that ran at the same time are added up, too."""
    took: dict[str, float] = {}
    _TOOK.set(took)
    return took


def took(part: str, seconds: float) -> None:
    """Add the time of a part: SEARCH, the name of a tool, or a model as `provider:model`."""
    parts = _TOOK.get()
    if parts is not None:
        parts[part] = parts.get(part, 0.0) + seconds
