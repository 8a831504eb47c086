"""Parsers that attack, as a parser could if a document had taken it over. The document's first word chooses the attack.

Only the zygote loads this module, from a table that a test names. If an attack succeeds, the parser returns a document
with the title "escaped".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from responsa_formats.parsers.plain_text import parse as parse_plain_text
from responsa_formats.parsers.sniff import Original
from responsa_formats.parsers.table import PLAIN_TEXT, Formats
from responsa_formats.sandbox.computation import Computation, Write
from responsa_formats.sandbox.protocol import EXIT_FAILED, Failure, pack_failure
from responsa_formats.text.canonical import ParsedDocument
from responsa_formats.text.drawn import DrawnPage

GIB = 1024 * 1024 * 1024


def _tcp() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", 9))


def _udp() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))


def _unix() -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _socketpair() -> None:
    socket.socketpair()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _vfork() -> None:
    os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})


def _exec() -> None:
    os.execv(sys.executable, [sys.executable, "-c", ""])


def _memory() -> None:
    held = [bytearray(64 * 1024 * 1024) for _ in range(32)]
    assert len(held) * len(held[0]) == 2 * GIB


def _mapped() -> None:
    mmap.mmap(-1, 2 * GIB)


def _passwd() -> None:
    Path("/etc/passwd").read_bytes()


def _environ() -> None:
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


def _listing() -> None:
    list(Path("/").iterdir())


def _write() -> None:
    Path("/tmp/responsa-sandbox-escape").write_bytes(b"x")


def _remove() -> None:
    Path(__file__).unlink()


def _kill_parent() -> None:
    os.kill(os.getppid(), 9)


def _chown() -> None:
    os.setuid(0 if os.getuid() else 12345)


def _raise_limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _memfd() -> None:
    os.memfd_create("x")


def _outlive() -> None:
    # With PR_SET_PDEATHSIG 0, this process does not end together with the zygote.
    if ctypes.CDLL(None, use_errno=True).prctl(1, 0, 0, 0, 0) != 0:
        raise PermissionError(ctypes.get_errno(), "prctl")


def _io_uring() -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(256)) < 0:
        raise PermissionError(ctypes.get_errno(), "io_uring_setup")


def _fcntl(command: int, argument: int) -> None:
    try:
        fcntl.fcntl(4, command, argument)
    except OSError as error:
        # Any other errno would look like an error of the parser.
        raise (
            PermissionError(error.errno, "fcntl") if error.errno == errno.EPERM else KeyError("fcntl")
        ) from error


def _own() -> None:
    _fcntl(fcntl.F_SETOWN, os.getppid())


def _own_anew() -> None:
    owner = (ctypes.c_int * 2)(1, os.getppid())
    if ctypes.CDLL(None, use_errno=True).fcntl(4, 15, ctypes.byref(owner)) != 0:
        raise PermissionError(ctypes.get_errno(), "F_SETOWN_EX")


def _choose_signal() -> None:
    _fcntl(10, signal.SIGKILL)


def _lease() -> None:
    _fcntl(fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _notify() -> None:
    _fcntl(fcntl.F_NOTIFY, 0)


def _ioctl(request: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).ioctl(4, request, ctypes.byref(ctypes.c_int(value))) != 0:
        error = ctypes.get_errno()
        raise PermissionError(error, "ioctl") if error == errno.EPERM else KeyError("ioctl")


def _asynchronous() -> None:
    _ioctl(0x5452, 1)


def _socket_owner() -> None:
    _ioctl(0x8901, os.getppid())


def _unknown_call() -> None:
    # No kernel has this system call today, but a future one may.
    if ctypes.CDLL(None, use_errno=True).syscall(463, -1, 0, 0, 0, 0, 0) < 0:
        error = ctypes.get_errno()
        raise OSError(error, "syscall") if error == errno.ENOSYS else KeyError("syscall")


def _still_root() -> None:
    if os.getuid() != 0 and os.geteuid() != 0 and os.getgid() != 0 and os.getgroups() == []:
        raise PermissionError(errno.EPERM, "not root")


def _sleep() -> None:
    while True:
        time.sleep(3600)


def _spin() -> None:
    while True:
        pass


def _abort() -> None:
    os.abort()


def _segfault() -> None:
    ctypes.string_at(1)


def _exit_quietly() -> None:
    os._exit(0)


def _exit_loudly() -> None:
    os._exit(3)


def _claim_lack() -> None:
    os.write(4, pack_failure(Failure("TEXT", "x", missing="TEXT")))  # the format whose parser runs
    os._exit(EXIT_FAILED)


def _garbage() -> None:
    os.write(4, b"\x00garbage" * 1000)
    os._exit(0)


def _liar() -> None:
    # The header is correct, but the lengths are impossible.
    os.write(4, b"RSP1\x00\x06" + b"\xff" * 48 + b"x" * 100)
    os._exit(0)


def _flood() -> None:
    while True:
        os.write(4, b"x" * 65536)


def _recursion() -> None:
    _recursion()


def _bug() -> None:
    raise KeyError("a secret path /root/x")


def _offspring() -> None:
    if os.fork() == 0:
        os.setsid()
        _sleep()


def _threads() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


DEEDS: dict[str, Callable[[], None]] = {
    "tcp": _tcp,
    "udp": _udp,
    "unix": _unix,
    "socketpair": _socketpair,
    "fork": _fork,
    "vfork": _vfork,
    "exec": _exec,
    "memory": _memory,
    "mapped": _mapped,
    "passwd": _passwd,
    "environ": _environ,
    "listing": _listing,
    "write": _write,
    "remove": _remove,
    "kill_parent": _kill_parent,
    "setuid": _chown,
    "raise_limit": _raise_limit,
    "memfd": _memfd,
    "outlive": _outlive,
    "io_uring": _io_uring,
    "own": _own,
    "own_anew": _own_anew,
    "choose_signal": _choose_signal,
    "lease": _lease,
    "notify": _notify,
    "asynchronous": _asynchronous,
    "socket_owner": _socket_owner,
    "unknown_call": _unknown_call,
    "still_root": _still_root,
    "sleep": _sleep,
    "spin": _spin,
    "abort": _abort,
    "segfault": _segfault,
    "exit_quietly": _exit_quietly,
    "exit_loudly": _exit_loudly,
    "claim_lack": _claim_lack,
    "garbage": _garbage,
    "liar": _liar,
    "flood": _flood,
    "recursion": _recursion,
    "bug": _bug,
    "threads": _threads,
    "offspring": _offspring,
}


def parse(original: Original) -> ParsedDocument:
    """Run the attack that the first word names. If the first word does not name an attack, parse the document as plain text."""
    deed = DEEDS.get(original.text.split()[0])
    if deed is None:
        return parse_plain_text(original)
    deed()
    return ParsedDocument("escaped", "escaped", (), None, original.format)


def draw(data: bytes, page: int, width: int) -> DrawnPage:
    """Run the attack that the first word names, or else draw a black page of one inch."""
    drawn = DrawnPage(page, width, width, bytes(3 * width * width))
    match data.split()[0]:
        case b"loop":
            while True:
                pass
        case b"forged":  # more pixels than its size allows
            object.__setattr__(drawn, "height", width + 1)
        case b"too_many":
            return DrawnPage(page, 2_000, 2_000, bytes(12_000_000))
        case b"raise":
            raise ValueError("escaped")
        case _:
            pass
    return drawn


def compute(data: bytes, write: Write) -> None:
    for word in data.split():
        if word != b"good":
            DEEDS[word.decode()]()
        write(word + b"\n")


COMPUTATION = Computation(compute, b"good")
FORMATS = Formats([replace(PLAIN_TEXT, parser="hostile_parsers:parse", drawer="hostile_parsers:draw")])
