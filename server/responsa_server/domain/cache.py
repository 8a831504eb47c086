"""A cache, which may lose any entry at any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Cache(Protocol):
    """Keeps bytes by key for a limited time. If the cache is slow or unreachable, no method raises, and a read finds
    nothing.
    """

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return the entries with these keys. Missing keys are left out."""
        ...

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        """Store entries for at most this many seconds, if possible."""
        ...
