"""A cache, which may lose any entry at any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Cache(Protocol):
    """Bytes by key, for a limited time. No method raises when the cache is slow or unreachable; a read then misses."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return the entries that exist among these keys."""
        ...

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        """Store entries for at most this many seconds, if possible."""
        ...
