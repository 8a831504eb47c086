"""Files of synonyms, and the synonyms of a question."""

from __future__ import annotations

from math import nan
from uuid import UUID

import numpy as np
import pytest

from responsa_server.domain.passages import Candidates, TermStatistics
from responsa_server.search.evidence import read_question
from responsa_server.search.scoring import Weights, score_candidates, weigh
from responsa_server.text.lexical import Analyzer
from responsa_server.text.synonyms import MAX_GROUPS, Alternatives, Synonyms, read_synonyms

FILE = """\
# Our own words
PTO, paid time off,  annual leave

heart attack, myocardial infarction
文件, 资料
"""


def alternatives(question: str, language: str = "en", text: str = FILE) -> Alternatives:
    synonyms = Synonyms(text)
    assert synonyms.alternatives(question, language, Analyzer()) == {}
    synonyms.learn(language)
    return synonyms.alternatives(question, language, Analyzer())


def test_a_file_is_read_line_by_line() -> None:
    file = read_synonyms("\ufeff" + FILE)
    assert file.mistakes == []
    assert file.groups == [
        ["PTO", "paid time off", "annual leave"],
        ["heart attack", "myocardial infarction"],
        ["文件", "资料"],
    ]


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("bed", "at least two entries"),
        ("bed,", "no letter and no digit"),
        ("bed, cot, BED", "twice"),
        ("a, " * 16 + "b", "at most 16 entries; this line has 17"),
        ("x" * 101 + ", y", "at most 100 characters"),
        ("a\x07b, c", "control character"),
        ("holiday, annual  LEAVE", "also in line 2"),
    ],
)
def test_a_mistake_names_its_line_and_what_to_change(line: str, remedy: str) -> None:
    file = read_synonyms(f"{FILE}ok, fine\n{line}\n")
    (mistake,) = file.mistakes
    assert mistake.line == 7
    assert remedy in mistake.remedy
    assert list(file.groups[-1]) == ["ok", "fine"]


def test_the_longest_group_and_the_longest_entry_are_no_mistakes() -> None:
    longest = ["x" * 100, *(f"y{number}" for number in range(15))]
    file = read_synonyms(", ".join(longest))
    assert (file.groups, file.mistakes) == ([longest], [])


def test_a_file_has_a_limit() -> None:
    lines = [f"word{number}, term{number}" for number in range(MAX_GROUPS + 9)]
    assert read_synonyms("\n".join(lines[:MAX_GROUPS])).mistakes == []
    (mistake,) = read_synonyms("\n".join(lines)).mistakes
    assert (mistake.line, str(MAX_GROUPS) in mistake.remedy) == (MAX_GROUPS + 1, True)


def test_an_entry_is_found_in_any_form_and_only_as_a_whole() -> None:
    assert alternatives("How much PTO do I get?") == {"pto": (("paid", "time", "off"), ("annual", "leav"))}
    # "heart attacks" is the same entry; a heart alone, or an attack on a heart, is not.
    infarction = (("myocardi", "infarct"),)
    assert alternatives("Are heart attacks common?") == {"heart": infarction, "attack": infarction}
    assert alternatives("Which attack hurts the heart?") == {}
    assert alternatives("资料在哪里?", "zh") == {"资料": (("文件",),)}


def test_an_alternative_with_the_word_itself_is_left_out() -> None:
    assert alternatives("leave", text="leave, annual leave\n") == {}
    assert alternatives("annual leave", text="leave, annual leave\n") == {"annual": (("leav",),)}


STATISTICS = TermStatistics(100, 10_000, {"long": 20, "paid": 3, "time": 30, "off": 9})
ASKED = {"pto": [["paid", "time", "off"]]}


def bm25(weights: Weights, **counts: int) -> float:
    """Of a passage that has words so often."""
    terms = weights.searched
    columns = (np.array([value], float) for value in (100, [counts.get(term, 0) for term in terms], nan, nan))
    candidates = Candidates([UUID(int=1)], ["en"], *columns)
    return score_candidates(candidates, weights, terms, vector_votes=[False]).bm25[0]


def test_a_passage_with_all_words_of_an_alternative_scores_like_one_with_the_word() -> None:
    without, weights = weigh(["long", "pto"], STATISTICS), weigh(["long", "pto"], STATISTICS, ASKED)
    assert (without.missing.keys(), weights.missing) == ({"pto"}, {})
    # As frequent as its rarest word, "paid".
    assert dict(zip(weights.terms, weights.frequencies, strict=True)) == {"pto": 3, "long": 20}
    assert weights.searched == ["pto", "long", "paid", "time", "off"]
    assert bm25(weights, paid=1, time=4, off=2) == bm25(weights, pto=1) > 0
    assert bm25(weights, paid=1, time=4) == 0


def test_a_piece_with_an_alternative_covers_the_word() -> None:
    question = read_question("how long is PTO", weigh(["long", "pto"], STATISTICS, ASKED), "en", Analyzer())
    mask = question.mask(frozenset(["paid", "time", "off", "is", "long"]))
    assert question.covered(mask) == pytest.approx(1)
    assert question.mask(frozenset(["paid", "time"])) == 0
