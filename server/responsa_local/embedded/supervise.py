"""Runs all parts of one instance in the foreground until a stop signal comes.

Two processes share the work, because a process that is killed with kill -9 cannot clean up after itself:

    guard        the process that the user started. It forwards signals, waits, and adopts the supervisor's orphans.
      supervisor   a fork of the guard. It spawns the parts in order, watches and restarts them, and stops them in reverse order.
        parts        the programs, each in its own session. The kernel signals them when the supervisor dies.

If the guard is killed, the kernel signals the supervisor, which stops everything quickly. If the supervisor is killed, the
kernel signals the parts, and the guard kills every descendant. If both are killed, the kernel signals the parts, and the
next start ends every process that still runs on the cluster.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

import psutil

from responsa_formats.sandbox.confinement import SUPERVISOR, keep_capabilities
from responsa_local.embedded.errors import EmbeddedError, of_os_error
from responsa_local.embedded.files import FolderLock
from responsa_local.embedded.layout import LocalLayout
from responsa_local.embedded.part import ManagedProcess, ServerProcess, StartupTask, exit_text
from responsa_local.embedded.restarting import Requests, RestartFailed
from responsa_local.embedded.spawn import adopt_orphans, die_with_parent
from responsa_server.system.fixable import Fixable
from responsa_server.system.machine import NO_ROOM, free_space
from responsa_server.system.stillness import Stillness, read_main_thread

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK = 0.2
STARTING_TICK = 0.01
LEAST_FREE = 200 << 20
"""The number of bytes that must be free for a start."""
WATCH_INTERVAL = 5.0
ASK_INTERVAL = 1.0
"""The number of seconds between an answer of a part and the next question to it."""
_ANSWER_SECONDS = 3600.0
"""How long a question waits for its answer. Whoever stands still is ended far sooner."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to restart a part that died or is silent.

    The first restart comes after `first_delay` seconds. Each further delay is twice the previous one, but at most `longest_delay`
    seconds. When a part has run for `healthy_after` seconds, its count of failures starts again at 0. If the count of a needed part
    reaches `most_failures`, all parts stop. A part that was ready is killed if its main thread has run for `silence` seconds
    without an answer, or was off the cores for as long; time in which it waits for a core does not count. A start says what it
    waits for every `telling` seconds.
    """

    first_delay: float = 0.1
    longest_delay: float = 10.0
    healthy_after: float = 30.0
    most_failures: int = 5
    silence: float = 15.0
    telling: float = 5.0


@dataclass(frozen=True, slots=True)
class Child:
    """A part, its hook `on_ready`, and its twin.

    twin: the part that replaces `part` at a restart, and that `part` replaces at the next one; None if a restart leaves
    the part alone. alongside: whether the part starts together with the part before it, not after it.

    The hook runs once, in the supervisor, when the part is ready for the first time, before the next part is started.
    (For example, the migrations run after PostgreSQL is ready.) If the hook raises EmbeddedError, all parts stop, and
    the supervisor reports the error's message. No part is restarted while the hook runs. A stop signal interrupts the
    hook.
    """

    part: ManagedProcess
    on_ready: Callable[[], None] | None = None
    twin: ServerProcess | None = None
    alongside: bool = False


class Routing(Protocol):
    """Who sends calls to the parts that have twins."""

    def send_to(self, parts: Sequence[ManagedProcess]) -> None:
        """From now on, send new calls to these parts alone. Raises EmbeddedError."""
        ...

    def reaches(self, part: ManagedProcess) -> bool:
        """Whether calls are sent to this part, or need not be."""
        ...


def check_disk(path: Path, least: int = LEAST_FREE) -> None:
    """Checks that `least` bytes are free on the disk of `path`. If `path` does not exist, its nearest existing parent counts.

    Raises:
        EmbeddedError: fewer bytes are free.
    """
    free = free_space(path)
    if free < least:
        raise EmbeddedError(
            f"The disk that holds {path} has only {free >> 20} MB left",
            f"free at least {least >> 20} MB there, or set RESPONSA_HOME to a folder on another disk",
        )


def preflight(layout: LocalLayout) -> None:
    """Checks the home and the free disk space. Each part checks its own tools.

    Raises:
        EmbeddedError: the first problem found.
    """
    layout.check_home()
    for disk in layout.disks:
        check_disk(disk)


class _DiskWatch:
    """Reports once when a disk of the instance has little space left, and again if the disk recovers and then has little space again."""

    def __init__(self, disks: Sequence[Path], say: Callable[[str], None]) -> None:
        self._disks = disks
        self._say = say
        self._low: set[Path] = set()
        self._next = 0.0

    def look(self) -> None:
        """Checks the disks, at most once every WATCH_INTERVAL seconds."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + WATCH_INTERVAL
        for disk in self._disks:
            try:
                check_disk(disk)
            except Fixable as error:
                if disk not in self._low:
                    self._low.add(disk)
                    self._say(str(error))
            else:
                self._low.discard(disk)


class _LivenessProbe(threading.Thread):
    """Asks one process of a part whether it answers, until `over` is set.

    The answers are waited for on this thread, so neither a silent part nor a hook of the supervisor delays the other.
    The supervisor's own thread asks `stands_still`, and ends and restarts the process.
    """

    def __init__(self, part: ManagedProcess, pid: int, patience: float) -> None:
        super().__init__(name=f"listener of {part.name}", daemon=True)
        self._part = part
        self._pid = pid
        self._patience = patience
        self._interval = min(ASK_INTERVAL, patience / 4)
        self._answers = 0
        self._asks = False
        self._stillness = Stillness(time.monotonic(), read_main_thread(pid), self._interval)
        self.over = threading.Event()

    def run(self) -> None:
        # A stop signal must interrupt the hook that runs on the main thread, so it must be delivered there.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self.over.wait(self._interval):
            self._asks = True
            self._asks = not self._part.answers(_ANSWER_SECONDS)
            self._answers += not self._asks

    def stands_still(self) -> str:
        """How the part stands still, as a sentence; "" if it does not. Who has not been asked need not answer."""
        self._answers += not self._asks
        seconds, how = self._stillness.after(self._answers, time.monotonic(), read_main_thread(self._pid))
        if seconds < self._patience:
            return ""
        did = "has used a core" if how == "spin" else "was neither on a core nor waiting for one"
        return f"{self._part.name} {did} for {seconds:.0f} s without an answer ({how})."


class _StopSignal(BaseException):
    """A stop signal came while a hook ran. This is not a subclass of Exception, so that no hook handles it as an error."""


class _GaveUp(EmbeddedError):
    """A needed part ended again and again, so everything must stop."""


@dataclass(slots=True)
class _SupervisedChild:
    child: Child
    part: ManagedProcess
    prepared: bool = False
    started_before: bool = False
    spawned_at: float = 0.0
    failures: int = 0
    restart_at: float | None = None
    listener: _LivenessProbe | None = None


class Supervisor:
    """Starts `children` in order and runs them until SIGINT, SIGTERM or SIGHUP. A second signal stops them faster.

    When all parts are ready, `errand` begins. `on_ready` runs once when it has ended; for example, it can print the
    URL. `say` receives one line for each event that the user should know; by default it writes the line to stderr.
    routing: needed if a part has a twin.
    """

    def __init__(
        self,
        layout: LocalLayout,
        children: Sequence[Child],
        *,
        on_ready: Callable[[], None] | None = None,
        errand: StartupTask | None = None,
        routing: Routing | None = None,
        say: Callable[[str], None] | None = None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._layout = layout
        self._watched = [_SupervisedChild(child, child.part) for child in children]
        self._beside: list[ManagedProcess] = []
        """The parts that a restart has started and not yet let in, or is stopping."""
        self._on_ready = on_ready
        self._errand = errand
        self._routing = routing
        self._say = _never_failing(say or _to_stderr)
        self._policy = policy or RestartPolicy()

    def run(self) -> int:
        """Blocks until all parts have stopped. Returns 0 after an orderly stop, and 1 after a failure, which was reported.

        Call from the main thread before other threads start, because this method forks the process. If this process is
        root, it keeps only the capabilities of `confinement.SUPERVISOR` for good, and so do the parts that run as root.

        Raises:
            EmbeddedError: nothing was started, because a folder cannot be used, a tool is missing, a port is busy, or another
                supervisor runs.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("Supervisor.run must be called from the main thread")
        preflight(self._layout)
        self._layout.prepare()
        lock = FolderLock(self._layout.lock, "Responsa")
        lock.acquire()
        try:
            keep_capabilities(SUPERVISOR)
            for watched in self._watched:
                watched.part.preflight()
            return self._run_guard()
        finally:
            lock.release()

    def _run_guard(self) -> int:
        adopt_orphans()
        sys.stdout.flush()
        sys.stderr.flush()
        # Block the signals until both processes have their handlers. A Ctrl-C that comes earlier is delivered when the
        # handlers are ready.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        guard = os.getpid()
        supervisor = os.fork()
        if supervisor == 0:
            code = 1
            try:
                code = self._run_supervisor(guard)
            finally:
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)

        def forward(number: int, _: FrameType | None) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(supervisor, number)

        with _handlers(forward):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            _, status = os.waitpid(supervisor, 0)
            code = os.waitstatus_to_exitcode(status)
            kill_descendants(patience=10.0, spare_postgres=3.0)
        if code < 0:
            self._say(f"{exit_text(code)} ended the supervisor; everything that it had started was stopped.")
            return 1
        return code

    # From here on, the methods run on the supervisor's side of the fork.

    def _run_supervisor(self, guard: int) -> int:
        self._guard = guard
        self._disks = _DiskWatch(self._layout.disks, self._say)
        self._stops = 0
        self._tell_at = time.monotonic() + self._policy.telling
        self._in_hook = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.setsid()  # so a terminal's Ctrl-C reaches only the guard, which forwards it once
        adopt_orphans()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        with _handlers(self._on_signal):
            signal.signal(signal.SIGCHLD, _wake_only)
            die_with_parent(signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            code = 1
            try:
                code = self._run()
            except _StopSignal:
                code = 0
            except Fixable as error:
                self._say(str(error))
            except OSError as error:
                self._say(str(of_os_error(error, self._layout.home)))
            except Exception:  # the log gets the error's stack, and the user gets a sentence
                self._say(f"Something went wrong in the supervisor; see {self._record()}.")
            finally:
                self._stop_all()
        return code

    def _run(self) -> int:
        for watched in self._watched:
            watched.part.preload()
        starting: list[_SupervisedChild] = []
        for watched in self._watched:
            if not watched.child.alongside:
                self._until_prepared(starting)
                starting = []
            if self._stopping():
                return 0
            watched.spawned_at = time.monotonic()
            watched.part.launch()
            starting.append(watched)
        self._until_prepared(starting)
        if self._stopping():
            return 0
        if self._errand is not None:
            self._errand.launch()
        if self._errand is None or self._errand.process is None:
            self._all_ready()
        requests = Requests(self._layout.restart_socket)
        try:
            while not self._stopping():
                self._tick()
                with requests.next() as tell:
                    if tell is not None:
                        self._restart(tell)
                self._wait(STARTING_TICK if self._busy() else TICK)
        finally:
            requests.close()
        return 0

    def _until_prepared(self, starting: Sequence[_SupervisedChild]) -> None:
        """Waits for parts that were launched for the first time. Returns early if a stop signal comes."""
        while waiting := [watched for watched in starting if not watched.started_before]:
            for watched in waiting:
                if self._stopping():
                    return
                part = watched.part
                if part.ready():
                    self._prepare(watched)
                else:
                    part.check_starting(watched.spawned_at + part.start_timeout)
            for other in self._watched:
                if other.started_before:
                    self._attend(other)
            self._tell([watched.part for watched in waiting])
            self._wait(STARTING_TICK)

    def _tell(self, parts: Sequence[ManagedProcess]) -> None:
        if (now := time.monotonic()) > self._tell_at:
            self._tell_at = now + self._policy.telling
            self._say(f"Waiting for: {', '.join(part.name for part in parts)}")

    def _restart(self, tell: Callable[[str], None]) -> None:
        """Replaces the parts that have twins, one after the other. Each is stopped when its twin takes calls. Raises
        RestartFailed if a twin does not."""
        for watched in self._watched:
            if watched.child.twin is not None and not self._stopping():
                self._replace(watched, watched.child.twin)
                line = f"{watched.part.name} was replaced."
                self._say(line)
                tell(line)

    def _replace(self, watched: _SupervisedChild, twin: ServerProcess) -> None:
        old, deadline = watched.part, time.monotonic() + twin.start_timeout
        assert isinstance(old, ServerProcess), "a part that has a twin"
        routing = self._routing
        assert routing is not None, "the caller of a part that has a twin"
        others = [other.part for other in self._watched if other.child.twin is not None]
        spawned_at = time.monotonic()
        self._beside = [twin]
        try:
            twin.launch()
            self._until(twin.ready, lambda: twin.check_starting(deadline))
            routing.send_to([*others, twin])
            self._until(lambda: routing.reaches(twin), lambda: twin.check_starting(deadline))
        except _GaveUp:
            raise
        except Fixable as error:
            self._remove(twin)
            routing.send_to(others)
            raise RestartFailed(f"{twin.name} was not replaced: {error.message}", error.remedy) from error
        if watched.listener is not None:
            watched.listener.over.set()
        watched.child = replace(watched.child, twin=old)
        watched.part, watched.spawned_at, watched.restart_at, watched.failures = twin, spawned_at, None, 0
        self._listen(watched)
        self._beside = [old]
        routing.send_to([twin if part is old else part for part in others])
        old.leave()
        deadline = time.monotonic() + old.leaving_seconds
        self._until(lambda: not old.alive() or time.monotonic() > deadline)
        self._remove(old)

    def _remove(self, part: ManagedProcess) -> None:
        """Ends a part that a restart has started or replaced, with the processes that it leaves."""
        part.stop(urgent=lambda: True)
        self._beside = []
        self._kill_orphans()

    def _until(self, condition: Callable[[], bool], check: Callable[[], None] = lambda: None) -> None:
        """Waits for a condition while the parts are watched. `check` may raise. Raises _StopSignal if a stop signal comes."""
        while not condition():
            if self._stopping():
                raise _StopSignal
            check()
            self._tick()
            self._wait(STARTING_TICK)

    def _prepare(self, watched: _SupervisedChild) -> None:
        watched.part.prepare()
        self._listen(watched)
        first = not watched.started_before
        watched.started_before = True
        if not first:
            self._say(f"{watched.part.name} runs again.")
        elif watched.child.on_ready is not None:
            self._hook(watched.child.on_ready)

    def _listen(self, watched: _SupervisedChild) -> None:
        watched.prepared = True
        if (pid := watched.part.pid) is not None:
            watched.listener = _LivenessProbe(watched.part, pid, self._policy.silence)
            watched.listener.start()

    def _hook(self, hook: Callable[[], None]) -> None:
        """Runs a hook. A stop signal may interrupt it."""
        self._in_hook = True
        try:
            if self._stopping():
                raise _StopSignal
            hook()
        finally:
            self._in_hook = False

    def _tick(self) -> None:
        self._reap()
        self._disks.look()
        for watched in self._watched:
            self._attend(watched)
        errand = self._errand
        if errand is not None and errand.process is not None:
            if errand.alive():
                self._tell([errand])
                return
            code = errand.process.returncode
            errand.stop()
            errand.on_end(code)
            self._all_ready()

    def _all_ready(self) -> None:
        if self._on_ready is not None:
            self._hook(self._on_ready)

    @property
    def _parts(self) -> Sequence[ManagedProcess]:
        """The parts in the order of their starts."""
        errand = [] if self._errand is None else [self._errand]
        return [*(watched.part for watched in self._watched), *self._beside, *errand]

    def _busy(self) -> bool:
        return any(not watched.prepared and watched.restart_at is None for watched in self._watched)

    def _attend(self, watched: _SupervisedChild) -> None:
        part = watched.part
        now = time.monotonic()
        if watched.restart_at is not None:
            if now >= watched.restart_at:
                watched.restart_at = None
                watched.spawned_at = now
                part.launch()
            return
        if not part.alive():
            self._bury(watched)
        elif not watched.prepared:
            if part.ready():
                self._prepare(watched)
            elif now > watched.spawned_at + part.start_timeout and part.process is not None:
                part.process.kill()
        elif (
            watched.listener is not None
            and (still := watched.listener.stands_still())
            and part.process is not None
        ):
            watched.listener.over.set()
            watched.listener = None
            self._say(still)
            part.process.kill()

    def _bury(self, watched: _SupervisedChild) -> None:
        """Reports the part's end, ends its remaining processes, and plans the restart."""
        part = watched.part
        code = part.process.returncode if part.process is not None else None
        ran = time.monotonic() - watched.spawned_at
        watched.prepared = False
        if watched.listener is not None:
            watched.listener.over.set()
            watched.listener = None
        watched.failures = 1 if ran >= self._policy.healthy_after else watched.failures + 1
        self._kill_orphans()
        if min(map(free_space, self._layout.disks)) < NO_ROOM:
            # Until there is room, the part cannot run. It starts again by itself when somebody has freed space.
            watched.failures = 1
            watched.restart_at = time.monotonic() + self._policy.longest_delay
            self._say(str(part.death("while running")))
            return
        if part.needed and watched.failures >= self._policy.most_failures:
            raise _GaveUp(
                f"{part.name} exited {watched.failures} times in a row ({exit_text(code)}), so everything was stopped",
                f"see {part.log}",
            )
        delay = min(self._policy.first_delay * 2 ** min(watched.failures - 1, 30), self._policy.longest_delay)
        watched.restart_at = time.monotonic() + delay
        self._say(f"{part.name} exited unexpectedly ({exit_text(code)}); starting it again.")

    def _kill_orphans(self) -> None:
        """Kills the adopted children, which are processes that a dead part left."""
        known = {part.pid for part in self._parts}
        for process in psutil.Process().children():
            if process.pid in known:
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in (*process.children(recursive=True), process):
                    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        each.kill()
        self._reap()

    def _reap(self) -> None:
        """Reads the exit codes of adopted children. The exit code of a part is left to the part's Popen, which reads it."""
        known = {part.process.pid: part for part in self._parts if part.process}
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                part = known.get(dead.si_pid)
                if part is not None:
                    part.alive()
                else:
                    os.waitpid(dead.si_pid, 0)

    def _stop_all(self) -> None:
        for part in reversed(self._parts):
            try:
                part.stop(urgent=lambda: self._stops > 1 or os.getppid() != self._guard)
            except Fixable as error:
                self._say(str(error))
            with contextlib.suppress(psutil.Error):
                self._kill_orphans()
        kill_descendants(patience=2.0)

    def _record(self) -> str:
        path = self._layout.logs / "supervisor.log"
        with contextlib.suppress(OSError), path.open("a") as file:
            traceback.print_exc(file=file)
        return str(path)

    def _stopping(self) -> bool:
        return self._stops > 0 or os.getppid() != self._guard

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._stops += 1
        if self._in_hook:
            self._in_hook = False
            raise _StopSignal

    def _wait(self, seconds: float) -> None:
        """Waits for `seconds`, or until a signal comes, for example because a child has ended."""
        if select.select([self._wake_read], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)


def kill_descendants(patience: float = 5.0, *, spare_postgres: float = 0.0) -> None:
    """Kills every descendant of this process, and waits at most `patience` seconds until all have ended.

    This process adopts the children of each process that it kills, and then kills these children too. It spares PostgreSQL for
    the first `spare_postgres` seconds: the kernel has already signalled PostgreSQL, and a PostgreSQL that ends by itself removes
    its shared memory.
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
    """Reads the exit codes of all dead children."""
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


def _wake_only(_: int, __: FrameType | None) -> None:
    """Does nothing. This handler is needed because only a signal with a handler is written to the wakeup descriptor."""


@contextlib.contextmanager
def _handlers(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Installs `handler` for the stop signals, and restores the old handlers at the end of the block. Without a
    handler, a shell's background job would ignore SIGINT."""
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _never_failing(say: Callable[[str], None]) -> Callable[[str], None]:
    """Wraps `say`, so that the parts are stopped even if the terminal is closed."""

    def say_line(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            say(line)

    return say_line


def _to_stderr(line: str) -> None:
    print(f"responsa: {line}", file=sys.stderr, flush=True)
