"""How `make test` keeps the files of the tests in memory, and what it says of missing programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import programs, run_tests


def test_runs_keep_their_folders_apart_and_remove_those_of_killed_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tests, "MEMORY", tmp_path)
    monkeypatch.setattr(run_tests, "ROOM", 0)
    monkeypatch.setitem(run_tests.ENVIRONMENT, "TMPDIR", "")
    foreign, killed = tmp_path / "rt-foreign", tmp_path / "rt-killed"
    foreign.mkdir()
    killed.mkdir()
    (killed / run_tests.LOCK).touch()
    with run_tests.in_memory():
        first = Path(run_tests.ENVIRONMENT["TMPDIR"])
        with run_tests.in_memory():
            second = Path(run_tests.ENVIRONMENT["TMPDIR"])
            assert set(tmp_path.iterdir()) == {foreign, first, second}
    assert list(tmp_path.iterdir()) == [foreign]


def test_without_free_memory_the_files_stay_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tests, "MEMORY", tmp_path)
    monkeypatch.setattr(run_tests, "ROOM", 1 << 60)
    with run_tests.in_memory() as within:
        assert within == ()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", {"no-such-proxy": "proxy", "sh": "dash"})
    monkeypatch.setattr(programs, "BROWSERS", ("sh",))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"sudo apt-get install proxy$"):
        programs.main()
