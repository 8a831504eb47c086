# Generated from ../aio/client.py by `make generate`. Do not edit.
"""The client itself."""

from __future__ import annotations

from collections.abc import Callable

from responsa_client.blocking.accounts import AccountCalls
from responsa_client.blocking.calls import Calls
from responsa_client.blocking.chat import ChatCalls
from responsa_client.blocking.knowledge import KnowledgeCalls
from responsa_client.connection import DEFAULT_TIMEOUT, DEFAULT_URL, SILENCE_SECONDS, Connection
from responsa_client.following import PATIENCE_SECONDS
from responsa_client.retries import Backoff


class Responsa(ChatCalls, KnowledgeCalls, AccountCalls):
    """A Responsa server, over gRPC. Close the client, or use it as a context manager.

    The blocking client may be shared between threads. The asyncio client belongs to one event loop: create it while the loop is running.
    Both have the same names, arguments, results and errors.

    Requests and responses are the contract's own messages (`responsa.chat.v1` and the other packages), whose comments state all
    limits. All calls raise ResponsaError (see `responsa_client.errors` for its kinds); CannotConnect means that no server
    answers at the address. The client retries an interrupted call, with backoff and jitter, if a retry is safe and the
    server has answered before. Calls that create something carry a request_id, generated if not given, so that no retry creates it twice.

    Args:
        url: "http://host:port", "https://host[:port]", "host:port" or "unix:/path/of/socket".
        api_key: sent as `authorization: Bearer …`; None for calls without a credential.
        timeout: seconds that one call may take, with its retries; None for no limit. `ask`, `resume`, `upload` and
            `wait` have their own limits, by default no limit.
        backoff: returns the policy for the retries of one call, or for the streams of one turn.
        patience: seconds to keep trying to follow a turn while no frame arrives; math.inf means forever.
        silence: seconds without a frame after which a turn's stream counts as lost; the server sends a heartbeat every 15.

    Raises:
        ValueError: the address, the key or a time is not valid.
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
        self._calls = Calls(Connection(url, api_key, timeout, backoff, silence))
        self._patience = patience
        self._stubs = self._calls.stubs

    @property
    def url(self) -> str:
        """The server's address in its full form, e.g. "http://127.0.0.1:8080"."""
        return self._calls.connection.address.url

    def close(self) -> None:
        """End all calls and close the connection. A second call has no effect."""
        self._calls.close()

    def __enter__(self) -> Responsa:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
