"""Applies the limits per network address, user and tenant to calls, streams and uploads, whichever transport carries them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from responsa_server.calls.call import Call, Interceptor
from responsa_server.identity.limits import Hold, Limiter

UPLOAD: Final = "/responsa.knowledge.v1.KnowledgeService/UploadDocument"
_UNCOUNTED: Final = "/grpc."
"""Health checks and reflection have a separate limit (`CallAdmission`)."""


class AddressLimits(Interceptor[None]):
    """Counts each call for its network address, before its credential costs a look into the database. Sign-ins and
    refused credentials count, too."""

    everywhere = True

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def on_start(self, call: Call) -> None:
        """Count the call. Raises Exhausted (RATE_LIMIT)."""
        if not call.method.startswith(_UNCOUNTED):
            await self._limiter.address_calls(call.address)


class CallerLimits(Interceptor[Sequence[Hold]]):
    """Counts each call for its user and its tenant, and what lasts as long as it lasts."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def on_start(self, call: Call) -> Sequence[Hold]:
        """Count the call. Raises Exhausted (RATE_LIMIT, LIMIT_REACHED)."""
        caller = call.principal
        if caller is None:
            return ()
        await self._limiter.calls(caller)
        if not call.lasts:
            return ()
        # Callers choose call ids, so two calls may have the same one.
        member = uuid4().hex
        held = [await self._limiter.stream(caller, call.address, member)]
        if call.method == UPLOAD:
            try:
                held.append(await self._limiter.upload(caller, member))
            except BaseException:
                held[0].release()
                raise
        return held

    async def on_end(
        self, call: Call, token: Sequence[Hold], error: BaseException | None
    ) -> BaseException | None:
        """Stop counting what has ended."""
        del call
        for hold in token:
            hold.release()
        return error
