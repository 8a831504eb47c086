"""Measures the time from the command to the first answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import psutil

from bench.processes import Place, Started, command, place, running
from bench.report import Line
from responsa_local.embedded import LocalLayout

TITLE: Final = "Start: `responsa up` until `responsa ask` has printed its answer"
_QUESTION: Final = "How does a client continue after a lost connection?"
_READY: Final = "Responsa is ready"
_LOADING: Final = "Loading Responsa's own documents"
_IN_A_ROW: Final = (
    "1. `up` until it starts the server's process",
    "2. the server until it has its modules and the database",
    "3. the server until it takes calls",
)


def measure(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures cold and warm starts. A cold start has an empty data folder, and the server loads Responsa's own
    documents. A warm start uses the same folder again."""
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
        parts = _parts(started)
    docs = ready - started.times.get(_LOADING, ready)
    return {
        "until the first answer (total)": ended - started.begun,
        **parts,
        "4. Envoy, and the link": ready - docs - sum(parts[name] for name in _IN_A_ROW),
        "5. loading Responsa's own documents": docs,
        "6. the question with `responsa ask`": ended - begun,
    }


def _parts(started: Started) -> dict[str, float]:
    """The parts of a start up to the server's readiness, in seconds, from the times at which processes began, and from
    what they left in files. Parts without a number run beside those with one."""
    layout = LocalLayout.of(started.place.home)
    up = psutil.Process(started.pid)
    begun = time.time() - (time.perf_counter() - started.begun)

    def began(word: str) -> float:
        # Relative to `up`, because psutil knows the time of the boot to the second only.
        found = (one for one in up.children(recursive=True) if word in " ".join(one.cmdline()))
        return min(one.create_time() for one in found) - up.create_time()

    server, postgres = began(" serve "), began("bin/postgres")
    redis = layout.redis_socket.stat().st_ctime - begun
    answers = (layout.cluster / "postmaster.pid").stat().st_mtime - begun
    modules, log = began("sandbox.zygote"), (layout.logs / "server.log").read_text(encoding="utf-8")
    ready = next(line for line in reversed(log.splitlines()) if '"event": "ready"' in line)
    taking = datetime.fromisoformat(json.loads(ready)["timestamp"]).timestamp() - begun
    return dict(zip(_IN_A_ROW, (server, modules - server, taking - modules), strict=True)) | {
        "beside 2: PostgreSQL": answers - postgres,
        "beside 2: migrations, the administrator and Redis": redis - answers,
    }
