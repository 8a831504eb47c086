"""A gRPC server that serves health alone: for processes that take no calls."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from responsa_server.transports.grpc.health import Health

HEALTH = "grpc.health.v1.Health"


class HealthServer:
    """One server. Started once, stopped once. It knows no service but health: who asks for another one's is told that there is none."""

    def __init__(self, address: str) -> None:
        """Build it; must be called in the running event loop. address: `unix:PATH` or `HOST:PORT`."""
        self._address = address
        self._health = Health((HEALTH,))
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> None:
        """Bind, and tell that the process is ready. Raises OSError when the address is taken."""
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}") from error
        await self._server.start()
        await self._health.serving()

    async def drain(self) -> None:
        """Tell that the process goes away."""
        await self._health.drain()

    async def stop(self) -> None:
        """End it."""
        await self._server.stop(0.5)
