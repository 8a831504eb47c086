"""When to try again, and after how long: pure decisions, no clock and no sleep."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from responsa_client.errors import CannotConnect, ResponsaError, Unavailable

PASSING_REASONS = frozenset({"DRAINING", "PART_UNAVAILABLE", "OVERLOADED"})
_CUT_CODES = frozenset(
    {
        # A server killed behind a proxy shows as any of these, seldom as UNAVAILABLE.
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)
# What gRPC says of a connection that never came to be, rather than of one that broke.
_NEVER_CONNECTED = ("failed to connect", "dns resolution", "name resolution", "http1.x server")


def may_pass(error: ResponsaError) -> bool:
    """Whether the same call may well succeed later: a cut connection, or a reason that says so itself.

    An error that is Responsa's own and not one of DRAINING, PART_UNAVAILABLE, OVERLOADED is final.
    """
    if error.from_server:
        return error.reason in PASSING_REASONS
    return isinstance(error, Unavailable) or error.code in _CUT_CODES


def never_connected(error: ResponsaError) -> bool:
    """Whether the call found nobody at the address, so that there is no server to come back."""
    return isinstance(error, CannotConnect) or (
        error.code is grpc.StatusCode.UNAVAILABLE
        and not error.from_server
        and any(words in error.message.lower() for words in _NEVER_CONNECTED)
    )


def unreached(error: ResponsaError, url: str) -> ResponsaError:
    """The error as one who never reached the server should see it: CannotConnect, where that is what it is."""
    if error.from_server or isinstance(error, CannotConnect):
        return error
    if never_connected(error):
        # gRPC tells the whole way; what ends it, e.g. "Connection refused", is what helps.
        cause = first_line(error.message).rpartition(": ")[2]
        return CannotConnect(error.code, f"No server answers at {url} ({cause}).")
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        return CannotConnect(error.code, f"What answers at {url} is no Responsa server.")
    return error


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter: the n-th wait is anything between 0 and `base` · 2ⁿ⁻¹ seconds, `cap` at most.

    `attempts` bounds the tries of a single call, 20 seconds by default, which is longer than a warm restart takes; following a turn has its patience
    in seconds instead. A server's own wish (retry_after) is a lower bound of a wait. `reset` after progress. `jitter` gives numbers from 0 to 1.
    """

    attempts: int = 12
    base: float = 0.2
    cap: float = 5.0
    jitter: Callable[[], float] = field(default=random.random)
    _used: int = 0

    def next(self, retry_after: float | None = None) -> float | None:
        """Seconds to wait before the next try; None when all tries are used up."""
        return None if self._used >= self.attempts else self.pause(retry_after)

    def pause(self, retry_after: float | None = None) -> float:
        """Seconds to wait before the next try, however many there were."""
        # Far beyond the cap; a power without bound would overflow in a patience without bound.
        longest = min(self.cap, self.base * 2 ** min(self._used, 32))
        self._used += 1
        return max(longest * self.jitter(), retry_after or 0.0)

    def reset(self) -> None:
        """Something was gained: begin anew."""
        self._used = 0


def first_line(text: str) -> str:
    """The beginning of a message that may run over many lines."""
    return text.strip().partition("\n")[0][:200]
