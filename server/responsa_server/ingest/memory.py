"""Gives memory that this process no longer uses back to the operating system."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

_DELAY_SECONDS: Final = 1.0


class FreeMemory:
    """The C library keeps what a large document needed, in pieces of its heap, until somebody asks for them
    (malloc_trim(3)). Use it in one event loop only."""

    def __init__(self) -> None:
        # A C library without this call returns freed memory by itself.
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._timer: asyncio.TimerHandle | None = None

    def give_back_soon(self) -> None:
        """Give it back in a second, in another thread. Calls in the meantime change nothing, so many small jobs cost
        one look at the heap a second."""
        if self._timer is None and self._trim is not None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_SECONDS, self._begin)

    def close(self) -> None:
        """Give nothing back any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._timer = None
        if self._trim is not None:
            asyncio.get_running_loop().run_in_executor(None, self._trim, 0)
