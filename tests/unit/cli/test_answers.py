"""Answers as text. The marks of citations are at the right places, whatever ranges the citations have."""

from __future__ import annotations

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_server.cli.output import one_line, shown
from responsa_server.cli.rendering import answer_text


def cited(end: int, source: int, quote: str = "q", title: str = "T") -> citation_pb2.Citation:
    return citation_pb2.Citation(
        document_version="documents/d/versions/1",
        title=title,
        quote=quote,
        source_range=byte_range_pb2.ByteRange(start=source, end=source + 1),
        answer_range=byte_range_pb2.ByteRange(start=0, end=end),
    )


def test_marks_share_numbers_and_stand_before_white_space() -> None:
    answer = turn_pb2.TurnAnswer(
        text="Is é. Was b.\n\nEnd.", citations=[cited(8, 5), cited(14, 9), cited(8, 9), cited(8, 9)]
    )
    text = answer_text(answer)
    # Byte 8 is behind "W" of "Was", because é has two bytes. The mark stays there, and no character is split.
    assert text.startswith("Is é. W [1][2]as b. [2]\n\nEnd.")
    assert text.splitlines()[-4:] == [
        "[1] T (documents/d/versions/1, bytes 5-6)",
        '    "q"',
        "[2] T (documents/d/versions/1, bytes 9-10)",
        '    "q"',
    ]


def test_ranges_that_cut_characters_or_lie_beyond_do_no_harm() -> None:
    assert answer_text(turn_pb2.TurnAnswer(text="é!", citations=[cited(1, 0)])).startswith("é [1]!")
    assert answer_text(turn_pb2.TurnAnswer(text="é!", citations=[cited(99, 0)])).startswith("é! [1]\n")
    assert answer_text(turn_pb2.TurnAnswer(text="No citations.")) == "No citations."


def test_a_cut_answer_says_so() -> None:
    made = turn_pb2.TurnAnswer(text="Long.", outcome=turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT)
    assert answer_text(made) == "Long.\n\n(The answer was cut off at its length limit.)"


def test_text_for_terminals() -> None:
    assert shown("a\r\nb\rc\t\x9b") == "a\nb\ufffdc\t\ufffd"
    assert one_line("a\n b  c", 10) == "a b c"
    assert one_line("abcdef", 4) == "abc…"


def spans(*ranges: tuple[int, int]) -> list[citation_pb2.Citation]:
    return [
        citation_pb2.Citation(
            document_version="documents/d/versions/1",
            source_range=byte_range_pb2.ByteRange(start=start, end=end),
            answer_range=byte_range_pb2.ByteRange(start=start, end=end),
        )
        for start, end in ranges
    ]


def test_a_quote_of_a_wrapped_file_is_one_line_and_sentences_keep_theirs() -> None:
    first, second = "The server does not\nstart a second turn.", "It attaches\nto é."
    between = len(first.encode()) + 1
    text = f"{first}\n{second}\n\nNot\nquoted."
    answer = turn_pb2.TurnAnswer(
        text=text, citations=spans((0, between - 1), (between, between + len(second.encode())))
    )
    shown_text = answer_text(answer).partition("\n\nSources")[0]
    assert shown_text == (
        "The server does not start a second turn. [1]\nIt attaches to é. [2]\n\nNot\nquoted."
    )
    assert answer.text == text


def test_a_long_sentence_that_is_cited_in_pieces_is_one_line() -> None:
    text = "One long\nsentence in\ntwo pieces."
    answer = turn_pb2.TurnAnswer(text=text, citations=spans((0, 20), (20, len(text))))
    assert answer_text(answer).startswith("One long sentence in [1] two pieces. [2]\n\nSources")
