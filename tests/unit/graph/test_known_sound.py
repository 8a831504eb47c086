"""What was found sound is not looked at again, and what has changed since is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from responsa_server.agents.config.check.memory import Memory
from responsa_server.agents.config.reading import examine
from tests.unit.graph.configured import SURROUNDINGS, write
from tests.unit.graph.mistakes import MISTAKES


def test_the_one_that_was_asked_for_longest_ago_is_forgotten_first() -> None:
    memory = Memory[str, int](2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert [memory.get(one) for one in "abc"] == [1, None, 3]


def test_each_mistake_is_found_in_files_that_were_right_a_moment_ago(tmp_path: Path) -> None:
    for number, (changes, expected) in enumerate(MISTAKES.values()):
        right = examine(write(tmp_path / f"right-{number}"), SURROUNDINGS, tmp_path / "none")
        assert right.problems == []
        wrong = write(tmp_path / f"wrong-{number}", *changes)
        for _ in range(2):
            assert [str(one) for one in examine(wrong, SURROUNDINGS, tmp_path / "none").problems] == expected


def test_a_configuration_that_was_right_is_looked_at_again_where_there_are_other_kinds(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path)
    assert examine(folder, SURROUNDINGS, tmp_path / "none").problems == []
    fewer = {name: kind for name, kind in SURROUNDINGS.kinds.items() if name != "router"}
    found = examine(folder, replace(SURROUNDINGS, kinds=fewer), tmp_path / "none").problems
    assert "there is no kind of node “router”" in str(found[0])
