"""The server removes the marks around data from a model's output, however the output is cut into pieces. Other text stays."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from responsa_server.agents.engine.answer_text import AnswerWriter
from responsa_server.agents.engine.asking import AnswerShape, ask_typed
from responsa_server.agents.engine.node import Run
from responsa_server.agents.engine.prompts import MOST_FENCE, FenceFilter, Untrusted, fence, unfence
from responsa_server.domain.events import MAX_ANSWER_BYTES, Delta
from responsa_server.domain.models import Ended, ModelError, ModelPrompt, TextPiece
from tests.hostile_markdown import EVIL, HOSTILE, OWN, live
from tests.unit.agents.asking import asker
from tests.unit.agents.speaking import Says, Turn

MARK = "0aa0e948be65"
PLAIN = st.lists(
    st.sampled_from([*"aeé水 .,[]()`\n⟧0", "Water ", "boils", " [1]", " [2, 3]", "```\n", "] (", "⟦e⟧"]),
    max_size=12,
).map("".join)
NASTY = st.lists(
    st.sampled_from(
        [
            *"⟦⟧ \na0",
            MARK,
            MARK[:1],
            MARK[:5],
            MARK[5:],
            f"⟦end {MARK}⟧",
            "⟦data question ",
            "⟦end 5a48",
            "x" * 40,
            " [1]",
        ]
    ),
    max_size=14,
).map("".join)
GONE = st.sampled_from(
    [
        f"⟦end {MARK}⟧",
        f"⟦data question {MARK}⟧",
        f"⟦{MARK}⟧",
        "⟦end 5a48fb804ea9⟧",
        "⟦data passage 88bfbbccb6b6⟧",
        MARK,
    ]
)
CUTS = st.lists(st.integers(0, 200), max_size=10)


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def cleaned(*texts: str, before: str = "") -> str:
    fences = FenceFilter(MARK, before)
    return "".join([*(fences.feed(text) for text in texts), fences.end()])


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (
            f"⟦data question {MARK}⟧\nWhat does it cost?\n⟦end {MARK}⟧\nIt costs 3 euros.",
            "What does it cost?\nIt costs 3 euros.",
        ),
        (f"The answer to that question is: {MARK}.", "The answer to that question is: ."),
        (f"a ⟦end {MARK}⟧ b ⟦end {MARK}⟧", "a b "),
        # Words on both sides of a mark stay apart.
        (f"a⟦end {MARK}⟧ b", "a b"),
        # A model may copy marks wrongly: with another number, without an end, or with an end on another line.
        ("So. ⟦end 568f780e952f⟧", "So. "),
        (f"So. ⟦end {MARK}", "So. "),
        (f"So. ⟦data answer {MARK}\nIt", "So. \nIt"),
        (f"⟦⟦end {MARK}⟧⟧", "⟦⟧"),
        # These texts have no marks.
        ("⟦e⟧ is what e means, ⟦end⟧ too, and ⟦", "⟦e⟧ is what e means, ⟦end⟧ too, and ⟦"),
        ("⟦" + "x" * MOST_FENCE + "⟧", "⟦" + "x" * MOST_FENCE + "⟧"),
        (f"{MARK[:-1]} and {MARK[:3]}", f"{MARK[:-1]} and {MARK[:3]}"),
    ],
)
def test_marks_and_the_number_are_taken_out(written: str, text: str) -> None:
    assert cleaned(written) == text
    assert cleaned(*written) == text
    assert unfence(written, MARK) == text


def test_what_stands_before_counts_as_the_texts_own() -> None:
    assert cleaned(f"⟦end {MARK}⟧ b", before="a") == " b"
    assert cleaned(f"⟦end {MARK}⟧ b", before="a ") == "b"


@given(NASTY, CUTS)
def test_however_a_text_is_cut_the_outcome_is_the_same(text: str, cuts: list[int]) -> None:
    assert cleaned(*pieces(text, cuts)) == cleaned(text) == cleaned(*text)


@given(st.lists(st.tuples(PLAIN, GONE), max_size=6), PLAIN, CUTS)
def test_nothing_but_marks_and_a_white_space_behind_each_goes(
    parts: list[tuple[str, str]], last: str, cuts: list[int]
) -> None:
    given = "".join([*itertools.chain.from_iterable(parts), last])
    found = cleaned(*pieces(given, cuts))
    assert MARK not in found
    kept = "".join([*(plain for plain, _ in parts), last])
    assert "".join(found.split()) == "".join(kept.split())
    assert 0 <= len(kept) - len(found) <= len(parts)


@given(PLAIN, CUTS)
def test_a_text_without_marks_passes_and_little_of_it_is_held_back(text: str, cuts: list[int]) -> None:
    fences, fed, out = FenceFilter(MARK), "", ""
    for piece in pieces(text, cuts):
        fed += piece
        out += fences.feed(piece)
        assert fed.startswith(out)
        assert len(fed) - len(out) <= MOST_FENCE + 1
        if "⟦" not in fed and not fed.endswith(tuple(MARK[:size] for size in range(1, len(MARK)))):
            assert fed == out
    assert out + fences.end() == text


@given(st.lists(st.tuples(PLAIN, GONE), max_size=6), PLAIN, CUTS)
def test_deltas_are_the_text_and_passages_are_named_where_they_are_without_marks(
    parts: list[tuple[str, str]], last: str, cuts: list[int]
) -> None:
    written = "".join([*itertools.chain.from_iterable(parts), last])
    turn = Turn()
    writer, clean = AnswerWriter(_run(turn), cites=True), AnswerWriter(Turn().run, cites=True)
    for piece in pieces(written, cuts):
        writer.add(piece)
    writer.finish()
    clean.add(cleaned(written))
    clean.finish()
    assert (writer.text, writer.marks) == (clean.text, clean.marks)
    end = 0
    for event in turn.events:
        assert isinstance(event, Delta)
        assert event.byte_offset == end
        end += len(event.text.encode())
    assert "".join(event.text for event in turn.events if isinstance(event, Delta)) == (
        writer.text if writer.end else ""
    )


def _run(turn: Turn) -> Run:
    return replace(turn.run, nonce=MARK)


class Line(BaseModel):
    """A line."""

    line: str
    more: tuple[str, ...] = ()


async def test_what_is_kept_or_searched_for_is_without_marks() -> None:
    run = _run(Turn())
    ends = Ended(complete=True)
    written = Says([TextPiece(fence("answer", "They spoke of Rome.", MARK)), ends])
    text = await asker(written).text(ModelPrompt([], ""), run)
    assert text == "They spoke of Rome."
    # Marks may also be escaped as in JSON.
    said = json.dumps({"line": f"Why {MARK}?", "more": [f"⟦end {MARK}⟧ So?"]})
    answer = await ask_typed(
        asker(Says([TextPiece(said), ends])),
        run,
        "query_expansion",
        AnswerShape(Line),
        {"most": 3, "sources": [], "examples": []},
        Untrusted("Why?"),
    )
    assert answer == Line(line="Why ?", more=("So?",))


async def test_nothing_but_marks_is_no_text() -> None:
    with pytest.raises(ModelError, match="no text"):
        await asker(Says([TextPiece(f"⟦end {MARK}⟧"), Ended(complete=True)])).text(
            ModelPrompt([], ""), _run(Turn())
        )


def shown(written: str, cuts: Sequence[int] = (), before: str = "") -> AnswerWriter:
    writer = AnswerWriter(Turn().run, before, cites=True, passages=3, sources=lambda: [f"See {OWN}."])
    for piece in pieces(written, cuts):
        writer.add(piece)
    writer.finish()
    return writer


@pytest.mark.parametrize(
    ("written", "text"),
    [
        # Without the mark, this is an image.
        (
            f"It is so. ![chart]【1】({EVIL}) Indeed【2】.",
            "It is so. chart Indeed.",
        ),
        (f"It is so: ![chart]({EVIL})【1】 Indeed【2】.", "It is so: chart Indeed."),
        (f"A door puts a mark here【1】({EVIL})", f"A door puts a mark here\\({EVIL})"),
        (f"[own]({OWN})【1】 and [click]({EVIL})【2】", f"[own]({OWN}) and [click]\\({EVIL})"),
    ],
)
@given(cuts=CUTS)
def test_a_text_without_its_marks_shows_nothing_of_a_host(written: str, text: str, cuts: list[int]) -> None:
    writer = shown(written, cuts)
    assert writer.text == text
    assert live(text) == []
    for mark in writer.marks:
        text.encode()[: mark.offset].decode()
    if written.startswith("It is so:"):
        assert [text[: mark.offset] for mark in writer.marks] == ["It is so: chart", text[:-1]]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_goes_on_in_the_middle_of_a_construct_shows_nothing_of_a_host(text: str) -> None:
    """A later attempt, and the model after a tool's result, begin with the text that stands."""
    for cut in range(1, len(text)):
        first = shown(text[:cut])
        assert live(shown(text[cut:], before=first.text).text) == [], cut


def test_an_answer_that_is_cut_in_code_shows_nothing_of_a_host() -> None:
    filler = "word " * ((MAX_ANSWER_BYTES - 20) // 5)
    writer = shown(f"{filler}`![chart]({EVIL})`")
    assert len(writer.text.encode()) <= MAX_ANSWER_BYTES
    assert writer.text.startswith(filler)
    assert live(writer.text) == []
