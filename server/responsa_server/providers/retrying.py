"""Calls a model again if its server was busy or unreachable, as long as no part of an answer has come.

Our own code instead of a library: retry libraries swallow the exception that closes a generator, and do not accept a clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from math import inf

import structlog

from responsa_server.domain.models import ChatModel, ModelError, ModelPiece, ModelPrompt, Spent


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """retries: tries after the first. The n-th pause (n from 0) is random, up to first_seconds × 2ⁿ, at most longest_seconds ("full jitter").

    A pause that the provider asks for is added, up to most_asked_seconds. If it asks for more, or if the pause would outlast the prompt's patience, the error
    is raised at once, so that another model can be called.
    """

    retries: int = 2
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    most_asked_seconds: float = 30.0

    def pause(self, error: ModelError, tried: int, share: float) -> float | None:
        """Seconds to wait after `tried` tries before the next one; share: a random number from 0 to 1. None: no further try."""
        asked = error.retry_after or 0.0
        if not error.passing or tried > self.retries or asked > self.most_asked_seconds:
            return None
        return asked + share * min(self.longest_seconds, self.first_seconds * 2 ** (tried - 1))


class Retrying:
    """A `ChatModel` that calls another one up to 1 + retries times. Once text or a request was sent, an error is raised. Errors that lead to a retry are logged here."""

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
        """See `ChatModel.stream`. The usage of the last try includes that of the failed ones."""
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
    """Log a failed try with its cause, but nothing of the prompt or the answer. model: `provider:model`."""
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
    """`now` plus the usage before it, under the model of `now`."""
    if before is None:
        return now
    return Spent(
        before.usage + now.usage,
        now.model,
        before.cached_input_tokens + now.cached_input_tokens,
        before.cache_write_tokens + now.cache_write_tokens,
    )
