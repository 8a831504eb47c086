"""How many calls are served at a time, and none once the server drains."""

from __future__ import annotations

import asyncio

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import Exhausted, Reason, Unavailable

RETRY_SECONDS = 1.0

Place = asyncio.Task[object]


class Admission(Interceptor["Place | None"]):
    """Counts calls. gRPC's own limit is unreliable (grpc#41531) and carries no reason; calls without a credential, such as health checks, are free."""

    def __init__(self, most: int) -> None:
        """most: how many calls at a time."""
        self._most = most
        self._active: set[Place] = set()
        self._cut: set[Place] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def on_start(self, call: Call) -> Place | None:
        """Take a place. Raises Exhausted (OVERLOADED), Unavailable (DRAINING)."""
        if RULES.get(call.method) is Rule.PUBLIC:
            return None
        if self._draining:
            raise _draining()
        if len(self._active) >= self._most:
            raise Exhausted(
                Reason.OVERLOADED,
                "The server has as many calls as it can serve; try again in a moment.",
                {"limit": str(self._most)},
                retry_after=RETRY_SECONDS,
            )
        task = asyncio.current_task()
        assert task is not None
        self._active.add(task)
        self._idle.clear()
        return task

    async def on_end(
        self, call: Call, token: Place | None, error: BaseException | None
    ) -> BaseException | None:
        """Give the place back; a call that the drain cut off is told so."""
        del call
        if token is None:
            return error
        self._active.discard(token)
        if not self._active:
            self._idle.set()
        if token in self._cut:
            self._cut.discard(token)
            if isinstance(error, asyncio.CancelledError):
                token.uncancel()
                return _draining()
        return error

    def drain(self) -> None:
        """Take no new calls from now on."""
        self._draining = True

    async def idle(self) -> None:
        """Return once no call is being served."""
        await self._idle.wait()

    def cut(self) -> None:
        """End the calls that are still being served, as UNAVAILABLE (DRAINING): callers ask another server, or this one after its start."""
        for task in self._active - self._cut:
            self._cut.add(task)
            task.cancel()


def _draining() -> Unavailable:
    return Unavailable(
        Reason.DRAINING, "The server is shutting down; try again in a moment.", retry_after=RETRY_SECONDS
    )
