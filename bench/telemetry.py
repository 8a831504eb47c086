"""Compares turns that search with telemetry (metrics, which are read once a round, and traces of 5 % of the calls) with
the same turns without it, on two instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Final

import httpx2

from bench.corpus import Text
from bench.cpu import Metered
from bench.documentation import pages, questions
from bench.figures import Comparison
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.library import make_collection, take_in
from bench.processes import Started, caller, place, running
from bench.report import Line
from tests.wire.otlp import receiving

TITLE: Final = (
    "CPU of a turn that searches, through Envoy, with telemetry, compared with the same turn without"
)
_COLLECTION: Final = "documentation"
_PAGES: Final = ("glossary.md", "house.md")
_STREAMS: Final = 16
_CALLS: Final = 48
_RATIO: Final = "0.05"


def measure(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures the CPU of each part. Both sides answer the same questions, and no question comes twice."""
    with ExitStack() as stack:
        collector = stack.enter_context(receiving())
        without = {"RESPONSA_DOCS": "none"}
        settings = without | {
            "RESPONSA_TELEMETRY__METRICS": "true",
            "RESPONSA_TELEMETRY__ENDPOINT": collector.grpc,
            "RESPONSA_TELEMETRY__SAMPLE_RATIO": _RATIO,
        }
        say("telemetry: starting two instances, which take in two pages")
        sides: list[Started] = []
        for chosen in (settings, without):
            sides.append(stack.enter_context(running(stack.enter_context(place(**chosen)))))
            make_collection(sides[-1].place, _COLLECTION, max_tokens=None)
            take_in(sides[-1].place, _COLLECTION, [Text(name, name, pages()[name], ()) for name in _PAGES])
        calling = stack.enter_context(caller())
        rounds, calls = (8, _CALLS) if not quick else (1, 16)
        fresh = questions(2, _PAGES)
        texts = [list(islice(fresh, calls)) for _ in range(rounds + 1)]

        def ask(side: Started, number: int) -> Metered:
            job = Job(
                Call.ASK,
                Transport.GRPC,
                side.place.target,
                side.place.key,
                streams=_STREAMS,
                calls=calls,
                texts=texts[number],
                collection=_COLLECTION,
                refusals=True,
            )

            def work() -> Outcome:
                outcome = calling.do(job)
                headers = {"authorization": f"Bearer {side.place.key}"}
                httpx2.get(f"http://{side.place.target}/metrics", headers=headers, trust_env=False)
                return outcome

            return Metered.of([side.pid], work)

        for side in sides:
            ask(side, rounds)
        say(f"telemetry: {rounds} rounds")
        ours, peer = interleaved(rounds, *(partial(ask, side) for side in sides))
    return _lines(ours, peer)


def _lines(ours: Sequence[Metered], peer: Sequence[Metered]) -> list[Line]:
    parts: dict[str, Callable[[Metered], float]] = {
        "server": lambda cell: cell.cpu.server,
        "server, PostgreSQL and Envoy": lambda cell: cell.cpu.server + cell.cpu.postgres + cell.cpu.envoy,
    }
    number = sum(len(cell.outcome.totals) for cell in (*ours, *peer))
    return [
        Line.compared(
            TITLE, what, "µs", "less",
            Comparison.of([value(cell) for cell in ours], [value(cell) for cell in peer]), number,
        )
        for what, value in parts.items()
    ]  # fmt: skip
