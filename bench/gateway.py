"""Compares calls through Envoy's port with calls on the server's own socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench.figures import percentile
from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.report import Line
from bench.run import FEW, Run
from responsa_local.embedded import LocalLayout

TITLE: Final = (
    "Envoy: the port compared with the server's own socket (ours: through Envoy; peer: direct gRPC)"
)
_PATHS: Final = (
    (Transport.GRPC, "gRPC"),
    (Transport.GRPC_WEB, "gRPC-Web"),
    (Transport.REST, "REST"),
)
_BUSY_STREAMS: Final = 16


def measure(run: Run) -> list[Line]:
    """Unary calls and streams over each transport."""
    total: Callable[[Outcome], float] = lambda one: percentile(one.totals, 0.5)  # noqa: E731 - next to similar functions
    first: Callable[[Outcome], float] = lambda one: percentile(one.firsts, 0.5)  # noqa: E731
    return [
        *_compared(run, Call.GET_ME, "GetMe p50", "ms", total, number=run.pick(300, 50)),
        *_compared(run, Call.ANSWER, "Answer p50", "ms", total, number=run.pick(40, 15)),
        *_compared(run, Call.ASK, "Ask, first event p50", "ms", first, number=run.pick(40, 15)),
        *_compared(
            run,
            Call.ASK,
            f"Ask, {_BUSY_STREAMS} streams: turns",
            "/s",
            lambda one: one.rate,
            streams=_BUSY_STREAMS,
        ),
    ]


def _compared(
    run: Run,
    call: Call,
    what: str,
    unit: str,
    value: Callable[[Outcome], float],
    *,
    streams: int = 1,
    number: int = 0,
) -> list[Line]:
    run.say(f"Envoy: {what}")
    seconds = (2.0 if not run.quick else 0.5) if number == 0 else 60.0
    direct = f"unix:{LocalLayout.of(run.place.home).server_socket}"

    def side(transport: Transport, target: str) -> Callable[[int], Outcome]:
        def make(place: int, *, seconds: float = seconds, number: int = number) -> Outcome:
            return run.caller.do(
                Job(
                    call,
                    transport,
                    target,
                    run.place.key,
                    streams=streams,
                    seconds=seconds,
                    calls=number,
                    texts=run.questions(),
                    first=place * 7,
                    collection=FEW,
                )
            )

        make(0, seconds=0.3, number=10)
        return make

    sides = [side(Transport.GRPC, direct), *(side(transport, run.place.target) for transport, _ in _PATHS)]
    bare, *through = interleaved(run.pick(4, 2), *sides)
    better = "more" if unit == "/s" else "less"
    return [
        Line.compared(TITLE, f"{what}, {label}", unit, better, by(value, found, bare), calls(found, bare))
        for (_, label), found in zip(_PATHS, through, strict=True)
    ]
