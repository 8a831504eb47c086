"""What the load reads of ghz, and writes into the page of benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import BEGIN, END, PAGE, Load, read, write
from bench.processes import BenchError
from bench.report import Machine

LOAD = Load("Ask", "gRPC, direct", 100, 16)
LATENCIES = [{"percentage": share, "latency": share * 1_000_000} for share in (50, 95, 99)]


def test_a_run_replaces_its_section_of_the_page(tmp_path: Path) -> None:
    statuses = {"OK": 97, "Unavailable": 3}
    found = read(LOAD, {"rps": 12.34, "latencyDistribution": LATENCIES, "statusCodeDistribution": statuses})
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    for results in ([found, found], [found]):
        write(page, results, Machine(2, "x86_64", "3.11", 0.1))
    before, section, after = parts(page)
    assert (before, after) == parts(PAGE)[::2]
    row = "| Ask | gRPC, direct | 16 | 100 | 12.3 | 50.0 | 95.0 | 99.0 | 3 Unavailable |"
    assert section.count(row) == 1
    assert "2 cores (x86_64), Python 3.11, load 0.1 before" in section


def parts(page: Path) -> tuple[str, str, str]:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    section, _, after = rest.partition(END)
    return before, section, after


def test_a_load_without_a_response_is_an_error() -> None:
    with pytest.raises(BenchError):
        read(LOAD, {"rps": 0, "latencyDistribution": None, "errorDistribution": {"refused": 100}})
