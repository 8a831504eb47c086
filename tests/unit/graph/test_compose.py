from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from responsa_server.agents.engine.citations import Composition, compose, plain, split
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    MAX_QUOTE_BYTES,
    AnswerOutcome,
    ByteRange,
    Cited,
    Delta,
)
from responsa_server.domain.passages import PlacedBlock
from tests.unit.graph.evidence import quote

SENTENCES = st.lists(
    st.one_of(st.text(min_size=1, max_size=60), st.text(min_size=900, max_size=2600)), min_size=1, max_size=30
)


def check(composition: Composition, sentences: list[str]) -> None:
    """Check all guarantees about an answer's bytes."""
    text = composition.text.encode()
    assert "".join(one.text for one in composition.events if isinstance(one, Delta)) == composition.text
    offset = 0
    quoted = dict[ByteRange, str]()
    for event in composition.events:
        if isinstance(event, Delta):
            assert event.byte_offset == offset
            assert len(event.text.encode()) <= 1024
            offset += len(event.text.encode())
        else:
            one = event.citation
            assert one.answer.end == offset  # the citation follows its text
            assert one.source.end - one.source.start == len(one.quote.encode()) <= MAX_QUOTE_BYTES
            assert one.sha256 == hashlib.sha256(one.quote.encode()).digest()
            quoted[one.answer] = quoted.get(one.answer, "") + one.quote
    for place, quotes in quoted.items():
        assert text[place.start : place.end] == quotes.encode()
    assert len(text) <= MAX_ANSWER_BYTES
    assert len(composition.citations) <= MAX_CITATIONS
    whole = composition.text == "\n\n".join(sentences)
    assert whole == (composition.outcome is AnswerOutcome.COMPLETE)
    assert "\n\n".join(sentences).startswith(composition.text)


@given(SENTENCES)
def test_an_answer_is_its_sentences_cited_byte_for_byte_within_the_limits(sentences: list[str]) -> None:
    check(compose([quote(sentence) for sentence in sentences]), sentences)


def test_a_sentence_that_does_not_fit_ends_the_answer_with_whole_ones() -> None:
    sentences = ["x" * 1000] * 25
    composition = compose([quote(sentence) for sentence in sentences])
    check(composition, sentences)
    assert composition.text == "\n\n".join(sentences[:24])
    assert composition.outcome is AnswerOutcome.OUTPUT_LIMIT


def test_of_one_sentence_that_is_too_long_the_beginning_is_kept() -> None:
    composition = compose([quote("y" * 30_000)])
    assert composition.text == "y" * MAX_ANSWER_BYTES
    assert composition.outcome is AnswerOutcome.OUTPUT_LIMIT
    assert sum(len(citation.quote) for citation in composition.citations) == MAX_CITATIONS * MAX_QUOTE_BYTES


def test_the_parts_of_a_long_quote_follow_each_other_in_the_source_and_support_all_of_it() -> None:
    sentence = "word " * 300
    cited = [
        event.citation for event in compose([quote(sentence, start=70)]).events if isinstance(event, Cited)
    ]
    assert len(cited) == 2
    assert (cited[0].source.start, cited[0].source.end) == (70, cited[1].source.start)
    assert cited[1].source.end == 70 + len(sentence)
    assert cited[0].quote.endswith(" ")
    assert cited[0].answer == cited[1].answer == ByteRange(0, len(sentence))


def test_what_is_shown_is_not_what_is_quoted() -> None:
    row = quote("| 8080 | the page |", shown="**Port**: 8080; **Use**: the page")
    composition = compose([quote("Ports differ."), row])
    assert composition.text == "Ports differ.\n\n**Port**: 8080; **Use**: the page"
    _, cited = composition.citations
    assert (cited.quote, cited.answer) == (row.text, ByteRange(15, len(composition.text)))


def test_list_items_that_follow_each_other_are_one_list() -> None:
    items = [quote("x", shown=one) for one in ("Choose.", "- one", "- two", "1. first", "Then go.")]
    assert compose(items).text == "Choose.\n\n- one\n- two\n1. first\n\nThen go."


@given(st.text(max_size=300), st.integers(4, 40))
def test_splitting_loses_nothing_and_cuts_no_character(text: str, most: int) -> None:
    pieces = list(split(text, most))
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= most for piece in pieces)


def test_a_citation_has_the_place_of_the_first_block_that_it_quotes() -> None:
    one = quote("On page two. On page three.")
    start = one.source.start
    places = (
        PlacedBlock(start, start + 12, 2, (10, 20, 900, 40), ""),
        PlacedBlock(start + 13, one.source.end, 3, None, "Sheet1!A2"),
    )
    whole = replace(one, passage=replace(one.passage, places=places))
    later = replace(whole, source=ByteRange(start + 13, one.source.end), text="On page three.")
    first, second = map(plain, compose([whole, later]).citations)
    assert (first.page, first.box, first.path) == (2, (10, 20, 900, 40), "")
    assert (second.page, second.box, second.path) == (3, None, "Sheet1!A2")
    (none,) = map(plain, compose([one]).citations)
    assert (none.page, none.box, none.path) == (0, None, "")
