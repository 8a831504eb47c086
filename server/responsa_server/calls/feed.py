"""Passes messages from the task that reads a call to the task that processes them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """A bounded queue that can end, with or without an error. Its reader may leave early.

    The work on an upload must not be cancelled during a database call, so it runs in a separate task. When the caller disconnects, the feed
    ends with an error and the work cleans up.
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
        """Accept no more items. The reader gets the queued items and then stops; with an error, the queued items are dropped and the reader gets the error."""
        if self._ended:
            return
        self._ended, self._error = True, error
        if error is not None:
            self._items.clear()
        self._changed.set()

    def abandon(self, reader: object = None) -> None:
        """Note that the reader has left. Also a callback of the reader's task."""
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
        # There is one writer and one reader, and only one of them can have a reason to wait, so clearing first loses no wake-up.
        self._changed.clear()
        await self._changed.wait()
