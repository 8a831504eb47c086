"""The file with the questions of earlier talks: private, bounded, and never a reason to fail."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from responsa_server.cli import history


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return history.history_file()


def test_questions_come_back_in_order(path: Path) -> None:
    assert history.read(path) == []
    for question in ("One?", "Two\nlines?", "Drei „ä“?", "lone \udcff"):
        history.add(path, question)
    assert history.read(path) == ["One?", "Two\nlines?", "Drei „ä“?", "lone ?"]
    with path.open("ab") as file:
        file.write(b'\xff\n{"a": 1}\n' + b"[" * 100_000 + b'\n"cut')
    history.add(path, "x" * 20_000)
    assert history.read(path)[-1] == "lone ?"


def test_only_the_owner_reads_the_file(path: Path) -> None:
    history.add(path, "One?")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    assert history.read(path) == ["One?"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_oldest_questions_are_removed(path: Path) -> None:
    path.parent.mkdir(parents=True)
    lines = [f'"{number}"\n' for number in range(2 * history.KEPT + 1)]
    lines.insert(-1, '"\\ud800"\n')
    path.write_text("".join(lines))
    kept = history.read(path)
    assert (len(kept), kept[-1]) == (history.KEPT, str(2 * history.KEPT))
    assert len(path.read_text().splitlines()) == history.KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_a_plain_file_is_used(path: Path, tmp_path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True)
    if kind == "link":
        (tmp_path / "other").write_text("")
        path.symlink_to(tmp_path / "other")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"\S"):
        history.read(path)
    with pytest.raises(OSError, match=r"\S"):
        history.add(path, "One?")


def test_the_folder_is_the_one_for_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", given)
        assert history.history_file() == tmp_path / ".local" / "state" / "responsa" / "chat-history"
