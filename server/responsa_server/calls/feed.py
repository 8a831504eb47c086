"""Messages on their way from the task that reads a call to the task that works on it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """A bounded queue with an end, which may be an error, and a reader that may leave early.

    The work on an upload must not be cancelled in the midst of a database call, so it has a task of its own; when the caller goes away, the feed
    ends with an error instead and the work cleans up.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._items: deque[Item] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._abandoned = False
        self._changed = asyncio.Event()

    async def put(self, item: Item) -> bool:
        """Add an item, waiting for room. Returns False once the reader has left."""
        while len(self._items) >= self._most and not self._abandoned:
            await self._wait()
        if self._abandoned:
            return False
        self._items.append(item)
        self._changed.set()
        return True

    def end(self, error: Exception | None = None) -> None:
        """No more items come; the reader gets what is there, and then the error. With an error, what is there is dropped."""
        if self._ended:
            return
        self._ended, self._error = True, error
        if error is not None:
            self._items.clear()
        self._changed.set()

    def abandon(self, reader: object = None) -> None:
        """The reader has left; also as a callback of the reader's task."""
        del reader
        self._abandoned = True
        self._changed.set()

    def __aiter__(self) -> Feed[Item]:
        return self

    async def __anext__(self) -> Item:
        while not self._items and not self._ended:
            await self._wait()
        if self._items:
            self._changed.set()
            return self._items.popleft()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def _wait(self) -> None:
        # One writer and one reader, of whom only one can have a reason to wait: no wake-up is lost by clearing first.
        self._changed.clear()
        await self._changed.wait()
