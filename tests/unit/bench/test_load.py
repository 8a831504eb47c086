from __future__ import annotations

import pytest

from bench.load import Load, ghz, read
from bench.processes import BenchError

LOAD = Load("Ask", 100, 16)


def test_a_report_is_read_in_milliseconds_and_errors_are_counted() -> None:
    found = read(
        LOAD,
        {
            "rps": 50.5,
            "latencyDistribution": [
                {"percentage": share, "latency": share * 1_000_000} for share in (10, 50, 95, 99)
            ],
            "statusCodeDistribution": {"OK": 97, "Unavailable": 2, "Internal": 1},
        },
    )
    assert (found.rate, found.p50, found.p95, found.p99, found.errors) == (50.5, 50, 95, 99, 3)


def test_a_report_without_latencies_is_no_figure() -> None:
    with pytest.raises(BenchError, match="nothing of Ask"):
        read(LOAD, {"latencyDistribution": None, "errorDistribution": {"refused": 100}})


def test_without_go_it_is_said_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty))
    with pytest.raises(BenchError, match="`go` is not on the PATH"):
        ghz()
    assert not list(empty.iterdir())
