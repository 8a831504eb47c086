"""How many calls are served at a time, and none once the server drains."""

from __future__ import annotations

import asyncio

from responsa_server.domain.errors import Exhausted, Reason, Unavailable
from responsa_server.rpc.authorisation import RULES, Rule
from responsa_server.rpc.call import Call
from responsa_server.rpc.interceptors.shape import Interceptor

RETRY_SECONDS = 1.0


class Admission(Interceptor[bool]):
    """Counts calls. gRPC's own limit is unreliable (grpc#41531) and carries no reason; calls without a credential, such as health checks, are free."""

    def __init__(self, most: int) -> None:
        """most: how many calls at a time."""
        self._most = most
        self._active = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def on_start(self, call: Call) -> bool:
        """Take a place. Raises Exhausted (OVERLOADED), Unavailable (DRAINING)."""
        if RULES.get(call.method) is Rule.PUBLIC:
            return False
        if self._draining:
            raise Unavailable(
                Reason.DRAINING,
                "The server is shutting down; try again in a moment.",
                retry_after=RETRY_SECONDS,
            )
        if self._active >= self._most:
            raise Exhausted(
                Reason.OVERLOADED,
                "The server has as many calls as it can serve; try again in a moment.",
                {"limit": str(self._most)},
                retry_after=RETRY_SECONDS,
            )
        self._active += 1
        self._idle.clear()
        return True

    async def on_end(self, call: Call, token: bool, error: BaseException | None) -> BaseException | None:
        """Give the place back."""
        del call
        if token:
            self._active -= 1
            if self._active == 0:
                self._idle.set()
        return error

    def drain(self) -> None:
        """Take no new calls from now on."""
        self._draining = True

    async def idle(self) -> None:
        """Return once no call is being served."""
        await self._idle.wait()
