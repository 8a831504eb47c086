"""Finding and ending PostgreSQL processes that a killed instance left on its cluster."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

import psutil

from responsa_server.embedded.errors import EmbeddedError
from responsa_server.embedded.layout import Layout

GENTLE = 3.0
"""Seconds a postmaster without its supervisor gets to end by itself: the kernel has told it to."""
IPC_RMID = 0


def postgres_processes(layout: Layout) -> list[psutil.Process]:
    """All processes of this instance's PostgreSQL, told by the cluster's name in their titles or by `-D` in the
    postmaster's arguments. (Titles can be read without rights over the process; its working folder cannot.)"""
    title = f"postgres: {layout.cluster_name}:"
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline"]):
        arguments: list[str] = process.info["cmdline"] or []
        if not arguments:
            continue
        if " ".join(arguments).startswith(title) or (
            arguments[0].endswith("/postgres") and str(layout.cluster) in arguments
        ):
            found.append(process)
    return found


def end_postgres(layout: Layout, *, gentle: float = GENTLE) -> None:
    """Ends whatever still runs on the cluster and removes its pid file and socket. The caller holds the lock.

    Backends without a postmaster are killed at once: they hold the shared memory that a new one needs.

    Raises:
        EmbeddedError: a process will not end.
    """
    deadline = time.monotonic() + gentle
    hard = deadline + 10.0
    told = False
    while processes := postgres_processes(layout):
        postmaster = any(str(layout.cluster) in _arguments(process) for process in processes)
        if postmaster and time.monotonic() < deadline:
            if not told:
                told = True
                for process in processes:
                    if str(layout.cluster) in _arguments(process):
                        _send(process, signal.SIGQUIT)
        elif time.monotonic() < hard:
            for process in processes:
                _send(process, signal.SIGKILL)
        else:
            raise EmbeddedError(
                f"Process {processes[0].pid} of a former PostgreSQL on {layout.cluster} does not end",
                f"end it (kill -9 {processes[0].pid}) and start again",
            )
        time.sleep(0.02)
    for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
        (layout.postgres_run / name).unlink(missing_ok=True)
    pid_file = layout.cluster / "postmaster.pid"
    if pid_file.exists():
        _remove_shared_memory(pid_file)
        pid_file.unlink(missing_ok=True)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _remove_shared_memory(pid_file: Path) -> None:
    """A postmaster that was killed leaves its (tiny) System V segment; line 7 of its pid file names it. Nobody is
    attached any more: its processes have just been ended."""
    try:
        key, segment = (int(number) for number in pid_file.read_text().splitlines()[6].split())
        rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    except (OSError, ValueError, IndexError):
        return
    for row in rows:
        columns = [int(column) for column in row.split()]
        attached = columns[6]
        if columns[:2] == [key, segment] and attached == 0:
            ctypes.CDLL(None, use_errno=True).shmctl(segment, IPC_RMID, None)


def kill_descendants(patience: float = 5.0, *, spare_postgres: float = 0.0) -> None:
    """Kills every descendant of this process and waits until there is none, `patience` seconds at most.

    This process adopts orphans, so that killing a parent only brings its children nearer. PostgreSQL, already told
    to end by the kernel, is spared for `spare_postgres` seconds: it removes its shared memory when it ends itself.
    """
    own = psutil.Process()
    began = time.monotonic()
    while (waited := time.monotonic() - began) < patience:
        reap_all()
        descendants = [process for process in own.children(recursive=True) if _runs(process)]
        if not descendants:
            return
        for process in descendants:
            if waited < spare_postgres and _is_postgres(process):
                continue
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()
        time.sleep(0.01)


def reap_all() -> None:
    """Takes the exit codes of all dead children."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.NoSuchProcess:
        return False
