"""The part of the connection that both clients share: address, key, time limits, and which errors to retry."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast

import grpc

from responsa_client.address import Address
from responsa_client.errors import Cancelled, DeadlineExceeded, ResponsaError, StreamCut, error_of_call
from responsa_client.notices import Notice, Reconnecting
from responsa_client.requests import user_name
from responsa_client.retries import LIMITS, Backoff, may_pass, never_connected, unreached
from responsa_client.stubs import credentials

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT = 60.0
SILENCE_SECONDS = 45.0
"""Seconds without a frame after which a stream counts as lost. The server sends a heartbeat every 15 seconds."""


Credential = str | Callable[[], str] | None
"""An API key, or an access token, or a function that returns the newest access token; None for no credential."""
AsyncCredential = str | Callable[[], str | Awaitable[str]] | None
"""As Credential, for the asyncio client, whose function may be `async def`."""


class Silence(Exception):
    """No frame arrived on a stream for so long that the stream counts as lost."""


class Deadline:
    """A deadline on the monotonic clock, a number of seconds from now. If `seconds` is None, the deadline never passes."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._begin = time.monotonic()
        self._end = None if seconds is None else self._begin + seconds

    def __str__(self) -> str:
        """Such as "1 second"."""
        return f"{self.seconds:.10g} second{'' if self.seconds == 1 else 's'}"

    def remaining(self) -> float | None:
        """The seconds until the deadline, at least 0; None if the deadline never passes."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def passed(self) -> float:
        """The seconds since its beginning."""
        return time.monotonic() - self._begin

    def allows(self, wait: float) -> bool:
        """Whether the deadline is more than `wait` seconds away."""
        left = self.remaining()
        return left is None or wait < left


ON_BEHALF_OF: Final = "responsa-on-behalf-of"
"""The metadata with which a service names the user for whom it makes a call."""


class Connection:
    """The state of one client's connection. This class does not open the connection.

    Raises:
        ValueError: the address, the key or the time limit is not valid.
    """

    def __init__(
        self,
        url: str,
        api_key: AsyncCredential,
        timeout: float | None,
        backoff: Callable[[], Backoff],
        silence: float = SILENCE_SECONDS,
        on_behalf_of: str | None = None,
        patience: float = math.inf,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout must be above 0 seconds, not {timeout}")
        if silence <= 0:
            raise ValueError(f"silence must be above 0 seconds, not {silence}")
        self.address = Address.parse(url)
        self._token = api_key if callable(api_key) else None
        self._metadata = credentials(None if callable(api_key) else api_key)
        self._behalf = () if on_behalf_of is None else ((ON_BEHALF_OF, user_name(on_behalf_of)),)
        self.timeout = timeout
        self.backoff = backoff
        self.silence = silence
        self.patience = patience
        self.on_notice = on_notice
        self.closed = False
        self.reached = False
        """Whether the server has answered any call yet. Before that, the client does not retry a call that cannot connect."""

    def may_renew(self, error: ResponsaError) -> bool:
        """Whether the access token was refused, and the function that returns the newest one may have another."""
        return error.reason == "TOKEN_INVALID" and self._token is not None

    def token(self) -> str | Awaitable[str] | None:
        """The result of the function that returns the newest access token; None without such a function. Raises what
        the function raises."""
        return None if self._token is None else self._token()

    def metadata(self, token: str | None) -> tuple[tuple[str, str], ...]:
        """The metadata that authenticates the next call, and names the user for whom it is made and the program's
        current span. token: the result of `token`, after waiting for it."""
        return (self._metadata if token is None else credentials(token)) + self._behalf + _current_span()

    def error(self, failure: grpc.RpcError, deadline: Deadline) -> ResponsaError:
        """The typed error of a failed call."""
        trailing = cast("Iterable[tuple[str, str | bytes]] | None", failure.trailing_metadata())
        error = error_of_call(failure.code(), failure.details(), trailing)
        if error.from_server:
            self.reached = True
            return error
        if isinstance(error, DeadlineExceeded) and deadline.seconds is not None:
            return DeadlineExceeded(
                error.code,
                f"{self.address.url} did not answer within {deadline}.",
                status=error.status,
            )
        return error if self.reached else unreached(error, self.address.url)

    def may_repeat(self, error: ResponsaError) -> bool:
        """Whether to retry a call that failed with this error. A call that cannot connect is retried only if the server
        has answered before."""
        if self.closed:
            return False
        return may_pass(error) and (self.reached or not never_connected(error))

    def may_wait(self, error: ResponsaError, wait: float, failing: Deadline, deadline: Deadline) -> bool:
        """Whether the client waits `wait` seconds to make a call again that failed with this error; `on_notice` gets to
        know it. failing: the deadline of the patience, which began with the first error."""
        # A limit is no trouble: the server has said when it ends.
        ends = (deadline,) if error.reason in LIMITS else (deadline, failing)
        if not all(end.allows(wait) for end in ends):
            return False
        if self.on_notice is not None:
            left = min(math.inf if (one := end.remaining()) is None else one for end in ends)
            self.on_notice(Reconnecting(wait, error, failing.passed(), left))
        return True

    def check_open(self) -> None:
        """Raise Cancelled if the client is closed."""
        if self.closed:
            raise closed_error()


def closed_error() -> Cancelled:
    """The error of a call on a client that is closed or closes during the call."""
    return Cancelled(grpc.StatusCode.CANCELLED, "This client is closed.")


def operation_late(name: str, deadline: Deadline) -> DeadlineExceeded:
    """The error if an operation has not ended before the deadline."""
    message = f"{name} had not ended after {deadline}; it continues."
    return DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def watch_cut(name: str) -> StreamCut:
    """The error for a stream of an operation's states on which not even a heartbeat arrived."""
    message = f"The stream of {name} was interrupted (not even a heartbeat arrived); the operation continues."
    return StreamCut(grpc.StatusCode.UNAVAILABLE, message)


def _current_span() -> tuple[tuple[str, str], ...]:
    """The metadata that names the current span, so that the server's spans become parts of its trace. () in a program
    that does not use OpenTelemetry, on which the client does not depend."""
    trace = cast("Any", sys.modules.get("opentelemetry.trace"))
    span = None if trace is None else trace.get_current_span().get_span_context()
    if span is None or not span.is_valid:
        return ()
    return (("traceparent", f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"),)
