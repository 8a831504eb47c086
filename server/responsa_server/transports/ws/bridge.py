"""`/ws/chat`, as a route of the gateway."""

from __future__ import annotations

from typing import Final

from starlette.websockets import WebSocket

from responsa_server.calls.chain import Calls
from responsa_server.transports.ws.auth import handshake_of
from responsa_server.transports.ws.html import Rendering
from responsa_server.transports.ws.registry import Registry
from responsa_server.transports.ws.session import SERVICE_RESTART, Limits, Session

PATH: Final = "/ws/chat"
SOCKETS_PER_USER: Final = 16


class Bridge:
    """All sockets of this process.

    sockets_per_user: how many a user may have open at a time, in this process.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        limits: Limits | None = None,
        sockets_per_user: int = SOCKETS_PER_USER,
    ) -> None:
        self._calls = calls
        self._limits = limits or Limits()
        self._registry = Registry(sockets_per_user)
        self._rendering = Rendering()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one socket to its end."""
        if self._registry.leaving:
            await socket.accept(subprotocol=handshake_of(socket).subprotocol)
            await socket.close(SERVICE_RESTART)
            return
        await Session(socket, self._calls, self._registry, self._rendering, self._limits).run()

    def leave(self) -> None:
        """Ask the clients of all sockets, and of those that still open, to reconnect elsewhere."""
        self._registry.leave()
