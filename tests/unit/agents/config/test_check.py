"""Every kind of mistake in an agent's files. Reports are complete: file, line, column, key, message, suggestion."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from responsa_server.agents.config.files import examine
from tests.instance import ROOT
from tests.unit.agents.config.mistakes import MISTAKES
from tests.unit.agents.configured import SURROUNDINGS, write


def test_the_files_without_a_mistake_are_right(tmp_path: Path) -> None:
    found = examine(write(tmp_path), SURROUNDINGS, tmp_path / "none")
    assert found.problems == []
    assert found.config is not None
    assert found.config.history.messages == 10  # the file does not set this key, so 10 is the default


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_was_meant(mistake: str, tmp_path: Path) -> None:
    changes, expected = MISTAKES[mistake]
    found = examine(write(tmp_path, *changes), SURROUNDINGS, tmp_path / "none")
    assert [str(problem) for problem in found.problems] == expected
    assert found.config is None


def test_a_suggestion_is_never_the_word_that_was_written(tmp_path: Path) -> None:
    chain = ("agent.toml", '["default", "openai:gpt"]', '["default", "openai:gpt-9"]')
    surroundings = replace(SURROUNDINGS, suggested_models=("openai:gpt-9",))
    (problem,) = examine(write(tmp_path, chain), surroundings, tmp_path / "none").problems
    assert (problem.path, problem.suggestion) == ("model.chain[1]", "")


def test_no_secret_is_repeated(tmp_path: Path) -> None:
    secret = "sk-abcdefghijklmnopqrstuvwx"
    folder = write(tmp_path, ("agent.toml", "steps = 20", f'steps = "{secret}"'))
    found = examine(folder, SURROUNDINGS, tmp_path / "none")
    assert len(found.problems) == 1
    assert secret not in " ".join(map(str, found.problems))


def test_what_is_kept_until_it_is_known_may_be_refused_or_told(tmp_path: Path) -> None:
    """With `stream = false`, no node emits text before a refusal. This is the remedy for a refusal after emitted text."""
    kept = (
        'write = { kind = "prompt", prompt = "write", stream = false }\n'
        'check = { kind = "citation_checker" }\nout = { kind = "output" }'
    )
    ways = (
        '  { from = "write", to = "check" },\n'
        '  { from = "check", to = "refuse", when = { field = "answer.passages_used", above = 2 } },\n'
        '  { from = "check", to = "out" },\n'
    )
    end = '  { from = "write", to = "quote", on = "unavailable" }'
    folder = write(
        tmp_path,
        ("agent.toml", 'write = { kind = "prompt", prompt = "write" }', kept),
        ("agent.toml", end, ways + end),
    )
    assert examine(folder, SURROUNDINGS, tmp_path / "none").problems == []


def test_a_classifier_is_made_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    ours = page.partition("### Classifiers")[2]
    _, lines, _, _, table, *_ = re.split(r"```\w*\n", ours)
    folder = write(tmp_path, ("examples/intents.jsonl", "", lines), ("agent.toml", "", table))
    found = examine(folder, SURROUNDINGS, tmp_path / "none").problems
    assert not [one for one in found if one.file != "agent.toml" or "nodes.route" in one.path]
