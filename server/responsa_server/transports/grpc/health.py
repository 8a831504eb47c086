"""grpc.health.v1: the serving status of each service of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeAlias

from grpc_health.v1 import health_pb2

from responsa_server.calls.chain import Method, methods_of
from responsa_server.domain.errors import NotFound

HEALTH: Final = "grpc.health.v1.Health"
_MAX_NAME_SHOWN: Final = 64
# A value of HealthCheckResponse.ServingStatus, typed as in the stubs.
Status: TypeAlias = int

NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


class Health:
    """The status of each service; the empty name stands for all services. The status is NOT_SERVING before the server is ready and once it drains.

    Every method (including Watch) refuses unknown services. The standard lets clients watch unknown services, but then the server would
    have to keep every name that a client invents.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._names = ("", *services)
        self._status: Status = NOT_SERVING
        self._drained = False
        self._changed = asyncio.Event()

    def methods(self) -> Sequence[Method]:
        descriptor: Any = health_pb2.DESCRIPTOR.services_by_name[
            "Health"
        ]  # the stubs of two packages disagree about its class
        return [*methods_of(descriptor, self)]

    def serving(self) -> None:
        """Mark the server as ready. This has no effect after `drain`."""
        if not self._drained:
            self._set(SERVING)

    def not_serving(self) -> None:
        """Mark the server as not ready, or about to stop."""
        self._set(NOT_SERVING)

    def drain(self) -> None:
        """Mark the server as draining; this is final."""
        self._drained = True
        self._set(NOT_SERVING)

    async def Check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """The status of one service. Raises NotFound."""
        self._find(request.service)
        return self._response()

    async def Watch(
        self, request: health_pb2.HealthCheckRequest
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """The status of one service, now and whenever it changes. Raises NotFound."""
        self._find(request.service)
        while True:
            changed, status = self._changed, self._status
            yield self._response()
            # A slow reader may miss statuses that change again before it reads them.
            while self._status == status:
                await changed.wait()
                changed = self._changed

    async def List(self, request: object) -> object:
        """The status of all services. The library's stubs lack the messages of this method."""
        del request
        response: Any = getattr(health_pb2, "HealthListResponse")()  # noqa: B009
        for name in self._names:
            response.statuses[name].status = self._status
        return response

    def _find(self, service: str) -> None:
        if service not in self._names:
            raise NotFound.of("service", service[:_MAX_NAME_SHOWN])

    def _response(self) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=self._status)  # pyright: ignore[reportArgumentType]  the wire carries a number

    def _set(self, status: Status) -> None:
        self._status = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
