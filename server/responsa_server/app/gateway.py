"""The HTTP server behind Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from responsa_server.app.listening import listen
from responsa_server.domain.addresses import Address, TcpAddress, UnixAddress
from responsa_server.transports.doors import BoundedProtocol
from responsa_server.transports.http.protocol import BoundedHead

KEEP_ALIVE_SECONDS = 120
"""This time is longer than the 60 s for which Envoy keeps an idle connection, so that Envoy never sends a call on a
connection that is being closed.
"""
MAX_SOCKET_MESSAGE_BYTES = 2_097_152
"""The maximum length of a message on a WebSocket. A longer message closes the WebSocket with the code 1009."""


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, because the server process handles signals itself. `serving` is set once
    Uvicorn accepts calls.
    """

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
    """Serves `app` at `address`. Call `start` once, then `stop`.

    A unix socket gets the mode 0600 and replaces the socket of a killed process.
    """

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app = app
        self._address = address
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = 0
        """The port; 0 before `start`, and on a unix socket."""

    async def start(self) -> None:
        """Start serving; return once calls are accepted.

        Raises:
            AddressTaken: another process listens on the address.
            OSError: the socket cannot be created.
        """
        listener = listen(self._address)
        if isinstance(self._address, TcpAddress):
            self.port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                self._app,
                http=BoundedHead,
                ws=BoundedProtocol,
                ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
                # Our protocol has its own heartbeat frames, so pings are off. Compression is off because, for small
                # frames, it costs more than it saves, and it needs memory for each socket.
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
        """Stop accepting calls, wait `grace_seconds` for running calls to end, and cancel the rest. Repeatable."""
        if self._server is None or self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self._task
        self._server = self._task = None
        if isinstance(self._address, UnixAddress):
            self._address.path.unlink(missing_ok=True)
