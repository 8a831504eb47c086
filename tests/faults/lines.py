"""A plugin: prints one line for each campaign at the end of a run, even if the tests ran in several processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.forms import LINE


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
