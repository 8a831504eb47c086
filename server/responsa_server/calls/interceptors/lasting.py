"""Ends long calls, such as streams, when their caller's credential ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

from responsa_server.calls.call import Call, Interceptor
from responsa_server.domain.errors import ResponsaError, Unavailable
from responsa_server.domain.people import Principal

INTERVAL_SECONDS: Final = 0.4
"""The time between two checks. A call ends within a second of the change that ends its credential."""


class Credentials(Protocol):
    """The part of the identity service that this interceptor needs."""

    async def ended(self, callers: Sequence[Principal]) -> Sequence[ResponsaError | None]:
        """Return None for each caller who may still make calls, and otherwise the reason."""
        ...


class Lasting:
    """A running call that lasts. ended: why the caller may no longer make calls; None as long as that is not known."""

    __slots__ = ("ended", "task", "who")

    def __init__(self, task: asyncio.Task[object], who: Principal) -> None:
        self.task = task
        self.who = who
        self.ended: ResponsaError | None = None


class LastingCalls(Interceptor[Lasting | None]):
    """Checks the callers of all long calls that are running, with one query for all of them. While no such call runs, nothing is checked."""

    def __init__(self, credentials: Credentials, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._credentials = credentials
        self._interval = interval_seconds
        self._running: set[Lasting] = set()
        self._checking: asyncio.Task[None] | None = None

    async def on_start(self, call: Call) -> Lasting | None:
        """Note the call."""
        if not call.lasts or call.principal is None:
            return None
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        lasting = Lasting(task, call.principal)
        self._running.add(lasting)
        if self._checking is None:
            self._checking = asyncio.create_task(self._check(), name="checks of lasting calls")
        return lasting

    async def on_end(
        self, call: Call, token: Lasting | None, error: BaseException | None
    ) -> BaseException | None:
        """Forget the call. The error of a call that this interceptor ended becomes the reason."""
        del call
        if token is None:
            return error
        self._running.discard(token)
        if token.ended is not None and isinstance(error, asyncio.CancelledError):
            token.task.uncancel()
            return token.ended
        return error

    async def _check(self) -> None:
        try:
            while self._running:
                await asyncio.sleep(self._interval)
                running = [one for one in self._running if one.ended is None]
                # A call notices by itself that the database cannot be reached.
                with contextlib.suppress(Unavailable):
                    found = await self._credentials.ended([one.who for one in running])
                    for one, ended in zip(running, found, strict=True):
                        if ended is not None and one in self._running:
                            one.ended = ended
                            one.task.cancel()
        finally:
            self._checking = None
