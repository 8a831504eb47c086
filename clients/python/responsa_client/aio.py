"""The client for programs on asyncio."""

from __future__ import annotations

from collections.abc import Callable

from responsa_client.async_account_calls import AsyncAccountCalls
from responsa_client.async_conversation_calls import AsyncConversationCalls
from responsa_client.async_knowledge_calls import AsyncKnowledgeCalls
from responsa_client.async_turn_calls import AsyncTurnCalls
from responsa_client.connection import DEFAULT_TIMEOUT, DEFAULT_URL, SILENCE_SECONDS, Connection
from responsa_client.following import PATIENCE_SECONDS
from responsa_client.nonblocking import AsyncCalls
from responsa_client.retries import Backoff


class AsyncResponsa(AsyncTurnCalls, AsyncConversationCalls, AsyncKnowledgeCalls, AsyncAccountCalls):
    """A Responsa server, over gRPC, for one event loop. Close it, or use it as an asynchronous context manager.

    The same names, arguments, results and errors as `Responsa`, whose docstrings hold for both. Calls are coroutines, lists
    are asynchronous iterators. Make it while the loop is running.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        backoff: Callable[[], Backoff] = Backoff,
        patience: float = PATIENCE_SECONDS,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._calls = AsyncCalls(Connection(url, api_key, timeout, backoff, silence))
        self._patience = patience
        self._stubs = self._calls.stubs

    @property
    def url(self) -> str:
        """The server's address in its full form, e.g. "http://127.0.0.1:8080"."""
        return self._calls.connection.address.url

    async def close(self) -> None:
        """As `Responsa.close`."""
        await self._calls.close()

    async def __aenter__(self) -> AsyncResponsa:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
