"""Compares durable turns with turns of the same graph in a bare in-memory server. The section measures the rate of turns and the time to the first event."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Final

from bench.figures import percentile
from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.peers.parts import EvidenceKind
from bench.processes import peer
from bench.report import Line
from bench.run import FEW, Run
from responsa_server.embedded import Layout

TITLE: Final = "Durable turns of 69 events (start, 3 statuses, 64 deltas, answer), compared with the same graph in memory over bare grpc.aio"
LIBRARY: Final = "Durable turns that search the library, compared with the same turns in memory"
_STREAMS: Final = (1, 16, 64)
_PEER: Final = "bench.peers.in_memory"


def measure(run: Run) -> list[Line]:
    """Measures turns per second and the time to the first event. The first comparison uses a cheap graph, and both ways in which the peer can frame its events. The second uses the whole agent."""
    lines: list[Line] = []
    with ExitStack() as stack:
        kind = EvidenceKind.DELTAS
        ours = stack.enter_context(peer(run.place, "bench.peers.durable", "--evidence", kind))
        framed = stack.enter_context(peer(run.place, _PEER, "--evidence", kind))
        alone = stack.enter_context(peer(run.place, _PEER, "--evidence", kind, "--one-event-a-message"))
        for streams in _STREAMS:
            lines += _compared(
                run,
                TITLE,
                ours,
                {"the peer sends the same frames": framed, "the peer sends one event per message": alone},
                streams,
            )
    with peer(run.place, _PEER, "--evidence", EvidenceKind.LIBRARY) as theirs:
        ours = f"unix:{Layout.of(run.place.home).server_socket}"
        for streams in (1, 16):
            lines += _compared(run, LIBRARY, ours, {"in memory": theirs}, streams)
    return lines


def _compared(run: Run, title: str, ours: str, peers: dict[str, str], streams: int) -> list[Line]:
    run.say(f"turns: {', '.join(peers)}, {streams} streams")
    seconds = 1.5 if not run.quick else 0.5

    def ask(target: str, place: int, seconds: float = seconds) -> Outcome:
        return run.caller.do(
            Job(
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
        )

    targets = (ours, *peers.values())
    for target in targets:
        ask(target, 0, 0.5)
    mine, *others = interleaved(run.pick(6, 2), *(partial(ask, target) for target in targets))
    lines: list[Line] = []
    for label, other in zip(peers, others, strict=True):
        number = calls(mine, other)
        what = f"{streams} streams, {label}"
        turns = by(lambda one: one.rate, mine, other)
        first = by(lambda one: percentile(one.firsts, 0.5), mine, other)
        lines += [
            Line.compared(title, f"{what}: turns", "/s", "more", turns, number),
            Line.compared(title, f"{what}: first event p50", "ms", "less", first, number),
        ]
    return lines
