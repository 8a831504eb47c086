"""Starts a program in confinement: `python -I -S launcher.py UID MEMORY_BYTES PARENT_PID SECONDS PROGRAM ARGUMENTS…`.

It gives up root and its groups, limits the program's resources, ties the program's life to the server's, and becomes the program. SECONDS limits the program's CPU time, and the
program can open no sockets; with 0, as for an MCP server, neither holds. It imports the standard library alone, because a new user may be unable to read the server's own files afterwards.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
# Constants of seccomp(2): for each machine, the value of AUDIT_ARCH and the number of socket; then io_uring_setup, which opens sockets too and has one number.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425
_X32_BIT = 0x40000000
_KILL, _DENY, _ALLOW = 0x80000000, 0x00050001, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 256),
    (resource.RLIMIT_FSIZE, 64 << 20),
    (resource.RLIMIT_MEMLOCK, 0),
)


def main(arguments: list[str]) -> None:
    """Confine this process and become the program."""
    user, memory, parent, seconds = (int(one) for one in arguments[:4])
    program, limits = arguments[4:], [*_LIMITS, (resource.RLIMIT_AS, memory)]
    if seconds:
        limits.append((resource.RLIMIT_CPU, seconds))
    if os.geteuid() == 0:
        # The limit counts all processes of a user, so it fits only a user that no other program has.
        limits.append((resource.RLIMIT_NPROC, 64))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))
    library = ctypes.CDLL(None, use_errno=True)
    # After the change of the user, which clears the signal of a parent's death.
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_PDEATHSIG, _SIGKILL)):
        if library.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3) != 0:
            sys.exit(125)
    if seconds:
        _deny_sockets(library)
    if os.getppid() != parent:  # the server ended before the signal was set
        sys.exit(125)
    os.execv(program[0], program)  # noqa: S606 # no shell is meant


def _deny_sockets(library: ctypes.CDLL) -> None:
    """Make each later call of socket(2) fail with EPERM, by a filter of system calls. Exits on a machine whose numbers are not known."""
    if platform.machine() not in _MACHINES:
        sys.exit(125)
    architecture, socket = _MACHINES[platform.machine()]
    rules = [
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # its number
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 1, 0, socket),
        (_EQUAL, 0, 1, _IO_URING_SETUP),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in rules))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rules), ctypes.addressof(code)))
    if (
        library.prctl(
            _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), program, *(ctypes.c_ulong(0),) * 2
        )
        != 0
    ):
        sys.exit(125)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError:
        sys.exit(126)
