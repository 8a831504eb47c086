"""The set of dialogues with which routing is measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from responsa_lab.evaluation.dialogues import dialogues
from responsa_server.cli.output import CommandFailed
from tests.instance import ROOT

FILE = ROOT / "evals" / "dialogues.jsonl"
SAMPLES = ROOT / "server" / "responsa_server" / "agents" / "shipped"
GOOD = '{"id": "a", "agent": "chat", "turns": [], "question": "Why?", "needs_retrieval": true, "follow_up": false}'


def test_it_is_large_and_balanced_enough() -> None:
    found = dialogues(FILE)
    assert len(found) >= 72
    kinds = Counter((one.needs_retrieval, one.follow_up) for one in found)
    assert kinds[True, True] >= 30
    assert kinds[True, False] >= 20
    assert kinds[False, True] >= 8
    assert kinds[False, False] >= 10
    agents = Counter(one.agent for one in found)
    assert agents.keys() == {"chat", "tutor"}
    assert min(agents.values()) >= 36
    assert len({one.question.casefold() for one in found}) == len(found)
    # A change of topic after another message is not a follow-up.
    assert sum(bool(one.turns) and one.needs_retrieval and not one.follow_up for one in found) >= 6


def test_what_must_be_looked_up_stands_in_a_sample() -> None:
    for one in dialogues(FILE):
        assert bool(one.source_key) == one.needs_retrieval, one.id
        if one.source_key:
            assert (SAMPLES / one.agent / "samples" / "corpus" / one.source_key).is_file(), one.id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no dialogues"),
        ("{", "line 1 is not a valid dialogue"),
        (f"{GOOD}\n\n{GOOD}", "line 3: the id a occurs twice"),
        (GOOD.replace("true", '"yes"'), "needs_retrieval"),
        (GOOD.replace('"Why?"', '""'), "question"),
        (
            GOOD.replace('"follow_up": false', '"follow_up": true'),
            "a follow-up needs turns before the question",
        ),
        (GOOD.replace("[]", '[{"speaker": "user", "text": "Hm."}]'), "end with the assistant"),
        (GOOD.replace('"id"', '"more": 1, "id"'), "more"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "dialogues.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CommandFailed, match=says):
        dialogues(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot be read"):
        dialogues(tmp_path / "none.jsonl")
