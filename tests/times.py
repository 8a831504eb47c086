"""A pytest plugin that writes how long each test took: `--times FILE`. `run_tests.py --slowest` reads the file of the last `make test`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--times`."""
    parser.addoption(
        "--times", type=Path, metavar="FILE", help="write the seconds of each passed test, the slowest first"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the file. A test's time includes what was started for it and ended after it."""
    file: Path | None = terminalreporter.config.getoption("--times")
    if file is None:
        return
    stats: dict[str, list[Any]] = terminalreporter.stats
    seconds: dict[str, float] = {report.nodeid: 0.0 for report in stats.get("passed", ())}
    for reports in stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.nodeid in seconds:
                seconds[report.nodeid] += report.duration
    slowest = sorted(seconds, key=lambda test: -seconds[test])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps({test: round(seconds[test], 3) for test in slowest}, indent=0), encoding="utf-8"
    )
