"""The measures, with cases that are small enough to compute by hand."""

from __future__ import annotations

import math

import pytest

from responsa_lab.evaluation.metrics import (
    TextSpan,
    fuse,
    gold_cited,
    gold_in_text,
    mean,
    ndcg,
    recall,
    reciprocal_rank,
)


def test_rankings() -> None:
    ranking = ["a", "b", "c", "d"]
    assert recall(ranking, {"b", "x"}, 1) == 0
    assert recall(ranking, {"b", "x"}, 2) == 0.5
    assert reciprocal_rank(ranking, {"c"}, 10) == pytest.approx(1 / 3)
    assert reciprocal_rank(ranking, {"c"}, 2) == 0
    assert ndcg(ranking, {"a"}, 10) == 1
    assert ndcg(ranking, {"b"}, 10) == pytest.approx(1 / math.log2(3))
    assert ndcg(ranking, {"a", "b", "c", "d", "e"}, 4) == pytest.approx(1)
    assert mean([]) is None
    assert mean([1, 2]) == 1.5


def test_gold() -> None:
    assert gold_in_text("It was  Émile\nZola.", ["émile zola"])
    assert not gold_in_text("It was Émile.", ["zola", " "])
    assert gold_in_text("**It** was\n\n- *Émile*\n- 2\\*3 `Zola`", ["it was émile 2*3 zola"])
    assert gold_cited([TextSpan("a", 0, 10)], [TextSpan("a", 2, 10)])
    assert not gold_cited([TextSpan("a", 0, 10)], [TextSpan("b", 2, 10), TextSpan("a", 2, 11)])


def test_fusion_adds_reciprocal_ranks() -> None:
    # b: 1/62 + 1/61; a: 1/61 + 1/63; d: 1/62; c: 1/63. Equal scores are ordered by id.
    assert fuse([["a", "b", "c"], ["b", "d", "a"]]) == ["b", "a", "d", "c"]
    assert fuse([["y"], ["x"]]) == ["x", "y"]
    assert fuse([[], []]) == []
