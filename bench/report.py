"""The results, as a table for readers and as JSON for storage."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from bench.figures import Comparison, Figure


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement. what: the measured quantity and the peer. unit: the unit of both sides. better: whether "more"
    or "less" is better. measured: the number of single values. aim: the value that is wanted, of our side or, after ÷,
    of the ratio; "" if none is.
    """

    section: str
    what: str
    unit: str
    better: str
    ours: Figure
    peer: Figure | None
    ratio: Figure | None
    rounds: int
    measured: int
    aim: str = ""

    @classmethod
    def compared(
        cls,
        section: str,
        what: str,
        unit: str,
        better: str,
        comparison: Comparison,
        measured: int,
        aim: str = "",
    ) -> Line:
        """A line that compares two sides."""
        return cls(
            section,
            what,
            unit,
            better,
            comparison.ours,
            comparison.peer,
            comparison.ratio,
            comparison.rounds,
            measured,
            aim,
        )

    @classmethod
    def alone(
        cls,
        section: str,
        what: str,
        unit: str,
        values: Sequence[float],
        *,
        better: str = "less",
        measured: int = 0,
    ) -> Line:
        """A line for our side only, with one value per round."""
        return cls(
            section, what, unit, better, Figure.of(values), None, None, len(values), measured or len(values)
        )


def show(lines: Sequence[Line], console: Console) -> None:
    """Prints one table per section."""
    for section in dict.fromkeys(line.section for line in lines):
        table = Table(title=section, title_justify="left", title_style="bold", expand=False)
        for heading in ("measured", "ours", "peer", "ratio (spread)", "aim", "rounds", "values"):
            table.add_column(heading, justify="left" if heading == "measured" else "right")
        for line in lines:
            if line.section == section:
                table.add_row(
                    line.what,
                    f"{_number(line.ours.median)} {line.unit}",
                    "" if line.peer is None else f"{_number(line.peer.median)} {line.unit}",
                    _spread(line),
                    line.aim,
                    str(line.rounds),
                    str(line.measured),
                )
        console.print(table)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine. load: the mean number of runnable processes in the minute before the run. On a busy machine, the
    values spread widely."""

    cores: int
    architecture: str
    python: str
    load: float

    @classmethod
    def here(cls) -> Machine:
        """This machine at the time of the call."""
        return cls(os.cpu_count() or 1, platform.machine(), platform.python_version(), os.getloadavg()[0])

    def __str__(self) -> str:
        return f"{self.cores} cores ({self.architecture}), Python {self.python}, load {self.load:.1f} before"


def as_json(lines: Sequence[Line], machine: Machine) -> str:
    """A JSON object with `machine` and `lines`, in the form of the classes here."""
    return json.dumps({"machine": asdict(machine), "lines": [asdict(line) for line in lines]}, indent=1)


def _spread(line: Line) -> str:
    if line.ratio is None:
        low, high = line.ours.low, line.ours.high
        return f"({_number(low)} to {_number(high)})"
    return f"{line.ratio.median:.2f} ({line.ratio.low:.2f} to {line.ratio.high:.2f})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
