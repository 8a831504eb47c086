"""Limits for the requests of one key. Calls wait here to stay within the provider's limits; the provider would refuse them instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from responsa_server.domain.models import ChatModel, ModelError, ModelFault, ModelPiece, ModelPrompt


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """concurrent: answers at a time; a_minute: requests per minute, 0 for no limit; wait_seconds: the longest that a request waits here for its place."""

    concurrent: int = 64
    a_minute: int = 0
    wait_seconds: float = 10.0


class KeyLimits:
    """The places of one key, first come, first served. All models behind the key share it."""

    def __init__(self, options: LimitOptions) -> None:
        self._options = options
        self._places = asyncio.Semaphore(options.concurrent)
        self._rate = AsyncLimiter(options.a_minute, 60) if options.a_minute else None

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self._places.locked()

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None, None]:
        """Wait for a place, and hold it. Raises ModelError (OVERLOADED, RATE_LIMITED) if none becomes free in time; that error is not retried."""
        fault = ModelFault.OVERLOADED
        try:
            async with asyncio.timeout(self._options.wait_seconds):
                await self._places.acquire()
                if self._rate is not None:
                    fault = ModelFault.RATE_LIMITED
                    await self._paced(self._rate)
        except TimeoutError:
            raise ModelError(
                fault, f"no place within {self._options.wait_seconds} s, by {self._options}"
            ) from None
        try:
            yield
        finally:
            self._places.release()

    async def _paced(self, rate: AsyncLimiter) -> None:
        try:
            await rate.acquire()
        except BaseException:
            self._places.release()
            raise


class Limited:
    """A `ChatModel` that holds one of its key's places for as long as its answer takes."""

    def __init__(self, model: ChatModel, limits: KeyLimits) -> None:
        self._model = model
        self._limits = limits

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._model.name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`."""
        async with self._limits.place(), aclosing(self._model.stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece
