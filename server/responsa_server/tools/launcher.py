"""Starts a program in confinement: `python -I -S launcher.py UID MEMORY_BYTES FILE_BYTES CPU_SECONDS PARENT_PID PROGRAM ARGUMENTS…`.

The launcher forks. The child gives up root and its groups, limits the program's resources, and becomes the program. The
parent becomes the program's keeper: the kernel makes it the parent of each descendant of the program whose own parent
ends (prctl(2), PR_SET_CHILD_SUBREAPER), also of one in another session. When the program ends, when the server ends, or
on SIGTERM, the keeper kills all of them, and ends after the last; its exit code is 1 if the program failed. It imports
the standard library alone, because a new user may be unable to read the server's own files afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_WAKING = {signal.SIGTERM, signal.SIGCHLD}
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 256),
    (resource.RLIMIT_MEMLOCK, 0),
)


def main(arguments: list[str]) -> None:
    """Fork. The child confines itself and becomes the program; the parent keeps it."""
    user, memory, file_bytes, cpu_seconds, server = (int(argument) for argument in arguments[:5])
    library = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKING)
    _set(library, _PR_SET_CHILD_SUBREAPER, 1)
    _set(library, _PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != server:  # the server ended before the signal was set
        sys.exit(125)
    keeper = os.getpid()
    program = os.fork()
    if program:
        _keep(program)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)
    limits = [
        *_LIMITS,
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
    ]
    if os.geteuid() == 0:
        # The limit counts all processes of a user, so it fits only a user that no other program has.
        limits.append((resource.RLIMIT_NPROC, 64))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        bound = max(value, hard) if resource.RLIM_INFINITY in (value, hard) else min(value, hard)
        resource.setrlimit(limit, (bound, bound))
    # After the change of the user, which clears the signal of a parent's death.
    _set(library, _PR_SET_NO_NEW_PRIVS, 1)
    _set(library, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:  # the keeper ended before the signal was set
        os._exit(125)
    os.execv(arguments[5], arguments[5:])  # noqa: S606 # no shell is meant


def _set(library: ctypes.CDLL, option: int, value: int) -> None:
    if library.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3) != 0:
        os._exit(125)


def _keep(program: int) -> None:
    """Wait until the program must end or has ended. Kill all descendants that are left, and end."""
    for stream in (0, 1):  # the server notices that the program closes them
        os.close(stream)
    status = None
    while status is None and signal.sigwait(_WAKING) == signal.SIGCHLD:
        status = _find_status(program)
    while True:
        # A killed child leaves its own children to the keeper, which kills them in the next round.
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(1 if status else 0)


def _find_status(program: int) -> int | None:
    """How the program has ended; None if it has not. Takes note of all children that have ended."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = ended[1] if ended[0] == program else status
        return status
    return status or 0


def _children() -> list[int]:
    """The children of this process; see proc(5)."""
    children = list[int]()
    for entry in filter(lambda entry: entry.name.isdecimal(), pathlib.Path("/proc").iterdir()):
        with contextlib.suppress(OSError):
            # The name of the program stands in brackets, and may contain anything.
            fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                children.append(int(entry.name))
    return children


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError:
        os._exit(126)
