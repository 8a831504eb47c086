"""Serving an ASGI application on a unix socket inside the server's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

KEEP_ALIVE_SECONDS = 120
"""Longer than Envoy keeps an idle connection (60 s), so that it never sends a call into one that is being closed."""
MAX_HEADER_BYTES = 32_768


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
    """Serves `app` on the unix socket `socket_path` (0600; one left by a killed process is replaced). Used once: start, then stop."""

    def __init__(self, app: ASGIApp, socket_path: Path) -> None:
        self._app = app
        self._path = socket_path
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once calls are taken.

        Raises:
            OSError: the socket cannot be made.
        """
        listener = _listen(self._path)
        server = _Server(
            uvicorn.Config(
                self._app,
                http="h11",
                ws="none",
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
        self._path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
