"""Servers of models that answer a request with one JSON value: embedding models and reranking models."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx2
from pydantic_core import from_json

from responsa_server.domain.models import ModelError, ModelFault
from responsa_server.providers.chain import KeyLimits, RetryPolicy, log_failed
from responsa_server.providers.http_model import JSON, HttpServer, ReadComplaint, receive_json
from responsa_server.providers.learned import Learned
from responsa_server.providers.settings import CompatibleSettings

Value = TypeVar("Value")

MAX_ANSWER_BYTES: Final = 8 << 20
"""The maximum size of an answer, which is read on the event loop: reading so many numbers takes about 15 ms."""
# The maximum time of a request, in addition to the time that it may wait for a byte. A server that sends one byte at a
# time is never silent.
_RECEIVING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """How a server is called. limits: those of its key, shared with its other models. policy: the rule for repeated
    requests. http: see `HttpServer`. learned: the facts of all models."""

    limits: KeyLimits
    policy: RetryPolicy
    http: httpx2.AsyncClient | None = None
    learned: Learned = field(default_factory=Learned)
    sleep: Callable[[float], Awaitable[object]] = field(default=asyncio.sleep)
    chance: Callable[[], float] = field(default=random.random)


class JsonServer(HttpServer):
    """The connections to a server that answers with one JSON value. Call `close` at the end."""

    def __init__(
        self,
        server: CompatibleSettings,
        called: str,
        headers: Mapping[str, str],
        complaint: ReadComplaint,
        faults: Mapping[str, ModelFault],
        calling: RequestOptions,
    ) -> None:
        """called: `provider:model`, for the log. headers, complaint, faults: see `HttpServer`."""
        super().__init__(server, {"accept": JSON, **headers}, complaint, faults, calling.http)
        self._called = called
        self._calling = calling

    async def _json(
        self, path: str, body: Mapping[str, object], read: Callable[[Any], Value], event: str
    ) -> Value:
        """What `read` finds in the answer to a request, which is repeated if the server is busy.

        read: any error of the types AttributeError, KeyError, TypeError, ValueError or OverflowError means that the
        answer is malformed. event: the name of a failure in the log. Raises ModelError.
        """
        tried = 0
        while True:
            tried += 1
            try:
                return await self._once(path, body, read)
            except ModelError as error:
                error.tried = tried
                pause = self._calling.policy.pause(error, tried, self._calling.chance())
                log_failed(self._called, error, event)
                if pause is None:
                    raise
            await self._calling.sleep(pause)

    async def _once(self, path: str, body: Mapping[str, object], read: Callable[[Any], Value]) -> Value:
        seconds = self._server.idle_seconds + _RECEIVING_SECONDS
        async with self._calling.limits.place():
            try:
                async with asyncio.timeout(seconds), self._answer(path, body) as response:
                    received = await receive_json(response, MAX_ANSWER_BYTES)
            except TimeoutError:
                raise ModelError(
                    ModelFault.TIMEOUT, f"the answer is not complete after {seconds:g} s"
                ) from None
        try:
            # Five times as fast as the module json.
            return read(from_json(received))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self.unread(response, received, repr(error)) from None
