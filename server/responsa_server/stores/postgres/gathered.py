"""Writing together what arrives together: while one write is in flight, what comes gathers for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from responsa_server.domain.errors import ResponsaError

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


class Gathered(Generic[Key, Item, Result]):
    """One write at a time for each key, of all that waits for it. Nobody waits for company: what comes alone is written at once.

    A write that was begun goes on when who asked for it is cancelled.
    """

    def __init__(
        self, write: Callable[[Key, Sequence[Item]], Awaitable[Sequence[Result]]], most: int
    ) -> None:
        """write: writes items of one key in one transaction, and returns their results in order. It may be called again with an item alone, when it raised
        for several what is no ResponsaError: then one of them cannot be stored, and the others can. most: items in one write.
        """
        self._write = write
        self._most = most
        self._waiting: dict[Key, list[tuple[Item, asyncio.Future[Result]]]] = {}
        self._writers: set[asyncio.Task[None]] = set()

    async def put(self, key: Key, item: Item) -> Result:
        """Write an item with those that come at the same time. Raises what the write raises."""
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append((item, outcome))
        else:
            self._waiting[key] = [(item, outcome)]
            writer = asyncio.create_task(self._write_waiting(key), name=f"writes for {key}")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await outcome

    async def _write_waiting(self, key: Key) -> None:
        while waiting := self._waiting[key]:
            batch, self._waiting[key] = waiting[: self._most], waiting[self._most :]
            await self._settle(key, batch)
        del self._waiting[key]

    async def _settle(self, key: Key, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write(key, [item for item, _ in batch])
            settled = list(zip(batch, results, strict=True))
        except Exception as error:  # each has to be told, whatever it is
            if len(batch) > 1 and not isinstance(error, ResponsaError):
                for one in batch:
                    await self._settle(key, [one])
                return
            for _, outcome in batch:
                if not outcome.done():
                    outcome.set_exception(error)
            return
        for (_, outcome), result in settled:
            if not outcome.done():
                outcome.set_result(result)
