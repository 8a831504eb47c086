"""Ends a call when its caller's deadline passes, with a status that says so."""

from __future__ import annotations

import asyncio

from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import DeadlinePassed, Reason

# The status has to be on its way before the caller's own clock strikes, or its reason is lost.
_HEAD_START_SECONDS = 0.05
_HEAD_START_SHARE = 0.1


class Deadline(Interceptor[asyncio.Timeout | None]):
    """Turns the time that remains into a timeout; a caller that set none waits as long as it takes."""

    async def on_start(self, call: Call) -> asyncio.Timeout | None:
        """Begin to count."""
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
        """Stop counting; tell a cancellation that came from the deadline from any other."""
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
