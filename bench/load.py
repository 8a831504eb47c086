"""`python -m bench.load`: calls Answer and Ask with the real ghz, through the port of a separate instance, with the key of a service and the default limits of callers.

`go install` builds ghz (github.com/bojand/ghz) once, into the user's cache folder. All calls go over loopback, and their number is limited.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import corpus
from bench.library import answered_questions, make_collection, take_in
from bench.processes import ROOT, BenchError, Place, leave_in_order, place, running
from bench.run import FEW
from responsa.auth.v1 import user_pb2
from responsa_client import Responsa
from responsa_client.errors import ResponsaError

GHZ: Final = "github.com/bojand/ghz/cmd/ghz"
GHZ_VERSION: Final = "v0.120.0"
_CHAT: Final = "responsa.chat.v1.ChatService"
_NANOSECONDS: Final = 1_000_000  # per millisecond
_QUESTIONS: Final = 32
# A connection carries at most a hundred streams.
_STREAMS_A_CONNECTION: Final = 16


@dataclass(frozen=True, slots=True)
class Load:
    """A number of calls of a method. streams: the number of calls that run at a time."""

    method: str
    calls: int
    streams: int


@dataclass(frozen=True, slots=True)
class Found:
    """ghz's report on a load. The times are in milliseconds. statuses: the name of each status, with the number of calls that ended
    with this status.
    """

    load: Load
    rate: float
    p50: float
    p95: float
    p99: float
    statuses: Mapping[str, int]

    @property
    def errors(self) -> int:
        """The number of calls that did not end with OK."""
        return sum(number for status, number in self.statuses.items() if status != "OK")


def read(load: Load, report: Mapping[str, Any]) -> Found:
    """Reads a report of ghz in its `json` format. Raises BenchError if the report has no latencies because no call returned."""
    latencies = {
        one["percentage"]: one["latency"] / _NANOSECONDS for one in report["latencyDistribution"] or ()
    }
    if not latencies:
        raise BenchError(f"ghz measured nothing of {load.method}: {report.get('errorDistribution')}")
    return Found(
        load,
        report["rps"],
        latencies[50],
        latencies[95],
        latencies[99],
        report["statusCodeDistribution"],
    )


def ghz() -> str:
    """The path of ghz. If ghz is missing, it is built. Raises a BenchError that names the missing tool."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "responsa" / f"ghz-{GHZ_VERSION}"
    program = folder / "ghz"
    if program.is_file():
        return str(program)
    go = shutil.which("go")
    if go is None:
        raise BenchError(
            "`go` is not on the PATH; install Go (go.dev/dl), which builds ghz, and run this again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "install", f"{GHZ}@{GHZ_VERSION}"],
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"go install {GHZ}@{GHZ_VERSION} failed: {done.stderr.strip()[-500:]}")
    return str(program)


def service_key(at: Place) -> str:
    """The key of a new service."""
    with Responsa(f"http://{at.target}", at.key) as client:
        service = client.create_user("Load", role=user_pb2.USER_ROLE_SERVICE)
        return client.create_service_api_key(service.name, "load").secret


def put(program: str, at: Place, key: str, load: Load, questions: Sequence[str]) -> Found:
    """Makes the calls of a load on the instance. Raises BenchError."""
    options = {"scope": {"collections": [f"collections/{FEW}"]}}
    config = {
        "call": f"{_CHAT}.{load.method}",
        "host": at.target,
        "insecure": True,
        "protoset": str(ROOT / "generated" / "descriptor.binpb"),
        "metadata": {"authorization": f"Bearer {key}"},
        "data": [{"text": question, "options": options} for question in questions],
        "total": load.calls,
        "concurrency": load.streams,
        "connections": -(-load.streams // _STREAMS_A_CONNECTION),
        "timeout": "60s",
        "format": "json",
    }
    # The key is in a file that only the owner can read, because every user of the machine can read the arguments of a process.
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        done = subprocess.run([program, "--config", file.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"ghz failed: {done.stderr.strip()[-500:]}")
    return read(load, json.loads(done.stdout))


def main(given: Sequence[str] | None = None) -> int:
    """Starts an instance, runs the loads, and reports. Returns the exit code, which is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="the number of calls of each load (2000)")
    options = parser.parse_args(given)
    leave_in_order()
    messages = Console(stderr=True)
    found: list[Found] = []
    try:
        program = ghz()
        messages.print("starting an instance")
        with place(limited=True) as at, running(at):
            texts = corpus.documents(2, 100, seed=2)
            make_collection(at, FEW)
            take_in(at, FEW, texts)
            questions = answered_questions(at, FEW, corpus.questions(texts, 100), _QUESTIONS)
            key = service_key(at)
            for method in ("Answer", "Ask"):
                for streams in (16, 64, 100):
                    load = Load(method, options.calls, streams)
                    messages.print(f"{method}, {load.calls} calls, {streams} at a time")
                    found.append(put(program, at, key, load, questions))
    except (BenchError, ResponsaError) as error:
        messages.print(f"The load could not run: {error}", style="bold", markup=False)
        return 1
    finally:
        if found:
            show(found, Console(width=None if sys.stdout.isatty() else 120))
    return 1 if any(one.errors for one in found) else 0


def show(found: Sequence[Found], console: Console) -> None:
    """Prints the results."""
    table = Table(title=f"ghz {GHZ_VERSION}, through Envoy", title_justify="left", title_style="bold")
    for heading in ("call", "at a time", "calls", "calls/s", "p50 ms", "p95 ms", "p99 ms", "errors"):
        table.add_column(heading, justify="left" if heading == "call" else "right")
    for one in found:
        times = (f"{value:.1f}" for value in (one.rate, one.p50, one.p95, one.p99))
        bad = ", ".join(f"{number} {status}" for status, number in one.statuses.items() if status != "OK")
        table.add_row(one.load.method, str(one.load.streams), str(one.load.calls), *times, bad or "0")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
