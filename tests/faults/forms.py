"""The two forms of a campaign, and the report of each.

The short form is part of a normal test run. It checks counts, but only prints times. The long form (`make soak`)
checks both. Some campaigns have only a long form, because the contract tests check the same promise with less work.
Every run of the long form adds a line to `soak/{campaign}.jsonl`, so that the counts of several runs can be summed.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = "campaign"
"""The name under which tests pass their lines to the summary of the run."""


@dataclass(frozen=True, slots=True)
class Form:
    """The size of a campaign. limits: whether times are checked against limits."""

    count: int
    limits: bool
    seed: int

    def dice(self, salt: str = "") -> random.Random:
        """A random number generator. Its seed is the same in every short run. Every long run has a different seed, and prints it."""
        return random.Random(f"{self.seed} {salt}")


def forms(long: int, short: int | None = None) -> Any:
    """Parametrises the test of a campaign with the number of repetitions: `short` in a normal run, and `long` (or
    RESPONSA_SOAK_COUNT) in a soak.

    Without `short`, only the soak runs the campaign.
    """
    count = int(os.environ.get("RESPONSA_SOAK_COUNT") or long)
    seed = int(os.environ.get("RESPONSA_SOAK_SEED") or time.time_ns() % (1 << 32))
    of_soak = pytest.param(
        Form(count, limits=True, seed=seed),
        id="long",
        marks=[pytest.mark.soak, pytest.mark.timeout(3 * 3600)],
    )
    normal = [] if short is None else [pytest.param(Form(short, limits=False, seed=1), id="short")]
    return pytest.mark.parametrize("form", [*normal, of_soak])


@dataclass
class Report:
    """The counts and measurements of a campaign."""

    campaign: str
    form: Form
    counts: dict[str, int] = field(default_factory=dict[str, int])
    samples: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    began: float = field(default_factory=time.monotonic)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + more

    def measured(self, name: str, seconds: float | Iterable[float]) -> None:
        """Add a measurement, in seconds."""
        values = [seconds] if isinstance(seconds, float | int) else list(seconds)
        if values:
            self.samples.setdefault(name, []).extend(values)

    def quantile(self, name: str, share: float) -> float:
        """The percentile of the measurements, in seconds; 0 if there are no measurements."""
        values = sorted(self.samples.get(name, ()))
        return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0

    def _times(self) -> Mapping[str, Mapping[str, float]]:
        return {
            name: {
                "n": len(self.samples[name]),
                "p50": round(self.quantile(name, 0.5), 4),
                "p99": round(self.quantile(name, 0.99), 4),
                "max": round(self.quantile(name, 1.0), 4),
            }
            for name in self.samples
        }

    def line(self) -> str:
        """The whole report on one line."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        times = "; ".join(
            f"{name} p50 {1000 * one['p50']:.0f} p99 {1000 * one['p99']:.0f} max {1000 * one['max']:.0f} ms"
            for name, one in self._times().items()
        )
        took = time.monotonic() - self.began
        kind = f"long, seed {self.form.seed}" if self.form.limits else "short"
        return f"{self.campaign} ({kind}, {took:.0f} s): {counts}" + (f"; {times}" if times else "")

    def tell(self, request: pytest.FixtureRequest) -> None:
        """Pass the line to the summary of the run. The long form also writes the line to a file."""
        node: Any = request.node
        node.user_properties.append((LINE, self.line()))
        if self.form.limits:
            folder = ROOT / "soak"
            folder.mkdir(exist_ok=True)
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seed": self.form.seed,
                "seconds": round(time.monotonic() - self.began, 1),
                "counts": self.counts,
                "times": self._times(),
            }
            with (folder / f"{self.campaign}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            print(self.line(), flush=True)
