"""Runs a command that cannot outlive the process that started it: `python tests/tied.py PARENT COMMAND…`.

An interrupted run ends its test processes before their teardown has finished: pytest-xdist kills them ten seconds after
Ctrl-C. The kernel then sends SIGTERM to every command that such a process started in this way. (A `preexec_fn` could
set this signal too, but it runs Python in a fork of a process that has threads and gRPC.)
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tied(*command: str) -> list[str]:
    """The command line that runs this command, in the same process, until the calling thread ends. Linux ends the
    command; other systems do not."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    """Set the signal, and execute the command. A program that changes its user clears the signal (`setpriv
    --pdeathsig=keep` restores it)."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the call of prctl
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
