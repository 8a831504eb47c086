"""Which folders belong to agents, and how the server notices changes in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from responsa_server.agents.config.files import AgentScanner, Folders, ScannedAgent, fingerprint
from tests.unit.graph.configured import DEFAULTS, SURROUNDINGS, write

LONG_AGO = 1_700_000_000_000_000_000


@pytest.fixture
def places(tmp_path: Path) -> Folders:
    write(tmp_path / "shipped")
    write(tmp_path / "users")
    (tmp_path / "users" / "test").rename(tmp_path / "users" / "own")
    for skipped in (".git", "_old", "shared"):
        (tmp_path / "users" / skipped).mkdir()
    (tmp_path / "users" / "README.md").write_text("Agents.")
    return Folders(tmp_path / "users", tmp_path / "shipped")


def settled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Advance the clock, so that the files no longer count as just written."""
    import time

    latest = max(path.stat().st_ctime_ns for path in folder.rglob("*"))
    monkeypatch.setattr(time, "time_ns", lambda: latest + 10_000_000_000)


def test_agents_are_folders_by_their_names(places: Folders) -> None:
    assert {name: place.shipped for name, place in places.locations().items()} == {"own": False, "test": True}
    assert Folders(None, places.shipped).locations().keys() == {"test"}
    assert Folders(places.shipped / "nowhere", places.shipped).roots == [places.shipped]


CHANGES: Final[Mapping[str, Callable[[Path], object]]] = {
    "written": lambda own: (own / "agent.toml").write_text("x"),
    "deep": lambda own: (own / "prompts/parts/tone.md").write_text("x"),
    "gone": lambda own: (own / "examples/intents.jsonl").unlink(),
    "touched": lambda own: os.utime(own / "agent.toml", ns=(LONG_AGO, LONG_AGO)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(
    change: Callable[[Path], object], places: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = places.locations()["own"].folder
    settled(own, monkeypatch)
    before = fingerprint(own)
    assert before is not None
    assert fingerprint(own) == before
    change(own)
    settled(own, monkeypatch)
    assert fingerprint(own) != before


def test_what_does_not_count_is_not_noticed(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    own = places.locations()["own"].folder
    settled(own, monkeypatch)
    before = fingerprint(own)
    for name in ("golden.yaml", "prompts/.write.md.swp", "agent.toml~"):
        (own / name).write_text("x")
    settled(own, monkeypatch)
    assert fingerprint(own) == before


def test_a_file_that_was_written_this_moment_is_read_the_next_time_too(places: Folders) -> None:
    own = places.locations()["own"].folder
    (own / "agent.toml").write_text((own / "agent.toml").read_text())
    assert fingerprint(own) is None


def test_only_what_has_changed_is_read(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = AgentScanner(places, SURROUNDINGS, DEFAULTS)
    settled(places.shipped.parent, monkeypatch)
    own, test = scanner.scan()
    again = scanner.scan()
    assert again[0] is own
    assert again[1] is test
    (places.shipped / "test/prompts/parts/tone.md").write_text("Be brief.")
    settled(places.shipped.parent, monkeypatch)
    own_again, other = scanner.scan()
    assert own_again is own
    assert other.version is not None
    assert test.version is not None
    assert other.version.sha256 != test.version.sha256


def test_shared_prompts_are_all_agents_own(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    own = places.locations()["own"].folder
    shared = places.shared / "prompts"
    shared.mkdir(parents=True)
    (own / "prompts/hello.md").rename(shared / "hello.md")
    scanner = AgentScanner(places, SURROUNDINGS, DEFAULTS)
    settled(places.shipped.parent, monkeypatch)
    before, _ = scanner.scan()
    assert _text(before) == "Hello. You asked: {{ question }}\n"
    (shared / "hello.md").write_text((shared / "hello.md").read_text().replace("Hello", "Good day"))
    settled(places.shipped.parent, monkeypatch)
    after, _ = scanner.scan()
    assert _text(after) == "Good day. You asked: {{ question }}\n"


def test_a_folder_that_cannot_be_read_is_told(places: Folders) -> None:
    own = places.locations()["own"].folder
    (own / "agent.toml").unlink()
    (own / "agent.toml").symlink_to(own / "agent.toml")
    found, _ = AgentScanner(places, SURROUNDINGS, DEFAULTS).scan()
    assert found.content is None
    assert [problem.file for problem in found.problems] == ["agent.toml"]


def _text(seen: ScannedAgent) -> str:
    assert seen.content is not None, seen.problems
    return seen.content.prompts["hello"].body
