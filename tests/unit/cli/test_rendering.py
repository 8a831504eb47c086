"""Answers as text. The marks of citations are at the right places, whatever ranges the citations have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2, collection_kind_pb2
from responsa_client.results import outcome
from responsa_server.cli.output import disarm, one_line, safe_name
from responsa_server.cli.rendering import (
    answer_body,
    answer_notes,
    dollars,
    origin,
    remarks,
    tool_line,
)
from responsa_server.text.layout import parse


def answer_text(answer: turn_pb2.TurnAnswer) -> str:
    """The answer as a pipe gets it."""
    return "\n\n".join(part for part in (answer_body(answer), answer_notes(answer)) if part)


def cited(end: int, source: int, quote: str = "q", title: str = "T", start: int = 0) -> citation_pb2.Citation:
    return citation_pb2.Citation(
        document_version="documents/d/versions/1",
        title=title,
        quote=quote,
        source_range=byte_range_pb2.ByteRange(start=source, end=source + 1),
        answer_range=byte_range_pb2.ByteRange(start=start, end=end),
    )


def test_marks_share_numbers_and_stand_before_white_space() -> None:
    answer = turn_pb2.TurnAnswer(
        text="Is é. Was b.\n\nEnd.", citations=[cited(8, 5), cited(14, 9), cited(8, 9), cited(8, 9)]
    )
    text = answer_text(answer)
    # Byte 8 is behind "W" of "Was", because é has two bytes. The mark stays there, and no character is split.
    assert text.startswith("Is é. W [1][2]as b. [2]\n\nEnd.")
    assert text.splitlines()[-4:] == [
        "[1] T (documents/d/versions/1)",
        '    "q"',
        "[2] T (documents/d/versions/1)",
        '    "q"',
    ]


def test_below_each_source_stands_what_a_reader_should_know() -> None:
    chosen, lost, copied = cited(21, 0), cited(30, 40, ""), cited(21, 60, "It costs 28 euros. No.")
    chosen.quote_origin = citation_pb2.QUOTE_ORIGIN_CHOSEN
    lost.quote_origin = citation_pb2.QUOTE_ORIGIN_NOT_FOUND
    copied.quote_origin = citation_pb2.QUOTE_ORIGIN_COPIED
    copied.verdict = citation_pb2.JUDGE_VERDICT_DENIED
    for kind, start, end, there in (("QUANTITY", 9, 17, 9), ("NAME", 0, 2, 0), ("DENIAL", 0, 17, 0)):
        one = copied.differences.add(kind=f"DIFFERENCE_KIND_{kind}")
        one.answer_range.start, one.answer_range.end = start, end
        if there:
            one.source_range.start, one.source_range.end = 60 + there, 60 + there + 8
    answer = turn_pb2.TurnAnswer(text="It costs 38 euros now, and so on.", citations=[copied, chosen, lost])
    assert answer_notes(answer, verbose=True).splitlines() == [
        "Sources",
        "[1] T (documents/d/versions/1, bytes 60-61)",
        '    "It costs 28 euros. No."',
        '    Differs: "38 euros"; the passage says "28 euros".',
        '    Differs: the passage does not say "It".',
        '    One of the two denies something: "It costs 38 euros".',
        '    A model checked this and denies it: "It costs 38 euros now"',
        "[2] T (documents/d/versions/1, bytes 0-1)",
        '    "q"',
        "    Closest words, found by search.",
        "[3] T (documents/d/versions/1, bytes 40-41)",
        "    The words that the model copies are not there.",
    ]
    assert "bytes" not in answer_notes(answer)
    answer.unsourced.add(start=9, end=17)
    assert answer_notes(answer).splitlines()[-2:] == ["No source", '    "38 euros"']


def test_what_nothing_has_judged_is_said_once() -> None:
    line = "Responsa checked that the quotes are there, not that they are right."
    both = [cited(3, 0), cited(8, 9)]
    for verdict in (citation_pb2.JUDGE_VERDICT_UNDECIDED, citation_pb2.JUDGE_VERDICT_NONE):
        for one in both:
            one.verdict = verdict
        notes = answer_notes(turn_pb2.TurnAnswer(text="One. Two.", citations=both))
        assert notes.count(line) == notes.endswith(f"\n\n{line}")
        assert (line in notes) is (verdict == citation_pb2.JUDGE_VERDICT_NONE)


def test_ranges_that_cut_characters_or_lie_beyond_do_no_harm() -> None:
    assert answer_text(turn_pb2.TurnAnswer(text="é!", citations=[cited(1, 0)])).startswith("é [1]!")
    assert answer_text(turn_pb2.TurnAnswer(text="é!", citations=[cited(99, 0)])).startswith("é! [1]\n")
    assert answer_text(turn_pb2.TurnAnswer(text="No citations.")) == "No citations."


def test_a_source_names_its_page_or_cell() -> None:
    paged, cell = cited(3, 0), cited(6, 9)
    paged.page = 3
    cell.page, cell.path = 2, "Sheet2!A4:C4"
    text = answer_text(turn_pb2.TurnAnswer(text="One. Two.", citations=[paged, cell]))
    assert "[1] T (documents/d/versions/1, page 3)" in text
    assert "[2] T (documents/d/versions/1, Sheet2!A4:C4)" in text


def test_a_source_of_a_tool_names_its_address_and_when_it_was_fetched() -> None:
    page, other = cited(4, 5, "q", "A page"), cited(9, 5, "r", "")
    for index, one in enumerate((page, other)):
        one.document_version, one.uri = "", "https://example.org/\x1b[2J\npage"
        one.tool_result.call_id, one.tool_result.tool = "tool-1", "tools/web_search"
        one.tool_result.source_index = index
        one.tool_result.fetch_time.FromDatetime(datetime(2026, 11, 22, 23, 40, tzinfo=UTC))
    text = answer_text(turn_pb2.TurnAnswer(text="One. Two.", citations=[page, other]))
    where = "fetched by web_search on 2026-11-22 at 23:40 UTC"
    assert f"[1] A page (https://example.org/\x1b[2J page, {where})" in text
    assert f"[2] (untitled) (https://example.org/\x1b[2J page, {where})" in text


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            {"outcome": 1, "content": "found", "sources": [{"title": "A"}, {"title": "B"}]},
            'Called Web with {"query": "nile"}: done in 1.2 s, 2 sources',
        ),
        (
            {"outcome": 2, "content": "HTTP 500:\n…"},
            'Called Web with {"query": "nile"}: failed in 1.2 s: HTTP 500: …',
        ),
        (
            {"outcome": 3},
            'Called Web with {"query": "nile"}: ended in 1.2 s, and it is not known whether the call took effect',
        ),
    ],
)
def test_a_call_of_a_tool_is_one_line(result: dict[str, Any], line: str) -> None:
    call = turn_pb2.TurnToolCall(call_id="tool-1", tool="tools/web_search", title="Web")
    call.arguments["query"] = "nile"
    assert tool_line(call, turn_pb2.TurnToolResult(**result), 1.23) == line


def test_a_result_without_its_call_names_the_call() -> None:
    result = turn_pb2.TurnToolResult(call_id="tool-1", outcome=turn_pb2.TOOL_OUTCOME_OK)
    assert tool_line(turn_pb2.TurnToolCall(), result, 0.0) == "Called tool-1: done in 0.0 s"


def test_a_cut_answer_says_so() -> None:
    made = turn_pb2.TurnAnswer(text="Long.", outcome=turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT)
    assert answer_text(made) == "Long.\n\n(The answer was cut off at its length limit.)"


def test_text_for_terminals() -> None:
    assert disarm("a\r\nb\rc\t\x9b") == "a\nb\ufffdc\t\ufffd"
    assert one_line("a\n b  c", 10) == "a b c"
    assert one_line("abcdef", 4) == "abc…"


def test_a_name_stays_on_its_line() -> None:
    assert safe_name("notes.md\r\ndocuments/1  ready\tb.md") == "notes.md\ufffddocuments/1  ready\ufffdb.md"


def test_marks_follow_their_quotes_and_the_text_stays() -> None:
    first, second = "The server does not\nstart a second turn.", "It attaches\nto é."
    between = len(first.encode()) + 1
    text = f"{first}\n{second}\n\nNot\nquoted."
    quoted = [cited(between - 1, 0), cited(between + len(second.encode()), between, start=between)]
    shown_text = answer_text(turn_pb2.TurnAnswer(text=text, citations=quoted)).partition("\n\nSources")[0]
    assert shown_text == f"{first} [1]\n{second} [2]\n\nNot\nquoted."


TEXT = """Lead.

```sh
make up
make   down
```
After it.

| a | b |
|---|---|
| 1 | 2 |
| 3 | \\| |

- item:

      indented

  rest
- > ~~~
  > quoted
  > ~~~

1. x
   ```
   y
   ```
2. z

***
"""
"""An answer whose blocks leave no room for a mark at the end of their last lines."""


@pytest.mark.parametrize(
    ("cited_text", "marked"),
    [
        ("Lead.", "Lead. [1]\n\n```sh"),
        ("make up\nmake   down", "make   down\n```\n[1]\n\nAfter it."),
        ("```sh\nmake up\nmake   down\n```\n", "make   down\n```\n[1]\n\nAfter it."),
        ("| 1 | 2 |", "| 1 | 2 [1] |\n"),
        ("| 1", "| 1 [1] | 2 |\n"),
        ("| a | b |\n|---|---|", "| a | b [1] |\n|---|---|\n"),
        ("\\| |", "| 3 | \\| [1] |\n"),
        ("      indented", "      indented\n  [1]\n\n  rest"),
        ("  > quoted", "  > ~~~\n  > [1]\n\n1. x"),
        ("   y\n   ```", "   y\n   ```\n   [1]\n\n2. z"),
        ("2. z", "2. z [1]\n\n***"),
        ("***", "***\n[1]\n"),
    ],
)
def test_a_mark_does_not_change_the_blocks_around_it(cited_text: str, marked: str) -> None:
    start = TEXT.index(cited_text)
    answer = turn_pb2.TurnAnswer(text=TEXT, citations=[cited(start + len(cited_text), start, start=start)])
    body = answer_body(answer)
    assert marked in body
    without = body.replace(" [1]", "").replace("[1]", "")
    assert "".join(without.replace(">", "").split()) == "".join(TEXT.replace(">", "").split())
    kinds = [token.type for token in parse(TEXT)]
    left = iter(token.type for token in parse(body))
    # Each block is still there. A mark below a block adds a paragraph.
    assert all(kind in left for kind in kinds)


def test_code_keeps_its_lines_even_if_only_the_code_is_quoted() -> None:
    text = "Run:\n\n```\nmake up\nmake down\n```"
    start = text.index("make up")
    quoted = cited(start + len("make up\nmake down"), start, start=start)
    answer = turn_pb2.TurnAnswer(text=text, citations=[quoted])
    assert answer_body(answer) == f"{text}\n[1]"


def test_an_answer_says_if_it_is_not_from_peoples_own_documents() -> None:
    own = turn_pb2.TurnAnswer(
        collection="collections/mine", collection_kind=collection_kind_pb2.COLLECTION_KIND_OWN
    )
    assert origin(own) == ""
    sample = turn_pb2.TurnAnswer(
        collection="collections/tutor",
        collection_kind=collection_kind_pb2.COLLECTION_KIND_SAMPLE,
    )
    assert origin(sample) == "This answer comes from sample documents, not from your own (collection tutor)."


# The notes that accompany an answer.
VERSION = "agents/tutor/versions/3"


def remarks_on(version: str = VERSION, **answer: object) -> list[str]:
    made = turn_pb2.TurnAnswer(**answer)  # pyright: ignore[reportArgumentType] - the names are fields of the message
    return list(remarks(outcome(turn_pb2.TurnEvent(answer=made)), version))


def test_who_answered() -> None:
    assert remarks_on(model="template") == ["tutor answered with a template."]
    assert remarks_on("", model="openai:x\n") == ["answered with openai:x."]
    # An older server reports nothing, so the client prints nothing.
    assert remarks_on() == []
    assert remarks_on(intent="post", model="a:b") == ["tutor answered with a:b; classified as post."]


def test_what_it_cost() -> None:
    usage = turn_pb2.Usage(input_tokens=1, cost_usd_micros=0)
    assert remarks_on(usage=usage) == ["tutor; 1 token, 0.00 USD."]
    usage = turn_pb2.Usage(
        input_tokens=1_000, output_tokens=500, cost_usd_micros=120_000, unpriced_tokens=900
    )
    assert remarks_on(model="a:b", usage=usage) == [
        "tutor answered with a:b; 1,500 tokens, 0.12 USD (the price of 900 tokens is not known)."
    ]
    usage = turn_pb2.Usage(input_tokens=5, unpriced_tokens=5)
    assert remarks_on("", model="a:b", usage=usage) == [
        "answered with a:b; 5 tokens (the price of 5 tokens is not known)."
    ]


def test_every_kind_of_fallback_has_its_sentence() -> None:
    said = {
        kind: remarks_on(fallbacks=[turn_pb2.Fallback(kind=kind, source="write", cause="empty")])[0]
        for kind in turn_pb2.FallbackKind.values()
        if kind
    }
    assert len(set(said.values())) == len(said) >= 8
    other = said.pop(turn_pb2.FALLBACK_KIND_OTHER_LANGUAGE)
    assert all(one.endswith(" (write: empty).") for one in said.values())
    assert other.startswith("Your question is in “write”, these documents are in ")
    fallback = turn_pb2.Fallback(kind=turn_pb2.FALLBACK_KIND_OTHER_LANGUAGE, source="de", target="en,fr")
    assert remarks_on(fallbacks=[fallback])[0].startswith(
        "Your question is in German, these documents are in English and French: only words and numbers"
    )
    (unknown,) = remarks_on(fallbacks=[turn_pb2.Fallback(kind=99)])  # pyright: ignore[reportArgumentType] - a newer server may send this kind
    assert unknown not in {one.replace(" (write: empty)", "") for one in said.values()}


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0.00 USD"),
        (1, "0.000001 USD"),
        (2_100, "0.0021 USD"),
        (500_000, "0.50 USD"),
        (1_234_000_000, "1,234.00 USD"),
    ],
)
def test_money(micros: int, shown: str) -> None:
    assert dollars(micros) == shown
