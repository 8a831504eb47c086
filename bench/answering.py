"""Compares turns that search a documentation of 705 kB with a plain handler that does the same work by hand. No question comes twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from bench.corpus import Text
from bench.cpu import Metered
from bench.documentation import pages, questions
from bench.figures import Comparison, percentile
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Transport
from bench.library import make_collection, take_in
from bench.processes import peer_process
from bench.report import Line
from bench.run import Run

TITLE: Final = "Turns that search a documentation of 705 kB, through Envoy, compared with a plain handler (grpc.aio, LangGraph, pgvector, same model)"
_COLLECTION: Final = "documentation"
_STREAMS: Final = (1, 16)
# More than a cell uses, so that no question is asked again, on either side.
_A_CELL: Final = 2000


def measure(run: Run) -> list[Line]:
    """Measures turns per second, their times, and the CPU of each."""
    run.say("answering: uploading the documentation")
    make_collection(run.place, _COLLECTION, max_tokens=None)
    take_in(run.place, _COLLECTION, [Text(name, name, text, ()) for name, text in pages().items()])
    fresh = questions(1)
    seconds = run.pick(6, 1)
    lines: list[Line] = []

    run.say("answering: the plain handler takes in the documentation")
    with peer_process(run.place, "bench.peers.plain") as (target, pid):

        def ask(target: str, pids: tuple[int, ...], streams: int, place: int) -> Metered:
            del place
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
            run.say(f"answering: {streams} streams")
            for side, pids in sides:
                ask(side, pids, streams, 0)
            mine, theirs = interleaved(
                run.pick(6, 1), *(partial(ask, side, pids, streams) for side, pids in sides)
            )
            lines += _lines(streams, mine, theirs)
    return lines


def _lines(streams: int, mine: Sequence[Metered], theirs: Sequence[Metered]) -> list[Line]:
    number = sum(len(cell.outcome.totals) for cell in (*mine, *theirs))
    measures: Mapping[tuple[str, str, str], Callable[[Metered], float]] = {
        ("turns", "/s", "more"): lambda cell: cell.outcome.rate,
        ("p50", "ms", "less"): lambda cell: percentile(cell.outcome.totals, 0.5),
        ("p99", "ms", "less"): lambda cell: percentile(cell.outcome.totals, 0.99),
        ("CPU of the server", "µs", "less"): lambda cell: cell.cpu.server,
        ("CPU of PostgreSQL", "µs", "less"): lambda cell: cell.cpu.postgres,
    }
    return [
        Line.compared(
            TITLE,
            f"{streams} streams: {what}",
            unit,
            better,
            Comparison.of([value(cell) for cell in mine], [value(cell) for cell in theirs]),
            number,
        )
        for (what, unit, better), value in measures.items()
    ] + [
        Line.alone(
            TITLE,
            f"{streams} streams: CPU of Envoy",
            "µs",
            [cell.cpu.envoy for cell in mine],
            measured=number,
        )
    ]
