"""`python -m bench`: makes all measurements in one run. Each measurement is compared with a peer."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import (
    answering,
    engine,
    gateway,
    growing,
    holding,
    ingestion,
    langgraph_server,
    limits,
    scaling,
    searching,
    sockets,
    starting,
    storing,
    telemetry,
    transports,
    turns,
)
from bench.processes import BenchError, caller, leave_in_order, place, running
from bench.report import Line, Machine, as_json, show
from bench.run import Run
from responsa_client.errors import ResponsaError

ALONE: Final[Mapping[str, Callable[..., list[Line]]]] = {
    "start": starting.measure,
    "limits": limits.measure,
    "model": answering.measure_with_model,
    "telemetry": telemetry.measure,
    "scaling": scaling.measure,
}
"""The sections that start instances of their own, and run first."""
SECTIONS: Final[Mapping[str, Callable[[Run], list[Line]]]] = {
    "turns": turns.measure,
    "answering": answering.measure,
    "engine": engine.measure,
    "agent-server": langgraph_server.measure,
    "log": storing.measure_log,
    "disk": storing.measure_disk,
    "envoy": gateway.measure,
    "sockets": sockets.measure,
    "transports": transports.measure,
    "ingestion": ingestion.measure,
    "search": searching.measure,
    "growth": growing.measure,
    "held": holding.measure_held,
    "idle": holding.measure_idle,
}
"""The sections, which share one instance, in the order of the run. Turns are measured early, because their measurement needs a
small index. Open streams are measured late, because they leave thousands of turns behind.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the measurements and reports them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=[*ALONE, *SECTIONS], help="measure only this section; repeatable"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="use short rounds, to test the bench itself; the figures are not meaningful",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    options = parser.parse_args(arguments)
    leave_in_order()
    wanted = options.only or [*ALONE, *SECTIONS]
    messages = Console(stderr=True)
    begun = time.perf_counter()

    def say(what: str) -> None:
        messages.print(f"[dim]{time.perf_counter() - begun:5.0f} s[/dim]  {what}", highlight=False)

    machine = Machine.here()
    say(str(machine))
    lines: list[Line] = []
    try:
        for name, measure in ALONE.items():
            if name in wanted:
                lines += measure(quick=options.quick, say=say)
        if set(wanted) & set(SECTIONS):
            say("starting an instance")
            with place() as at, running(at) as started, caller() as calling:
                run = Run(at, started.pid, calling, options.quick, say)
                for name, measure in SECTIONS.items():
                    if name in wanted:
                        lines += measure(run)
    except (BenchError, ResponsaError) as error:
        messages.print(f"The bench had to stop: {error}", style="bold", markup=False)
        return 1
    finally:
        if lines:
            show(lines, Console(width=None if sys.stdout.isatty() else 150))
            if options.json is not None:
                options.json.write_text(as_json(lines, machine), encoding="utf-8")
    messages.print(f"measured in {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
