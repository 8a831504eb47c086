"""A TCP port in front of a PostgreSQL, which can behave as a database that is away."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

STARTING = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
SSL_REQUEST = (80877103).to_bytes(4, "big")


@dataclass
class Door:
    """closed: whether connections are turned away. starting: whether they are told that PostgreSQL starts; otherwise
    they are closed. most: how many are turned away before the door opens by itself; None: no number.
    turned_away: how many were. tls: with what the door speaks TLS if it is asked to.
    """

    port: int = 0
    closed: bool = True
    starting: bool = False
    most: int | None = None
    turned_away: int = 0
    tls: ssl.SSLContext | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def url(self, url: str, **more: str) -> str:
        """The URL of a database, through this door."""
        return make_conninfo(url, **{"host": "127.0.0.1", "port": str(self.port), **more})


@contextmanager
def door_to(url: str, **fields: object) -> Generator[Door]:
    """A door during the block. url: of a PostgreSQL with a unix socket. fields: those of the door."""
    to = conninfo_to_dict(url)
    path = Path(str(to["host"])) / f".s.PGSQL.{to.get('port') or 5432}"
    door = Door(**fields)  # pyright: ignore
    loop = asyncio.new_event_loop()

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(
            lambda reader, writer: _pass(door, path, reader, writer), "127.0.0.1", 0
        )

    server = loop.run_until_complete(serve())
    door.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, name="door", daemon=True)
    thread.start()

    async def end() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield door
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pass(door: Door, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writers = [writer]
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        if door.closed and (door.most is None or door.turned_away < door.most):
            door.turned_away += 1
            if door.starting:
                await _first_message(door, reader, writer)
                writer.write(b"E" + (len(STARTING) + 4).to_bytes(4, "big") + STARTING)
                await writer.drain()
        else:
            first = await _first_message(door, reader, writer)
            from_database, to_database = await asyncio.open_unix_connection(path)
            writers.append(to_database)
            to_database.write(first)
            await asyncio.gather(_pump(reader, to_database), _pump(from_database, writer))
    for one in writers:
        one.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await one.wait_closed()


async def _first_message(door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The message with which the session begins, after requests for encryption."""
    while True:
        length = await reader.readexactly(4)
        message = await reader.readexactly(int.from_bytes(length, "big") - 4)
        if len(message) > 4:
            return length + message
        if door.tls is not None and message == SSL_REQUEST:
            writer.write(b"S")
            await writer.start_tls(door.tls)
        else:
            writer.write(b"N")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
