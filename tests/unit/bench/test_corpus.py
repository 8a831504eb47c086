from __future__ import annotations

import pytest

from bench import corpus
from bench.ingestion import texts_embedded
from responsa_server.search.embedder import Vectors


class Words:
    """An embedding model without weights. Each word is one token."""

    name = "words"
    dimensions = 4
    max_tokens = 254
    languages: frozenset[str] | None = None
    texts_a_call = 16

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        offsets: list[tuple[int, int]] = []
        place = 0
        for word in text.split():
            place = text.index(word, place)
            offsets.append((place, place + len(word)))
            place += len(word)
        return offsets

    async def embed(self, texts: object) -> Vectors:
        raise AssertionError("only listened to")


def test_the_corpus_is_the_same_each_time_and_every_text_another() -> None:
    first = corpus.documents(3, 40, seed=5)
    assert first == corpus.documents(3, 40, seed=5)
    assert first != corpus.documents(3, 40, seed=6)
    paragraphs = [part for one in first for part in one.text.split("\n\n") if not part.startswith("#")]
    assert len(paragraphs) == len(set(paragraphs)) == 120
    assert len({one.key for one in first}) == 3


def test_questions_are_taken_once_each() -> None:
    texts = corpus.documents(2, 20)
    asked = corpus.questions(texts, 80)
    assert len(set(asked)) == 80
    assert asked[:10] == corpus.questions(texts, 80)[:10]
    with pytest.raises(ValueError, match="larger than population"):
        corpus.questions(texts, 81)


def test_documents_from_a_place_on_are_the_later_ones() -> None:
    assert corpus.documents(2, 10, first=3) == corpus.documents(5, 10)[3:]


def test_what_the_index_embeds_is_each_paragraph_and_each_sentence_of_it() -> None:
    runs, passages = texts_embedded(Words(), corpus.documents(1, 20))
    embedded = [text for run in runs for text in run]
    assert len(embedded) == len(set(embedded))
    assert len([text for text in embedded if text.startswith(("In ", "The "))]) >= 40
    assert 0 < passages <= 20
