"""A passage is analysed once while it is cached. The judgement is the same with and without the cache."""

from __future__ import annotations

from dataclasses import replace

from responsa_server.search.evidence import PassageAnalyses, judge, read_question
from tests.unit.search.test_excerpts import LEASES, found, weights_of

QUESTION = "How often does a worker renew its lease?"


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


def test_the_cache_is_limited_by_the_sizes_of_the_passages() -> None:
    passages = [found(f"{LEASES} {number}", number=number) for number in range(20)]
    analyses = PassageAnalyses(most_bytes=60_000)
    first = analyses.of(passages[0])
    for passage in passages[1:]:
        analyses.of(passage)
        assert analyses.of(passages[0]) is first
    analyses.of(found("aBcdEf" * 20_000, number=20))
    assert analyses.of(passages[0]) is first
    assert analyses.of(passages[1]) is analyses.of(passages[1])
    for number in range(30):
        analyses.of(found(f"{LEASES} x{number}", number=number))
    assert analyses.of(passages[0]) is not first


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
