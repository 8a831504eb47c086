"""The passages of answers and refusals on a terminal and in a pipe."""

from __future__ import annotations

import sys

import pytest

from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2, collection_kind_pb2
from responsa_server.cli.excerpts import introduction, print_cards


def excerpt(markdown: str, **fields: object) -> excerpt_pb2.Excerpt:
    """An excerpt that begins at byte 10 of its document and is as long as its Markdown."""
    made = excerpt_pb2.Excerpt(
        title="Trips",
        uri="trips.md",
        collection="collections/notes",
        markdown=markdown,
        source_range=byte_range_pb2.ByteRange(start=10, end=10 + len(markdown.encode())),
    )
    made.MergeFrom(excerpt_pb2.Excerpt(**fields))  # pyright: ignore[reportArgumentType] - the names are fields of the message
    return made


def printed(capsys: pytest.CaptureFixture[str], *excerpts: excerpt_pb2.Excerpt) -> str:
    print_cards(excerpts)
    return capsys.readouterr().out


def test_a_card_names_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    card = excerpt(
        "Für alle.\nSend them\n\nwithin 30 days.", headings=["Trips", "Expenses"], page=2, date="2025-02-01"
    )
    assert printed(capsys, card) == (
        "\n[1] Trips › Expenses (notes, trips.md, dated 2025-02-01, page 2)\n"
        "    Für alle.\n    Send them\n    within 30 days.\n"
    )


def test_three_cards_are_printed_as_they_came_and_their_sections_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    long = excerpt("word " * 60 + "\n\n" + "\n".join(f"- item {number}" for number in range(9)))
    table = excerpt("| " + "a" * 200 + " |\n|---|\n| b |", section_markdown="All\nof\nit.")
    lines = printed(capsys, long, table, long, long).splitlines()
    assert sum(line.startswith("[") for line in lines) == 3
    first = lines[2 : lines.index("", 2)]
    # What the server has put on a card is not cut again: the piece that was found may be its end.
    assert (max(map(len, first)) <= 80, first[-1]) == (True, "    - item 8")
    assert f"    | {'a' * 200} |" in lines
    print_cards([table, long, long, long], whole=True)
    whole = capsys.readouterr().out
    assert "    All\n    of\n    it.\n" in whole
    assert "[4]" in whole
    assert whole.count("- item 8") == 3


def test_a_marked_cell_stands_between_signs(capsys: pytest.CaptureFixture[str]) -> None:
    row = "| 25 cm | 9 kg |"
    start = row.encode().index(b"9 kg")
    card = excerpt(row, marked_in_markdown=byte_range_pb2.ByteRange(start=start, end=start + 4))
    assert printed(capsys, card).endswith("    | 25 cm | >>9 kg<< |\n")


def test_cards_name_their_collection_and_say_nothing_of_their_grade(
    capsys: pytest.CaptureFixture[str],
) -> None:
    near = excerpt("Near.", grade=excerpt_pb2.EXCERPT_GRADE_ANSWERS)
    other = excerpt("Other.", collection="collections/hr")
    docs = excerpt("Docs.", collection_kind=collection_kind_pb2.COLLECTION_KIND_DOCS)
    cards = printed(capsys, near, other, docs)
    assert [line for line in cards.splitlines() if line.startswith("[")] == [
        "[1] Trips (notes, trips.md, bytes 10-15)",
        "[2] Trips (hr, trips.md, bytes 10-16)",
        "[3] Trips (Responsa's documentation, trips.md, bytes 10-15)",
    ]


def test_a_text_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in printed(capsys, excerpt("a\x1b[2J b.", headings=["\x1b]0;x"]))


@pytest.mark.parametrize(
    ("fallbacks", "line"),
    [
        ([], "Closest passages:"),
        (["no_model"], "No language model is configured. Closest passages:"),
        (
            ["model_unavailable:rate_limited"],
            "The language model is not available at the moment (rate limited). Closest passages:",
        ),
        (["uncited"], "The language model wrote nothing that the documents support. Closest passages:"),
        (["budget:tokens"], "An answer by the language model would exceed a limit. Closest passages:"),
    ],
)
def test_one_line_says_why_there_are_passages(fallbacks: list[str], line: str) -> None:
    kind = turn_pb2.FALLBACK_KIND_PASSAGES
    answer = turn_pb2.TurnAnswer(fallbacks=[turn_pb2.Fallback(kind=kind, cause=cause) for cause in fallbacks])
    assert introduction(answer) == line
