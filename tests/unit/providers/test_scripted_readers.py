"""The scripted readers: one that answers exactly if the label stands in its prompt, and one that always invents something."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from responsa_lab.scripted.readers import LABELS, NO_ANSWER, Labelled, common, invented
from responsa_lab.scripted.reading import Passage
from responsa_server.agents.engine import declining
from responsa_server.domain.models import ModelError, ModelPrompt
from tests.unit.providers.asking import INTENT, MODELS, asked, chosen, said

PASSAGES = [
    "The bridge was built in 1924. It is blue.",
    "| port | 8080 |\n| host | loopback |",
    "Water boils at 100 degrees near the sea, and earlier on the hills above Port Ellen.",
]
LABELLED = {
    "When was it built?": ["The bridge was built in 1924."],
    "Which port?": ["| port | 8080 |"],
    "When does water boil?": ["Elsewhere: water", "Water boils at 100 degrees near the sea, and earlier on"],
    "Who built it?": ["The builder was Ann Karlsen of Bergen, who later built the harbour."],
}


def question_on(question: str, *passages: str) -> ModelPrompt:
    return replace(asked("response_synthesis", question, passages=passages or PASSAGES), cites=True)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was it built?", "The bridge was built in 1924. [1]"),
        ("Which port?", "port. [2]"),
        ("When does water boil?", "Water boils at 100 degrees near the sea, and earlier on. [3]"),
        ("Who built it?", NO_ANSWER),
        ("What does it cost?", NO_ANSWER),
    ],
)
async def test_it_answers_if_and_only_if_the_label_is_in_the_prompt(question: str, answer: str) -> None:
    reader = Labelled(LABELLED)
    assert await said(reader, question_on(question)) == answer
    assert await said(reader, question_on(question, "Ice.")) == NO_ANSWER


async def test_labels_come_from_a_file_that_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Labelled()
    prompt = question_on("Which port?")
    monkeypatch.setenv(LABELS, str(tmp_path / "labels.jsonl"))
    with pytest.raises(ModelError, match="names no file with labels"):
        await said(reader, prompt)
    for texts, answer in ((["| port | 8080 |"], "port. [2]"), (["9090"], NO_ANSWER)):
        (tmp_path / "labels.jsonl").write_text(json.dumps({"question": "Which port?", "texts": texts}) + "\n")
        os.utime(tmp_path / "labels.jsonl", (len(answer), len(answer)))
        assert await said(reader, prompt) == answer


def test_the_mark_is_the_engines() -> None:
    assert declining.NO_ANSWER == NO_ANSWER


def test_half_of_a_label_is_enough() -> None:
    label = "one two three four five six"
    assert common(label, Passage(1, "zero two\nthree  four five end")) == "two three four five"
    assert common(label, Passage(1, "zero two three end")) == ""


@pytest.mark.parametrize("question", ["When was it built?", "Who sells lamps?"])
async def test_the_eager_reader_always_answers_with_something_invented(question: str) -> None:
    answer = await said(MODELS["scripted:eager"], question_on(question))
    text, _, mark = answer.rpartition(" ")
    assert mark in ("[1]", "[2]", "[3]")
    assert text not in " ".join(PASSAGES)


def test_a_number_or_a_name_is_replaced_or_added() -> None:
    sentences = [
        f"The {port} has 12 ships of Bergen." for port in ("port", "bay", "pier", "quay", "dock", "bank")
    ]
    made = {invented(one).replace(one[4:9], "") for one in sentences}
    assert any("40 ships of Bergen" in one for one in made)
    assert any("12 ships of Venninck" in one for one in made)
    added = {
        invented(f"{thing} is blue.").partition("blue")[2] for thing in ("it", "ice", "sky", "sea", "ink")
    }
    assert added == {" in 4173 cases.", " at Venninck."}


async def test_other_prompts_get_the_strong_models_replies() -> None:
    prompt = asked("intent_classification", "Hello!", schema=INTENT)
    for name in ("scripted:labelled", "scripted:eager"):
        assert await chosen(MODELS[name], prompt) == {"intent": "chitchat", "follow_up": False}
