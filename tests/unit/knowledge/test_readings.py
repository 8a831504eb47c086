"""A passage is analysed once while it is cached. The judgement is the same with and without the cache."""

from __future__ import annotations

from dataclasses import replace

from responsa_server.search.evidence import PassageAnalyses, judge, read_question
from tests.unit.knowledge.test_excerpts import LEASES, found, weights_of

QUESTION = "How often does a worker renew its lease?"


def test_a_passage_is_read_once_whoever_has_read_it_from_the_database() -> None:
    analyses = PassageAnalyses()
    assert analyses.of(found(LEASES, cosine=0.1)) is analyses.of(found(LEASES, cosine=0.9))


def test_another_text_language_or_cut_under_the_same_id_is_read_anew() -> None:
    analyses = PassageAnalyses()
    one = found(LEASES)
    others = [
        found(LEASES.replace("sweep", "broom")),
        found(LEASES, title="Brooms"),
        replace(one, language="de"),
        replace(one, pieces=one.pieces[1:]),
    ]
    assert all(analyses.of(other) != analyses.of(one) for other in others)


def test_no_more_is_remembered_than_was_said_and_the_latest_stay() -> None:
    passages = [found(f"{LEASES} {number}", number=number) for number in range(20)]
    size = len(passages[0].pieces)
    analyses = PassageAnalyses(most=3 * size)
    first = analyses.of(passages[0])
    for passage in passages[1:]:
        analyses.of(passage)
        assert analyses.of(passages[0]) is first
        assert len(analyses) <= 3 * size
    kept = analyses.of(passages[-1])
    assert kept.pieces
    analyses.of(passages[5])
    assert analyses.of(passages[-1]) is kept


def test_a_passage_that_alone_is_too_large_is_read_all_the_same() -> None:
    analyses = PassageAnalyses(most=1)
    assert len(analyses.of(found(LEASES)).pieces) > 1
    assert len(analyses) == 0


def test_a_passage_is_judged_as_if_it_had_not_been_read_before() -> None:
    used = PassageAnalyses()
    for question in (QUESTION, "Who added the sweep?", "tell me a joke"):
        for cosine in (None, 0.2, 0.8):
            one = found(LEASES, cosine=cosine)
            fresh = PassageAnalyses()
            weights = weights_of(question)
            assert judge(read_question(question, weights, "en", used.analyzer), one, 0.5, used) == judge(
                read_question(question, weights, "en", fresh.analyzer), one, 0.5, fresh
            )
