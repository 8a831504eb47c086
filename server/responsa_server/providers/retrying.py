"""Asks a model again when its server was busy or not there, as long as nothing of an answer has come.

Own lines instead of a library's: those that retry swallow what closes a generator, and take no clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from math import inf

import structlog

from responsa_server.domain.ports.models import ChatModel, ModelError, ModelPiece, ModelPrompt, Spent


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """retries: beside the first try. The n-th pause is anything up to first_seconds × 2ⁿ, at most longest_seconds ("full jitter").

    What a provider asks for is waited for before that, up to most_asked_seconds; for more, the error is passed on at once: somebody else may be asked. So it is
    where the pause would outlast the prompt's patience.
    """

    retries: int = 2
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    most_asked_seconds: float = 30.0

    def pause(self, error: ModelError, tried: int, share: float) -> float | None:
        """Seconds to wait after `tried` tries before the next one; share: 0 to 1, by chance. None: not again."""
        asked = error.retry_after or 0.0
        if not error.passing or tried > self.retries or asked > self.most_asked_seconds:
            return None
        return asked + share * min(self.longest_seconds, self.first_seconds * 2 ** (tried - 1))


class Retrying:
    """A `ChatModel` that asks another one up to 1 + retries times. Once text or a request was told, an error is passed on; each that is not is logged here."""

    def __init__(
        self,
        model: ChatModel,
        policy: RetryPolicy | None = None,
        *,
        called: str = "",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """called: `provider:model`, for the log."""
        self._model = model
        self._called = called or model.name
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._model.name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`. What failed tries have cost is in what the last one costs."""
        before: Spent | None = None
        tried = 0
        clock = asyncio.get_running_loop().time
        until = inf if prompt.patience_seconds is None else clock() + prompt.patience_seconds
        while True:
            said, latest = False, before
            tried += 1
            try:
                async with aclosing(self._model.stream(prompt)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Spent):
                            latest = piece = together(before, piece)
                        else:
                            said = True
                        yield piece
                return
            except ModelError as error:
                error.tried = tried
                pause = self._policy.pause(error, tried, self._chance())
                if said or pause is None or clock() + pause >= until:
                    raise
                log_failed(self._called, prompt, error)
            before = latest
            await self._sleep(pause)


def log_failed(model: str, prompt: ModelPrompt, error: ModelError) -> None:
    """Log a try that has failed: what tells the causes apart, and nothing of what was asked or answered. model: `provider:model`."""
    structlog.get_logger("models").warning(
        "model_call_failed",
        model=model,
        cause=error.fault.value,
        http_status=error.status or None,
        provider_error=error.kind or None,
        attempt=error.tried,
        turn=prompt.label or None,
    )


def together(before: Spent | None, now: Spent) -> Spent:
    """`now`, with what was spent before it; the model is the one that is asked now."""
    if before is None:
        return now
    return Spent(
        before.usage + now.usage,
        now.model,
        before.cached_input_tokens + now.cached_input_tokens,
        before.cache_write_tokens + now.cache_write_tokens,
    )
