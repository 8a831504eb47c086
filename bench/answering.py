"""Compares turns that search a documentation of 705 kB with a plain handler that does the same work by hand, without
and with a language model. No question comes twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.corpus import Text
from bench.cpu import Metered
from bench.documentation import pages, questions
from bench.figures import Comparison, percentile
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Transport
from bench.library import make_collection, take_in
from bench.peers.model import NAME, TOKENS
from bench.processes import caller, free_port, peer_process, place, running
from bench.report import Line
from bench.run import Run

_COLLECTION: Final = "documentation"
_STREAMS: Final = (1, 16)
# More than a cell uses, so that no question is asked again, on either side.
_A_CELL: Final = 2000
_MICROSECONDS: Final = 1000  # per millisecond


@dataclass(frozen=True, slots=True)
class Row:
    """What is compared. aims: of the measures at 16 streams."""

    name: str
    title: str
    aims: Mapping[str, str]


WITHOUT_MODEL: Final = Row(
    "answering",
    (
        "Turns that search a documentation of 705 kB, through Envoy, compared with a plain "
        "handler (grpc.aio, LangGraph, pgvector, same embedding model)"
    ),
    {"turns": "÷ ≥ 0.5", "CPU of the server": "≤ 11 ms", "CPU of PostgreSQL": "≤ 4 ms"},
)
WITH_MODEL: Final = Row(
    "model",
    f"Turns that search the same with a language model ({TOKENS} tokens at no pace), compared with the plain handler with the same model",
    {"turns": "÷ ≥ 0.5", "CPU of the server": "≤ 20 ms", "CPU of PostgreSQL": "≤ 6 ms"},
)


def measure(run: Run) -> list[Line]:
    """Measures turns per second, their times, and the CPU of each, without a language model."""
    return _compared(run, WITHOUT_MODEL)


def measure_with_model(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures the same with a language model, which runs in a process of its own and speaks OpenAI's protocol over
    loopback. Its CPU counts for neither side."""
    say("model: starting an instance")
    listen = f"127.0.0.1:{free_port()}"
    settings = {
        "RESPONSA_DOCS": "none",
        f"RESPONSA_MODELS__SERVERS__{NAME.upper()}__URL": f"http://{listen}/v1",
        "RESPONSA_MODELS__DEFAULT": f"{NAME}:{NAME}",
    }
    with (
        place(**settings) as at,
        peer_process(at, "bench.peers.model", listen=listen),
        running(at) as started,
        caller() as calling,
    ):
        return _compared(Run(at, started.pid, calling, quick, say), WITH_MODEL)


def _compared(run: Run, row: Row) -> list[Line]:
    run.say(f"{row.name}: uploading the documentation")
    make_collection(run.place, _COLLECTION, max_tokens=None)
    take_in(run.place, _COLLECTION, [Text(name, name, text, ()) for name, text in pages().items()])
    fresh = questions(1)
    seconds = run.pick(6, 1)
    lines: list[Line] = []

    run.say(f"{row.name}: the plain handler takes in the documentation")
    with peer_process(run.place, "bench.peers.plain") as (target, pid):

        def ask(target: str, pids: tuple[int, ...], streams: int, number: int) -> Metered:
            del number
            job = Job(
                Call.ASK,
                Transport.GRPC,
                target,
                run.place.key,
                streams=streams,
                seconds=seconds,
                texts=[next(fresh) for _ in range(_A_CELL)],
                collection=_COLLECTION,
                refusals=True,
            )
            return Metered.of(pids, lambda: run.caller.do(job))

        # The plain handler uses the instance's PostgreSQL, whose processes descend from `up`. The instance itself is idle meanwhile.
        sides = ((run.place.target, (run.up,)), (target, (run.up, pid)))
        for streams in _STREAMS:
            run.say(f"{row.name}: {streams} streams")
            for side, pids in sides:
                ask(side, pids, streams, 0)
            mine, theirs = interleaved(
                run.pick(6, 1), *(partial(ask, side, pids, streams) for side, pids in sides)
            )
            lines += _lines(row, streams, mine, theirs)
    return lines


def _lines(row: Row, streams: int, mine: Sequence[Metered], theirs: Sequence[Metered]) -> list[Line]:
    number = sum(len(cell.outcome.totals) for cell in (*mine, *theirs))
    aims = row.aims if streams == max(_STREAMS) else {}
    measures: Mapping[tuple[str, str, str], Callable[[Metered], float]] = {
        ("turns", "/s", "more"): lambda cell: cell.outcome.rate,
        ("p50", "ms", "less"): lambda cell: percentile(cell.outcome.totals, 0.5),
        ("p99", "ms", "less"): lambda cell: percentile(cell.outcome.totals, 0.99),
        ("first event p50", "ms", "less"): lambda cell: percentile(cell.outcome.firsts, 0.5),
        ("CPU of the server", "ms", "less"): lambda cell: cell.cpu.server / _MICROSECONDS,
        ("CPU of PostgreSQL", "ms", "less"): lambda cell: cell.cpu.postgres / _MICROSECONDS,
    }
    return [
        Line.compared(
            row.title,
            f"{streams} streams: {what}",
            unit,
            better,
            Comparison.of([value(cell) for cell in mine], [value(cell) for cell in theirs]),
            number,
            aims.get(what, ""),
        )
        for (what, unit, better), value in measures.items()
    ] + [
        Line.alone(
            row.title,
            f"{streams} streams: CPU of Envoy",
            "ms",
            [cell.cpu.envoy / _MICROSECONDS for cell in mine],
            measured=number,
        )
    ]
