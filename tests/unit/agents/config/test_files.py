"""Which folders belong to agents, and how the server notices changes in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import (
    MAX_FILE_BYTES,
    SHIPPED,
    AgentFolders,
    AgentScanner,
    ScannedAgent,
    Watch,
    agents_in,
    examine,
    fingerprint,
    read,
)
from tests.unit.agents.configured import DEFAULTS, FILES, SURROUNDINGS, write

LONG_AGO = 1_700_000_000_000_000_000


@pytest.fixture
def places(tmp_path: Path) -> AgentFolders:
    write(tmp_path / "shipped")
    write(tmp_path / "users")
    (tmp_path / "users" / "test").rename(tmp_path / "users" / "own")
    for skipped in (".git", "_old", "shared"):
        (tmp_path / "users" / skipped).mkdir()
    (tmp_path / "users" / "README.md").write_text("Agents.")
    return AgentFolders(tmp_path / "users", tmp_path / "shipped")


def settled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Advance the clock, so that the files no longer count as just written."""
    import time

    latest = max(path.stat().st_ctime_ns for path in folder.rglob("*"))
    monkeypatch.setattr(time, "time_ns", lambda: latest + 10_000_000_000)


def test_agents_are_folders_by_their_names(places: AgentFolders) -> None:
    assert {name: place.shipped for name, place in places.locations().items()} == {"own": False, "test": True}
    assert AgentFolders(None, places.shipped).locations().keys() == {"test"}
    assert AgentFolders(places.shipped / "nowhere", places.shipped).roots == [places.shipped]


CHANGES: Final[Mapping[str, Callable[[Path], object]]] = {
    "written": lambda own: (own / "agent.toml").write_text("x"),
    "deep": lambda own: (own / "prompts/parts/tone.md").write_text("x"),
    "gone": lambda own: (own / "examples/intents.jsonl").unlink(),
    "touched": lambda own: os.utime(own / "agent.toml", ns=(LONG_AGO, LONG_AGO)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(
    change: Callable[[Path], object], places: AgentFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = places.locations()["own"].folder
    settled(own, monkeypatch)
    before = fingerprint(own)
    assert before is not None
    assert fingerprint(own) == before
    change(own)
    settled(own, monkeypatch)
    assert fingerprint(own) != before


def test_what_does_not_count_is_not_noticed(places: AgentFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    own = places.locations()["own"].folder
    settled(own, monkeypatch)
    before = fingerprint(own)
    for name in ("golden.yaml", "prompts/.write.md.swp", "agent.toml~"):
        (own / name).write_text("x")
    settled(own, monkeypatch)
    assert fingerprint(own) == before


def test_a_file_that_was_written_this_moment_is_read_the_next_time_too(places: AgentFolders) -> None:
    own = places.locations()["own"].folder
    (own / "agent.toml").write_text((own / "agent.toml").read_text())
    assert fingerprint(own) is None


def test_only_what_has_changed_is_read(places: AgentFolders, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_shared_prompts_are_all_agents_own(places: AgentFolders, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_folder_that_cannot_be_read_is_told(places: AgentFolders) -> None:
    own = places.locations()["own"].folder
    (own / "agent.toml").unlink()
    (own / "agent.toml").symlink_to(own / "agent.toml")
    found, _ = AgentScanner(places, SURROUNDINGS, DEFAULTS).scan()
    assert found.content is None
    assert [problem.file for problem in found.problems] == ["agent.toml"]


def _text(seen: ScannedAgent) -> str:
    assert seen.content is not None, seen.problems
    return seen.content.prompts["hello"].body


# Folders without an agent, unreadable files, and the origin of shared files.
def problems_of(folder: Path, shared: Path | None = None) -> list[str]:
    return [str(problem) for problem in examine(folder, SURROUNDINGS, shared or folder / "none").problems]


def test_a_folder_whose_name_is_no_id(tmp_path: Path) -> None:
    folder = write(tmp_path).rename(tmp_path / "My_Agent")
    assert problems_of(folder) == [
        "agent.toml: the folder's name, “My_Agent”, is not a valid id: use at most 63 lower-case letters, digits and “-”, and no “-” first."
    ]


def test_a_link_gives_an_agent_the_links_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "linked"
    link.symlink_to(write(tmp_path), target_is_directory=True)
    assert read(link).files.identity == "linked"
    assert read(link, identity="given").files.identity == "given"
    users = tmp_path / "users"
    users.mkdir()
    (users / "alias").symlink_to(link, target_is_directory=True)
    (found,) = AgentScanner(AgentFolders(users, tmp_path / "none"), SURROUNDINGS, DEFAULTS).scan()
    assert found.version is not None, found.problems
    assert (found.identity, found.version.agent) == ("alias", "alias")
    monkeypatch.chdir(link)
    assert read(Path()).files.identity == "test"
    assert read(Path("prompts/..")).files.identity == "test"


def test_a_folder_without_its_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == ["agent.toml: is missing from the folder."]


@pytest.mark.parametrize(
    ("file", "data", "problem"),
    [
        ("agent.toml", b'name = "x"\nstart = "\xff"\n', ":2: is not valid UTF-8."),
        ("examples/intents.jsonl", b"{}\n\xff", ":2: is not valid UTF-8."),
        ("examples/intents.jsonl", b"\n", ": has no examples."),
        (
            "prompts/write.md",
            b"+++\nvariables = {}\n",
            ":1: the front matter does not end with a line “+++”.",
        ),
        pytest.param(
            "agent.toml",
            b"#" * (MAX_FILE_BYTES + 1),
            ": has 262,145 bytes; an agent's file may have at most 262,144.",
            id="too large",
        ),
    ],
)
def test_a_file_that_cannot_be_read(file: str, data: bytes, problem: str, tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / file).write_bytes(data)
    assert problems_of(folder) == [file + problem]


def test_a_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    text = (folder / "agent.toml").read_bytes()
    (folder / "agent.toml").write_bytes(text + b"#" * (MAX_FILE_BYTES - len(text)))
    assert problems_of(folder) == []


def test_prompts_and_partials_are_shared_unless_the_agent_has_its_own(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "prompts/parts").mkdir(parents=True)
    (shared / "prompts/write.md").write_text("Shared.")
    (shared / "prompts/other.md").write_text("Other.")
    (shared / "prompts/parts/tone.md").write_text("Shared tone.")
    files = read(write(tmp_path), shared).files
    assert {name: one.file for name, one in files.prompts.items()} == {
        "write": "prompts/write.md",
        "hello": "prompts/hello.md",
        "other": "shared/prompts/other.md",
    }
    assert files.partials["parts/tone.md"].text == FILES["prompts/parts/tone.md"]


def test_a_shared_file_that_is_broken_is_told_as_such(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "prompts").mkdir(parents=True)
    (shared / "prompts/talk.md").write_text("One.\n{{ two\n")
    folder = write(tmp_path, ("agent.toml", 'prompt = "write"', 'prompt = "talk"'))
    (one,) = problems_of(folder, shared)
    assert one.startswith("shared/prompts/talk.md:2: the template is not valid: ")


def test_lines_end_as_windows_ends_them(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for path in folder.rglob("*.*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert problems_of(folder) == []


@pytest.mark.parametrize("folder", [*agents_in(SHIPPED)], ids=lambda one: one.name)
def test_a_shipped_agent_is_right(folder: Path) -> None:
    assert examine(folder, Surroundings()).problems == []


# Watched folders, and folders that cannot be watched.
async def test_changes_at_any_depth_are_told_and_what_came_before(tmp_path: Path) -> None:
    changed = asyncio.Event()
    watch = Watch([tmp_path], changed.set)
    watch.start()
    try:
        async with asyncio.timeout(20):
            await changed.wait()  # `changed` is also called when the watch begins
            changed.clear()
            (tmp_path / "own" / "prompts").mkdir(parents=True)
            await changed.wait()
            changed.clear()
            (tmp_path / "own" / "prompts" / "a.md").write_text("x")
            await changed.wait()
    finally:
        await watch.close()


async def test_folders_that_cannot_be_watched_are_told(tmp_path: Path) -> None:
    with capture_logs() as logs:
        watch = Watch([tmp_path / "nowhere"], lambda: None)
        watch.start()
        await watch.close()
    assert [(log["event"], log["log_level"]) for log in logs] == [("agents_not_watched", "warning")]
    assert "responsa agents reload" in logs[0]["remedy"]


async def test_no_folder_at_all_is_nothing_to_watch() -> None:
    watch = Watch([], lambda: None)
    watch.start()
    await watch.close()
