"""What a turn computes once, for all its nodes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

_COMPUTED: Final = ContextVar[dict[tuple[str, ...], Any] | None]("computed", default=None)


@contextmanager
def turn_scope() -> Generator[None]:
    """Within this block, `results_of_turn` is a dictionary of its own. A block is for one turn: if turns of different
    users shared results, the time of an answer would tell what others ask."""
    token = _COMPUTED.set({})
    try:
        yield
    finally:
        _COMPUTED.reset(token)


def results_of_turn() -> dict[tuple[str, ...], Any] | None:
    """The results of this turn by their kind and what they are made of; None outside a turn."""
    return _COMPUTED.get()
