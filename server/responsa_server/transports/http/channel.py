"""The gateway's channel to the gRPC server."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc


class ServerChannel:
    """One for all that the gateway calls. An async context manager: the channel lives as long as it is entered.

    target: as gRPC names it, e.g. "unix:/run/server.sock".
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        # Calls of one channel share a connection; the authority is what a unix socket needs for a valid host name.
        self._channel = grpc.aio.insecure_channel(self._target, [("grpc.default_authority", "localhost")])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()

    @property
    def opened(self) -> grpc.aio.Channel:
        """What to call over. Raises RuntimeError before it was entered."""
        if self._channel is None:
            raise RuntimeError("the channel is not open; the application's lifespan opens it")
        return self._channel
