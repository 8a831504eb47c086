"""Tells systemd that this process is ready and that its event loop runs (the protocol of sd_notify)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Mapping

READY = "READY=1"
ALIVE = "WATCHDOG=1"


def notify(message: str, variables: Mapping[str, str]) -> None:
    """Sends a message to the socket that `variables` name. Does nothing without a socket, or if nobody reads it."""
    if not (address := variables.get("NOTIFY_SOCKET")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        # An address that begins with @ has no file.
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.send(message.encode())


def watchdog_seconds(variables: Mapping[str, str]) -> float | None:
    """The number of seconds without a message after which systemd ends this process; None if it does not watch this process."""
    microseconds = variables.get("WATCHDOG_USEC", "")
    watches = variables.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if watches and microseconds.isdecimal() and int(microseconds) else None


@contextlib.asynccontextmanager
async def alive(variables: Mapping[str, str]) -> AsyncGenerator[None]:
    """Tells systemd during the block that the running event loop runs. A blocked loop sends nothing."""
    seconds = watchdog_seconds(variables)
    if seconds is None:
        yield
        return
    task = asyncio.create_task(_tell(seconds / 3, variables))
    try:
        yield
    finally:
        task.cancel()


async def _tell(interval: float, variables: Mapping[str, str]) -> None:
    while True:
        notify(ALIVE, variables)
        await asyncio.sleep(interval)
