"""How `make test` keeps the files of the tests in memory, what it says of missing programs, and what runs leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def test_tests_are_collected_beforehand_if_pytest_has_not_compiled_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    compiled = tmp_path / "tests" / "__pycache__"
    compiled.mkdir(parents=True)
    for name, seconds in {"new": None, "changed": 99, "compiled": 101}.items():
        test = tmp_path / "tests" / f"test_{name}.py"
        test.touch()
        os.utime(test, (100, 100))
        if seconds is not None:
            written = compiled / f"{test.stem}.{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
            written.touch()
            os.utime(written, (seconds, seconds))
    assert [test.stem for test in run_tests.uncompiled()] == ["test_changed", "test_new"]


def test_a_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", {"no-such-proxy": "proxy", "sh": "dash"})
    monkeypatch.setattr(programs, "BROWSERS", ("sh",))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"sudo apt-get install proxy$"):
        programs.main()


def test_a_run_leaves_the_times_of_its_tests_and_the_lines_of_its_campaigns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times, runs = tmp_path / "times.json", tmp_path / "RUNS.md"
    (tmp_path / "test_few.py").write_text(
        "import pytest\n"
        "def test_quick(): pass\n"
        "def test_failing(): assert False\n"
        "@pytest.mark.soak\n"
        "@pytest.mark.parametrize('outcome', [True, False])\n"
        "def test_campaign(record_property, outcome): record_property('campaign', 'cuts | 3'); assert outcome\n"
    )
    plugins = ("-p", "tests.times", "-p", "tests.faults.lines", "-p", "no:cacheprovider", "-c", "/dev/null")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *plugins,
        f"--times={times}",
        f"--runs={runs}",
        str(tmp_path),
    ]
    subprocess.run(command, cwd=run_tests.ROOT, check=False, stdout=subprocess.DEVNULL)
    seconds = json.loads(times.read_text())
    assert {name.rpartition("::")[2] for name in seconds} == {"test_quick", "test_campaign[True]"}
    assert [*seconds.values()] == sorted(seconds.values(), reverse=True)
    lines = [[cell.strip() for cell in line.split("|")][3:] for line in runs.read_text().splitlines()]
    assert [(test.rpartition("::")[2], outcome, counts) for test, outcome, _, counts, _ in lines] == [
        ("test_campaign[True]", "passed", "cuts ¦ 3"),
        ("test_campaign[False]", "failed", "cuts ¦ 3"),
    ]
    monkeypatch.setattr(run_tests, "TIMES", times)
    monkeypatch.setattr(run_tests, "SLOWEST", 1)
    run_tests.slowest()
    assert capsys.readouterr().out.endswith("s  " + next(iter(seconds)) + "\n")
