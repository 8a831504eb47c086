"""Claims an address to listen on, so that two processes cannot share one unnoticed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from responsa_server.domain.addresses import Address, TcpAddress, UnixAddress

_BACKLOG = 2048


class AddressTaken(Exception):
    """Another process listens on the address. The message is for users."""

    def __init__(self, address: Address) -> None:
        super().__init__(f"Another process listens on {address}")


@contextmanager
def claimed(address: Address) -> Generator[None]:
    """Hold a unix socket's path for this process. A killed process leaves its socket behind, so binding replaces a socket, even one in use.

    The claim is a lock on PATH.lock, which the kernel releases when its holder ends. For a TCP address, only checks that it is free: binding is the claim.

    Raises:
        AddressTaken: another process has it.
        OSError: its folder is missing, or may not be written.
    """
    if isinstance(address, TcpAddress):
        listen(address).close()
        yield
        return
    lock = address.path.with_name(f"{address.path.name}.lock")
    descriptor = _locked(lock, address)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.unlink()
        os.close(descriptor)


def _locked(lock: Path, address: UnixAddress) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AddressTaken(address) from None
        with suppress(FileNotFoundError):
            # A holder that ended in between has removed the file that was just locked.
            if lock.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def listen(address: Address) -> socket.socket:
    """A listening socket that does not block; one in the file system is private (0600) and replaces the socket of a killed process.

    Raises:
        AddressTaken: a TCP address that another process listens on.
        OSError: the socket cannot be made.
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


def _listen_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
