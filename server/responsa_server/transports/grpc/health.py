"""grpc.health.v1, one state a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from responsa_server.calls.call import Context

# A value of HealthCheckResponse.ServingStatus, as the stubs have it.
Status: TypeAlias = int


class Health(HealthServicer):
    """Tells for each service, and by the empty name for all, whether it serves: not before the server is ready, and not once it drains."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._names = ("", *services)
        self._told: dict[str, Status] = {}

    async def not_serving(self) -> None:
        """Tell that the server is not ready."""
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def serving(self) -> None:
        """Tell that the server is ready."""
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Tell that the server goes away; nothing changes that any more."""
        await self.not_serving()
        await self.enter_graceful_shutdown()

    async def List(self, request: object, context: Context) -> object:
        """Tell of all services at once. The library's own servicer lacks this method, and its stubs the messages."""
        del request, context
        response: Any = getattr(health_pb2, "HealthListResponse")()  # noqa: B009
        for name, status in self._told.items():
            response.statuses[name].status = status
        return response

    async def _tell(self, status: Status) -> None:
        for name in self._names:
            self._told[name] = status
            await self.set(name, status)
