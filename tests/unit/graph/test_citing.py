"""The sentences that the marks refer to, and the citations made from them."""

from __future__ import annotations

import hashlib

import pytest

from responsa_server.agents.engine.citations import Claimed, MarkFilter, citation, claims
from responsa_server.domain.events import MAX_QUOTE_BYTES, ByteRange
from tests.unit.graph.evidence import quote


def claimed(marked: str) -> list[tuple[str, int]]:
    marks = MarkFilter()
    text = marks.feed(marked) + marks.end()
    found = claims(text, marks.marks)
    for one in found:
        assert text.encode()[one.source.start : one.source.end].decode() == one.text
    return [(one.text, one.passage) for one in found]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("Yes. Water boils. [2] It cools.", [("Water boils.", 2)]),
        ("Water boils [2]. It cools [1].", [("Water boils", 2), ("It cools", 1)]),
        ("It boils [1], and it cools [2].", [("It boils", 1), ("and it cools", 2)]),
        ("It boils. [1, 3][1]", [("It boils.", 1), ("It boils.", 3)]),
        ("- One item [1]\n2. Another [2]\n## Head [3]", [("One item", 1), ("Another", 2), ("Head", 3)]),
        ("It boils.\n[4]", [("It boils.", 4)]),
        ("Dr. Smith said 3.5 %. [1]", [("Dr. Smith said 3.5 %.", 1)]),
        ("水沸腾。 [1] 山上低 [2]。", [("水沸腾。", 1), ("山上低", 2)]),
        # A mark that begins a line stands before its sentence, and so do the line's other marks unless it ends with one.
        ("[1] Water boils. [2] It cools.", [("Water boils.", 1), ("It cools.", 2)]),
        ("Yes.\n- [1] Water boils.\n2. [3] It cools.", [("Water boils.", 1), ("It cools.", 3)]),
        ("[1] Water boils. It cools. [2]", [("Water boils.", 1), ("It cools.", 2)]),
        ("* [1]", []),
        ("It boils.\n*\n*\n[1]", [("It boils.", 1)]),
        # The sentence is too far before the mark.
        ("It boils.\n" + "*\n" * 50 + "[1]", []),
        ("no mark", []),
    ],
)
def test_a_mark_speaks_for_the_sentence_before_it(marked: str, expected: list[tuple[str, int]]) -> None:
    assert claimed(marked) == expected


def test_marks_beyond_the_text_speak_for_its_end() -> None:
    assert [claim.text for claim in claims("Cut here", [(99, 1)])] == ["Cut here"]


def test_a_citation_has_the_quote_of_the_source_and_the_place_in_the_answer() -> None:
    given = quote("The Nile is long.", start=100, score=1.2)
    made = citation(Claimed("Long it is.", ByteRange(3, 14), 1), given)
    assert (made.quote, made.source, made.answer) == (
        "The Nile is long.",
        ByteRange(100, 117),
        ByteRange(3, 14),
    )
    assert made.sha256 == hashlib.sha256(b"The Nile is long.").digest()
    assert made.score == 1.0


@pytest.mark.parametrize("text", ["word " * 400, "é" * 1000])
def test_a_quote_that_is_too_long_is_cut_between_characters(text: str) -> None:
    made = citation(Claimed("x", ByteRange(0, 1), 1), quote(text, start=0))
    assert text.startswith(made.quote)
    assert MAX_QUOTE_BYTES // 2 < len(made.quote.encode()) <= MAX_QUOTE_BYTES
    assert made.source == ByteRange(0, len(made.quote.encode()))
