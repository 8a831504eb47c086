"""What the servers of models that answer with JSON share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer, as_json

Before = Callable[[LoopbackExchange], Awaitable[bool]]
"""Called with each request before its answer. Returns whether it has answered the request itself."""


class RecordingServer(ABC):
    """A server on the loopback interface that records what it is asked."""

    def __init__(self, before: Before | None) -> None:
        self._before = before
        self._server = LoopbackServer(self._handle)
        self.bodies: list[dict[str, Any]] = []
        """The bodies of all requests, in order."""
        self.paths: list[str] = []
        """The paths of all requests, in order."""

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT/v1`; known once the server has started."""
        return f"{self._server.url}/v1"

    async def start(self) -> None:
        await self._server.start()

    async def close(self) -> None:
        await self._server.close()

    async def _handle(self, exchange: LoopbackExchange) -> None:
        body = json.loads(exchange.request.body)
        self.bodies.append(body)
        self.paths.append(exchange.request.path)
        if self._before is None or not await self._before(exchange):
            await exchange.reply(200, as_json(self._answer(exchange.request.path, body)))

    @abstractmethod
    def _answer(self, path: str, body: dict[str, Any]) -> object: ...
