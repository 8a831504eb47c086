"""How well texts fit a question, token by token.

An embedding model gives a vector for each token, which depends on the other tokens of its text. A text fits a question well if each token of the question has a similar token in
the text: the fit is the mean of the highest cosines of the question's tokens (the late interaction of ColBERT: Khattab and Zaharia 2020, arXiv:2004.12832). The cosine of
two whole texts cannot show this if only a part of a long text is about the question.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

_MOST_WINDOWS: Final = 4
"""The number of windows of a text that the model reads. A longer text is cut."""
_MOST_ABOVE: Final = 40
"""The number of tokens of a text's headings that each of its windows begins with."""
_CHARACTERS: Final = 16
"""The number of characters of a text per token that the model may read. The rest is cut before the text is divided into tokens, so that this takes little time."""
# A token takes 384 bytes, so the cache takes at most 30 MiB. It holds about 150 sections of technical documents.
_CACHED_TOKENS: Final = 80_000
_SCALE: Final = 127

Bytes = npt.NDArray[np.int8]
"""Vectors of length one, times _SCALE."""


class TokenEmbedder(Protocol):
    """An embedding model that gives a vector for each token of a text."""

    @property
    def languages(self) -> frozenset[str]:
        """The ISO 639-1 codes of the languages that the model supports."""
        ...

    @property
    def max_tokens(self) -> int:
        """The maximum number of tokens that the model reads at once. A longer text is cut."""
        ...

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The character ranges (start, end) of all tokens of the text, in order."""
        ...

    async def token_vectors(self, texts: Sequence[str]) -> Sequence[npt.NDArray[np.float32]]:
        """The vectors of the tokens of each text, in order: an array of shape [tokens, dimensions] for each text. Each vector has length one."""
        ...


@dataclass(frozen=True, slots=True)
class HeadedText:
    """A text, and the headings above it. The model reads the headings together with each part of the text."""

    above: str
    text: str


class TokenMatcher:
    """Compares questions with texts, and caches the vectors of the latest texts, because different questions often find the same texts.

    Belongs to one event loop. The cache compares the content of texts.
    """

    def __init__(self, embedder: TokenEmbedder, most_tokens: int = _CACHED_TOKENS) -> None:
        """most_tokens: the maximum number of cached tokens."""
        self.languages = embedder.languages
        self._embedder = embedder
        self._most_tokens = most_tokens
        self._cached: OrderedDict[HeadedText, Sequence[Bytes]] = OrderedDict()
        self._tokens = 0

    def __len__(self) -> int:
        """The number of cached tokens."""
        return self._tokens

    async def fits(self, question: str, texts: Sequence[HeadedText]) -> Sequence[float]:
        """How well each text fits the question, from -1 to 1; 0 if the question or the text has no tokens."""
        [asked] = await self._embedder.token_vectors([question])
        read = [await self._vectors(one) for one in texts]
        return await asyncio.to_thread(lambda: [_fit(asked, one) for one in read])

    async def _vectors(self, text: HeadedText) -> Sequence[Bytes]:
        """The vectors of each window of a text."""
        cached = self._cached.get(text)
        if cached is not None:
            self._cached.move_to_end(text)
            return cached
        windows = await asyncio.to_thread(_windows, text, self._embedder)
        # One call a window: questions that other searches embed wait for a window, not for a text.
        made = [_rounded((await self._embedder.token_vectors([one]))[0]) for one in windows]
        if text not in self._cached:
            self._cached[text] = made
            self._tokens += _count(made)
        while self._tokens > self._most_tokens:
            _, oldest = self._cached.popitem(last=False)
            self._tokens -= _count(oldest)
        return made


def _windows(text: HeadedText, embedder: TokenEmbedder) -> Sequence[str]:
    """The parts of a text that the model reads, each with the headings."""
    above = text.above[: _CHARACTERS * _MOST_ABOVE]
    named = embedder.token_offsets(above)[:_MOST_ABOVE]
    above = f"{above[: named[-1][1]]}\n" if named else ""
    room = embedder.max_tokens - len(named)
    within = text.text[: _CHARACTERS * room * _MOST_WINDOWS]
    tokens = embedder.token_offsets(within)[: room * _MOST_WINDOWS]
    parts = [tokens[start : start + room] for start in range(0, len(tokens), room)]
    return [f"{above}{within[part[0][0] : part[-1][1]]}" for part in parts]


def _rounded(vectors: npt.NDArray[np.float32]) -> Bytes:
    return np.rint(vectors * _SCALE).astype(np.int8)


def _count(windows: Sequence[Bytes]) -> int:
    return sum(map(len, windows))


def _fit(asked: npt.NDArray[np.float32], windows: Sequence[Bytes]) -> float:
    """The fit of the window that fits best."""
    if not len(asked):
        return 0.0
    cosines = (asked @ window.T.astype(np.float32) / _SCALE for window in windows if len(window))
    return max((float(one.max(axis=1).mean()) for one in cosines), default=0.0)
