"""Marks are removed from a text that arrives in pieces, and all other text stays."""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_contract import QuoteOrigin
from responsa_server.agents.engine.citations import (
    MOST_HELD,
    MOST_MARKS,
    Composition,
    Mark,
    MarkFilter,
    citation,
    claims,
    compose,
    plain,
    split,
)
from responsa_server.domain.answers import CheckedClaim, CitedSentence
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    MAX_FULL_CITATIONS,
    MAX_QUOTE_BYTES,
    MAX_SHORT_QUOTE_BYTES,
    AnswerOutcome,
    ByteRange,
    Cited,
    Delta,
)
from responsa_server.domain.passages import PlacedBlock
from responsa_server.text.sentences import PieceKind
from tests.unit.agents.evidence import quote
from tests.unit.text.test_sentences import quotes as quotes_of

ALPHABET = st.sampled_from(
    [
        *"[]0123456789,, ab.(`\n",
        " [1]",
        " [2, 3]",
        "[12",
        "``",
        "```\n",
        "é",
        "水",
        " [1, 2, 3, 4]",
        "](x)",
        " (1)",
        "(2).",
        ". ",
        "【3】",
        " [Passage 1",
        "Passage 2",
    ]
)
TEXTS = st.lists(ALPHABET, max_size=40).map("".join)


def cleaned(*pieces: str, start: int = 0, shown: int = 3) -> tuple[str, list[Mark]]:
    marks = MarkFilter(start, shown)
    text = "".join([*(marks.feed(piece) for piece in pieces), marks.end()])
    return text, marks.marks


@pytest.mark.parametrize(
    ("written", "text", "marks"),
    [
        ("Water boils. [2] Then", "Water boils. Then", [(12, 2)]),
        ("Water boils [1], and cools [2, 3].", "Water boils, and cools.", [(11, 1), (22, 2), (22, 3)]),
        ("Close[1][2]", "Close", [(5, 1), (5, 2)]),
        ("a [12,3]\n", "a\n", [(1, 12), (1, 3)]),
        ("水沸腾 [1]。", "水沸腾。", [(9, 1)]),
        ("a [1, 2, 3, 4] b", "a b", [(1, 1), (1, 2), (1, 3), (1, 4)]),
        # Other forms.
        ("So【1】. And【2, 3】。", "So. And。", [(2, 1), (7, 2), (7, 3)]),
        (
            "So [Passage 1]. [passages 2, 3] And [Passage 2, Passage 1].",
            "So. And.",
            [(2, 1), (3, 2), (3, 3), (7, 2), (7, 1)],
        ),
        # At a line's beginning, the space after the mark goes.
        ("[1] [2] So.\n- [3] And", "So.\n- And", [(0, 1), (0, 2), (5, 3)]),
        # Numbers in round brackets.
        ("So (1). And. (2) Then (3)\nEnd (1)", "So. And. Then\nEnd", [(2, 1), (8, 2), (13, 3), (17, 1)]),
        ("So (4). In (2) of f(2).", "So (4). In (2) of f(2).", []),
        ("(1) Open.\nAs follows: (1) Open. (2) Close.", "(1) Open.\nAs follows: (1) Open. (2) Close.", []),
        ("a [1, 2, 3, 4, 5]", "a [1, 2, 3, 4, 5]", []),
        # These brackets name no passages.
        ("in [2024] or [0], [a], [], [1,] or [1 2]", "in [2024] or [0], [a], [], [1,] or [1 2]", []),
        ("an end [1", "an end [1", []),
        ("an end  ", "an end  ", []),
        # A link, and text in code, are not marks.
        ("see [1](https://a) now", "see [1](https://a) now", []),
        ("`a[1]` and a [1]", "`a[1]` and a", [(12, 1)]),
        ("``a` [1]`` b [2]", "``a` [1]`` b", [(12, 2)]),
        ("```\nx [1]\n```\nso [1]", "```\nx [1]\n```\nso", [(16, 1)]),
        # A stray backtick hides at most the rest of its line.
        ("a ` b [1]\nc [2]", "a ` b [1]\nc", [(11, 2)]),
    ],
)
def test_marks_are_taken_out_with_the_space_before_them(
    written: str, text: str, marks: list[tuple[int, int]]
) -> None:
    expected = (text, [Mark(*mark) for mark in marks])
    assert cleaned(written) == expected
    assert cleaned(*written) == expected


@pytest.mark.parametrize(
    ("written", "text", "marks"),
    [
        ('Boils. [2: "boils sooner on high"] So', "Boils. So", [(6, 2, "boils sooner on high")]),
        ("Boils. [2 “boils [sic] so, 3:4”]", "Boils.", [(6, 2, "boils [sic] so, 3:4")]),
        ("Boils. [2: boils sooner]", "Boils.", [(6, 2, "boils sooner")]),
        ('Boils. [1, 2: "a"] [3]', "Boils.", [(6, 1, "a"), (6, 2, "a"), (6, 3, "")]),
        ('Both. [1: "a b", 2: "c d"; 3: “e”]', "Both.", [(5, 1, "a b"), (5, 2, "c d"), (5, 3, "e")]),
        ('In `[1: "a"]` code', 'In `[1: "a"]` code', []),
        # Not closed, too long, in two lines, or no mark.
        ('Boils. [2: "boils sooner', 'Boils. [2: "boils sooner', []),
        (f'A. [1: "{"b " * 200}"]', f'A. [1: "{"b " * 200}"]', []),
        ('A. [1: "b\nc"]', 'A. [1: "b\nc"]', []),
        ("See [2 apples].", "See [2 apples].", []),
    ],
)
def test_a_mark_may_copy_words(written: str, text: str, marks: list[tuple[int, int, str]]) -> None:
    expected = (text, [Mark(*mark) for mark in marks])
    assert cleaned(written) == expected
    assert cleaned(*written) == expected


@given(TEXTS, st.lists(st.integers(0, 120), max_size=8))
def test_however_a_text_is_cut_the_outcome_is_the_same(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    whole = cleaned(text)
    assert cleaned(*pieces) == whole
    assert cleaned(*text) == whole
    found, marks = whole
    assert [place for place, *_ in marks] == sorted(place for place, *_ in marks)
    data = found.encode()
    for place, *_ in marks:
        data[:place].decode()  # the place is between characters and within the text
        assert place <= len(data)


@given(TEXTS)
def test_little_is_held_back_and_nothing_of_what_cannot_be_a_mark(text: str) -> None:
    marks = MarkFilter(shown=3)
    fed = out = ""
    for one in text:
        fed += one
        out += marks.feed(one)
        last = fed.encode()[-MOST_HELD:].decode(errors="ignore")
        held = len(fed.encode()) - len(out.encode()) - _taken(fed)
        assert held <= MOST_HELD
        if not set(last) & set(" [【("):
            assert held == 0


def _taken(text: str) -> int:
    """The number of bytes that are removed from a text when another letter follows the text."""
    return len(text.encode()) + 1 - len(cleaned(text, "x")[0].encode())


def test_a_text_goes_on_where_another_ended() -> None:
    assert cleaned(" more [3]", start=10) == (" more", [Mark(15, 3)])


def test_so_many_marks_are_noted_and_all_are_taken_out() -> None:
    text, marks = cleaned("So [1, 2, 3]." * MOST_MARKS)
    assert text == "So." * MOST_MARKS
    assert len(marks) == MOST_MARKS


# The sentences that the marks refer to, and the citations made from them.
def claimed(marked: str) -> list[tuple[str, int]]:
    marks = MarkFilter()
    text = marks.feed(marked) + marks.end()
    found = claims(text, marks.marks)
    for one in found:
        assert text.encode()[one.answer.start : one.answer.end].decode() == one.text
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
    assert [claim.text for claim in claims("Cut here", [Mark(99, 1)])] == ["Cut here"]


def test_a_citation_has_the_quote_of_the_source_and_the_place_in_the_answer() -> None:
    given = quote("The Nile is long.", start=100, score=1.2)
    claim = CitedSentence("Long it is.", ByteRange(3, 14), 1)
    made = citation(claim, CheckedClaim(given, given, QuoteOrigin.COPIED), 0)
    assert (made.quote, made.source, made.answer) == (
        "The Nile is long.",
        ByteRange(100, 117),
        ByteRange(3, 14),
    )
    assert made.sha256 == hashlib.sha256(b"The Nile is long.").digest()
    assert made.score == 1.0


@pytest.mark.parametrize("text", ["word " * 400, "é" * 1000])
def test_a_quote_that_is_too_long_is_cut_between_characters(text: str) -> None:
    given, claim = quote(text, start=0), CitedSentence("x", ByteRange(0, 1), 1)
    checked = CheckedClaim(given, given, QuoteOrigin.COPIED)
    for place, most in (
        (MAX_FULL_CITATIONS - 1, MAX_QUOTE_BYTES),
        (MAX_FULL_CITATIONS, MAX_SHORT_QUOTE_BYTES),
    ):
        made = citation(claim, checked, place)
        assert text.startswith(made.quote)
        assert most // 2 < len(made.quote.encode()) <= most
        assert made.source == ByteRange(0, len(made.quote.encode()))


DOCS = [
    " ".join(text.split())
    for page in sorted((Path(__file__).parents[4] / "docs").glob("*.md"))
    for kind, text in quotes_of(page.read_text())
    if kind is PieceKind.SENTENCE and re.fullmatch(r"[A-Z][^\n\[]*\w{3}[.!?]", text)
]
"""Sentences of the docs, of which the last word is no abbreviation."""
# What quotes show has no images, HTML and links elsewhere (text.shown), so the text of an answer does not change it.
WORDS = st.characters(exclude_characters="\0\r![]<\\`", exclude_categories=["Cs"])
SENTENCES = st.lists(
    st.one_of(st.text(WORDS, min_size=1, max_size=60), st.text(WORDS, min_size=900, max_size=2600)),
    min_size=1,
    max_size=12,
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
    assert sum(len(citation.quote) for citation in composition.citations) == 30_000


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


@st.composite
def marked_sentences(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """A text of sentences of the docs, some with a mark, and the bytes of those with one."""
    text, spans, at = "", list[tuple[int, int]](), 0
    for sentence in draw(st.lists(st.sampled_from(DOCS), min_size=1, max_size=6)):
        size = len(sentence.encode())
        if draw(st.booleans()):
            spans.append((at, at + size))
            sentence = draw(st.sampled_from((f"{sentence} [1]", f"{sentence[:-1]} [1]{sentence[-1]}")))
        text += f"{sentence} "
        at += size + 1
    return text, spans


@given(marked_sentences())
def test_what_a_mark_covers_ends_with_its_sentence(marked: tuple[str, list[tuple[int, int]]]) -> None:
    text, spans = marked
    marks = MarkFilter(shown=1)
    covered = [claim.answer for claim in claims(marks.feed(text) + marks.end(), marks.marks)]
    assert len(covered) == len(spans)
    for answer, (start, end) in zip(covered, spans, strict=True):
        assert start <= answer.start < answer.end <= end


@given(st.text(max_size=300), st.integers(4, 40))
def test_splitting_loses_nothing_and_cuts_no_character(text: str, most: int) -> None:
    pieces = list(split(text, most))
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= most for piece in pieces)


def test_a_citation_has_the_place_of_the_block_that_has_most_of_it_and_the_boxes_of_all_on_that_page() -> (
    None
):
    both_pages = quote("On page two. On page three.")
    start = both_pages.source.start
    places = (
        PlacedBlock(start, start + 3, 2, (10, 20, 900, 40), ""),
        PlacedBlock(start + 3, start + 12, 2, (10, 50, 900, 70), ""),
        PlacedBlock(start + 13, both_pages.source.end, 3, (10, 80, 900, 90), "Sheet1!A2"),
    )
    whole = replace(both_pages, passage=replace(both_pages.passage, places=places))
    early = replace(whole, source=ByteRange(start, start + 12), text="On page two.")
    first, second = map(plain, compose([whole, early]).citations)
    assert (first.page, first.boxes, first.path) == (3, ((10, 80, 900, 90),), "Sheet1!A2")
    assert (second.page, second.boxes, second.path) == (2, ((10, 20, 900, 40), (10, 50, 900, 70)), "")
    (none,) = map(plain, compose([both_pages]).citations)
    assert (none.page, none.boxes, none.path) == (0, (), "")
