"""Serving an ASGI application inside the server's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from responsa_server.domain.addresses import Address, UnixAddress
from responsa_server.transports.http.listening import listen
from responsa_server.transports.ws.protocol import BoundedProtocol

KEEP_ALIVE_SECONDS = 120
"""Longer than Envoy keeps an idle connection (60 s), so that it never sends a call into one that is being closed."""
MAX_HEADER_BYTES = 32_768
MAX_SOCKET_MESSAGE_BYTES = 2_097_152
"""A longer message ends its socket (1009)."""


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers (signals are the server's), which tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class GatewayServer:
    """Serves `app` at `address` (a unix socket is 0600, and one left by a killed process is replaced). Used once: start, then stop."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app = app
        self._address = address
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once calls are taken.

        Raises:
            AddressTaken: another process listens there.
            OSError: the socket cannot be made.
        """
        listener = listen(self._address)
        server = _Server(
            uvicorn.Config(
                self._app,
                http="h11",
                ws=BoundedProtocol,
                ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
                # Heartbeats are frames of our own; compressing small frames costs more than it saves, and memory for each socket.
                ws_ping_interval=None,
                ws_per_message_deflate=False,
                lifespan="on",
                loop="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
        self._server, self._task = server, task
        serving = asyncio.create_task(server.serving.wait())
        try:
            await asyncio.wait({task, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
        if task.done():
            listener.close()
            await task

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more calls, let running ones end for `grace_seconds`, cancel the rest. Repeatable."""
        if self._server is None or self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self._task
        self._server = self._task = None
        if isinstance(self._address, UnixAddress):
            self._address.path.unlink(missing_ok=True)
