"""The processes of the bench: its own instance, the peers, and the calling process. The code that starts a process also
ends the process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Final

from bench.jobs import JOBS, OUTCOMES, Job, Outcome
from bench.peers.process import READY
from tests.instance import LIFTED, START_PATIENCE, eventually

ROOT: Final = Path(__file__).resolve().parents[1]
# A developer's own settings must not change the measurements. If Python may not keep compiled modules, each start
# compiles them again, which takes longer than all else.
_FOREIGN: Final = (
    "RESPONSA_",
    "DATABASE_",
    "REDIS_",
    "LANGSMITH_",
    "LANGCHAIN_",
    "PYTHONDONTWRITEBYTECODE",
)
_STOP_SECONDS: Final = 30.0
# This is more than the largest number of measured streams, so that the server refuses no question.
_MAX_RUNNING: Final = "256"


class BenchError(Exception):
    """A measurement could not be made. The message gives the reason."""


def leave_in_order() -> None:
    """Makes SIGINT and SIGTERM end this process with an exception, so that the process stops and purges everything that it started.

    Without this, a background job of a shell would ignore SIGINT, and SIGTERM would end the process at once.
    """

    def leave(number: int, _: FrameType | None) -> None:
        # Only the first signal counts, so that a second one does not interrupt the stopping.
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, leave)


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Place:
    """The data folder and the port of an instance. limited: whether the instance has the default limits of callers;
    otherwise it has no limits. settings: further environment variables."""

    home: Path
    port: int
    limited: bool = False
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def environment(self) -> dict[str, str]:
        """The environment for `responsa` commands on this instance. The instance's parts inherit the environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {
            **kept,
            **({} if self.limited else LIFTED),
            "RESPONSA_HOME": str(self.home),
            "RESPONSA_PORT": str(self.port),
            "RESPONSA_TURNS__MAX_RUNNING": _MAX_RUNNING,
            **self.settings,
        }

    @property
    def target(self) -> str:
        """The address of the instance's port."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The administrator's API key."""
        return (self.home / "api-key").read_text(encoding="utf-8").strip()

    @property
    def executable(self) -> str:
        """The installed command `responsa`, as a user calls it."""
        return str(Path(sys.executable).with_name("responsa"))


@contextmanager
def place(*, limited: bool = False, **settings: str) -> Generator[Place]:
    """A new place for an instance. The place is purged at the end of the block. limited, settings: see `Place`."""
    with tempfile.TemporaryDirectory(prefix="responsa-bench-") as folder:
        made = Place(Path(folder) / "home", free_port(), limited, settings)
        try:
            yield made
        finally:
            with suppress(OSError):
                subprocess.run(
                    [made.executable, "purge", "--yes"],
                    env=made.environment,
                    capture_output=True,
                    check=False,
                )
            shutil.rmtree(made.home, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Started:
    """A running instance. pid: of `up`. times: for each printed line, the number of seconds since the start."""

    place: Place
    pid: int
    begun: float
    times: Mapping[str, float]


@contextmanager
def running(at: Place) -> Generator[Started]:
    """Runs `responsa up` during the block, and then stops it as Ctrl-C does. The block begins when the instance is
    ready. Raises BenchError if the instance does not start."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [at.executable, "up"],
        cwd=ROOT,
        env=at.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Started(at, process.pid, begun, _read_until(process, "Responsa is ready", begun))
    finally:
        _stop(process, signal.SIGINT)


@contextmanager
def workers(
    argv: Sequence[str], environment: Mapping[str, str], folder: Path, count: int
) -> Generator[Sequence[int]]:
    """Runs further processes that ingest during the block, which begins when all are ready, and yields their ids.
    folder: for their logs."""
    with ExitStack() as stack:
        pids: list[int] = []
        for number in range(count):
            log = folder / f"worker-{number}.log"
            with log.open("w", encoding="utf-8") as file:
                worker = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stderr=file)
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
            eventually(lambda log=log: '"ready"' in log.read_text("utf-8"), "a worker", START_PATIENCE)
            pids.append(worker.pid)
        yield pids


@contextmanager
def peer(at: Place, module: str, *arguments: str) -> Generator[str]:
    """Runs a peer's process with the instance's parts. Yields the peer's gRPC target. Raises BenchError if the peer does not start."""
    with peer_process(at, module, *arguments) as (target, _):
        yield target


@contextmanager
def peer_process(
    at: Place, module: str, *arguments: str, settings: Mapping[str, str] | None = None, listen: str = ""
) -> Generator[tuple[str, int]]:
    """Like `peer`, but also yields the peer's process id. settings: environment variables for the peer. listen: where
    the peer listens; by default a new Unix socket."""
    # The folder of the server's sockets is not used, because the path would be too long on some machines.
    with tempfile.TemporaryDirectory(prefix="rsp-") as folder:
        target = listen or f"unix:{folder}/peer.sock"
        with (Path(folder) / "log").open("w+", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--listen", target, *arguments],
                cwd=ROOT,
                env={**at.environment, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            try:
                try:
                    _read_until(process, READY, time.perf_counter())
                except BenchError as error:
                    log.seek(0)
                    raise BenchError(f"{module} did not start: {log.read()[-2000:]}") from error
                yield target, process.pid
            finally:
                _stop(process, signal.SIGTERM)


class Caller:
    """The calling process, which runs one job after the other."""

    def __init__(self, process: subprocess.Popen[str], stdin: IO[str], stdout: IO[str]) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout

    def do(self, job: Job) -> Outcome:
        """Makes the calls of a job. Raises BenchError if a call failed, because the figures would then be wrong."""
        self._stdin.write(JOBS.dump_json(job).decode() + "\n")
        self._stdin.flush()
        line = self._stdout.readline()
        if not line:
            raise BenchError("the calling process ended")
        found = json.loads(line)
        if "error" in found:
            raise BenchError(f"{job.call} over {job.transport}, {job.streams} streams: {found['error']}")
        outcome = OUTCOMES.validate_python(found)
        if outcome.odd or not outcome.totals:
            raise BenchError(
                f"{job.call} over {job.transport}: {outcome.odd} of {len(outcome.totals)} calls were not answered"
            )
        return outcome


@contextmanager
def caller() -> Generator[Caller]:
    """Runs the calling process during the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.client"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Caller(process, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        _stop(process, signal.SIGTERM)


def command(at: Place, *arguments: str) -> str:
    """Runs a command on the instance and returns its output. Raises BenchError unless the command exits with 0."""
    done = subprocess.run(
        [at.executable, *arguments], env=at.environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(
            f"responsa {' '.join(arguments)} exited with {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


def _read_until(process: subprocess.Popen[str], begin: str, begun: float) -> dict[str, float]:
    assert process.stdout is not None
    times: dict[str, float] = {}
    for line in process.stdout:
        times[line.strip()] = time.perf_counter() - begun
        if line.startswith(begin):
            return times
    raise BenchError(f"it ended before it was ready; its output: {' / '.join(times) or 'nothing'}")


def _stop(process: subprocess.Popen[str], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
