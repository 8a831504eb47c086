"""The words that an agent gives the node that reads a record."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from responsa_server.agents.config.problems import from_validation
from responsa_server.agents.nodes.record import RecordReaderOptions
from responsa_server.domain.record import RecordQuestion, RecordWords, parts_of, sides_of
from responsa_server.search.record_meaning import following
from responsa_server.search.record_words import phrase_tables
from responsa_server.text.lexical import Analyzer


def problems_of(options: dict[str, object]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        RecordReaderOptions.model_validate(options)
    return [f"{one.path}: {one.message}" for one in from_validation(caught.value, RecordReaderOptions)]


@pytest.mark.parametrize("phrase", ["_", "", " ", "__ _", "?"])
def test_a_phrase_without_letter_and_digit_is_refused(phrase: str) -> None:
    """Such a phrase has no first word under which it could be found."""
    said = f"“{phrase}” has neither a letter nor a digit"
    assert problems_of({"synonyms": {"openness": ["curious", phrase]}}) == [f"synonyms.openness[1]: {said}"]


def test_letters_of_any_language_and_digits_are_accepted() -> None:
    given = ["_é", "١", "工资", "401k"]
    assert (
        len(RecordReaderOptions.model_validate({"synonyms": {"openness": given}}).synonyms["openness"]) == 4
    )


def test_the_earlier_form_of_synonyms_is_refused_with_the_new_one() -> None:
    (problem,) = problems_of({"synonyms": {"extraversion": ["outgoing"], "curiosity": "openness"}})
    assert problem.startswith("synonyms: “curiosity” must be an array: the key is a word of the record")
    assert 'openness = ["curiosity", "new ideas"]' in problem


def test_the_phrases_are_analysed_once_for_each_language() -> None:
    """An agent's hundreds of phrases took 11 ms or more of each question."""
    analyzer = Analyzer()
    words, others = (RecordWords({}, {"new ideas": "openness", "outgoing": "extraversion"}) for _ in range(2))
    first = phrase_tables(words, analyzer, "en")
    assert phrase_tables(words, analyzer, "en") is first
    assert phrase_tables(words, analyzer, "de") is not first
    assert phrase_tables(others, analyzer, "en") is not first


@pytest.mark.parametrize(
    ("question", "parts", "sides"),
    [
        ("How open am I?", (), ()),
        ("How open am I and which jobs fit?", ("How open am I", "which jobs fit?"), ()),
        ("I am new here. How open am I?", ("I am new here.", "How open am I?"), ()),
        ("a? b? c? d? e?", (), ()),
        ("Am I better with words or numbers?", (), ("Am I better with words", "numbers?")),
        ("Words or numbers or shapes?", (), ()),
    ],
)
def test_the_parts_of_a_question_and_the_sides_of_a_comparison(
    question: str, parts: tuple[str, ...], sides: tuple[str, ...]
) -> None:
    assert tuple(parts_of(question)) == parts
    assert tuple(sides_of(question)) == sides


@pytest.mark.parametrize(
    ("own", "category"),
    [
        ({"tests": 0.4, "career": 0.35, "reading": 0.25}, "career"),
        ({"tests": 0.9, "career": 0.05, "reading": 0.05}, "tests"),
    ],
)
def test_the_category_of_the_question_before_decides_if_the_question_itself_says_little(
    own: dict[str, float], category: str
) -> None:
    before = RecordQuestion(
        "Which jobs fit?", "career", categories={"career": 0.9, "tests": 0.05, "reading": 0.05}
    )
    assert following(RecordQuestion("the next?", "tests", categories=own, before=before)).category == category


def test_without_examples_the_category_stays() -> None:
    before = RecordQuestion("Which jobs fit?", "career")
    assert following(RecordQuestion("the next?", "tests", before=before)).category == "tests"
