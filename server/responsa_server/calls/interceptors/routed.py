"""Refuses methods that are not served."""

from __future__ import annotations

from responsa_server.calls.authorisation import RULES
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import NotFound, Reason


class Routed(Interceptor[None]):
    """Lets a call pass whose method is one of ours: what has no rule is not served."""

    async def on_start(self, call: Call) -> None:
        """Check the method. Raises NotFound (ROUTE_NOT_FOUND)."""
        if not call.served or call.method not in RULES:
            raise NotFound(
                Reason.ROUTE_NOT_FOUND,
                "This server has no such method; see its reflection or the published protos.",
            )
