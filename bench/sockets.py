"""Compares WebSockets with gRPC-Web, with the same questions through the same Envoy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from bench.figures import percentile
from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.report import Line
from bench.run import Run

TITLE: Final = "WebSocket (ours) and gRPC-Web (peer), both through Envoy; questions search all documents"
_STREAMS: Final = 16
Sides: TypeAlias = "Sequence[Sequence[Outcome]]"


def measure(run: Run) -> list[Line]:
    """Measures the time of one question, and the rate of turns and frames over many connections.

    gRPC-Web begins with the event `started`, for which a WebSocket has no frame. Therefore the first frame of the WebSocket is
    compared twice: with the message for `started`, and with the message for the frame's own event.
    """
    socket, web, shown = _sides(run, streams=1, number=run.pick(60, 15))
    many = _sides(run, streams=_STREAMS, seconds=run.pick(20, 5) / 10)[:2]

    def line(what: str, unit: str, better: str, sides: Sides, value: Callable[[Outcome], float]) -> Line:
        ours, peer = sides
        return Line.compared(TITLE, what, unit, better, by(value, ours, peer), calls(ours, peer))

    def first(outcome: Outcome) -> float:
        return percentile(outcome.firsts, 0.5)

    return [
        line(
            "first frame of the WebSocket, compared with the gRPC-Web message for the same event, p50", "ms", "less", (socket, shown), first
        ),
        line("first frame of the WebSocket, compared with the gRPC-Web message for `started`, p50", "ms", "less", (socket, web), first),
        line("answer p50", "ms", "less", (socket, web), lambda one: percentile(one.totals, 0.5)),
        line(f"{_STREAMS} connections: turns", "/s", "more", many, lambda one: one.rate),
        line(f"{_STREAMS} connections: frames", "/s", "more", many, lambda one: one.messages / one.seconds),
    ]  # fmt: skip


def _sides(run: Run, *, streams: int, seconds: float = 60.0, number: int = 0) -> Sides:
    run.say(f"sockets: {streams} at a time")

    def side(transport: Transport, *, past_started: bool = False) -> Callable[[int], Outcome]:
        def make(place: int, *, seconds: float = seconds, number: int = number) -> Outcome:
            return run.caller.do(
                Job(
                    Call.ASK,
                    transport,
                    run.place.target,
                    run.place.key,
                    streams=streams,
                    seconds=seconds,
                    calls=number,
                    texts=run.questions(),
                    first=place * 7,
                    past_started=past_started,
                )
            )

        make(0, seconds=0.3, number=10)
        return make

    return interleaved(
        run.pick(4, 2),
        side(Transport.WEBSOCKET),
        side(Transport.GRPC_WEB),
        side(Transport.GRPC_WEB, past_started=True),
    )
