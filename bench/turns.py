"""Durable turns against the same graph in a bare in-memory server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from bench.figures import percentile
from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.peers.parts import EvidenceKind
from bench.processes import peer
from bench.report import Line
from bench.run import FEW, Run
from responsa_server.embedded import Layout

TITLE: Final = "Turns: this server, durable, against the same graph in memory, bare grpc.aio"
_STREAMS: Final = (1, 16, 64)


def measure(run: Run) -> list[Line]:
    """Turns a second and time to the first event, with the library's evidence and with evidence that costs nothing."""
    lines: list[Line] = []
    for kind, label in ((EvidenceKind.LIBRARY, "library"), (EvidenceKind.MEMORY, "no retrieval")):
        with ExitStack() as stack:
            ours = (
                f"unix:{Layout.of(run.place.home).server_socket}"
                if kind is EvidenceKind.LIBRARY
                else stack.enter_context(peer(run.place, "bench.peers.durable", "--evidence", kind))
            )
            theirs = stack.enter_context(peer(run.place, "bench.peers.in_memory", "--evidence", kind))
            for streams in _STREAMS:
                lines += _compared(run, ours, theirs, streams, f"{label}, {streams} streams")
            if kind is EvidenceKind.MEMORY:
                alone = stack.enter_context(
                    peer(run.place, "bench.peers.in_memory", "--evidence", kind, "--one-event-a-message")
                )
                lines += _compared(run, ours, alone, 16, f"{label}, 16 streams, peer: an event a message")[:1]
    return lines


def _compared(run: Run, ours: str, theirs: str, streams: int, label: str) -> list[Line]:
    run.say(f"turns: {label}")
    seconds = 1.5 if not run.quick else 0.5

    def ask(target: str, place: int, seconds: float) -> Outcome:
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

    for target in (ours, theirs):
        ask(target, 0, 0.3)
    mine, other = interleaved(
        run.pick(4, 2), lambda place: ask(ours, place, seconds), lambda place: ask(theirs, place, seconds)
    )
    number = calls(mine, other)
    return [
        Line.compared(TITLE, f"{label}: turns", "/s", "more", by(lambda one: one.rate, mine, other), number),
        *(
            Line.compared(
                TITLE,
                f"{label}: first event p{round(share * 100)}",
                "ms",
                "less",
                by(lambda one, share=share: percentile(one.firsts, share), mine, other),
                number,
            )
            for share in (0.5, 0.99)
        ),
    ]
