"""The small HTTP server of the laboratory, on the event loop of the product's processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
from typing import Any

import uvloop

from responsa_lab.testing.loopback import Exchange, LoopbackServer

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def _after_a_reset() -> tuple[list[BaseException], list[dict[str, Any]]]:
    """A client resets its connection, and the handler then writes another piece. Returns what the write raised, and
    what the loop reported."""
    raised, reported = list[BaseException](), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.begin("text/plain")
        begun.set()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await exchange.piece(b"too late")
        except BaseException as error:
            raised.append(error)
            raise
        finally:
            ended.set()

    server = LoopbackServer(handle)
    await server.start()
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await begun.wait()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    await ended.wait()
    await server.close()
    gc.collect()  # the loop reports an error that nobody has read when its task is freed
    return raised, reported


def test_a_late_write_to_a_reset_connection_ends_the_connection_quietly() -> None:
    (raised,), reported = uvloop.run(_after_a_reset())
    assert isinstance(raised, ConnectionError)
    assert reported == []
