"""Gives each call an id, by which the caller and the log speak of it."""

from __future__ import annotations

import re
from uuid import uuid4

from responsa_server.rpc.call import Call
from responsa_server.rpc.interceptors.shape import Interceptor

HEADER = "x-request-id"
# An id goes into logs: what could be mistaken for anything else there is replaced.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CallId(Interceptor[None]):
    """Takes the caller's `x-request-id`, or makes one, and returns it as initial metadata."""

    async def on_start(self, call: Call) -> None:
        """Choose the id and send it."""
        given = call.metadata.get(HEADER, ())
        call.id = given[0] if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]) else str(uuid4())
        await call.context.send_initial_metadata(((HEADER, call.id),))
