"""What earlier checks have found sound, by what it holds: most of what a reload reads is what it read before."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """The last so many values that were put into it, by key. For any threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = dict[Key, Value]()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """What was put under a key, None where that is forgotten."""
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:  # the newest again
                self._kept[key] = found
            return found

    def put(self, key: Key, value: Value) -> None:
        """Keep a value; the one that was asked for longest ago makes room for it."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = value
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
