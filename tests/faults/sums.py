"""Prints the total counts of all long runs, from the lines in `soak/*.jsonl`: `python -m tests.faults.sums`. Times come from the slowest run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.forms import ROOT

LEVELS = ("model calls a turn", "KiB more than idle streams", "readers", "open streams")
"""The fields that are not counts of occurrences. For these fields, the report has the largest value instead of the sum."""


def sums(path: Path) -> str:
    """One line for all runs of a campaign."""
    runs: Sequence[dict[str, Any]] = [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
    ]
    counts: Counter[str] = Counter()
    times: dict[str, dict[str, float]] = {}
    for run in runs:
        for name, count in run["counts"].items():
            counts[name] = max(counts[name], count) if name in LEVELS else counts[name] + count
        for name, found in run["times"].items():
            slowest = times.setdefault(name, {"p50": 0.0, "p99": 0.0, "max": 0.0})
            for share in slowest:
                slowest[share] = max(slowest[share], found[share])
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    waits = "; ".join(
        f"{name} p50 {1000 * one['p50']:.0f} p99 {1000 * one['p99']:.0f} max {1000 * one['max']:.0f} ms"
        for name, one in times.items()
    )
    return f"{path.stem} ({len(runs)} runs): {told}" + (f"; {waits}" if waits else "")


if __name__ == "__main__":
    for one in sorted((ROOT / "soak").glob("*.jsonl")):
        print(sums(one))
