"""The passages of answers and refusals on a terminal and in a pipe."""

from __future__ import annotations

import pytest

from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2, collection_kind_pb2
from responsa_server.cli.excerpts import glances, introduction, print_cards


def excerpt(markdown: str, sentence: str = "", **fields: object) -> excerpt_pb2.Excerpt:
    """An excerpt whose text is its Markdown and begins at byte 10 of its document. sentence: the marked part; "" if the Markdown does not contain it."""
    start = len(markdown[: markdown.index(sentence)].encode()) if sentence else 0
    end = start + len(sentence.encode())
    made = excerpt_pb2.Excerpt(
        title="Trips",
        uri="trips.md",
        collection="collections/notes",
        text=markdown,
        markdown=markdown,
        source_range=byte_range_pb2.ByteRange(start=10, end=10 + len(markdown.encode())),
        marked_range=byte_range_pb2.ByteRange(start=10 + start, end=10 + end),
    )
    made.MergeFrom(excerpt_pb2.Excerpt(**fields))  # pyright: ignore[reportArgumentType] - the names are fields of the message
    if sentence:
        made.marked_in_markdown.CopyFrom(byte_range_pb2.ByteRange(start=start, end=end))
    return made


def printed(capsys: pytest.CaptureFixture[str], *excerpts: excerpt_pb2.Excerpt, first: int = 1) -> str:
    print_cards(excerpts, first)
    return capsys.readouterr().out


def test_a_card_names_its_place_and_marks_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    card = excerpt(
        "Für alle.\nSend them\nwithin 30 days. No more.",
        "Send them\nwithin 30 days.",
        headings=["Trips", "Expenses"],
        page=2,
        date="2025-02-01",
    )
    assert printed(capsys, card, first=4) == (
        "\n[4] Trips › Expenses (notes, trips.md, dated 2025-02-01, page 2, bytes 10-55)\n"
        "    Für alle.\n  > Send them\n  > within 30 days.\n    No more.\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("markdown", "sentence", "lines"),
    [
        ("One. Two. Three.", "Two.", ["    One.", "  > Two.", "    Three."]),
        ("- one\n- two, if\n  it fits\n- three", "two, if\n  it fits", ["    - one", "  > - two, if", "  >   it fits", "    - three"]),
        ("1. **One** is it. More.", "One** is it.", ["  > 1. **One** is it.", "    More."]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "1 | 2", ["    | a | b |", "    |---|---|", "  > | 1 | 2 |"]),
        ("```sh\nmake up now\n```", "up", ["    ```sh", "  > make up now", "    ```"]),
        ("One. Two.", "", ["    One. Two."]),
    ],
)  # fmt: skip
def test_the_sentence_of_a_paragraph_has_lines_of_its_own_and_other_blocks_stay(
    capsys: pytest.CaptureFixture[str], markdown: str, sentence: str, lines: list[str]
) -> None:
    assert printed(capsys, excerpt(markdown, sentence)).splitlines()[2:] == lines


def test_cards_name_their_grade_and_their_collection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    near = excerpt("Near.", grade=excerpt_pb2.EXCERPT_GRADE_PERHAPS)
    other = excerpt("Other.", collection="collections/hr")
    docs = excerpt("Docs.", collection_kind=collection_kind_pb2.COLLECTION_KIND_DOCS)
    far = excerpt("Far.", grade=excerpt_pb2.EXCERPT_GRADE_CLOSEST)
    cards = printed(capsys, near, other, docs, far)
    headings = [line for line in cards.splitlines() if line.startswith("[")]
    assert headings == [
        "[1] Perhaps: Trips (notes, trips.md, bytes 10-15)",
        "[2] Trips (hr, trips.md, bytes 10-16)",
        "[3] Trips (Responsa's documentation, trips.md, bytes 10-15)",
        "[4] Less likely: Trips (notes, trips.md, bytes 10-14)",
    ]
    print_cards([far], of_refusal=True)
    assert "[1] Trips (" in capsys.readouterr().out


def test_a_text_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in printed(capsys, excerpt("a\x1b[2J b.", "b.", headings=["\x1b]0;x"]))


@pytest.mark.parametrize(
    ("fallbacks", "line"),
    [
        ([], "These passages"),
        (["no_model"], "No language model is configured. These passages"),
        (
            ["model_unavailable:rate_limited"],
            "The language model is not available at the moment (rate limited). These passages",
        ),
        (["uncited"], "The language model wrote nothing that the documents support. These passages"),
        (["budget:tokens"], "An answer by the language model would exceed a limit. These passages"),
    ],
)
def test_one_line_says_why_there_are_passages(fallbacks: list[str], line: str) -> None:
    kind = turn_pb2.FALLBACK_KIND_PASSAGES
    answer = turn_pb2.TurnAnswer(fallbacks=[turn_pb2.Fallback(kind=kind, cause=cause) for cause in fallbacks])
    assert introduction(answer) == f"{line} of your documents fit best."


def test_further_passages_are_a_line_each() -> None:
    low = excerpt("Lead. Low\nwater.", "Low\nwater.")
    low.text = 'Lead. Low\n<img src="low.png">water.'
    lines = glances([low, excerpt("High " * 99, "High " * 99)])
    first, second = lines.splitlines()
    assert first == '- Trips: "Low water."'
    assert len(second) < 150
