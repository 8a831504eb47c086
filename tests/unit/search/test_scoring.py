from __future__ import annotations

import math
from collections.abc import Mapping
from uuid import UUID

import pytest

from responsa_server.domain.passages import LexicalCandidate, PassageCosines, TermStatistics
from responsa_server.search.scoring import PassageScorer, Score, Weights, gate, weigh

STATISTICS = TermStatistics(100, 10_000, {"turn": 40, "lease": 2})


def candidate(counts: Mapping[int, int], *, length: int = 100) -> LexicalCandidate:
    """counts: how often each term occurs, by the term's index."""
    return LexicalCandidate(UUID(int=1), "default", "en", length, list(counts), list(counts.values()))


def score(
    lexical: LexicalCandidate,
    weights: Weights,
    cosines: PassageCosines | None,
    *,
    vector_votes: bool,
    text_votes: bool = True,
) -> Score:
    return PassageScorer(weights, weights.terms, text_votes=text_votes).score(
        lexical, cosines, vector_votes=vector_votes
    )


def test_rare_terms_weigh_more_and_absent_ones_count_as_missing() -> None:
    weights = weigh(["turn", "epoch", "lease"], STATISTICS)
    assert list(weights.terms) == ["lease", "turn"]
    assert list(weights.frequencies) == [2, 40]
    assert weights.weights[0] > weights.weights[1] > 0
    assert weights.missing.keys() == {"epoch"}
    assert weights.missing["epoch"] > weights.weights[0]
    assert weights.mean_length == 100
    assert weigh(["x"], TermStatistics(0, 0, {})).mean_length == 1.0


@pytest.mark.parametrize("passages", [1, 3, 100])
def test_a_missing_term_does_not_outweigh_the_terms_of_a_single_document(passages: int) -> None:
    weights = weigh(["lease", "epoch"], TermStatistics(passages, 100, {"lease": 1}))
    assert weights.weights[0] < weights.missing["epoch"] < 1.32 * weights.weights[0]


def test_bm25_is_the_published_formula() -> None:
    weights = weigh(["lease", "turn"], STATISTICS)
    idf = math.log(1 + (100 - 2 + 0.5) / (2 + 0.5))
    expected = idf * 3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 50 / 100))
    scorer = PassageScorer(weights, ["turn", "epoch", "lease"])
    assert scorer.bm25(candidate({2: 3}, length=50)) == pytest.approx(expected)
    assert scorer.bm25(candidate({1: 3}, length=50)) == scorer.bm25(candidate({})) == 0


def test_scores_are_absolute_and_each_index_has_its_vote() -> None:
    weights = weigh(["lease", "turn"], STATISTICS)
    lexical, cosines = candidate({0: 1, 1: 1}), PassageCosines(window=0.5, piece=0.8)
    both = score(lexical, weights, cosines, vector_votes=True)
    assert both.vector == pytest.approx((0.8 + 0.5) / 2)
    assert both.total == pytest.approx((both.lexical + 1.8 * (both.vector or 0)) / 2.8)
    text = score(lexical, weights, cosines, vector_votes=False)
    assert (text.total, text.vector) == (text.lexical, None)
    vector = score(lexical, weights, cosines, vector_votes=True, text_votes=False)
    assert vector.total == vector.vector
    huge = candidate({0: 255, 1: 255}, length=1)
    assert 0.99 < score(huge, weights, PassageCosines(1.0, 1.0), vector_votes=True).total <= 1.0
    assert score(candidate({}), weights, PassageCosines(-0.2, -0.1), vector_votes=True).total == 0.0
    assert score(candidate({}), weigh([], STATISTICS), None, vector_votes=True).total == 0.0
    assert score(lexical, weights, PassageCosines(None, None), vector_votes=True).vector is None


@pytest.mark.parametrize(
    ("frequencies", "taken"),
    [([], 0), ([5000], 1), ([3, 5, 900], 3), ([3, 500, 400], 3), ([3, 500, 700], 2), ([50, 100, 9000], 3)],
)
def test_common_terms_select_only_when_rare_ones_are_too_few(frequencies: list[int], taken: int) -> None:
    assert gate(frequencies) == taken
