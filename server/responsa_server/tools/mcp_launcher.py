"""Starts the program of an MCP server in confinement: `python -I -S mcp_launcher.py UID MEMORY_BYTES PARENT_PID PROGRAM ARGUMENTS…`.

It gives up root and its groups, limits the program's resources, ties the program's life to the server's, and becomes the program. It imports the standard library alone, because a new
user may be unable to read the server's own files afterwards.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 256),
    (resource.RLIMIT_FSIZE, 64 << 20),
    (resource.RLIMIT_MEMLOCK, 0),
)


def main(arguments: list[str]) -> None:
    """Confine this process and become the program."""
    user, memory, parent = (int(one) for one in arguments[:3])
    program, limits = arguments[3:], [*_LIMITS, (resource.RLIMIT_AS, memory)]
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
    if os.getppid() != parent:  # the server ended before the signal was set
        sys.exit(125)
    os.execv(program[0], program)  # noqa: S606 # no shell is meant


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError:
        sys.exit(126)
