"""If the language of a searched string is unknown or doubtful, it is guessed from the words that the passages contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.passages import SearchScope, TermStatistics
from responsa_server.domain.people import Server
from responsa_server.search.embedder import OneEmbedder
from responsa_server.search.retrieve import MOST_GUESSED_CHARACTERS, Retriever
from responsa_server.text.lexical import UNKNOWN, language_of
from tests.unit.knowledge.test_expansions import Numbered, Three


class Asked(Three):
    """Records how many terms each query for statistics has. No passage contains any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        self.asked.append(len(terms))
        return {"default": TermStatistics(3, 30, {})}


@pytest.mark.parametrize(
    ("times", "queries"), [(1, 2), (MOST_GUESSED_CHARACTERS // 4, 2), (MOST_GUESSED_CHARACTERS // 4 + 1, 1)]
)
async def test_the_language_of_a_long_string_is_not_guessed(times: int, queries: int) -> None:
    index = Asked()
    text = "zqx " * times
    assert language_of(text) == UNKNOWN
    found = await Retriever(index, index, OneEmbedder(Numbered())).search(
        Server("acme"), [text], mode=SearchMode.TEXT
    )
    assert (found.passages, len(index.asked)) == ([], queries)
    assert UUID(int=1) not in index.named


@pytest.mark.parametrize(
    ("text", "language", "queries"),
    [
        ("salary Dan crowns", "id", 2),
        ("salary Dan yang crowns", "id", 1),  # two words show the language
        ("who earns crowns", "en", 1),
        ("зарплата", "ru", 1),
    ],
)
async def test_a_language_that_a_single_word_shows_is_doubtful(
    text: str, language: str, queries: int
) -> None:
    index = Asked()
    assert language_of(text) == language
    await Retriever(index, index, OneEmbedder(Numbered())).search(
        Server("acme"), [text], mode=SearchMode.TEXT
    )
    assert len(index.asked) == queries
