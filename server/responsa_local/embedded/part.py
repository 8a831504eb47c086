"""The base class of the embedded parts. A part is one process, which is spawned, becomes ready, and is stopped in steps."""

from __future__ import annotations

import abc
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from responsa_formats.sandbox.confinement import SERVER
from responsa_local.embedded.errors import EmbeddedError, disk_full, file_errors
from responsa_local.embedded.files import FolderLock
from responsa_local.embedded.layout import LocalLayout
from responsa_local.embedded.spawn import spawn
from responsa_server.system.machine import NO_ROOM, free_space
from responsa_server.system.unix_http import answer_of, http_get

POLL = 0.01
HEALTH = "/health"
"""The path at which a program of others tells whether it is ready."""
LIVE = "/health/live"
"""The path at which a server answers as soon as it takes calls or waits for its database, and until it has ended."""
LOG_TAIL = 4096
LAST_WORDS = 600
RECORD = "{"
"""How a record in a log begins."""
CLOSING_SECONDS = 5.0
"""A drained server is killed if it has not closed its jobs, parsers and connections within this number of seconds."""


@dataclass(frozen=True, slots=True)
class StopStep:
    """A signal, and the number of seconds in which the process must end after the signal."""

    signal: signal.Signals
    patience: float


def never() -> bool:
    """Returns False. This is the default of `urgent`."""
    return False


class ManagedProcess(abc.ABC):
    """A child process with a name, a readiness probe and an orderly end.

    To run a single part, call `start()` and later `stop()`. A Supervisor, which waits for several parts at once, calls `preflight()`,
    `launch()`, `ready()` until it returns True, `prepare()`, and `stop()`. Call all methods from the main thread; they block briefly.
    """

    name: str
    """The name in messages such as "PostgreSQL ended"."""
    log_name: str
    """The file in `logs` that receives the process's output."""
    start_timeout: float = 30.0
    """The maximum number of seconds from spawn to readiness."""
    needed: bool = True
    """Whether the instance needs this part in order to work. An optional part is restarted after every death, without a limit."""
    lock_name: str = ""
    """The lock file in the data folder that allows one process of this kind at a time; "" if the part needs no lock."""
    stop_steps: Sequence[StopStep] = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 1.0))

    def __init__(self, layout: LocalLayout) -> None:
        self.layout = layout
        self._lock = FolderLock(layout.home / self.lock_name, self.name) if self.lock_name else None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The file that receives the process's output."""
        return self.layout.logs / self.log_name

    @property
    def socket(self) -> Path | None:
        """The unix socket that the process makes. It is removed before each start and after the end of the process.
        None if the process removes its socket itself."""
        return None

    def preflight(self) -> None:  # noqa: B027  our own programs have nothing to check: the interpreter already runs
        """Checks, before anything is started, for problems that would make the start fail.

        Raises:
            EmbeddedError: the problem found.
        """

    def preload(self) -> None:  # noqa: B027  most parts start quickly
        """Called once, before the first part is launched. A part whose program takes long to load may start its process
        here; `spawn` then lets the process go on."""

    @abc.abstractmethod
    def spawn(self) -> None:
        """Starts the process and returns at once. `launch` has already removed the socket that a killed predecessor left. This
        method also removes any other files and processes that the predecessor left.

        Raises:
            EmbeddedError: the process cannot be started.
        """

    def launch(self) -> None:
        """Takes the lock and spawns the process. After a crash of the process, this object still holds the lock.

        Raises:
            EmbeddedError: another process holds the lock, or the process cannot be started.
        """
        if self._lock is not None:
            self._lock.acquire()
        try:
            self._remove_socket()
            self.spawn()
        except BaseException:
            self._release()
            raise

    @abc.abstractmethod
    def ready(self) -> bool:
        """Probes once and returns within a second. If the probe fails, returns False instead of raising an error."""

    def answers(self, seconds: float) -> bool:
        """Asks the running process once, and waits at most `seconds` for any answer. Unlike the other methods, this one is called on
        a thread that only asks. A part that cannot be asked returns True.
        """
        del seconds
        return True

    def prepare(self) -> None:  # noqa: B027  most parts have nothing to prepare
        """Called once after each spawn, when `ready` is first true."""

    def clean_up(self) -> None:
        """Called after the process has ended, however it ended."""
        self._remove_socket()

    @property
    def pid(self) -> int | None:
        """The id of the running process, or None."""
        return self.process.pid if self.alive() and self.process is not None else None

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Spawns the process and waits until it is ready.

        Raises:
            EmbeddedError: the process cannot be started, ended while starting, or was not ready within `start_timeout`.
                Nothing is left running.
        """
        self.preflight()
        try:
            self.launch()
            deadline = time.monotonic() + self.start_timeout
            while not self.ready():
                self.check_starting(deadline)
                time.sleep(POLL)
            self.prepare()
        except BaseException:
            self.stop(urgent=lambda: True)
            raise

    def check_starting(self, deadline: float) -> None:
        """Checks a process that is not ready yet.

        Raises:
            EmbeddedError: the process has ended, or `deadline` (monotonic seconds) has passed.
        """
        if not self.alive():
            raise self.death("while starting")
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"{self.name} was not ready within {self.start_timeout:.0f} s",
                f"see {self.log} and try again",
            )

    def death(self, when: str) -> EmbeddedError:
        """The error for a process that ended by itself. If the disk is full, the error gives that as the cause."""
        code = self.process.returncode if self.process is not None else None
        for disk in self.layout.disks:
            if free_space(disk) < NO_ROOM:
                return disk_full(disk)
        line = self.last_words()
        return EmbeddedError(
            f"{self.name} exited {when} ({exit_text(code)}{': ' + line if line else ''})",
            f"see {self.log}",
        )

    def last_words(self) -> str:
        """The last line of the log, with at most LAST_WORDS characters. If the part is our own program, the line is a
        sentence that ends with the remedy: records are left out, because another server may still write into the same log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        line = next((line.strip() for line in reversed(lines) if line.strip() and line[0] != RECORD), "")
        return line if len(line) <= LAST_WORDS else f"{line[: LAST_WORDS - 1]}…"

    def stop(self, urgent: Callable[[], bool] = never) -> None:
        """Ends the process, step by step, and waits for its end. While `urgent()` is true, each step except the last waits
        at most 0.3 s. Does nothing if no process runs."""
        process = self.process
        if process is None:
            return
        for step in self.stop_steps:
            if process.poll() is not None:
                break
            process.send_signal(step.signal)
            began = time.monotonic()
            last = step is self.stop_steps[-1]
            while process.poll() is None:
                waited = time.monotonic() - began
                if waited > step.patience or (waited > 0.3 and urgent() and not last):
                    break
                time.sleep(POLL)
        self.process = None
        try:
            self.clean_up()
        finally:
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _remove_socket(self) -> None:
        if (path := self.socket) is not None:
            with file_errors(path):
                path.unlink(missing_ok=True)


def exit_text(code: int | None) -> str:
    """An exit code as text, such as "exit 3" or "SIGKILL"."""
    if code is None:
        return "still running"
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


class StartupTask(ManagedProcess):
    """A program that runs once, with all parts, as soon as they are ready, and before the instance is announced. Its
    `spawn` starts nothing if there is nothing to do. It is never restarted."""

    needed = False

    def ready(self) -> bool:
        return self.alive()

    @abc.abstractmethod
    def on_end(self, code: int) -> None:
        """Called once the program has ended by itself. code: its exit code, or the negative number of the signal that ended it."""


class ServerProcess(ManagedProcess):
    """One of our own programs. `argv` starts it, and `env` is its whole environment. When it is ready, it answers `GET
    /health/live` with 200 on the unix socket `health`. It reads stdin to the end before it uses other parts, so
    `preload` can start it before them. SIGINT makes the program drain for at most `drain_seconds`. After that, the
    program has CLOSING_SECONDS to close everything else. (After a SIGTERM, the program would first wait until Envoy
    notices the shutdown. SIGINT is used because Envoy has already been stopped.) `leave` sends SIGTERM, while Envoy
    runs.
    """

    # The first start after an installation compiles all modules and builds the embedding model's file. That takes 15 s
    # on two free cores, and has taken
    # more than 60 s on busy ones.
    start_timeout = 240.0

    def __init__(
        self,
        layout: LocalLayout,
        argv: Sequence[str],
        env: Mapping[str, str],
        health: Path,
        *,
        drain_seconds: float,
        notice_seconds: float = 0.0,
        name: str = "The server",
        log_name: str = "server.log",
    ) -> None:
        super().__init__(layout)
        self.name = name
        self.log_name = log_name
        self.leaving_seconds = notice_seconds + drain_seconds + CLOSING_SECONDS
        """The maximum number of seconds from `leave` to the end of the process."""
        self.stop_steps = (
            StopStep(signal.SIGINT, drain_seconds + CLOSING_SECONDS),
            StopStep(signal.SIGKILL, 0.5),
        )
        self._argv = tuple(argv)
        self._env = dict(env)
        self._health = health
        # The writing end of a preloaded process's stdin.
        self._held: int | None = None

    def preload(self) -> None:
        source, self._held = os.pipe()
        self.process = spawn(self._argv, self._env, self.log, stdin=source, capabilities=SERVER)

    def spawn(self) -> None:
        """If a preloaded process has ended by itself, it is not started again, so that its error is reported."""
        if self._held is None:
            self.process = spawn(self._argv, self._env, self.log, capabilities=SERVER)
        self._let_go()

    def clean_up(self) -> None:
        self._let_go()
        super().clean_up()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def leave(self) -> None:
        """Let the process send its clients elsewhere, finish its work and end. Returns at once."""
        if self.process is not None and self.alive():
            self.process.terminate()

    def ready(self) -> bool:
        """Whether the process runs and takes calls."""
        return self.alive() and http_get(self._health, LIVE) is not None

    def answers(self, seconds: float) -> bool:
        """Whether the process answers."""
        return answer_of(self._health, LIVE, seconds)[0] is not None
