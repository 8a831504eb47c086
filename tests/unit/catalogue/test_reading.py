"""Folders without an agent, unreadable files, and the origin of shared files."""

from __future__ import annotations

from pathlib import Path

import pytest

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import (
    MAX_FILE_BYTES,
    SHIPPED,
    AgentScanner,
    Folders,
    agents_in,
    examine,
    read,
)
from tests.unit.graph.configured import DEFAULTS, FILES, SURROUNDINGS, write


def told(folder: Path, shared: Path | None = None) -> list[str]:
    return [str(problem) for problem in examine(folder, SURROUNDINGS, shared or folder / "none").problems]


def test_a_folder_whose_name_is_no_id(tmp_path: Path) -> None:
    folder = write(tmp_path).rename(tmp_path / "My_Agent")
    assert told(folder) == [
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
    (found,) = AgentScanner(Folders(users, tmp_path / "none"), SURROUNDINGS, DEFAULTS).scan()
    assert found.version is not None, found.problems
    assert (found.identity, found.version.agent) == ("alias", "alias")
    monkeypatch.chdir(link)
    assert read(Path()).files.identity == "test"
    assert read(Path("prompts/..")).files.identity == "test"


def test_a_folder_without_its_file(tmp_path: Path) -> None:
    assert told(tmp_path) == ["agent.toml: is missing from the folder."]


def test_a_file_that_is_too_large_or_no_text(tmp_path: Path) -> None:
    folder = write(tmp_path, ("agent.toml", "", "#" * (MAX_FILE_BYTES + 1)))
    assert told(folder) == ["agent.toml: has 262,145 bytes; an agent's file may have at most 262,144."]
    (folder / "agent.toml").write_bytes(b'name = "x"\nstart = "\xff"\n')
    assert told(folder) == ["agent.toml:2: is not valid UTF-8."]


def test_examples_that_are_no_text_or_empty(tmp_path: Path) -> None:
    folder = write(tmp_path, ("examples/intents.jsonl", "", "\n"))
    assert told(folder) == ["examples/intents.jsonl: has no examples."]
    (folder / "examples/intents.jsonl").write_bytes(b"{}\n\xff")
    assert told(folder) == ["examples/intents.jsonl:2: is not valid UTF-8."]


def test_a_front_matter_without_an_end(tmp_path: Path) -> None:
    folder = write(tmp_path, ("prompts/write.md", "", "+++\nvariables = {}\n"))
    assert told(folder) == ["prompts/write.md:1: the front matter does not end with a line “+++”."]


def test_prompts_and_partials_are_shared_unless_the_agent_has_its_own(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "prompts/parts").mkdir(parents=True)
    (shared / "prompts/write.md").write_text("Shared.")
    (shared / "prompts/other.md").write_text("Other.")
    (shared / "prompts/parts/tone.md").write_text("Shared tone.")
    found = read(write(tmp_path), shared).files
    assert {name: one.file for name, one in found.prompts.items()} == {
        "write": "prompts/write.md",
        "hello": "prompts/hello.md",
        "other": "shared/prompts/other.md",
    }
    assert found.partials["parts/tone.md"].text == FILES["prompts/parts/tone.md"]


def test_a_shared_file_that_is_broken_is_told_as_such(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "prompts").mkdir(parents=True)
    (shared / "prompts/talk.md").write_text("One.\n{{ two\n")
    folder = write(tmp_path, ("agent.toml", 'prompt = "write"', 'prompt = "talk"'))
    (one,) = told(folder, shared)
    assert one.startswith("shared/prompts/talk.md:2: the template is not valid: ")


def test_lines_end_as_windows_ends_them(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for path in folder.rglob("*.*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert told(folder) == []


@pytest.mark.parametrize("folder", [*agents_in(SHIPPED)], ids=lambda one: one.name)
def test_a_shipped_agent_is_right(folder: Path) -> None:
    assert examine(folder, Surroundings()).problems == []
