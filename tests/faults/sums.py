"""Prints the total counts of all long runs: of those in the record, and of the lines in `soak/*.jsonl`: `python -m
tests.faults.sums`. Times come from the slowest run.

`python -m tests.faults.sums --record NAME …` moves the lines of these campaigns to the record. The record,
`tests/faults/record.json`, is committed; `soak` is not, so its lines are lost with the checkout. `--soak FOLDER` takes
the lines of another checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults.forms import ROOT

RECORD: Final = ROOT / "tests" / "faults" / "record.json"
LEVELS = ("model calls a turn", "KiB more than idle streams", "readers", "open streams")
"""The fields that are not counts of occurrences. For these fields, the report has the largest value instead of the sum."""

Total = Mapping[str, Any]
"""Some runs of a campaign: their number (runs), the first and the last time at which one ended (since, until), seconds,
counts and times."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the totals, after moving lines to the record if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sums", description=__doc__)
    parser.add_argument("--soak", type=Path, default=ROOT / "soak", help="the folder with the lines")
    parser.add_argument("--record", nargs="+", default=(), metavar="NAME", help="the campaigns to record")
    options = parser.parse_args(arguments)
    record: dict[str, Total] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    files = {path.stem: path for path in options.soak.glob("*.jsonl")}
    if absent := set(options.record) - files.keys():
        parser.error(f"{options.soak} has no lines of {', '.join(sorted(absent))}")
    totals = dict(record)
    for name, path in files.items():
        runs = [_one(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        totals[name] = total([*([record[name]] if name in record else []), *runs])
    if options.record:
        record |= {name: totals[name] for name in options.record}
        RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for name in options.record:
            files[name].unlink()
    for name in sorted(totals):
        print(described(name, totals[name]))
    return 0


def _one(line: Mapping[str, Any]) -> Total:
    """The run that a line describes."""
    return {
        "runs": 1,
        "since": line["time"],
        "until": line["time"],
        **{name: line[name] for name in ("seconds", "counts", "times")},
    }


def total(parts: Iterable[Total]) -> Total:
    """The sum of totals."""
    parts = list(parts)
    counts: dict[str, int] = {}
    times: dict[str, dict[str, float]] = {}
    for part in parts:
        for name, count in part["counts"].items():
            before = counts.get(name, 0)
            counts[name] = max(before, count) if name in LEVELS else before + count
        for name, found in part["times"].items():
            slowest = times.setdefault(name, {"p50": 0.0, "p99": 0.0, "max": 0.0})
            for share in slowest:
                slowest[share] = max(slowest[share], found[share])
    return {
        "runs": sum(part["runs"] for part in parts),
        "since": min(part["since"] for part in parts),
        "until": max(part["until"] for part in parts),
        "seconds": round(sum(part["seconds"] for part in parts), 1),
        "counts": counts,
        "times": times,
    }


def described(name: str, of: Total) -> str:
    """All runs of a campaign on one line."""
    counts = ", ".join(f"{what} {count:,}" for what, count in of["counts"].items())
    waits = "; ".join(
        f"{what} p50 {1000 * one['p50']:.0f} p99 {1000 * one['p99']:.0f} max {1000 * one['max']:.0f} ms"
        for what, one in of["times"].items()
    )
    head = f"{name} ({of['runs']} runs, {of['seconds'] / 3600:.1f} hours)"
    return f"{head}: {counts}" + (f"; {waits}" if waits else "")


if __name__ == "__main__":
    sys.exit(main())
