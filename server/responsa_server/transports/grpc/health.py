"""grpc.health.v1: the serving status of each service of this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeAlias

from grpc_health.v1 import health_pb2

from responsa_server.calls.chain import Method, methods_of
from responsa_server.calls.health import ServerHealth
from responsa_server.domain.errors import NotFound

HEALTH: Final = "grpc.health.v1.Health"
_MAX_NAME_SHOWN: Final = 64
# How often a watch looks whether a part has gone or come back.
_LOOK_SECONDS: Final = 1.0
# A value of HealthCheckResponse.ServingStatus, typed as in the stubs.
Status: TypeAlias = int

NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


class Health:
    """The status of each service; the empty name stands for all services. The status is NOT_SERVING before the server
    is ready and once it drains, and also, but for this service itself, while a part is away without which no call can
    be answered.

    Every method (including Watch) refuses unknown services. The standard lets clients watch unknown services, but then
    the server would have to keep every name that a client invents.
    """

    def __init__(self, services: Sequence[str], health: ServerHealth | None = None) -> None:
        """services: the full names of the services. health: says which parts are lacking; None: none ever is."""
        self._health = health
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
        return _response(await self._of(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """The status of one service, now and whenever it changes. Raises NotFound."""
        self._find(request.service)
        told: Status | None = None
        while True:
            changed, status = self._changed, await self._of(request.service)
            # A slow reader may miss statuses that change again before it reads them.
            if status != told:
                told = status
                yield _response(status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await changed.wait()

    async def List(self, request: object) -> object:
        """The status of all services. The library's stubs lack the messages of this method."""
        del request
        response: Any = getattr(health_pb2, "HealthListResponse")()  # noqa: B009
        for name in self._names:
            response.statuses[name].status = await self._of(name)
        return response

    def _find(self, service: str) -> None:
        if service not in self._names:
            raise NotFound.of("service", service[:_MAX_NAME_SHOWN])

    async def _of(self, service: str) -> Status:
        if self._status == SERVING and self._health is not None and service != HEALTH:
            return NOT_SERVING if await self._health.lacking() else SERVING
        return self._status

    def _set(self, status: Status) -> None:
        self._status = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _response(status: Status) -> health_pb2.HealthCheckResponse:
    return health_pb2.HealthCheckResponse(status=status)  # pyright: ignore[reportArgumentType]  the wire carries a number
