"""The scripted readers: one that answers exactly if the label stands in its prompt, and one that always invents something."""

from __future__ import annotations

from dataclasses import replace

import pytest

from responsa_lab.scripted.readers import NO_ANSWER, LabelledReader
from responsa_server.agents.engine import declining
from responsa_server.domain.models import ModelPrompt
from tests.lab.scripted.asking import MODELS, prompt_for, said

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
    return replace(prompt_for("response_synthesis", question, passages=passages or PASSAGES), cites=True)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was it built?", 'The bridge was built in 1924. [1: "The bridge was built in 1924"]'),
        ("Which port?", 'port. [2: "port"]'),
        (
            "When does water boil?",
            'Water boils at 100 degrees near the sea, and earlier on. [3: "Water boils at 100 degrees near"]',
        ),
        ("Who built it?", NO_ANSWER),
        ("What does it cost?", NO_ANSWER),
    ],
)
async def test_it_answers_if_and_only_if_the_label_is_in_the_prompt(question: str, answer: str) -> None:
    reader = LabelledReader(LABELLED)
    assert await said(reader, question_on(question)) == answer
    assert await said(reader, question_on(question, "Ice.")) == NO_ANSWER


def test_the_mark_is_the_engines() -> None:
    assert declining.NO_ANSWER == NO_ANSWER


@pytest.mark.parametrize("question", ["When was it built?", "Who sells lamps?"])
async def test_the_eager_reader_always_answers_with_something_invented(question: str) -> None:
    answer = await said(MODELS["scripted:eager"], question_on(question))
    text, _, mark = answer.partition(" [")
    assert mark[:3] in ("1: ", "2: ", "3: ")
    assert text.rstrip(".") in mark
    assert text not in " ".join(PASSAGES)
