"""Finds programs and starts them as child processes that cannot outlive their parent. Linux guarantees that the
children end with the parent; on other systems only stop() ends the children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

from responsa_formats.sandbox.confinement import SUPERVISOR, Capability, become_before_exec, keep_capabilities
from responsa_local.embedded.errors import EmbeddedError, file_errors
from responsa_local.embedded.layout import UnixAccount
from responsa_server.system.instance import REINSTALL

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_TOOL_SECONDS = 60.0
LOG_LIMIT = 8 << 20
"""The maximum size of a log in bytes. A larger log is renamed to *.log.1 when its part starts."""


PLAIN_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""The whole environment of a packaged program. It contains neither the user's variables nor the user's locale."""


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    *,
    account: UnixAccount | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    stdin: bytes | int = b"",
    errors_alone: bool = False,
    capabilities: Collection[Capability] = SUPERVISOR,
) -> subprocess.Popen[bytes]:
    """Starts a program in a new session. Its output goes to `log`. Call this from the main thread, because the kernel
    sends the death signal when the thread that spawned the process ends.

    Args:
        env: the program's whole environment. The program inherits no variables.
        account: the account that the program runs under, without any capability; None for the caller's account.
        death_signal: the signal that the kernel sends when the parent dies.
        stdin: the input of the program. A pipe holds the input, so it may have at most 64 KiB. Or a descriptor to read
            from, which is closed here.
        errors_alone: whether only stderr goes to `log`.
        capabilities: the capabilities that the program keeps if it runs as root.

    Raises:
        EmbeddedError: the program is missing, or the log cannot be written.
    """
    with file_errors(log):
        output = _open_log(log)
    source = _pipe_with(stdin, account) if isinstance(stdin, bytes) else stdin
    try:
        return subprocess.Popen(
            argv,
            stdin=source,
            stdout=subprocess.DEVNULL if errors_alone else output,
            stderr=output,
            cwd="/",
            env=env,
            start_new_session=True,
            preexec_fn=_dying_with_parent(death_signal, account, capabilities),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise cannot_run(argv[0], error) from error
    finally:
        os.close(output)
        os.close(source)


def run_to_end(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    account: UnixAccount | None,
    stdin: bytes,
) -> subprocess.CompletedProcess[str]:
    """Runs a short tool and returns its exit code and output (both streams in stdout). A pipe holds `stdin`, so it may have at most 64 KiB.

    The tool may also open its input under the name /dev/stdin, because the pipe belongs to the account that the tool runs under.

    Raises:
        EmbeddedError: the tool is missing, or has not finished after `_TOOL_SECONDS`.
    """
    source = _pipe_with(stdin, account)
    try:
        return subprocess.run(
            argv,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=env,
            text=True,
            errors="replace",
            timeout=_TOOL_SECONDS,
            check=False,
            preexec_fn=_dying_with_parent(signal.SIGKILL, account),
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(
            f"{Path(argv[0]).name} did not finish within {_TOOL_SECONDS:.0f} s",
            "look for a slow or full disk and try again",
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise cannot_run(argv[0], error) from error
    finally:
        os.close(source)


def run_dying_with_parent(
    argv: Sequence[str], env: Mapping[str, str], errors: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Starts a tool whose output the caller reads from its stdout; its messages go to `errors`. Raises OSError if it cannot be started."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd="/",
        env=env,
        preexec_fn=_dying_with_parent(signal.SIGKILL),
    )


def cannot_run(program: str, error: OSError | subprocess.SubprocessError) -> EmbeddedError:
    """The error for a program that is missing or cannot be executed, or whose account this machine refuses."""
    reason = error.strerror if isinstance(error, OSError) else None
    return EmbeddedError(
        f"{program} cannot be started ({reason or type(error).__name__})",
        REINSTALL,
    )


def _dying_with_parent(
    death_signal: signal.Signals,
    account: UnixAccount | None = None,
    capabilities: Collection[Capability] | None = None,
) -> Callable[[], None]:
    """A function that changes the user or the capabilities of the new process, and then sets the death signal, because
    a change of user clears the signal."""
    parent = os.getpid()
    prctl = _prctl()  # loaded before the fork

    def set_death_signal() -> None:
        if account is not None:
            become_before_exec(account.uid, account.gid)
        elif capabilities is not None:
            keep_capabilities(capabilities)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # the parent died before prctl was called
                os._exit(1)

    return set_death_signal


def die_with_parent(death_signal: signal.Signals) -> None:
    """Sets the signal that the kernel will send to this process when its parent ends."""
    prctl = _prctl()
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


def adopt_orphans() -> bool:
    """Makes this process the parent of all descendants whose own parent ends. Returns False if the kernel does not support this."""
    prctl = _prctl()
    return prctl is not None and prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def _prctl() -> Callable[[int, int, int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    function = ctypes.CDLL(None, use_errno=True).prctl
    function.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
    function.restype = ctypes.c_int
    return function


def _pipe_with(content: bytes, account: UnixAccount | None = None) -> int:
    """The reading end of a pipe that holds `content` and belongs to `account`, which may open it again under the name /dev/stdin."""
    read, write = os.pipe()
    if account is not None:
        os.fchown(read, account.uid, account.gid)
    os.write(write, content)
    os.close(write)
    return read


def in_memory(content: bytes) -> int:
    """A descriptor of a file in memory with this content, for the `stdin` of `spawn`. Any user may open it again under
    the name /dev/fd/0."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
