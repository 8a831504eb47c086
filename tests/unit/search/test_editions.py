"""Which of two documents on one subject comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from responsa_formats.text.canonical import QUOTED
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import Edition, FoundPassage, Passage, PlacedBlock, TermStatistics
from responsa_server.search.editions import names_edition, newest_first, put_dated_first
from responsa_server.search.scoring import weigh

OLD = Edition(
    "leave-2023.md", "Leave policy", "2023-01-10", datetime(2026, 3, 1, tzinfo=UTC), "", ["Leave", "Trips"]
)
NEW = replace(
    OLD, source_key="leave-2025.md", date="2025-02-01", create_time=datetime(2026, 2, 1, tzinfo=UTC)
)


def passage_of(document: int, *headings: str) -> Passage:
    return Passage(
        UUID(int=document), "default", UUID(int=document), 1, "", "", ByteRange(0, 4), "text", headings
    )


def order(old: Edition, new: Edition, headings: Sequence[str] = ("Leave",)) -> Sequence[int]:
    """The order of a passage of `old`, one of another document and one of `new`."""
    passages = [passage_of(1, "Leave"), passage_of(3, "Leave"), passage_of(2, *headings)]
    other = replace(OLD, title="Pets", source_key="pets.md")
    return newest_first(passages, {UUID(int=1): old, UUID(int=2): new, UUID(int=3): other})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, NEW),
        (replace(OLD, date="", title="Leave policy 2023"), replace(NEW, date="", title="Leave policy 2026")),
        (
            replace(OLD, date=""),
            replace(NEW, title="Holiday", front="title: Holiday\nreplaces: Leave policy\n"),
        ),
        (replace(OLD, date=""), replace(NEW, title="Holiday", front='supersedes = "leave-2023.md"')),
        (NEW, replace(NEW, date="2025-03-01", headings=["Other"])),
        (replace(NEW, date=""), replace(NEW, create_time=datetime(2026, 2, 2, tzinfo=UTC))),
    ],
)
def test_the_newer_edition_comes_first(old: Edition, new: Edition) -> None:
    assert order(old, new) == [2, 0, 1]
    assert order(new, old) == [0, 1, 2]
    assert order(old, new, ["Trips"]) == [0, 1, 2], "what stands elsewhere does not come before it"


@pytest.mark.parametrize(
    "new",
    [
        replace(NEW, title="Travel policy"),
        replace(NEW, headings=["Leave", "Trips", "Pets"]),
        replace(NEW, date=""),
        replace(NEW, date=OLD.date),
        replace(NEW, title="Travel policy", front="It replaces: nothing"),
    ],
)
def test_other_documents_stay_where_they_are(new: Edition) -> None:
    assert order(OLD, new) == [0, 1, 2]


def test_the_words_of_a_message_come_before_those_that_it_quotes() -> None:
    quoted = replace(passage_of(1, "Key"), places=[PlacedBlock(0, 4, 0, None, QUOTED)])
    other, own = passage_of(2, "Key"), passage_of(1, "Key")
    assert newest_first([quoted, other, own], {}) == [2, 0, 1]
    assert newest_first([own, quoted], {}) == [0, 1]
    assert newest_first([quoted, other], {}) == [0, 1], "the words of another message do not come before it"


async def test_passages_of_the_date_that_is_asked_for_come_first() -> None:
    texts = [
        "| 12.04.2026 | Bruno | 18.01.2026 |",
        "| 19.01.2026 | Elsa |",
        "The gate has a keeper.",
        "| 17.01.2026 | Ida |\n| 18.01.2026 | Oda |",
    ]
    passages = [
        FoundPassage(replace(passage_of(number), text=text), "de", ()) for number, text in enumerate(texts, 1)
    ]

    async def order_of(*terms: str) -> Sequence[int]:
        weights = weigh(terms, TermStatistics(4, 40, dict.fromkeys(terms, 1)))
        return await put_dated_first(passages, {}, [weights])

    assert await order_of("2026-01-18", "gate") == [2, 3, 0, 1]
    assert await order_of("--01-18") == [2, 3, 0, 1], "a day without a year"
    assert await order_of("2026-05-05") == [0, 1, 2, 3], "no passage has it"
    assert await order_of("gate") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("How many days of leave in 2023?", True),
        ("What does version 3 say?", True),
        ("What did v2 say?", True),
        ("Is 3.1 in force?", True),
        ("How many days of leave?", False),
        ("Can I take 25 days?", False),
    ],
)
def test_a_question_names_an_edition(question: str, named: bool) -> None:
    assert names_edition(question) is named
