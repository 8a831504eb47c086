"""Gives each call an id, by which the caller and the log speak of it."""

from __future__ import annotations

import re
from uuid import uuid4

from responsa_server.calls.call import CALL_ID, Call
from responsa_server.calls.interceptors.shape import Interceptor

# An id goes into logs: what could be mistaken for anything else there is replaced.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CallId(Interceptor[None]):
    """Takes the caller's `x-request-id`, or makes one; the chain returns it with the call's answer."""

    async def on_start(self, call: Call) -> None:
        """Choose the id."""
        given = call.metadata.get(CALL_ID, ())
        call.id = given[0] if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]) else str(uuid4())
