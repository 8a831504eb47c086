"""The client itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from google.protobuf.message import Message

from responsa_client.aio.accounts import AsyncAccountCalls
from responsa_client.aio.calls import AsyncCalls
from responsa_client.aio.chat import AsyncChatCalls
from responsa_client.aio.knowledge import AsyncKnowledgeCalls
from responsa_client.connection import (
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    SILENCE_SECONDS,
    AsyncCredential,
    Connection,
)
from responsa_client.following import PATIENCE_SECONDS
from responsa_client.notices import Notice
from responsa_client.retries import Backoff

Response = TypeVar("Response", bound=Message)


class AsyncResponsa(AsyncChatCalls, AsyncKnowledgeCalls, AsyncAccountCalls):
    """A client of a Responsa server, over gRPC. Close the client, or use it as a context manager.

    The blocking client may be shared between threads. The asyncio client belongs to one event loop: create it while the
    loop is running. Both clients have the same names, arguments, results and errors.

    Requests and responses are the contract's own messages (`responsa.chat.v1` and the other packages), whose comments
    state all limits. All calls raise ResponsaError (see `responsa_client.errors` for its subclasses); CannotConnect
    means that no server answers at the address. The client retries an interrupted call, with backoff and jitter, if a
    retry is safe. It retries a call that cannot connect only if the server has answered before. Calls that create a
    resource carry a request_id, so that a retry does not create the resource twice. The client generates the request_id
    if the caller does not give one.

    Args:
        url: "http://host:port", "https://host[:port]", "host:port" or "unix:/path/of/socket".
        api_key: the API key or the access token, which the client sends as `authorization: Bearer …`; None to call without a credential. A
            function is called before each call and returns the newest access token. For the asyncio client, the
            function may also be a coroutine function.
        timeout: the maximum time of one call in seconds, including its retries; None for no limit. `ask`, `resume`,
            `upload` and `wait` have their own `timeout`, which is None by default.
        backoff: a function that returns the retry policy for one call, or for the streams of one turn.
        patience: the time in seconds for which the client keeps trying when calls fail, or when no frame of a turn
            arrives; math.inf for no limit. A limit that the server names is waited for all the same.
        silence: the time in seconds without a frame after which a turn's stream counts as lost. The server sends a heartbeat
            every 15 seconds.
        on_behalf_of: the user for whom a service makes all calls of this client, as `users/{uuid}` or the UUID; an
            administrator must have made a service grant. None to
            act for the caller.
        on_notice: a function that is called when the client waits before it makes a call again (`Reconnecting`), and
            with the notices of turns that have no `on_notice` of their own. Retries end at `patience`, and at `timeout`.

    Raises:
        ValueError: the address, the key or a time is not valid.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: AsyncCredential = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        backoff: Callable[[], Backoff] = Backoff,
        patience: float = PATIENCE_SECONDS,
        silence: float = SILENCE_SECONDS,
        on_behalf_of: str | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        self._calls = AsyncCalls(
            Connection(url, api_key, timeout, backoff, silence, on_behalf_of, patience, on_notice)
        )
        self._patience = patience
        self._stubs = self._calls.stubs

    @property
    def url(self) -> str:
        """The server's address in its full form, e.g. "http://127.0.0.1:8080"."""
        return self._calls.connection.address.url

    @property
    def reached(self) -> bool:
        """Whether the server has answered any call yet."""
        return self._calls.connection.reached

    async def call(
        self, method: str, request: Message, response: type[Response], *, repeatable: bool = False
    ) -> Response:
        """Call any unary method of the contract.

        Args:
            method: the path of the method, such as "/responsa.auth.v1.AuthService/GetMe".
            repeatable: whether the client may send the request again after a lost connection.
        """
        return await self._calls.unary(self._stubs.unary(method, response), request, repeatable=repeatable)

    def call_stream(self, method: str, request: Message, response: type[Response]) -> AsyncIterator[Response]:
        """The messages of any method that streams its response, over one connection. method: its path."""
        return self._calls.streamed(self._stubs.streaming(method, response), request)

    async def close(self) -> None:
        """End all calls and close the connection. A second call has no effect."""
        await self._calls.close()

    async def __aenter__(self) -> AsyncResponsa:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
