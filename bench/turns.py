"""Compares durable turns with turns of the same graph in a bare in-memory server. The section measures the rate of
turns and the time to the first event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Final

from bench.cpu import Metered
from bench.figures import Comparison, percentile
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Transport
from bench.peers.parts import EvidenceKind
from bench.processes import peer_process
from bench.report import Line
from bench.run import FEW, Run
from responsa_local.embedded import LocalLayout

TITLE: Final = (
    "Durable turns of 69 events (start, 3 statuses, 64 deltas, answer), compared with the "
    "same graph in memory over bare grpc.aio"
)
LIBRARY: Final = "Durable turns that search the library, compared with the same turns in memory"
_STREAMS: Final = (1, 16, 64)
_PEER: Final = "bench.peers.in_memory"


_MEASURES: Final[Mapping[tuple[str, str, str], Callable[[Metered], float]]] = {
    ("turns", "/s", "more"): lambda cell: cell.outcome.rate,
    ("first event p50", "ms", "less"): lambda cell: percentile(cell.outcome.firsts, 0.5),
    ("CPU of the server", "µs", "less"): lambda cell: cell.cpu.server,
    ("CPU of PostgreSQL", "µs", "less"): lambda cell: cell.cpu.postgres,
}

Side = tuple[str, tuple[int, ...]]
"""A gRPC target, and the processes whose CPU time is its own."""


def measure(run: Run) -> list[Line]:
    """Measures turns per second, the time to the first event and the CPU time of a turn. The first comparison uses a
    cheap graph, and both ways in which the peer can frame its events. The second uses the whole agent."""
    lines: list[Line] = []
    with ExitStack() as stack:

        def side(module: str, *arguments: str) -> Side:
            target, pid = stack.enter_context(peer_process(run.place, module, *arguments))
            return target, (run.up, pid)

        deltas = ("--evidence", EvidenceKind.DELTAS)
        ours = side("bench.peers.durable", *deltas)
        peers = {
            "the peer sends the same frames": side(_PEER, *deltas),
            "the peer sends one event per message": side(_PEER, *deltas, "--one-event-a-message"),
        }
        for streams in _STREAMS:
            lines += _compared(run, TITLE, ours, peers, streams)
    with peer_process(run.place, _PEER, "--evidence", EvidenceKind.LIBRARY) as (target, pid):
        ours = (f"unix:{LocalLayout.of(run.place.home).server_socket}", (run.up,))
        for streams in (1, 16):
            lines += _compared(run, LIBRARY, ours, {"in memory": (target, (run.up, pid))}, streams)
    return lines


def _compared(run: Run, title: str, ours: Side, peers: Mapping[str, Side], streams: int) -> list[Line]:
    run.say(f"turns: {', '.join(peers)}, {streams} streams")

    def ask(side: Side, place: int, seconds: float) -> Metered:
        target, pids = side
        job = Job(
            Call.ASK,
            Transport.GRPC,
            target,
            run.place.key,
            streams=streams,
            seconds=seconds,
            texts=run.questions(),
            first=place * 7,
            collection=FEW,
        )
        return Metered.of(pids, lambda: run.caller.do(job))

    sides = (ours, *peers.values())
    for side in sides:
        ask(side, 0, 0.5)
    seconds = run.pick(3.0, 0.5)
    mine, *others = interleaved(run.pick(6, 2), *(partial(ask, side, seconds=seconds) for side in sides))
    lines: list[Line] = []
    for label, theirs in zip(peers, others, strict=True):
        number = sum(len(cell.outcome.totals) for cell in (*mine, *theirs))
        for (what, unit, better), value in _MEASURES.items():
            found = Comparison.of([value(cell) for cell in mine], [value(cell) for cell in theirs])
            lines.append(
                Line.compared(title, f"{streams} streams, {label}: {what}", unit, better, found, number)
            )
    return lines
