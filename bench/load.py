"""`python -m bench.load`: calls a separate instance with the real ghz, through Envoy and on the server's own socket,
with the key of a service and the default limits of callers. Beside it, the bench's own caller asks over WebSockets and
server-sent events.

`go install` builds ghz (github.com/bojand/ghz) once, into the user's cache folder. All calls go over loopback, and
their number is limited. The results replace a section of docs/maintainers/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import corpus
from bench.figures import percentile
from bench.jobs import Call, Job, Transport
from bench.library import answered_questions, make_collection, take_in
from bench.processes import ROOT, BenchError, Caller, Place, caller, leave_in_order, place, running
from bench.report import Machine
from bench.run import FEW
from responsa.auth.v1 import user_pb2
from responsa_client import Responsa
from responsa_client.errors import ResponsaError
from responsa_local.embedded import LocalLayout

GHZ: Final = "github.com/bojand/ghz/cmd/ghz"
GHZ_VERSION: Final = "v0.120.0"
PAGE: Final = ROOT / "docs" / "maintainers" / "benchmarks.md"
BEGIN: Final = "<!-- written by `make load` from here -->"
END: Final = "<!-- to here -->"
_CHAT: Final = "responsa.chat.v1.ChatService"
_SEARCH: Final = "responsa.knowledge.v1.KnowledgeService.Search"
_METHODS: Final = (f"{_CHAT}.Answer", f"{_CHAT}.Ask", f"{_CHAT}.ResumeTurn", _SEARCH)
_STREAMS: Final = (16, 64)
_NANOSECONDS: Final = 1_000_000  # per millisecond
_QUESTIONS: Final = 32
# A connection carries at most a hundred streams.
_STREAMS_A_CONNECTION: Final = 16
_FEW_CALLS: Final = 64
_SOCKETS: Final = 32
"""The default limit of a service of sockets."""
_HEADINGS: Final = ("call", "over", "at a time", "calls", "calls/s", "p50 ms", "p95 ms", "p99 ms", "errors")


@dataclass(frozen=True, slots=True)
class Load:
    """A number of calls. what: the method. way: the transport, and what is between the caller and the server. streams:
    the number of calls that run at a time."""

    what: str
    way: str
    calls: int
    streams: int


@dataclass(frozen=True, slots=True)
class Found:
    """The report on a load. The times are in milliseconds. errors: the name of each status other than OK, with the
    number of calls that ended with this status."""

    load: Load
    rate: float
    p50: float
    p95: float
    p99: float
    errors: Mapping[str, int]


def read(load: Load, report: Mapping[str, Any]) -> Found:
    """Reads a report of ghz in its `json` format. Raises BenchError if the report has no latencies because no call returned."""
    latencies = {
        one["percentage"]: one["latency"] / _NANOSECONDS for one in report["latencyDistribution"] or ()
    }
    if not latencies:
        raise BenchError(f"ghz measured nothing of {load.what}: {report.get('errorDistribution')}")
    errors = {status: number for status, number in report["statusCodeDistribution"].items() if status != "OK"}
    return Found(load, report["rps"], latencies[50], latencies[95], latencies[99], errors)


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


def turns_of(at: Place, key: str, questions: Sequence[str]) -> Sequence[str]:
    """The names of ended turns, one for each question."""
    with Responsa(f"http://{at.target}", key) as client:
        return [client.answer(question, collections=[FEW]).name for question in questions]


def put(
    program: str, target: str, key: str, load: Load, method: str, data: Sequence[Mapping[str, Any]]
) -> Found:
    """Makes the calls of a load with ghz. data: their requests, in turn. Raises BenchError."""
    config = {
        "call": method,
        "host": target,
        "insecure": True,
        "protoset": str(ROOT / "generated" / "descriptor.binpb"),
        "metadata": {"authorization": f"Bearer {key}"},
        "data": data,
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


def ask(
    calling: Caller, at: Place, key: str, load: Load, transport: Transport, questions: Sequence[str]
) -> Found:
    """Asks with the bench's own caller. Raises BenchError if a question is not answered."""
    job = Job(Call.ASK, transport, at.target, key, load.streams, calls=load.calls, texts=questions)
    done = calling.do(job)
    p50, p95, p99 = (percentile(done.totals, share) for share in (0.5, 0.95, 0.99))
    return Found(load, done.rate, p50, p95, p99, {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts an instance, runs the loads, and reports. Returns the exit code, which is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="the number of calls of each load (2000)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="make few calls, to test this program itself, and leave the page as it is",
    )
    options = parser.parse_args(arguments)
    leave_in_order()
    messages = Console(stderr=True)
    machine = Machine.here()
    reports: list[Found] = []
    try:
        program = ghz()
        messages.print("starting an instance")
        with place(limited=True) as at, running(at), caller() as calling:
            texts = corpus.documents(2, 100, seed=2)
            make_collection(at, FEW)
            take_in(at, FEW, texts)
            questions = answered_questions(at, FEW, corpus.questions(texts, 100), _QUESTIONS)
            key = service_key(at)
            calls, quickly = (_FEW_CALLS, _STREAMS[:1]) if options.quick else (options.calls, _STREAMS)
            targets = {"Envoy": at.target, "direct": f"unix://{LocalLayout.of(at.home).server_socket}"}
            scope = {"collections": [f"collections/{FEW}"]}
            asked = [{"text": question, "options": {"scope": scope}} for question in questions]
            data: Mapping[str, Sequence[Mapping[str, Any]]] = {
                **dict.fromkeys(_METHODS, asked),
                f"{_CHAT}.ResumeTurn": [{"turn": turn} for turn in turns_of(at, key, questions)],
                _SEARCH: [{"terms": [question], "scope": scope, "top_k": 10} for question in questions],
            }
            for streams in quickly:
                for method in _METHODS:
                    for way, target in targets.items():
                        load = Load(method.rpartition(".")[2], f"gRPC, {way}", calls, streams)
                        messages.print(str(load), highlight=False)
                        reports.append(put(program, target, key, load, method, data[method]))
                for transport, way in (
                    (Transport.SSE, "SSE, Envoy"),
                    (Transport.WEBSOCKET, "WebSocket, Envoy"),
                ):
                    if transport is Transport.WEBSOCKET and streams > _SOCKETS:
                        continue
                    load = Load("Ask", way, calls, streams)
                    messages.print(str(load), highlight=False)
                    reports.append(ask(calling, at, key, load, transport, questions))
    except (BenchError, ResponsaError) as error:
        messages.print(f"The load could not run: {error}", style="bold", markup=False)
        return 1
    finally:
        if reports:
            show(reports, Console(width=None if sys.stdout.isatty() else 120))
    if not options.quick:
        write(PAGE, reports, machine)
    return 1 if any(one.errors for one in reports) else 0


def rows(reports: Sequence[Found]) -> Iterator[Sequence[str]]:
    """The results as the cells of a table."""
    for one in reports:
        times = (f"{value:.1f}" for value in (one.rate, one.p50, one.p95, one.p99))
        bad = ", ".join(f"{number} {status}" for status, number in one.errors.items())
        yield one.load.what, one.load.way, str(one.load.streams), str(one.load.calls), *times, bad or "0"


def show(reports: Sequence[Found], console: Console) -> None:
    """Prints the results."""
    table = Table(title=f"ghz {GHZ_VERSION}", title_justify="left", title_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in _HEADINGS[:2] else "right")
    for row in rows(reports):
        table.add_row(*row)
    console.print(table)


def write(page: Path, reports: Sequence[Found], machine: Machine) -> None:
    """Replaces the section of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    table = [_HEADINGS, ["---"] * len(_HEADINGS), *rows(reports)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    told = f"ghz {GHZ_VERSION}, and the bench's own caller for SSE and WebSocket; {machine}; {datetime.now(UTC):%B %Y}."
    page.write_text(f"{before}{BEGIN}\n{told}\n\n{lines}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
