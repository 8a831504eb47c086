from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.token_match import HeadedText, TokenMatcher

QUESTION = "Who may open the sluice gate?"
ANSWER = "Only the harbour master is allowed to open the gate of the sluice."
OTHER = "Bread is baked from flour, water, salt and yeast. "


class Watched:
    """The real model. Keeps the texts that it reads."""

    def __init__(self, model: MiniLmEmbedder) -> None:
        self._model = model
        self.languages = model.languages
        self.max_tokens = model.max_tokens
        self.read: list[str] = []

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return self._model.token_offsets(text)

    async def token_vectors(self, texts: Sequence[str]) -> Sequence[npt.NDArray[np.float32]]:
        self.read += texts
        return await self._model.token_vectors(texts)


@pytest.fixture
def watched(embedder: MiniLmEmbedder) -> Watched:
    return Watched(embedder)


async def test_a_text_fits_by_the_part_of_it_that_is_about_the_question(watched: Watched) -> None:
    around = HeadedText("Harbour", OTHER * 30 + ANSWER + OTHER * 3)
    fits = await TokenMatcher(watched).fits(
        QUESTION, [HeadedText("Harbour", ANSWER), around, HeadedText("Harbour", OTHER * 30)]
    )
    assert fits[0] > fits[1] > fits[2] + 0.1


async def test_each_window_of_a_long_text_begins_with_its_headings(watched: Watched) -> None:
    await TokenMatcher(watched).fits(QUESTION, [HeadedText("The harbour of Wren", OTHER * 400)])
    question, *windows = watched.read
    assert question == QUESTION
    assert len(windows) == 4
    assert all(one.startswith("The harbour of Wren\n") for one in windows)
    assert all(len(watched.token_offsets(one)) == watched.max_tokens for one in windows)


async def test_long_headings_leave_room_for_the_text(watched: Watched) -> None:
    await TokenMatcher(watched).fits(QUESTION, [HeadedText("harbour " * 1000, ANSWER)])
    assert watched.read[1].endswith(f"\n{ANSWER}")
    assert len(watched.token_offsets(watched.read[1])) < 80


async def test_a_text_is_read_again_only_after_the_cache_has_lost_it(watched: Watched) -> None:
    texts = [HeadedText("", f"{number} {ANSWER}") for number in range(5)]
    matcher = TokenMatcher(watched, most_tokens=40)
    first = await matcher.fits(QUESTION, texts[:2])
    assert await matcher.fits(QUESTION, texts[:2]) == first
    assert len(watched.read) == 4  # two questions, two texts
    await matcher.fits(QUESTION, texts[2:])
    assert 0 < len(matcher) <= 40
    watched.read.clear()
    assert await matcher.fits(QUESTION, texts[:2]) == first
    assert watched.read == [QUESTION, texts[0].text, texts[1].text]


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_what_has_no_tokens_fits_nothing(watched: Watched, text: str) -> None:
    assert await TokenMatcher(watched).fits(QUESTION, [HeadedText("", text)]) == [0.0]
    assert await TokenMatcher(watched).fits(text, [HeadedText("", ANSWER)]) == [0.0]
