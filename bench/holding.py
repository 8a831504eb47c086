"""Measures turns and streams that are open at the same time: the number of turns with fifty tokens per second, and the
memory of an idle stream."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Final

import psutil

from bench.figures import percentile
from bench.jobs import Call, Job, Outcome, Transport
from bench.peers.parts import EvidenceKind
from bench.processes import BenchError, peer_process
from bench.report import Line
from bench.run import Run

HELD: Final = (
    "Open turns at 50 tokens per second each, durable, over gRPC; load generator on the same machine"
)
IDLE: Final = "Idle open streams, each with its running turn"
_RATE: Final = 50
_STEPS: Final = (50, 100, 200, 300, 400, 500, 650, 800, 1000, 1250)
_MOST_GAP_MS: Final = 100.0
_TRIES: Final = 2
_OPENING_A_SECOND: Final = 20
"""The minimum number of turns that begin per second while the machine is busy with open turns."""
_ROOM: Final = {"RESPONSA_TURNS__MAX_RUNNING": "10000", "RESPONSA_MAX_CALLS": "20000"}
# This number is slightly below MAX_RUNNING, because a worker reserves some places while it looks for turns to claim.
_IDLE_STREAMS: Final = 9_900
_IDLE_HOLD_SECONDS: Final = 10.0
_STREAMS_A_CHANNEL: Final = 50


def measure_held(run: Run) -> list[Line]:
    """The maximum number of turns whose frames arrive in time. Frames arrive in time if the 99th percentile of the gaps
    is at most 100 ms."""
    lines: list[Line] = []
    hold = 5.0 if not run.quick else 1.0
    for streams in _STEPS if not run.quick else _STEPS[:2]:
        gap, number = 0.0, 0
        for _ in range(_TRIES):
            run.say(f"open turns: {streams} at {_RATE} tokens per second")
            # Turns continue after their readers leave. Therefore each round has a separate process, and its turns end with that process.
            with _paced(run) as (target, _):
                found = _held(run, target, streams, hold)
            gap, number = percentile(found.gaps, 0.99), len(found.gaps)
            if gap <= _MOST_GAP_MS:
                break
        what = f"{streams} turns: gap between a stream's frames, p99"
        lines.append(Line.alone(HELD, what, "ms", [gap], measured=number))
        if gap > _MOST_GAP_MS:
            break
    return lines


def _paced(run: Run) -> AbstractContextManager[tuple[str, int]]:
    return peer_process(run.place, "bench.peers.durable", "--evidence", EvidenceKind.PACED, settings=_ROOM)


def _held(run: Run, target: str, streams: int, hold: float) -> Outcome:
    seconds = hold + 15.0 + streams / _OPENING_A_SECOND
    return run.caller.do(
        Job(
            Call.ASK,
            Transport.GRPC,
            target,
            run.place.key,
            streams=streams,
            texts=[f"{seconds:g} {_RATE}"],
            streams_a_channel=_STREAMS_A_CHANNEL,
            hold=hold,
        )
    )


def measure_idle(run: Run) -> list[Line]:
    """The growth of the server's memory per stream."""
    streams = run.pick(_IDLE_STREAMS, 200)
    run.say(f"idle streams: {streams}")
    with peer_process(run.place, "bench.peers.durable", "--evidence", EvidenceKind.PACED, settings=_ROOM) as (
        target,
        process,
    ):
        # The first turns load modules that stay in memory. These modules are not part of the cost of a further turn.
        _idle(run, target, 50, 0.5)
        server = psutil.Process(process)
        before = server.memory_info().rss
        sizes: list[int] = []
        failed: list[BenchError] = []

        def hold() -> None:
            try:
                _idle(run, target, streams, _IDLE_HOLD_SECONDS if not run.quick else 2.0)
            except BenchError as error:
                failed.append(error)

        holding = threading.Thread(target=hold)
        holding.start()
        while holding.is_alive():
            sizes.append(server.memory_info().rss)
            holding.join(0.2)
    if failed:
        raise failed[0]
    kib = (max(sizes) - before) / streams / 1024
    return [
        Line.alone(
            IDLE, f"{streams} streams: memory of the server per stream", "KiB", [kib], measured=streams
        )
    ]


def _idle(run: Run, target: str, streams: int, hold: float) -> None:
    seconds = hold + 60.0 + streams / _OPENING_A_SECOND
    run.caller.do(
        Job(
            Call.ASK,
            Transport.GRPC,
            target,
            run.place.key,
            streams=streams,
            texts=[f"{seconds:g} 0"],
            streams_a_channel=_STREAMS_A_CHANNEL,
            hold=hold,
        )
    )
