from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np
import pytest

from responsa_server.domain.passages import Candidates, TermStatistics
from responsa_server.search.scoring import Score, Scores, Weights, gate, score_candidates, weigh

STATISTICS = TermStatistics(100, 10_000, {"turn": 40, "lease": 2})


def score(
    weights: Weights,
    counts: Mapping[str, int],
    window: float = math.nan,
    piece: float = math.nan,
    *,
    length: int = 100,
    terms: Sequence[str] = (),
    vector_votes: bool = True,
    text_votes: bool = True,
) -> Score:
    """The score of one passage. counts: how often it has terms. terms: those that were counted."""
    terms = terms or weights.terms
    columns = (
        np.array([value], float) for value in (length, [counts.get(term, 0) for term in terms], window, piece)
    )
    candidates = Candidates([UUID(int=1)], ["en"], *columns)
    scores = score_candidates(candidates, weights, terms, text_votes=text_votes, vector_votes=[vector_votes])
    return scores.select_best(1)[0]


def test_rare_terms_weigh_more_and_absent_ones_count_as_missing() -> None:
    weights = weigh(["turn", "epoch", "lease"], STATISTICS)
    assert list(weights.terms) == ["lease", "turn"]
    assert list(weights.frequencies) == [2, 40]
    assert weights.weights[0] > weights.weights[1] > 0
    assert weights.missing.keys() == {"epoch"}
    assert weights.missing["epoch"] > weights.weights[0]
    assert weights.mean_length == 100
    assert weigh(["x"], TermStatistics(0, 0, {})).mean_length == 1.0


@pytest.mark.parametrize(
    ("terms", "known", "weighed"),
    [
        (["t-12", "t12", "t", "12", "fit"], ["t-12", "t12", "t", "12"], {"t-12", "t12"}),
        (["t12", "12"], ["t12", "12"], {"t12"}),
        (["t12", "12"], ["12"], {"12"}),
        (["1970s", "1970"], ["1970s", "1970"], {"1970s", "1970"}),
        (["2026-03", "2026"], ["2026-03", "2026"], {"2026-03", "2026"}),
    ],
)
def test_the_parts_of_a_code_that_is_there_do_not_count(
    terms: list[str], known: list[str], weighed: set[str]
) -> None:
    assert {*weigh(terms, TermStatistics(100, 10_000, dict.fromkeys(known, 2))).terms} == weighed


@pytest.mark.parametrize("passages", [1, 3, 100])
def test_a_missing_term_does_not_outweigh_the_terms_of_a_single_document(passages: int) -> None:
    weights = weigh(["lease", "epoch"], TermStatistics(passages, 100, {"lease": 1}))
    assert weights.weights[0] < weights.missing["epoch"] < 1.32 * weights.weights[0]


def test_bm25_is_the_published_formula() -> None:
    weights = weigh(["lease", "turn"], STATISTICS)
    idf = math.log(1 + (100 - 2 + 0.5) / (2 + 0.5))
    expected = idf * 3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 50 / 100))
    assert score(weights, {"lease": 3}, length=50).bm25 == pytest.approx(expected)
    counted = ["turn", "epoch", "lease"]
    assert score(weights, {"lease": 3}, length=50, terms=counted).bm25 == pytest.approx(expected)
    assert score(weights, {"epoch": 3}, terms=counted).bm25 == score(weights, {}).bm25 == 0


def test_scores_are_absolute_and_each_index_has_its_vote() -> None:
    weights = weigh(["lease", "turn"], STATISTICS)
    counts = {"lease": 1, "turn": 1}
    both = score(weights, counts, 0.5, 0.8)
    assert both.vector == pytest.approx((0.8 + 0.5) / 2)
    assert both.total == pytest.approx((both.lexical + 1.8 * (both.vector or 0)) / 2.8)
    text = score(weights, counts, 0.5, 0.8, vector_votes=False)
    assert (text.total, text.vector) == (text.lexical, None)
    vector = score(weights, counts, 0.5, 0.8, text_votes=False)
    assert vector.total == vector.vector
    assert score(weights, {}, text_votes=False).total == 0.0
    assert 0.99 < score(weights, {"lease": 255, "turn": 255}, 1.0, 1.0, length=1).total <= 1.0
    assert score(weights, {}, -0.2, -0.1).total == 0.0
    assert score(weigh([], STATISTICS), {}).total == 0.0
    assert score(weights, counts).vector is None
    assert score(weights, counts, piece=0.6).vector == pytest.approx(0.3)


def test_of_equal_candidates_the_first_ones_are_the_best() -> None:
    totals = np.array([0.5, 0.7, 0.5, 0.7, 0.1])
    scores = Scores(totals, totals, totals, totals)
    assert list(scores.select_best(3)) == [1, 3, 0]
    assert list(scores.select_best(9)) == [1, 3, 0, 2, 4]


@pytest.mark.parametrize(
    ("frequencies", "taken"),
    [([], 0), ([5000], 1), ([3, 5, 900], 3), ([3, 500, 400], 3), ([3, 500, 700], 2), ([50, 100, 9000], 3)],
)
def test_common_terms_select_only_when_rare_ones_are_too_few(frequencies: list[int], taken: int) -> None:
    assert gate(frequencies) == taken
