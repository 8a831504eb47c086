"""The text that OpenAI's API sends: nothing is taken back, doubled or mixed from two attempts."""

from __future__ import annotations

import pytest

from responsa.chat.v1.citation_pb2 import (
    DIFFERENCE_KIND_QUANTITY,
    JUDGE_VERDICT_NONE,
    JUDGE_VERDICT_SUPPORTED,
    QUOTE_ORIGIN_COPIED,
    Citation,
)
from responsa.chat.v1.message_pb2 import Message
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa_server.calls.convert.cited import list_sources
from responsa_server.calls.numbering import marks_of, place_of
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.text.layout import with_marks
from responsa_server.transports.openai.following import annotation
from responsa_server.transports.openai.marking import Marking, is_written
from responsa_server.transports.openai.written import AppendOnlyText

FIRST = "The ferry leaves at six in the morning. "
SECOND = "It takes an hour. "


def test_an_unfinished_sentence_that_is_withdrawn_was_not_sent() -> None:
    written = AppendOnlyText()
    written.add(FIRST + "It ta")
    assert written.take() == FIRST
    written.restart(len(FIRST))
    written.add("The crossing is short.")
    assert written.take(whole=True) == "The crossing is short."


def test_the_same_text_once_more_is_not_sent_again() -> None:
    written = AppendOnlyText()
    written.add(FIRST + SECOND + "And")
    assert written.take() == FIRST + SECOND
    written.restart(0)
    written.add(FIRST)
    assert written.take() == ""
    written.restart(0)
    written.add(FIRST + SECOND + "And that is all.")
    assert written.take(whole=True) == "And that is all."


@pytest.mark.parametrize("whole", [True, False])
def test_another_text_after_a_sent_one_is_an_error(whole: bool) -> None:
    written = AppendOnlyText()
    written.add(FIRST + "It")
    assert written.take() == FIRST
    written.restart(0)
    written.add("The boat leaves at six. It is")
    with pytest.raises(Unavailable) as caught:
        written.take(whole=whole)
    assert caught.value.reason is Reason.ATTEMPT_RESTARTED


@pytest.mark.parametrize(("sent", "mixed"), [(10, True), (4, False)])
def test_a_client_that_comes_back_gets_no_mixture_of_two_attempts(sent: int, mixed: bool) -> None:
    written = AppendOnlyText(sent=sent)
    written.add(FIRST)
    written.restart(0)
    written.add("The boat leaves at six.")
    if mixed:
        with pytest.raises(Unavailable):
            written.take(whole=True)
    else:
        assert written.take(whole=True) == "boat leaves at six."


def test_half_a_stop_sequence_is_not_sent() -> None:
    written = AppendOnlyText(["STOP now"])
    written.add(FIRST + "STOP it. STOP ")
    text = written.take()
    assert "STOP it" in text
    written.add("now, please. Or not. ")
    assert text + written.take() == FIRST + "STOP it. "
    assert written.cut == "stop"
    written.add("More of it. And more. ")
    assert written.take(whole=True) == ""


def test_a_limit_cuts_between_characters() -> None:
    written = AppendOnlyText(most_tokens=1)
    written.add("Fähre: sie fährt um sechs ab. Und zurück")
    assert written.take() == "Fäh"
    assert written.cut == "length"


def cited(text: str, *pieces: str) -> list[Citation]:
    """A citation of each piece, all of different places."""
    data = text.encode()
    citations: list[Citation] = []
    for number, piece in enumerate(pieces, 1):
        one = Citation(document_version="documents/a/versions/1", title="A")
        one.answer_range.start = data.index(piece.encode())
        one.answer_range.end = one.answer_range.start + len(piece.encode())
        one.source_range.end = number
        citations.append(one)
    return citations


async def test_an_annotation_says_how_its_quote_came_about_and_what_differs() -> None:
    text = FIRST + SECOND
    first, second = cited(text, FIRST.strip(), SECOND.strip())
    second.quote_origin, second.verdict = QUOTE_ORIGIN_COPIED, JUDGE_VERDICT_NONE
    difference = second.differences.add(kind=DIFFERENCE_KIND_QUANTITY)
    difference.answer_range.start = len(FIRST.encode())
    difference.answer_range.end = len(FIRST.encode()) + 2
    marking = Marking()
    sent = await marking.part(text, 0, len(text), [first, second])
    found = annotation(second, text, "", marking)
    (differs,) = found["differences"]
    assert sent[found["start_index"] : found["end_index"]] == SECOND.strip()
    assert sent[differs["start"] : differs["end"]] == SECOND[:2]
    assert (found["quote_origin"], found["verdict"], differs["kind"]) == ("copied", "none", "quantity")


async def test_a_mark_is_sent_with_its_sentence_or_never() -> None:
    text = FIRST + "Die Überfahrt dauert lange. " + SECOND
    ends = [len(FIRST), len(FIRST) + 28, len(text)]
    first, second, third = cited(text, FIRST.strip(), "Die Überfahrt dauert lange.", SECOND.strip())
    known: list[Citation] = []
    marking, sent, start = Marking(), "", 0
    # The first citation comes too late, and the others in time.
    for end, new in zip(ends, ([], [first, second], [third]), strict=True):
        known += new
        sent += await marking.part(text, start, end, known)
        start = end
    assert sent == f"{FIRST}Die Überfahrt dauert lange. [2] It takes an hour. [3] "
    places = ((0, len(FIRST.strip())), (len(FIRST), len(FIRST) + 27), (len(FIRST) + 28, len(text.strip())))
    assert [sent[marking.place(at) : marking.place(end, ends=True)] for at, end in places] == [
        FIRST.strip(),
        "Die Überfahrt dauert lange.",
        SECOND.strip(),
    ]
    assert marking.below(text, known, lambda _: "").startswith("\n\nSources:\n\n1. A\n2. A\n3. A\n")


@pytest.mark.parametrize("sent", ["none", "first", "second", "all"])
def test_what_was_sent_is_known_with_any_of_its_marks(sent: str) -> None:
    text = f"{FIRST}\n\n```\ncode\n```\n\n| a | b |\n|---|---|\n| {SECOND.strip()} | c |\n"
    message = Message(text=text, citations=cited(text, FIRST.strip(), "code", SECOND.strip()))
    whole = with_marks(
        text,
        marks_of(text, message.citations, {place_of(one): n for n, one in enumerate(message.citations, 1)}),
    )
    assert "```\n[2]\n\n| a" in whole
    written = {
        "none": text,
        "first": text.replace("morning.", "morning. [1]"),
        "second": whole.replace(" [1]", ""),
        "all": whole,
    }[sent]
    for above, below in (
        ("", ""),
        ("", "\n\nSources:\n\n1. [A](http://another.example/#/documents/a)\n"),
        ("", "\n\nQuellen:\n\n1. A, Seite 3"),
        ("No language model is configured. Closest passages:\n\n", "\n\nSources:\n\n1. A: “x”"),
    ):
        assert is_written(message, above + written.strip() + below)
    for changed in (
        written[1:],
        written.strip() + "!",
        written.replace("code", "cod"),
        f"{written.strip()}\n\nSources: none",
    ):
        assert not is_written(message, changed)


def test_titles_and_addresses_of_documents_make_no_markup() -> None:
    citation = Citation(
        document_version="documents/a/versions/1",
        title="](https://x) ![i](http://x/?a) <b>\u202e *a*\n# b",
        page=3,
    )
    listing = list_sources(
        "Die Fähre fährt um sechs Uhr und das ist nicht spät.",
        [citation],
        {place_of(citation): 1},
        lambda _: 'https://x/a) "t" [b](c)',
    )
    heading, _, line = listing.partition("\n\n")
    assert heading == "Quellen:"
    assert (
        line
        == "1. [\\](https\\://x) \\!\\[i\\](http\\://x/?a) \\<b\\> \\*a\\* # b](https://x/a%29%20%22t%22%20%5Bb%5D%28c%29), Seite 3"
    )


def test_sources_with_one_title_have_the_first_words_of_their_quotes() -> None:
    citations = cited(FIRST + SECOND, FIRST.strip(), SECOND.strip())
    other = cited(FIRST + SECOND + "And more.", "And more.")[0]
    other.source_range.end, other.title = 3, "B"
    citations[0].quote, citations[0].page = "The ferry *leaves* at\nsix. " + "And so on. " * 9, 2
    citations[1].quote = "It takes\u202e an hour."
    other.quote = "More."
    numbers = {place_of(one): number for number, one in enumerate([*citations, other], 1)}
    bare = [ByteRange(start=0, end=len(FIRST.strip())), ByteRange(start=0, end=10_000)]
    text = list_sources(
        FIRST + SECOND, [*citations, other], numbers, lambda one: f"https://x/{one.title}", bare
    )
    assert text.split("\n")[2:] == [
        "1. [A](https://x/A), page 2: “The ferry \\*leaves\\* at six. And so on. And so on. And so on.…”",
        "2. [A](https://x/A): “It takes an hour.”",
        "3. [B](https://x/B)",
        "",
        f"Without a source: “{FIRST.strip()}”",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("The ferry leaves at six in the morning.", "*Responsa checked that the quotes are there, not that"),
        ("Die Fähre fährt um sechs Uhr und das ist nicht spät.", "*Responsa hat geprüft, dass die Zitate"),
    ],
)
def test_sources_of_a_model_that_nothing_has_judged_end_with_that(text: str, line: str) -> None:
    (citation,) = cited(text, text)
    citation.quote, citation.verdict = "six", JUDGE_VERDICT_NONE
    numbers = {place_of(citation): 1}
    assert list_sources(text, [citation], numbers, lambda _: "").split("\n\n")[-1].startswith(line)
    assert line not in list_sources(text, [citation], numbers, lambda _: "", written=False)
    citation.verdict = JUDGE_VERDICT_SUPPORTED
    assert line not in list_sources(text, [citation], numbers, lambda _: "")


def test_a_source_that_comes_after_its_text_is_in_the_list() -> None:
    late = cited(FIRST, FIRST.strip())
    assert Marking().below(FIRST, late, lambda _: "").startswith("\n\nSources:\n\n1. A\n")


def test_the_newest_piece_waits_for_what_follows_it() -> None:
    written = AppendOnlyText(holds=True)
    written.add(FIRST + SECOND)
    assert written.take() == ""
    written.add("And")
    assert written.take() == FIRST + SECOND.rstrip() + " "
    written.add(" more. It")
    written.settle()
    assert written.take() == "And more. "
