"""Compares this server's turns with those of LangGraph Agent Server's in-memory development server, if that server can
be installed. Both sides run the same graph.

The peer stores nothing outside its process and checks no credentials. Developers use it to build on LangGraph without
running a separate service.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.figures import percentile
from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.peers.parts import EvidenceKind
from bench.processes import ROOT, BenchError, free_port, peer
from bench.report import Line
from bench.run import Run

TITLE: Final = "Turns of 3 statuses and 64 deltas, durable, compared with LangGraph Agent Server's in-memory development server"
_PROJECT: Final = Path(__file__).parent / "peers" / "agent_server"
_ENVIRONMENT: Final = ROOT / ".venv" / "agent-server"
"""The peer's environment. It is separate, because the peer's packages are not our dependencies."""
_STREAMS: Final = (1, 16)
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_AT_A_TIME: Final = "16"
"""The number of runs that the peer executes concurrently. It is equal to the number of our streams; the peer's default is one."""


def measure(run: Run) -> list[Line]:
    """Turns per second and the time to the first event. If the peer is not available, this section reports the reason
    and measures nothing."""
    lines: list[Line] = []
    try:
        installed(run)
    except BenchError as error:
        run.say(f"LangGraph Agent Server is left out: {error}")
        return lines
    with (
        agent_server() as theirs,
        peer(run.place, "bench.peers.durable", "--evidence", EvidenceKind.DELTAS) as ours,
    ):
        for streams in _STREAMS:
            run.say(f"LangGraph Agent Server: {streams} streams")
            seconds = 3.0 if not run.quick else 1.0

            def ask(
                target: str,
                transport: Transport,
                _: int,
                streams: int = streams,
                seconds: float = seconds,
            ) -> Outcome:
                return run.caller.do(
                    Job(
                        Call.ASK,
                        transport,
                        target,
                        run.place.key,
                        streams=streams,
                        seconds=seconds,
                        texts=("How long is the river?",),
                    )
                )

            sides = (partial(ask, ours, Transport.GRPC), partial(ask, theirs, Transport.AGENT_SERVER))
            for side in sides:
                side(0)
            mine, other = interleaved(run.pick(5, 2), *sides)
            number = calls(mine, other)
            turns = by(lambda one: one.rate, mine, other)
            first = by(lambda one: percentile(one.firsts, 0.5), mine, other)
            lines += [
                Line.compared(TITLE, f"{streams} streams: turns", "/s", "more", turns, number),
                Line.compared(TITLE, f"{streams} streams: first event p50", "ms", "less", first, number),
            ]
    return lines


def installed(run: Run) -> None:
    """Makes the peer's environment from its lock file, unless the environment exists. Raises BenchError."""
    done = _ENVIRONMENT / "installed"
    lock = _PROJECT / "locks/requirements.lock"
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    run.say("installing LangGraph Agent Server into its own environment")
    for command in (
        [sys.executable, "-m", "venv", str(_ENVIRONMENT)],
        [_python(), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)],
    ):
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode != 0:
            raise BenchError(f"it cannot be installed: {found.stderr.strip()[-300:]}")
    done.touch()


def _python() -> str:
    return str(_ENVIRONMENT / "bin" / "python")


@contextmanager
def agent_server() -> Generator[str]:
    """Runs the peer during the block. Yields HOST:PORT. Raises BenchError if the peer does not start."""
    port = free_port()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LANGSMITH_", "LANGCHAIN_"))
    }
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        tempfile.TemporaryDirectory(prefix="responsa-bench-") as folder,
    ):
        # The peer writes its state into the graph's folder, and reads the state at its next start.
        for name in ("langgraph.json", "graph.py"):
            shutil.copy(_PROJECT / name, folder)
        process = subprocess.Popen(
            [
                str(_ENVIRONMENT / "bin" / "langgraph"),
                *("dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)),
                *("--n-jobs-per-worker", _AT_A_TIME, "--config", "langgraph.json"),
            ],
            cwd=folder,
            env={**kept, "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LOG_LEVEL": "WARNING"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _ready(process, port)
        except BenchError as error:
            log.seek(0)
            raise BenchError(f"{error}: {log.read()[-1000:]}") from error
        else:
            yield f"127.0.0.1:{port}"
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/ok", timeout=2
            ):  # the address is on loopback, and the server is our own child process
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise BenchError("LangGraph's development server did not start")
