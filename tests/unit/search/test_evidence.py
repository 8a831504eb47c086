"""The words that are stored with a passage say the same as the passage itself."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passage_words import MOST_COUNTED, WantedTerms, is_current, pack
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.evidence import judge, read_question, sequences_of_passage
from responsa_server.text.lexical import Analyzer
from tests.unit.search.test_excerpts import LEASES, passage_of, weights_of


def stored(passage: FoundPassage) -> FoundPassage:
    """The passage as it is read if its words were stored."""
    return replace(passage, words=pack({}, sequences_of_passage(passage, Analyzer())).decode("latin-1"))


def test_a_passage_is_judged_alike_with_and_without_its_words() -> None:
    analyzer = Analyzer()
    for text in ("How often does a worker renew its lease?", "Who added the sweep?", "tell me a joke"):
        weights = weights_of(text)
        # The terms of a synonym count only together, in any piece.
        for alternatives in ({}, {weights.terms[0]: [["ada", "lovelac"]]} if weights.terms else {}):
            question = read_question(text, replace(weights, alternatives=alternatives), "en", analyzer)
            for cosine in (None, 0.8):
                one = passage_of(LEASES, cosine=cosine)
                judged = judge(question, one, 0.5, analyzer)
                assert judge(question, stored(one), 0.5, analyzer) == judged
    assert judged


def test_a_row_that_begins_with_the_date_that_is_asked_for_is_the_best() -> None:
    rows, analyzer = (
        ["| 12.04.2026 | Bruno | 18.01.2026 |", "| 19.01.2026 | Ida | – |", "| 18.01.2026 | Oda | – |"],
        Analyzer(),
    )
    found_passage = passage_of("\n".join(rows))
    pieces = [
        PassagePiece(VectorKind.ROW, ByteRange(start, start + len(row.encode())), 0.5)
        for start, row in zip(
            itertools.accumulate((len(row.encode()) + 1 for row in rows), initial=0), rows, strict=False
        )
    ]
    text = "Who on 18.01.2026?"
    question = read_question(text, weights_of(text, "de"), "de", analyzer)
    judged = judge(question, replace(found_passage, pieces=pieces, language="de"), 0.5, analyzer)
    first, other, right = (piece.score for piece in judged)
    assert right > first > other


def test_words_of_other_pieces_are_not_used() -> None:
    one, analyzer = passage_of(LEASES), Analyzer()
    fewer = replace(one, pieces=one.pieces[1:])
    question = read_question(LEASES, weights_of(LEASES), "en", analyzer)
    assert judge(question, replace(fewer, words=stored(one).words), 0.5, analyzer) == judge(
        question, fewer, 0.5, analyzer
    )


def test_the_terms_of_many_passages_are_counted_at_once() -> None:
    passages = [["tide", "gauge", "tide"], [], ["日本", "gauge"] * 200, ["wind"]]
    packed = [pack(Counter(terms), [terms]) for terms in passages]
    assert all(map(is_current, packed))
    counts = WantedTerms(("gauge", "日本", "tide")).counts(packed)
    assert counts == [{"tide": 2, "gauge": 1}, {}, {"日本": 200, "gauge": 200}, {}]
    assert WantedTerms(("wind",)).counts([pack({"wind": 1000}, [()])]) == [{"wind": MOST_COUNTED}]
    assert WantedTerms(()).counts(packed) == [{}] * 4
