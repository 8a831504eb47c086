"""When to try again, and after how long: pure decisions, no clock and no sleep."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from responsa_client.errors import CannotConnect, ResponsaError, StreamCut, Unavailable

_PASSING_REASONS = frozenset({"DRAINING", "PART_UNAVAILABLE", "OVERLOADED"})
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


def may_pass(error: ResponsaError) -> bool:
    """Whether the same call may well succeed later: a cut connection, or a reason that says so itself.

    An error that is Responsa's own and not one of DRAINING, PART_UNAVAILABLE, OVERLOADED is final.
    """
    if error.from_server:
        return error.reason in _PASSING_REASONS
    return isinstance(error, Unavailable) or error.code in _CUT_CODES


def unreached(error: ResponsaError, url: str) -> ResponsaError:
    """The error as one who never reached the server should see it: CannotConnect, where that is what it is."""
    if error.from_server or isinstance(error, CannotConnect):
        return error
    if error.code is grpc.StatusCode.UNAVAILABLE:
        # gRPC tells the whole way; what ends it, e.g. "Connection refused", is what helps.
        cause = _first_line(error.message).rpartition(": ")[2]
        return CannotConnect(error.code, f"No server answers at {url} ({cause}).")
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        return CannotConnect(error.code, f"What answers at {url} is no Responsa server.")
    return error


def stream_cut(cause: str, request_id: str) -> StreamCut:
    """The error for a stream that broke off; `cause` is "" if it just ended."""
    shown = _first_line(cause) or "it ended without an answer, a refusal or a failure"
    return StreamCut(
        grpc.StatusCode.UNAVAILABLE,
        f"The answer's stream broke off ({shown}). The turn may go on: ask again with request_id {request_id}.",
    )


def given_up(last: ResponsaError | None, request_id: str) -> ResponsaError:
    """The error to raise when all tries are used up: the server's own last word, else that the stream was cut."""
    if last is not None and (last.from_server or isinstance(last, StreamCut)):
        return last
    cut = stream_cut(last.message if last else "", request_id)
    cut.__cause__ = last
    return cut


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with jitter: `attempts` waits of `base` · 2ⁿ seconds up to `cap`, each times 0.5 to 1.

    A server's own wish (retry_after) is a lower bound of a wait. `reset` after progress. By default 10 waits, 15 to 31
    seconds in all: longer than a warm restart takes.
    """

    attempts: int = 10
    base: float = 0.2
    cap: float = 5.0
    jitter: Callable[[], float] = field(default=random.random)
    _used: int = 0

    def next(self, retry_after: float | None = None) -> float | None:
        """Seconds to wait before the next try; None when all tries are used up."""
        if self._used >= self.attempts:
            return None
        wait = min(self.cap, self.base * 2**self._used) * (0.5 + 0.5 * self.jitter())
        self._used += 1
        return max(wait, retry_after or 0.0)

    def reset(self) -> None:
        """Something was gained: begin anew."""
        self._used = 0


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]
