"""Decides whether and when to retry. This module does not read the clock and does not sleep."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from responsa_client.errors import CannotConnect, NotTrusted, ResponsaError, Unavailable

PASSING_REASONS = frozenset({"DRAINING", "PART_UNAVAILABLE", "OVERLOADED"})
LIMITS = frozenset({"RATE_LIMIT", "LIMIT_REACHED"})
"""The reasons of limits that allow the same call again after a time."""
LONGEST_WAIT_SECONDS = 120.0
"""The client does not wait longer for a limit, such as the bytes of uploads in a day; the caller gets the error."""
_CUT_CODES = frozenset(
    {
        # If a server behind a proxy is killed, the client sees one of these codes, but rarely UNAVAILABLE.
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)
# Texts in gRPC's messages about a connection that could not be opened. The messages about a lost connection do not contain these texts.
_NEVER_CONNECTED = ("failed to connect", "dns resolution", "name resolution", "http1.x server")


def may_pass(error: ResponsaError) -> bool:
    """Whether the same call can succeed later: the connection was lost, or the reason allows a retry.

    Responsa's own errors are final, except DRAINING, PART_UNAVAILABLE and OVERLOADED, and limits that allow the call
    again within two minutes.
    """
    if error.from_server and error.reason in LIMITS:
        return error.retry_after is not None and error.retry_after <= LONGEST_WAIT_SECONDS
    if error.from_server:
        return error.reason in PASSING_REASONS
    return isinstance(error, Unavailable) or error.code in _CUT_CODES


def never_connected(error: ResponsaError) -> bool:
    """Whether no server answered at the address, so that waiting does not help."""
    return isinstance(error, CannotConnect) or (
        error.code is grpc.StatusCode.UNAVAILABLE
        and not error.from_server
        and any(words in error.message.lower() for words in _NEVER_CONNECTED)
    )


def unreached(error: ResponsaError, url: str) -> ResponsaError:
    """The error for a client that has never reached the server: CannotConnect if no Responsa server answers at the
    address, otherwise the unchanged error."""
    if error.from_server or isinstance(error, CannotConnect):
        return error
    if never_connected(error):
        if "WRONG_VERSION_NUMBER" in error.message:
            plain = url.replace("https://", "http://", 1)
            return CannotConnect(error.code, f"The server at {url} does not use TLS; write {plain}.")
        if "CERTIFICATE_VERI" in error.message:  # gRPC cuts the name
            return NotTrusted(error.code, f"The certificate of the server at {url} is not accepted.")
        # gRPC reports a long chain of causes; only the last cause, e.g. "Connection refused", is useful.
        cause = first_line(error.message).rpartition(": ")[2]
        return CannotConnect(error.code, f"No server answers at {url} ({cause}).")
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        return CannotConnect(error.code, f"The server at {url} is not a Responsa server.")
    return error


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter: the n-th wait is random between 0 and `base` · 2ⁿ⁻¹ seconds, at most `cap`.

    `attempts` is the maximum number of retries of a single call. The default is 12 retries. Their waits add up to about
    20 seconds, which is longer than a warm restart takes. While a client follows a turn, the limit is its patience in
    seconds, not `attempts`. A wait is never shorter than the server's retry_after. Call `reset` after progress.
    `jitter` returns numbers from 0 to 1.
    """

    attempts: int = 12
    base: float = 0.2
    cap: float = 5.0
    jitter: Callable[[], float] = field(default=random.random)
    _used: int = 0

    def next(self, retry_after: float | None = None) -> float | None:
        """Seconds to wait before the next try; None after the last try."""
        return None if self._used >= self.attempts else self.pause(retry_after)

    def pause(self, retry_after: float | None = None) -> float:
        """Seconds to wait before the next try, without a limit on the number of tries."""
        # An exponent of 32 gives far more than the cap. Without this limit, the power would overflow after very many retries.
        longest = min(self.cap, self.base * 2 ** min(self._used, 32))
        self._used += 1
        return max(longest * self.jitter(), retry_after or 0.0)

    def reset(self) -> None:
        """Begin again with the shortest wait, after progress."""
        self._used = 0


def first_line(text: str) -> str:
    """The first line of a message."""
    return text.strip().partition("\n")[0][:200]
