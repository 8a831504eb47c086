"""A sentence that names no source is found, wherever it stands in an answer."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from responsa_contract import QuoteOrigin
from responsa_server.agents.engine.citations import MarkFilter, citation, claims, find_unsourced
from responsa_server.domain.answers import CheckedClaim
from responsa_server.domain.events import AnyCitation
from tests.unit.agents.evidence import quote

ANSWERS: list[dict[str, str]] = tomllib.loads(Path(__file__).with_name("unsourced.toml").read_text("utf-8"))[
    "answers"
]


def cite(marked: str) -> tuple[str, Sequence[AnyCitation]]:
    """A text without its marks, and the citations that they make. Each mark has copied its words."""
    marks = MarkFilter()
    text = marks.feed(marked) + marks.end()
    cited: list[AnyCitation] = []
    for index, claim in enumerate(claims(text, marks.marks)):
        words: Any = quote(claim.quote)
        cited.append(citation(claim, CheckedClaim(words, words, QuoteOrigin.COPIED), index))
    return text, cited


def list_unsourced(marked: str) -> Sequence[str]:
    text, cited = cite(marked)
    return [text.encode()[span.start : span.end].decode() for span in find_unsourced(text, cited)]


def test_no_answer_is_accused_whose_sentences_name_their_sources() -> None:
    assert len(ANSWERS) == 20
    assert [answer["text"] for answer in ANSWERS if list_unsourced(answer["text"])] == []


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer["planted"].strip()[:30] for answer in ANSWERS])
def test_a_planted_sentence_is_found(answer: dict[str, str]) -> None:
    assert answer["text"].count(answer["after"]) == 1
    (words,) = list_unsourced(answer["text"].replace(answer["after"], answer["after"] + answer["planted"]))
    assert words in answer["planted"]


@pytest.mark.parametrize(
    ("marked", "bare"),
    [
        ('It costs 5 euros. It is red. [1: "It costs 5 euros and is red."]', []),
        ('It costs 6 euros. It is red. [1: "It costs 5 euros and is red."]', ["It costs 6 euros."]),
        ('Ann paints. It is red. [1: "Bob paints it red."]', ["Ann paints."]),
        ("# All of it\n\nThese are red:\n\n- roses [1]\n\nDoes that help?\n\n```\nx = 1\n```\n", []),
    ],
)
def test_words_numbers_and_names_of_the_next_quote_excuse_a_sentence(
    marked: str, bare: Sequence[str]
) -> None:
    assert list_unsourced(marked) == bare
