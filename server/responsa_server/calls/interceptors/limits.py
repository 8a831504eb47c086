"""Limits the number of calls that run at a time, and the time that each call may take. Ends all calls when the server drains."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Generator, Hashable
from contextlib import AbstractContextManager
from typing import Final

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call, Interceptor
from responsa_server.domain.addresses import network_of
from responsa_server.domain.errors import DeadlinePassed, Exhausted, Reason, Unavailable

RETRY_SECONDS: Final = 1.0
MAX_SIGN_IN_CALLS: Final = 128
"""The maximum number of calls at a time that sign in, refresh or register, or make another public call of the contract.
They count towards the limit of all calls, too, and take at most half of it."""
MAX_LARGE_BODIES: Final = 64
"""The maximum number of large bodies that arrive at a time."""
MAX_PUBLIC_CALLS: Final = 64
"""The maximum number of other calls without a credential (health checks, watches, reflection) at a time. Anyone may
make these calls, so they have a separate limit."""

QUIET_SECONDS: Final = 0.2
MAX_QUIET_SECONDS: Final = 2.0
"""A draining server answers new calls with DRAINING until no call has arrived for `QUIET_SECONDS`, but for at most `MAX_QUIET_SECONDS`."""

HEAD_START_SECONDS: Final = 0.05
HEAD_START_SHARE: Final = 0.1
"""A call ends 50 ms before its deadline, or after nine tenths of its time if that is later. The status must be on its
way before the caller's own timer fires, or the caller never sees the reason."""

_PLUMBING: Final = "/grpc."


class RunningCall:
    """A running call. cut: whether the drain has ended the call. signs_in: whether `MAX_SIGN_IN_CALLS` counts it."""

    __slots__ = ("cut", "signs_in", "task")

    def __init__(self, task: asyncio.Task[object], *, signs_in: bool = False) -> None:
        self.task = task
        self.cut = False
        self.signs_in = signs_in


class Arrivals:
    """The requests whose message, or whose body, has not arrived yet. If there are too many, the caller with the most
    of them loses the one that has waited longest. So a caller that never sends its messages keeps nobody out, and ends
    no request of a caller with fewer.
    """

    def __init__(self, limit: int) -> None:
        """limit: the maximum number of waiting requests, at least 1."""
        self._limit = limit
        self._total = 0
        # By caller, in the order of their beginning.
        self._waiting: dict[Hashable, OrderedDict[asyncio.Task[object], None]] = {}
        # The callers by the number of their requests. A caller moves by one place at a time, so each step takes constant time.
        self._callers: list[OrderedDict[Hashable, None]] = [OrderedDict()]
        self._given_up: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def waiting(self, caller: Hashable) -> Generator[None]:
        """A block in which the running task waits for a message of this caller. Raises Exhausted (OVERLOADED) if the
        request is given up."""
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        self._add(caller, task)
        if self._total > self._limit:
            # Of several callers with the most requests, the one that has had so many for longest.
            greediest = next(iter(self._callers[-1]))
            oldest = next(iter(self._waiting[greediest]))
            self._remove(greediest, oldest)
            self._given_up.add(oldest)
            oldest.cancel()
        try:
            yield
        except asyncio.CancelledError:
            # If the caller has left as well, the task stays cancelled.
            if task not in self._given_up or task.uncancel() > 0:
                raise
            raise _overload_error(self._limit) from None
        finally:
            if task not in self._given_up:
                self._remove(caller, task)
            self._given_up.discard(task)

    def _add(self, caller: Hashable, task: asyncio.Task[object]) -> None:
        tasks = self._waiting.setdefault(caller, OrderedDict())
        self._callers[len(tasks)].pop(caller, None)
        tasks[task] = None
        self._total += 1
        if len(tasks) == len(self._callers):
            self._callers.append(OrderedDict())
        self._callers[len(tasks)][caller] = None

    def _remove(self, caller: Hashable, task: asyncio.Task[object]) -> None:
        tasks = self._waiting[caller]
        del self._callers[len(tasks)][caller]
        if not self._callers[-1]:
            self._callers.pop()
        del tasks[task]
        self._total -= 1
        if tasks:
            self._callers[len(tasks)][caller] = None
        else:
            del self._waiting[caller]


class CallAdmission(Interceptor[RunningCall]):
    """Counts calls. gRPC's own limit is unreliable (grpc#41531), gives no reason and does not cover the other transports.

    A call does not count while it waits for its first message (`arriving`). Otherwise, strangers who never send their
    messages would take all places. Calls with a valid credential, sign-ins, and bodies that arrive before their call
    begins wait apart, so strangers give up only requests of strangers.
    """

    everywhere = True

    def __init__(self, limit: int) -> None:
        """limit: the maximum number of calls at a time, without those that `MAX_PUBLIC_CALLS` counts."""
        self._limit = limit
        self._most_signing_in = min(MAX_SIGN_IN_CALLS, max(1, limit // 2))
        self._public: set[RunningCall] = set()
        self._signing_in: set[RunningCall] = set()
        self._active: set[RunningCall] = set()
        self._place_of: dict[Call, RunningCall] = {}
        self._waiting_unchecked = Arrivals(max(1, limit))
        self._waiting_sign_ins = Arrivals(max(1, limit))
        self._waiting_calls = Arrivals(max(1, limit))
        self._waiting_large = Arrivals(MAX_LARGE_BODIES)
        self._arriving: set[RunningCall] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._refused = asyncio.Event()

    async def on_start(self, call: Call) -> RunningCall:
        """Take a place. Raises Exhausted (OVERLOADED), Unavailable (DRAINING)."""
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        # Only the sign-ins of browsers arrive here without a rule: the chain has refused all other methods without a rule.
        public = RULES.get(call.method) in (Rule.PUBLIC, None)
        signs_in = public and not call.method.startswith(_PLUMBING)
        running = RunningCall(task, signs_in=signs_in)
        if public and not signs_in:
            # A drain does not refuse health checks, because they report the drain. It does not wait for them either.
            if len(self._public) >= MAX_PUBLIC_CALLS:
                raise _overload_error(MAX_PUBLIC_CALLS)
            self._public.add(running)
            return running
        if self._draining:
            self._refused.set()
            raise _draining()
        self._take(running)
        self._place_of[call] = running
        return running

    def arriving_unchecked(self, call: Call) -> AbstractContextManager[None]:
        """A block in which the body of this call arrives before the call begins, so its credential is not checked.
        Raises Exhausted (OVERLOADED) if too many others wait."""
        return self._waiting_unchecked.waiting(_caller_of(call))

    def arriving_large(self, call: Call) -> AbstractContextManager[None]:
        """A block in which a large body of this call arrives, within `arriving`. Raises Exhausted (OVERLOADED) if too
        many others arrive."""
        return self._waiting_large.waiting(_caller_of(call))

    @contextlib.contextmanager
    def arriving(self, call: Call) -> Generator[None]:
        """A block in which the call waits for its first message. Raises Exhausted (OVERLOADED): too many others wait,
        or too many calls are running when the message has arrived."""
        running = self._place_of.get(call)
        if running is None:  # a health check: another limit counts it
            yield
            return
        self._arriving.add(running)
        self._give_back(running)
        try:
            with (self._waiting_sign_ins if running.signs_in else self._waiting_calls).waiting(
                _caller_of(call)
            ):
                yield
            self._take(running)
        finally:
            self._arriving.discard(running)

    def _take(self, running: RunningCall) -> None:
        if running.signs_in and len(self._signing_in) >= self._most_signing_in:
            raise _overload_error(self._most_signing_in)
        if len(self._active) >= self._limit:
            raise _overload_error(self._limit)
        if running.signs_in:
            self._signing_in.add(running)
        self._active.add(running)
        self._idle.clear()

    def _give_back(self, running: RunningCall) -> None:
        self._signing_in.discard(running)
        self._active.discard(running)
        if not self._active and not self._arriving:
            self._idle.set()

    async def on_end(
        self, call: Call, token: RunningCall, error: BaseException | None
    ) -> BaseException | None:
        """Give the place back. The error of a call that the drain cut off becomes DRAINING."""
        self._place_of.pop(call, None)
        self._public.discard(token)
        self._give_back(token)
        if token.cut and isinstance(error, asyncio.CancelledError):
            token.task.uncancel()
            return _draining()
        return error

    @property
    def running(self) -> int:
        """The number of calls that run now, without those that `MAX_PUBLIC_CALLS` counts."""
        return len(self._active)

    def drain(self) -> None:
        """Refuse new calls from now on."""
        self._draining = True

    async def idle(self) -> None:
        """Return once no call is running, apart from those that `MAX_PUBLIC_CALLS` counts."""
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
        for running in self._active | self._arriving | self._public:
            if not running.cut:
                running.cut = True
                running.task.cancel()


def _caller_of(call: Call) -> Hashable:
    """The one that answers for a request: the service or the user; before the credential is checked, the network of the address."""
    who = call.principal
    return network_of(call.address) if who is None else who.acting or who.user_id


def _overload_error(limit: int) -> Exhausted:
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
            raise _deadline_error()
        timeout = asyncio.timeout(remaining - min(HEAD_START_SECONDS, remaining * HEAD_START_SHARE))
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
            return _deadline_error()
        return error


def _deadline_error() -> DeadlinePassed:
    return DeadlinePassed(
        Reason.DEADLINE_EXCEEDED,
        "The call's deadline passed. An accepted turn continues: resume it, or ask again with the same request_id.",
    )
