"""Compares the CPU time of a turn through each transport with the same turn over gRPC on the server's own socket."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from bench.cpu import Metered, Used
from bench.figures import Comparison
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Transport
from bench.report import Line
from bench.run import Run
from responsa_local.embedded import LocalLayout

TITLE: Final = (
    "CPU of a turn by transport, through Envoy (ours), compared with gRPC on the server's "
    "own socket (peer); questions search all documents"
)
_LABELS: Final = {
    Transport.GRPC: "gRPC",
    Transport.GRPC_WEB: "gRPC-Web",
    Transport.REST: "REST (NDJSON)",
    Transport.SSE: "SSE",
    Transport.WEBSOCKET: "WebSocket",
    Transport.OPENAI: "OpenAI, streamed",
    Transport.MCP: "MCP",
}
_STREAMS: Final = 4


def measure(run: Run) -> list[Line]:
    """Measures the CPU of the server, and Envoy's beside it. What the idle server uses in the same time is subtracted,
    because a cell with fewer turns has more of it."""
    direct = f"unix:{LocalLayout.of(run.place.home).server_socket}"
    seconds = run.pick(4.0, 1.0)

    def side(transport: Transport, target: str, place: int) -> Metered:
        job = Job(
            Call.ASK,
            transport,
            target,
            run.place.key,
            streams=_STREAMS,
            seconds=seconds,
            texts=run.questions(),
            first=place * 7,
        )
        return Metered.of((run.up,), lambda: run.caller.do(job))

    sides = [partial(side, Transport.GRPC, direct)]
    sides += [partial(side, transport, run.place.target) for transport in _LABELS]

    def server(cell: Metered) -> float:
        return cell.cpu.server - idle / cell.outcome.rate

    run.say(f"transports: {', '.join(_LABELS.values())}")
    for one in sides:
        one(0)
    idle = _idle(run)
    bare, *through = interleaved(run.pick(8, 2), *sides)
    lines: list[Line] = []
    for label, found in zip(_LABELS.values(), through, strict=True):
        number = sum(len(cell.outcome.totals) for cell in (*found, *bare))
        compared = Comparison.of([server(cell) for cell in found], [server(cell) for cell in bare])
        lines.append(Line.compared(TITLE, f"{label}: CPU of the server", "µs", "less", compared, number))
        envoy = [cell.cpu.envoy for cell in found]
        lines.append(Line.alone(TITLE, f"{label}: CPU of Envoy", "µs", envoy, measured=number))
    return lines


def _idle(run: Run) -> float:
    """The CPU microseconds of the idle server in a second."""
    seconds = run.pick(10.0, 1.0)
    before = Used.of((run.up,)).server
    time.sleep(seconds)
    return (Used.of((run.up,)).server - before) / seconds * 1e6
