"""Caches: the one that all processes share, which may lose any entry at any moment, and one in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Generic, Protocol, TypeVar


class Cache(Protocol):
    """Keeps bytes by key for a limited time. If the cache is slow or unreachable, no method raises, and a read finds
    nothing.
    """

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]: ...

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        """Store entries for at most this many seconds, if possible."""
        ...


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """Keeps values until they are together larger than a limit, then evicts the least recently used ones. Not thread-safe.

    A limit of entries does not bound the memory if callers or documents decide how large an entry is.
    """

    def __init__(self, most_bytes: int) -> None:
        """most_bytes: the limit of the sizes of all entries together."""
        self._most = most_bytes
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._size = 0

    @property
    def size_bytes(self) -> int:
        return self._size

    def get(self, key: Key) -> Value | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def entries(self) -> Iterator[tuple[Key, Value]]:
        """All keys and values, the most recently used first."""
        return ((key, value) for key, (value, _) in reversed(self._entries.items()))

    def drop(self, key: Key) -> None:
        """Remove the value of a key, if there is one."""
        if (earlier := self._entries.pop(key, None)) is not None:
            self._size -= earlier[1]

    def put(self, key: Key, value: Value, size_bytes: int) -> None:
        """Keep a value, in place of an earlier one with this key. A value that is larger than the limit is not kept.

        size_bytes: the size of the key and the value, which may be an estimate.
        """
        self.drop(key)
        if size_bytes > self._most:
            return
        self._entries[key] = value, size_bytes
        self._size += size_bytes
        while self._size > self._most:
            _, (_, dropped) = self._entries.popitem(last=False)
            self._size -= dropped


class MemoryCache:
    """Implements `Cache` in the memory of this process, without a trip."""

    def __init__(self, most_bytes: int) -> None:
        self._entries = LruCache[str, tuple[float, bytes]](most_bytes)

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        entries = {key: entry for key in keys if (entry := self._entries.get(key)) is not None}
        return {key: data for key, (until, data) in entries.items() if monotonic() < until}

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        for key, data in entries.items():
            self._entries.put(key, (monotonic() + seconds, data), len(key) + len(data))
