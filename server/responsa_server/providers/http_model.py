"""What the adapters of all wires have in common."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing

import httpx2

from responsa_server.domain.ports.models import ModelPiece, ModelPrompt
from responsa_server.providers.server import Client, ModelServer

Events = AsyncIterator[httpx2.ServerSentEvent]


class HttpModel(abc.ABC):
    """A `ChatModel` over HTTP. One for all turns; `close` it at the end. A wire says how it is asked, and what its events hold."""

    def __init__(self, server: ModelServer, client: Client) -> None:
        self._server = server
        self._client = client

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._server.model

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`."""
        async with self._ask(prompt) as events, aclosing(self._pieces(prompt, events)) as pieces:
            async for piece in pieces:
                yield piece

    @abc.abstractmethod
    def _ask(self, prompt: ModelPrompt) -> AbstractAsyncContextManager[Events]:
        """The call of the client's `events`."""

    @abc.abstractmethod
    def _pieces(self, prompt: ModelPrompt, events: Events) -> AsyncGenerator[ModelPiece, None]:
        """What the events hold, to an `Ended`. Raises ModelError."""
