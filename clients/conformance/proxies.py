"""Proxies that cut connections after a number of bytes, in either direction."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CHUNK = 1 << 16
Place = tuple[str, int] | Path
"""An address to listen on or connect to: a host and a port, or the path of a socket."""


@dataclass(slots=True)
class Budget:
    """The number of bytes in each direction after which a connection is cut; None for never. It may be changed while
    the connection is open."""

    to_server: int | None = None
    to_client: int | None = None


class CuttingProxy:
    """Forwards connections, and cuts each connection when its budget is used up. `draw` returns the budget of a new
    connection. This is an async context manager.

    budgets: the budget of each open connection, by the port from which the proxy connects to the server.
    """

    def __init__(self, listen: Place, target: Place, draw: Callable[[], Budget] = Budget) -> None:
        self.listen = listen
        self.target = target
        self.draw = draw
        self.cuts = 0
        self.connections = 0
        self.budgets: dict[int, Budget] = {}
        self._cutting = True
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> CuttingProxy:
        if isinstance(self.listen, Path):
            self.listen.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, self.listen, limit=CHUNK)
            self.listen.chmod(0o660)  # for the group of its folder, as a server's own sockets
        else:
            self._server = await asyncio.start_server(self._accept, *self.listen, limit=CHUNK, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        if isinstance(self.listen, Path):
            self.listen.unlink(missing_ok=True)

    @property
    def port(self) -> int:
        """The port on which the proxy listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def stop_cutting(self) -> None:
        """From now on let all connections live. Connections that are already open lose their budgets too: Envoy keeps
        them for later requests."""
        self._cutting = False

    def cut_all(self) -> None:
        """Cut all open connections."""
        for task in list(self._open):
            self.cuts += 1
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        upstream: asyncio.StreamWriter | None = None
        port = 0
        try:
            if isinstance(self.target, Path):
                inward, upstream = await asyncio.open_unix_connection(self.target, limit=CHUNK)
            else:
                inward, upstream = await asyncio.open_connection(*self.target, limit=CHUNK)
                port = int(upstream.get_extra_info("sockname")[1])
            budget = self.budgets[port] = self.draw()
            ways = {
                asyncio.create_task(self._pass(reader, upstream, budget, "to_server")),
                asyncio.create_task(self._pass(inward, writer, budget, "to_client")),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # a cancelled connection was cut on purpose, and some tests have a target that cannot be reached
        finally:
            self._open.discard(task)
            self.budgets.pop(port, None)
            for one in (writer, upstream):
                if one is not None:
                    one.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        budget: Budget,
        way: Literal["to_server", "to_client"],
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                left: int | None = getattr(budget, way) if self._cutting else None
                if left is not None:
                    left -= len(data)
                    setattr(budget, way, left)
                    data = data[:left] if left < 0 else data
                writer.write(data)
                if left is not None and left <= 0:
                    self.cuts += 1
                    # The bytes within the budget are sent. Then the connection ends.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1.0):
                            await writer.drain()
                    return
                await writer.drain()


def random_cuts(dice: random.Random, most: int) -> Callable[[], Budget]:
    """A function that returns random budgets. Most connections are cut after at most `most` bytes to the client; one in
    eight is cut on the way to the server."""

    def draw() -> Budget:
        if dice.random() < 0.125:
            return Budget(to_server=dice.randrange(1, 800))
        return Budget(to_client=dice.randrange(1, most))

    return draw
