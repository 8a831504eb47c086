"""How a serving process runs its event loop and its garbage collector: settings that cost nothing but speed."""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import uvloop

Result = TypeVar("Result")

# A turn makes thousands of objects that live for its few milliseconds, hardly any of them in cycles. At Python's own 700 the collector walks them again and
# again and finds nothing; here it comes by some times a second under load.
_YOUNG_OBJECTS: Final = 20_000
_YOUNG_ROUNDS: Final = 20
_MIDDLE_ROUNDS: Final = 50


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a process's main coroutine to its end, as `asyncio.run` does, on uvloop."""
    return uvloop.run(main)


def settle() -> None:
    """To be called once a process has loaded what it needs for good: the collector looks at that no more, and at what comes after less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_ROUNDS, _MIDDLE_ROUNDS)
