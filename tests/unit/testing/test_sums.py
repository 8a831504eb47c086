"""The totals of campaigns over runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults import sums


def line(day: int, p99: float, **counts: int) -> str:
    times = {"gap": {"n": 3, "p50": 0.1, "p99": p99, "max": 1.0}}
    return json.dumps(
        {"time": f"2026-11-0{day}T00:00:00Z", "seed": 1, "seconds": 1800.0, "counts": counts, "times": times}
    )


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "record.json"
    monkeypatch.setattr(sums, "RECORD", path)
    return path


def test_runs_count_once_whether_they_are_recorded_or_not(
    tmp_path: Path, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soak = tmp_path / "soak"
    soak.mkdir()
    lines = soak / "kills.jsonl"
    (soak / "cuts.jsonl").write_text(line(1, 0.5, cuts=1) + "\n")
    lines.write_text(line(1, 0.5, kills=3, readers=7) + "\n" + line(3, 0.25, kills=4, readers=5) + "\n")

    assert sums.main(["--soak", str(soak), "--record", "kills"]) == 0
    assert not lines.exists()
    assert (soak / "cuts.jsonl").exists()
    lines.write_text(line(2, 0.75, kills=10) + "\n")
    capsys.readouterr()
    assert sums.main(["--soak", str(soak)]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "cuts (1 runs, 0.5 hours): cuts 1; gap p50 100 p99 500 max 1000 ms",
        "kills (3 runs, 1.5 hours): kills 17, readers 7; gap p50 100 p99 750 max 1000 ms",
    ]
    kept = json.loads(record.read_text())
    assert kept.keys() == {"kills"}
    assert (kept["kills"]["since"], kept["kills"]["until"]) == (
        "2026-11-01T00:00:00Z",
        "2026-11-03T00:00:00Z",
    )
