"""What systemd hears of a process, on a real socket. (tests/gateway/test_real_server.py has the server's own messages.)"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Generator, Mapping

import pytest

from responsa_server.app.notify import alive

NAME = f"responsa-test-{os.getpid()}"


@pytest.fixture
def systemd() -> Generator[socket.socket]:
    """A socket without a file, as some versions of systemd make it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{NAME}")
        yield receiver


def variables(pid: int) -> Mapping[str, str]:
    return {"NOTIFY_SOCKET": f"@{NAME}", "WATCHDOG_USEC": "300000", "WATCHDOG_PID": str(pid)}


async def test_a_blocked_event_loop_sends_nothing(systemd: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    systemd.setblocking(False)
    async with alive(variables(os.getpid())):
        for _ in range(2):
            assert await asyncio.wait_for(loop.sock_recv(systemd, 64), 60) == b"WATCHDOG=1"
        systemd.settimeout(0.3)
        with pytest.raises(TimeoutError):
            systemd.recv(64)  # blocks the loop


async def test_a_child_of_the_watched_process_sends_nothing(systemd: socket.socket) -> None:
    systemd.setblocking(False)
    async with alive(variables(os.getppid())):
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            systemd.recv(64)
