"""A cache: whatever is in it may be gone at any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Cache(Protocol):
    """Bytes by key, for a while. No method raises for a cache that is slow or away: that is a miss."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """What is there of these keys."""
        ...

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        """Keep these for at most so many seconds, if possible."""
        ...
