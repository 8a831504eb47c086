"""The parts of found passages that a prompt may show."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, Passage, PassagePiece, VectorKind
from responsa_server.search.prompt_passages import LEAST_BYTES, prompt_passages
from responsa_server.text.canonical import Block, BlockKind
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
