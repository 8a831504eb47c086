"""A plugin: prints one line for each campaign at the end of a run, even if the tests ran in several processes.

`--runs FILE` also adds the line of each long campaign to a file, with its date, its commit and its outcome, as soon as
it has ended.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.forms import LINE, ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--runs`."""
    parser.addoption("--runs", type=Path, metavar="FILE", help="add the lines of long campaigns to a file")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to write if there is a file."""
    if file := config.getoption("--runs"):
        config.pluginmanager.register(Runs(file))


class Runs:
    """Adds a line for each long campaign."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The count is in the line of the campaign, or else is the one that the caller has set."""
        if (
            "soak" not in report.keywords
            or (report.when != "call" and report.passed)
            or report.when == "teardown"
        ):
            return
        described = [str(value) for name, value in report.user_properties if name == LINE]
        count = os.environ.get("RESPONSA_SOAK_COUNT")
        cells = (
            time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            _commit(),
            report.nodeid,
            report.outcome,
            f"{report.duration:.0f} s",
            "; ".join(described) or (f"COUNT={count}" if count else ""),
        )
        with self._file.open("a", encoding="utf-8") as file:
            file.write("| " + " | ".join(cell.replace("|", "¦") for cell in cells) + " |\n")


def _commit() -> str:
    """The commit, with `+` if the code or the tests have changed since."""
    command = ["git", "describe", "--always", "--abbrev=9", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines of all campaigns."""
    stats: dict[str, list[Any]] = terminalreporter.stats
    lines: list[str] = []
    seconds = 0.0
    for outcome in ("passed", "failed"):
        for report in stats.get(outcome, []):
            if getattr(report, "when", "") == "call":
                told = [str(value) for name, value in report.user_properties if name == LINE]
                lines += told
                seconds += report.duration if told else 0.0
    if lines:
        terminalreporter.section("campaigns")
        for line in sorted(lines):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"{len(lines)} campaigns, {seconds:.0f} s in all")
