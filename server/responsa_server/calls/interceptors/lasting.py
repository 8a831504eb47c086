"""Ends long calls, such as streams, and open sockets when their caller's credential ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Final, Protocol

from responsa_server.calls.call import Call, Interceptor
from responsa_server.domain.errors import ResponsaError, Unavailable
from responsa_server.domain.people import Principal

INTERVAL_SECONDS: Final = 0.4
"""The time between two checks. What a caller holds open ends within a second of the change that ends the caller's credential."""
_MANY: Final = 500
_LONGER: Final = 1.75
"""From `_MANY` open calls and sockets on, the time between two checks is this many times as long, because the query
costs more. It still ends them within a second."""


class Credentials(Protocol):
    """The part of the identity service that the watch needs."""

    async def recheck(self, callers: Sequence[Principal]) -> Sequence[ResponsaError | None]:
        """Return None for each caller who may still make calls, and otherwise the reason."""
        ...


class Watched:
    """What a caller holds open. end: takes the reason why the caller may no longer make calls."""

    __slots__ = ("end", "who")

    def __init__(self, caller: Principal, end: Callable[[ResponsaError], None]) -> None:
        self.who = caller
        self.end = end


class CredentialWatch:
    """Checks the callers of all that is open in this process, with one query for all of them. While nothing is open, nothing is checked."""

    def __init__(self, credentials: Credentials, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._credentials = credentials
        self._interval = interval_seconds
        self._open: set[Watched] = set()
        self._checking: asyncio.Task[None] | None = None

    def add(self, caller: Principal, end: Callable[[ResponsaError], None]) -> Watched:
        """Watch a caller until `remove`, or until the caller's credential ends. end: called at most once, with the
        reason; it must not block."""
        watched = Watched(caller, end)
        self._open.add(watched)
        if self._checking is None:
            # It serves everybody, so its lines name nothing of the call that happens to begin it.
            self._checking = asyncio.create_task(
                self._check(), name="checks of open calls and sockets", context=Context()
            )
        return watched

    def remove(self, watched: Watched) -> None:
        """Watch no more. Repeatable."""
        self._open.discard(watched)

    async def _check(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(self._interval * (1.0 if len(self._open) < _MANY else _LONGER))
                if not (asked := [*self._open]):
                    return  # short calls, such as most turns, have ended before their first check
                # A call notices by itself that the database cannot be reached.
                with contextlib.suppress(Unavailable):
                    reasons = await self._credentials.recheck([call.who for call in asked])
                    for call, ended in zip(asked, reasons, strict=True):
                        if ended is not None and call in self._open:
                            self._open.discard(call)
                            call.end(ended)
        finally:
            self._checking = None


class Lasting:
    """A running call that lasts. ended: why the caller may no longer make calls; None as long as that is not known."""

    __slots__ = ("ended", "task", "watched")

    def __init__(self, task: asyncio.Task[object], caller: Principal, watch: CredentialWatch) -> None:
        self.task = task
        self.ended: ResponsaError | None = None
        self.watched = watch.add(caller, self._end)

    def _end(self, error: ResponsaError) -> None:
        self.ended = error
        self.task.cancel()


class LastingCalls(Interceptor[Lasting | None]):
    """Watches the callers of all long calls that are running."""

    def __init__(self, watch: CredentialWatch) -> None:
        self._watch = watch

    async def on_start(self, call: Call) -> Lasting | None:
        """Note the call."""
        if not call.lasts or call.principal is None:
            return None
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        return Lasting(task, call.principal, self._watch)

    async def on_end(
        self, call: Call, token: Lasting | None, error: BaseException | None
    ) -> BaseException | None:
        """Forget the call. The error of a call that was ended here becomes the reason."""
        del call
        if token is None:
            return error
        self._watch.remove(token.watched)
        if token.ended is not None and isinstance(error, asyncio.CancelledError):
            token.task.uncancel()
            return token.ended
        return error
