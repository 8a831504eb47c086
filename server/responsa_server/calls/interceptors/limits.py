"""Limits the number of calls that run at a time, and the time that each call may take. Ends all calls when the server drains."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call, Interceptor
from responsa_server.domain.errors import DeadlinePassed, Exhausted, Reason, Unavailable

RETRY_SECONDS: Final = 1.0
MAX_SIGN_IN_CALLS: Final = 128
"""The maximum number of calls that sign in, refresh or register at a time. They count towards the limit of all calls, too, and take at most half of it."""
MAX_PUBLIC_CALLS: Final = 64
"""The maximum number of other calls without a credential (health checks, watches, reflection) at a time. Anyone may make these calls, so they have a separate limit."""

QUIET_SECONDS: Final = 0.2
MAX_QUIET_SECONDS: Final = 2.0
"""A draining server answers new calls with DRAINING until no call has arrived for `QUIET_SECONDS`, but for at most `MAX_QUIET_SECONDS`."""

_PLUMBING: Final = "/grpc."
# The status must be on its way before the caller's own timer fires, or the caller never sees the reason.
_HEAD_START_SECONDS: Final = 0.05
_HEAD_START_SHARE: Final = 0.1


class Place:
    """A running call. cut: whether the drain has ended the call."""

    __slots__ = ("cut", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.cut = False


class Admission(Interceptor[Place]):
    """Counts calls. gRPC's own limit is unreliable (grpc#41531), gives no reason and does not cover the other transports."""

    everywhere = True

    def __init__(self, most: int) -> None:
        """most: the maximum number of calls with a credential at a time."""
        self._most = most
        self._most_signing_in = min(MAX_SIGN_IN_CALLS, max(1, most // 2))
        self._public: set[Place] = set()
        self._signing_in: set[Place] = set()
        self._active: set[Place] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._refused = asyncio.Event()

    async def on_start(self, call: Call) -> Place:
        """Take a place. Raises Exhausted (OVERLOADED), Unavailable (DRAINING)."""
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        place = Place(task)
        # Only the sign-ins of browsers arrive here without a rule: the chain has refused all other methods without a rule.
        public = RULES.get(call.method) in (Rule.PUBLIC, None)
        signs_in = public and not call.method.startswith(_PLUMBING)
        if public and not signs_in:
            # A drain does not refuse health checks, because they report the drain. It does not wait for them either.
            if len(self._public) >= MAX_PUBLIC_CALLS:
                raise _overloaded(MAX_PUBLIC_CALLS)
            self._public.add(place)
            return place
        if self._draining:
            self._refused.set()
            raise _draining()
        if signs_in and len(self._signing_in) >= self._most_signing_in:
            raise _overloaded(self._most_signing_in)
        if len(self._active) >= self._most:
            raise _overloaded(self._most)
        if signs_in:
            self._signing_in.add(place)
        self._active.add(place)
        self._idle.clear()
        return place

    async def on_end(self, call: Call, token: Place, error: BaseException | None) -> BaseException | None:
        """Give the place back. The error of a call that the drain cut off becomes DRAINING."""
        del call
        self._public.discard(token)
        self._signing_in.discard(token)
        self._active.discard(token)
        if not self._active:
            self._idle.set()
        if token.cut and isinstance(error, asyncio.CancelledError):
            token.task.uncancel()
            return _draining()
        return error

    def drain(self) -> None:
        """Refuse new calls from now on."""
        self._draining = True

    async def idle(self) -> None:
        """Return once no call with a credential is running."""
        await self._idle.wait()

    async def quiet(self) -> None:
        """Return once no new call has arrived for `QUIET_SECONDS`, or after `MAX_QUIET_SECONDS` at the latest.

        A stopping gRPC server drops new calls without a reason, so the server first waits for quiet. The wait
        is limited, so that callers that repeat their calls cannot delay the stop.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_QUIET_SECONDS):
                while True:
                    self._refused.clear()
                    async with asyncio.timeout(QUIET_SECONDS):
                        await self._refused.wait()

    def cut(self) -> None:
        """End all running calls with UNAVAILABLE (DRAINING), so that callers try another server, or this server after its restart."""
        for place in self._active | self._public:
            if not place.cut:
                place.cut = True
                place.task.cancel()


def _overloaded(limit: int) -> Exhausted:
    return Exhausted(
        Reason.OVERLOADED,
        "The server is already serving as many calls as it can; try again in a moment.",
        {"limit": str(limit)},
        retry_after=RETRY_SECONDS,
    )


def _draining() -> Unavailable:
    return Unavailable(
        Reason.DRAINING, "The server is shutting down; try again in a moment.", retry_after=RETRY_SECONDS
    )


class Deadline(Interceptor[asyncio.Timeout | None]):
    """Ends a call when its caller's deadline passes, with a status that says so. A call without a deadline has no time limit."""

    async def on_start(self, call: Call) -> asyncio.Timeout | None:
        """Start the timer. Raises DeadlinePassed."""
        remaining = call.time_remaining
        if remaining is None:
            return None
        if remaining <= 0:
            raise _passed()
        timeout = asyncio.timeout(remaining - min(_HEAD_START_SECONDS, remaining * _HEAD_START_SHARE))
        await timeout.__aenter__()
        return timeout

    async def on_end(
        self, call: Call, token: asyncio.Timeout | None, error: BaseException | None
    ) -> BaseException | None:
        """Stop the timer. A cancellation that the deadline caused becomes DEADLINE_EXCEEDED."""
        del call
        if token is None:
            return error
        try:
            await token.__aexit__(
                type(error) if error else None, error, error.__traceback__ if error else None
            )
        except TimeoutError:
            return _passed()
        return error


def _passed() -> DeadlinePassed:
    return DeadlinePassed(
        Reason.DEADLINE_EXCEEDED,
        "The call's deadline passed. A turn that was accepted goes on: resume it, or ask again with the same request_id.",
    )
