"""Starts child processes that cannot outlive their parent. Linux guarantees this; elsewhere only stop() ends them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from responsa_server.embedded.account import Account
from responsa_server.embedded.errors import EmbeddedError, file_errors

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOG_LIMIT = 8 << 20
"""Bytes. A longer log is renamed to *.log.1 when its part starts."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run. `env` is its whole environment; it inherits nothing."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when the parent dies."""
    stdin: bytes | None = None
    """Less than a pipe's 64 KiB."""


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Starts `command` in a new session, with its output in its log. Call from the main thread: the kernel sends the
    death signal when the thread that spawned the process ends.

    Raises:
        EmbeddedError: the program is missing, or the log cannot be written.
    """
    with file_errors(command.log):
        output = _open_log(command.log)
    try:
        process = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd="/",
            env=dict(command.env),
            start_new_session=True,
            preexec_fn=die_with_parent(command.death_signal),
            user=_uid(command.account),
            group=_gid(command.account),
            extra_groups=_no_groups(command.account),
        )
    except OSError as error:
        raise cannot_run(command.argv[0], error) from error
    finally:
        os.close(output)
    if command.stdin is not None and process.stdin is not None:
        try:
            process.stdin.write(command.stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before reading; the caller that waits for readiness reports that
    return process


def run_to_end(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    account: Account | None = None,
    stdin: bytes = b"",
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Runs a short tool and returns its exit code and output (both streams in stdout). `stdin` is at most a pipe's 64 KiB.

    The tool may also open its input by name, as /dev/stdin: the pipe belongs to the account that the tool runs under.

    Raises:
        EmbeddedError: the tool is missing, or has not finished after `timeout` seconds.
    """
    read, write = os.pipe()
    try:
        if account is not None:
            os.fchown(read, account.uid, account.gid)
        os.write(write, stdin)
        os.close(write)
        return subprocess.run(
            list(argv),
            stdin=read,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=dict(env),
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            preexec_fn=die_with_parent(signal.SIGKILL),
            user=_uid(account),
            group=_gid(account),
            extra_groups=_no_groups(account),
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(
            f"{Path(argv[0]).name} did not finish within {timeout:.0f} s",
            "look for a slow or full disk and try again",
        ) from error
    except OSError as error:
        raise cannot_run(argv[0], error) from error
    finally:
        os.close(read)


def cannot_run(program: str, error: OSError) -> EmbeddedError:
    """The error for a program that is missing or cannot be executed."""
    return EmbeddedError(
        f"{program} cannot be started ({error.strerror or type(error).__name__})",
        "install Responsa's packages again (make clean, then make up)",
    )


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """A function that the new process runs after its change of user, which would clear the death signal."""
    parent = os.getpid()
    prctl = _prctl()

    def set_death_signal() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # the parent died before prctl was called
                os._exit(1)

    return set_death_signal


def tell_me_when_parent_dies(death_signal: signal.Signals) -> None:
    """Sets the signal that this process gets when its parent ends."""
    prctl = _prctl()
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


def adopt_orphans() -> bool:
    """Makes this process the parent of its descendants' orphans. Returns False if the kernel does not support this."""
    prctl = _prctl()
    return prctl is not None and prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def _prctl() -> Callable[[int, int, int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    function = ctypes.CDLL(None, use_errno=True).prctl
    function.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
    function.restype = ctypes.c_int
    return function


def _uid(account: Account | None) -> int | None:
    return account.uid if account else None


def _gid(account: Account | None) -> int | None:
    return account.gid if account else None


def _no_groups(account: Account | None) -> list[int] | None:
    """No supplementary groups for another account: root's must not be inherited."""
    return [] if account else None


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
