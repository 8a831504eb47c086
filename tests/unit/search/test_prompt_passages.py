"""The parts of found passages that a prompt may show."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from responsa_formats.text.canonical import Block, BlockKind
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import (
    FoundPassage,
    NearText,
    OutlinedHeading,
    Passage,
    PassagePiece,
    VectorKind,
    open_headings,
    titles_of,
)
from responsa_server.search.prompt_passages import LEAST_BYTES, neighbours_of, prompt_passages
from responsa_server.text.sentences import pieces

SENTENCES = [f"Sentence {word} is here, and it says é as long as it can go on." for word in "abcdef"]
TEXT = " ".join(SENTENCES)


def passage_of(
    text: str = TEXT, *, number: int = 1, start: int = 50, title: str = "", best: int | None = None
) -> FoundPassage:
    """A passage that begins at byte `start` of its document. best: the index of the sentence nearest to the question (None without
    vectors).
    """
    size = len(text.encode())
    made = [
        PassagePiece(
            VectorKind.SENTENCE,
            ByteRange(start + one.byte_start, start + one.byte_end),
            None if best is None else 0.9 if place == best else 0.1,
        )
        for place, one in enumerate(pieces(text, [Block(BlockKind.PARAGRAPH, 0, size)]))
    ]
    id_ = UUID(int=number)
    passage = Passage(id_, "default", id_, 1, title, "", ByteRange(start, start + size), text)
    return FoundPassage(passage, "en", made)


def texts(passages: Sequence[FoundPassage], most_bytes: int) -> list[str]:
    shown = prompt_passages(passages, {}, most_bytes)
    assert sum(len((one.found.passage.title + one.text).encode()) for one in shown) <= most_bytes
    for one in shown:
        passage = one.found.passage
        start = one.source.start - passage.source.start
        assert passage.text.encode()[start : start + len(one.text.encode())] == one.text.encode()
        assert one.source.end - one.source.start == len(one.text.encode())
    return [one.text for one in shown]


def test_whole_passages_are_shown_while_there_is_room() -> None:
    size = len(TEXT.encode())
    other = TEXT.replace("Sentence", "Proposition")
    both = [passage_of(), passage_of(other, number=2)]
    assert texts(both, 10_000) == [TEXT, other]
    assert texts(both, size) == [TEXT]
    assert texts([passage_of(title="x" * 10)], size + 10) == [TEXT]
    assert texts([passage_of(title="x" * 10)], size + 9) != [TEXT]


@pytest.mark.parametrize(
    ("best", "expected"),
    [(None, SENTENCES[:2]), (0, SENTENCES[:2]), (3, SENTENCES[3:5]), (5, SENTENCES[4:])],
)
def test_what_does_not_fit_is_cut_along_its_sentences_around_the_best(
    best: int | None, expected: list[str]
) -> None:
    room = len(" ".join(expected).encode()) + 20
    assert texts([passage_of(best=best)], room) == [" ".join(expected)]


def test_a_short_rest_is_only_shown_where_nothing_else_is() -> None:
    other = passage_of(TEXT.replace("Sentence", "Proposition"), number=2)
    size, sentence_bytes = len(TEXT.encode()), len(SENTENCES[0].encode())
    assert sentence_bytes < LEAST_BYTES
    assert texts([passage_of()], sentence_bytes) == [SENTENCES[0]]
    assert texts([passage_of(), other], size + LEAST_BYTES - 1) == [TEXT]
    least = passage_of("w" * (LEAST_BYTES - 1) + ". " + SENTENCES[0], number=2)
    assert texts([passage_of(), least], size + LEAST_BYTES) == [TEXT, "w" * (LEAST_BYTES - 1) + "."]
    assert len(texts([passage_of(), other], size + 3 * sentence_bytes + 20)) == 2
    assert texts([passage_of()], 10) == []


LONG = "It says more about this, and it goes on. " * 20
SECTIONS = (
    f"# Leave\n\nAll leave is paid.\n\n## Holiday\n\nIt is 25 days.\n\n## Illness\n\nIt needs a note.\n\n# Travel\n\n"
    f"## Trains\n\n{LONG}\n\n## Cars\n\nThey are rare.\n"
)
HEADINGS = [
    OutlinedHeading(SECTIONS.index(f"{'#' * level} {title}\n"), level, title)
    for level, title in (
        (1, "Leave"),
        (2, "Holiday"),
        (2, "Illness"),
        (1, "Travel"),
        (2, "Trains"),
        (2, "Cars"),
    )
]


def section_of(title: str) -> FoundPassage:
    """The passage that is a section of SECTIONS, which is ASCII."""
    place = next(place for place, one in enumerate(HEADINGS) if one.title == title)
    start = HEADINGS[place].start
    end = HEADINGS[place + 1].start if place + 1 < len(HEADINGS) else len(SECTIONS)
    path = open_headings(HEADINGS[: place + 1])
    id_ = UUID(int=place + 1)
    text = SECTIONS[start:end].rstrip()
    source = ByteRange(start, start + len(text))
    passage = Passage(id_, "default", UUID(int=99), 1, "", "", source, text, titles_of(path), outline=path)
    return FoundPassage(passage, "en", ())


def prompted(titles: Sequence[str], most_bytes: int) -> list[tuple[str, Sequence[str]]]:
    found = [section_of(title) for title in titles]
    ids = [one.passage.id for one in found]
    around = neighbours_of(
        found, dict.fromkeys(ids, NearText(0, SECTIONS.encode())), dict.fromkeys(ids, HEADINGS)
    )
    shown = prompt_passages(found, around, most_bytes)
    for one in shown:
        assert one.text == SECTIONS[one.source.start : one.source.end]
    return [(one.text.strip(), one.found.passage.headings) for one in shown]


def test_a_short_section_brings_its_parents_introduction_and_its_siblings() -> None:
    leave = SECTIONS[: SECTIONS.index("# Travel")].strip()
    assert prompted(["Holiday"], 10_000) == [(leave, ("Leave",))]
    # The passages do not repeat each other, and none has the text of another section without its heading.
    first, second = prompted(["Illness", "Holiday"], 10_000)
    assert first == (leave[leave.index("## Illness") :], ("Leave", "Illness"))
    assert second == (leave[: leave.index("## Illness")].strip(), ("Leave",))


def test_a_long_section_stays_alone_and_so_does_a_short_one_without_room() -> None:
    trains = section_of("Trains").passage.text
    assert prompted(["Trains"], 10_000) == [(trains, ("Travel", "Trains"))]
    holiday = section_of("Holiday").passage.text
    assert prompted(["Holiday"], len(holiday) + 5) == [(holiday, ("Leave", "Holiday"))]
