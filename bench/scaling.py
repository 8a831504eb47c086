"""Measures what several processes on one PostgreSQL make of turns and of ingestion: how the rates grow, and whose CPU
time each turn and passage takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import corpus
from bench.cpu import Metered, Used
from bench.jobs import Call, Job, Transport
from bench.library import make_collection, passages_of
from bench.processes import caller, command, place, running, workers
from bench.report import Line
from bench.run import FEW, PARAGRAPHS, Run
from responsa_server.system.machine import visible

TURNS: Final = "Turns that search, by several servers on one PostgreSQL"
INGESTION: Final = "Ingestion by several processes on one PostgreSQL, and by Ray"
_MICROSECONDS: Final = 1_000_000
# A server that is asked more than it answers in time refuses the rest, but here its rate under full load is measured.
_SETTINGS: Final = {
    "RESPONSA_DOCS": "none",
    "RESPONSA_INGESTION__OWN_PROCESS": "true",
    "RESPONSA_TURNS__ANSWER_SECONDS": "60",
}


def measure(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures 1, 2, 4 … servers, at most one a core, and as many processes that ingest. Where RAY_ADDRESS names a
    cluster, also the engine ray."""
    counts = [2**power for power in range(visible().cpus.bit_length())][: 2 if quick else None]
    lines: list[Line] = []
    for count in counts:
        say(f"scaling: {count} servers")
        lines += _turns(count, quick, say)
    engines = [("workers", count) for count in counts] + [("ray", 1)] * ("RAY_ADDRESS" in os.environ)
    for engine, count in engines:
        say(f"scaling: {count} processes that ingest, engine {engine}")
        lines += _ingestion(engine, count, quick)
    return lines


def _turns(count: int, quick: bool, say: Callable[[str], None]) -> list[Line]:
    with (
        place(**_SETTINGS, RESPONSA_SERVERS=str(count)) as at,
        running(at) as started,
        caller() as calling,
    ):
        run = Run(at, started.pid, calling, quick, say)
        job = Job(
            Call.ASK,
            Transport.GRPC,
            at.target,
            at.key,
            streams=16 * count,
            seconds=run.pick(20, 2),
            texts=run.questions(),
            collection=FEW,
        )
        calling.do(job)
        cells = [Metered.of((started.pid,), lambda: calling.do(job)) for _ in range(run.pick(3, 1))]
    number = sum(len(cell.outcome.totals) for cell in cells)
    values = {
        ("turns", "/s", "more"): [cell.outcome.rate for cell in cells],
        ("CPU of the servers", "µs", "less"): [cell.cpu.server for cell in cells],
        ("CPU of PostgreSQL", "µs", "less"): [cell.cpu.postgres for cell in cells],
        ("CPU of Envoy", "µs", "less"): [cell.cpu.envoy for cell in cells],
    }
    return [
        Line.alone(TURNS, f"{count} servers: {what}", unit, found, better=better, measured=number)
        for (what, unit, better), found in values.items()
    ]


def _ingestion(engine: str, count: int, quick: bool) -> list[Line]:
    with (
        place(**_SETTINGS, RESPONSA_SERVERS="1") as at,
        running(at) as started,
        workers([at.executable, "serve", "--role", "jobs"], at.environment, at.home, count - 1) as others,
    ):
        pids = (started.pid, *others)
        rates: list[float] = []
        used: list[tuple[float, float]] = []
        for number in range(1 if quick else 3):
            collection = f"{FEW}-{number}"
            make_collection(at, collection)
            folder = at.home.parent / collection
            _write(folder, corpus.documents(8 if quick else 100, PARAGRAPHS, seed=number))
            before, begun = Used.of(pids), time.perf_counter()
            command(at, "ingest", str(folder), "--collection", collection, "--engine", engine)
            seconds, after = time.perf_counter() - begun, Used.of(pids)
            passages = passages_of(at, collection)
            rates.append(passages / seconds)
            share = _MICROSECONDS / passages
            used.append(((after.server - before.server) * share, (after.postgres - before.postgres) * share))
    what = "Ray and 1 process" if engine == "ray" else f"{count} processes"
    return [
        Line.alone(INGESTION, f"{what}: passages", "/s", rates, better="more"),
        Line.alone(INGESTION, f"{what}: CPU of Responsa's processes", "µs", [one for one, _ in used]),
        Line.alone(INGESTION, f"{what}: CPU of PostgreSQL", "µs", [one for _, one in used]),
    ]


def _write(folder: Path, texts: Sequence[corpus.Text]) -> None:
    folder.mkdir()
    for text in texts:
        (folder / f"{text.key.replace('/', '-')}").write_text(text.text, encoding="utf-8")
