"""Measures the time from the command to the first answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bench.processes import Place, command, place, running
from bench.report import Line

TITLE: Final = "Start: `responsa up` until `responsa ask` has printed its answer"
_QUESTION: Final = "How does a client continue after a lost connection?"
_READY: Final = "Responsa is ready"
_LOADING: Final = "Loading Responsa's own documents"


def measure(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures cold and warm starts. A cold start has an empty data folder, and the server loads Responsa's own documents. A warm start uses the same folder again."""
    cold: list[dict[str, float]] = []
    warm: list[dict[str, float]] = []
    for number in range(1 if quick else 2):
        with place() as at:
            say(f"start: cold, {number + 1}")
            cold.append(_once(at))
            for again in range(1 if quick else 2):
                say(f"start: warm, {number + 1}.{again + 1}")
                warm.append(_once(at))
    lines: list[Line] = []
    for name, found in (("warm", warm), ("cold", cold)):
        lines += [
            Line.alone(TITLE, f"{name}: {part}", "s", [one[part] for one in found]) for part in found[0]
        ]
    return lines


def _once(at: Place) -> dict[str, float]:
    """Measures one start and one question. Returns seconds; the total is first."""
    with running(at) as started:
        ready = next(seconds for line, seconds in started.times.items() if line.startswith(_READY))
        begun = time.perf_counter()
        command(at, "ask", _QUESTION)
        ended = time.perf_counter()
    return {
        "until the first answer (total)": ended - started.begun,
        "until the link is printed (part of the total)": ready,
        "for loading Responsa's own documents (part of the total)": ready
        - started.times.get(_LOADING, ready),
        "for the question with `responsa ask` (part of the total)": ended - begun,
    }
