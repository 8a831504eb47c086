"""What a process listens on: addresses that two processes cannot use without noticing, and what serves callers there."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from responsa_server.domain.addresses import Address, TcpAddress, UnixAddress
from responsa_server.domain.parts import PartReport

_BACKLOG = 2048


class AddressTaken(Exception):
    """Another process listens on the address. Users read the message."""

    def __init__(self, address: Address) -> None:
        super().__init__(f"Another process listens on {address}")


@contextmanager
def claim(address: Address) -> Generator[None]:
    """Claim an address for this process during the block.

    A killed process leaves its unix socket behind, so binding replaces an existing socket, even a socket in use.
    Therefore, a process claims a unix socket by locking the file PATH.lock. The kernel releases the lock when the
    process ends. For a TCP address, this function only checks that the address is free; the process claims the address
    later, when it binds.

    Raises:
        AddressTaken: another process has the address.
        OSError: the socket's folder is missing, or this process may not write to the folder.
    """
    if isinstance(address, TcpAddress):
        listen(address).close()
        yield
        return
    lock = address.path.with_name(f"{address.path.name}.lock")
    descriptor = _lock(lock, address)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.unlink()
        os.close(descriptor)


def _lock(lock: Path, address: UnixAddress) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AddressTaken(address) from None
        with suppress(FileNotFoundError):
            # If the inodes differ, the previous holder ended in the meantime and removed the file that was just locked.
            if lock.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def listen(address: Address) -> socket.socket:
    """Return a non-blocking listening socket. A unix socket gets the mode 0600, or that of `admit_group`, and replaces
    the socket of a killed process.

    Raises:
        AddressTaken: another process listens on the TCP address.
        OSError: the socket cannot be created.
    """
    if isinstance(address, UnixAddress):
        return _listen_unix(address.path)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise (AddressTaken(address) if error.errno == errno.EADDRINUSE else error) from error
    listener.setblocking(False)
    return listener


def admit_group(path: Path) -> None:
    """Let the group of a socket's folder connect to the socket, if the folder gives its files its group (set-group-id).
    In the folder of a server that root starts, that is Envoy's group.
    """
    if path.parent.stat().st_mode & stat.S_ISGID:
        path.chmod(0o660)


def _listen_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        admit_group(path)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class Front(Protocol):
    """A process's interface to callers. Call `start` once, then optionally `retire`, then `drain`, then `close`."""

    async def start(self) -> None:
        """Serve. Raises AddressTaken, OSError."""
        ...

    async def retire(self) -> None:
        """Let the health checks report that the process is shutting down."""
        ...

    async def drain(self, grace_seconds: float) -> None:
        """Refuse new calls, and wait at most `grace_seconds` for running calls to end."""
        ...

    async def close(self) -> None: ...

    @property
    def calls_running(self) -> int:
        """The number of calls that run now, without health checks and reflection."""
        return 0

    @property
    def sockets(self) -> int:
        """The number of open WebSockets."""
        return 0

    async def reports(self) -> Mapping[str, PartReport]:
        """The health of each part, by name."""
        return {}
