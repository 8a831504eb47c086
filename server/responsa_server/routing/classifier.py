"""The classifier, which weights the meaning and the wording of a message for each intent.

The embedding of a message shows its topic. The wording separates intents that share a topic. The wording consists of hashed
words, pairs of words and runs of characters, weighted by their rarity.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from responsa_server.domain.intents import Classified
from responsa_server.search.embedder import BlockingEmbedder, Vectors, embed_once

Half = npt.NDArray[np.float16]
Float = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

DIMENSIONS: Final = 4096
"""The dimensions of the hashed space. Twice as many dimensions would change the accuracy by less than the measurement error.
"""

MOST_CHARACTERS: Final = 2000
"""The maximum number of characters of a message that the classifier reads. Reading more would only take time, because the intent
shows early.
"""

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_RUNS: Final = (3, 4, 5)


@dataclass(frozen=True, slots=True)
class Wording:
    """A sparse vector: indexes in the hashed space, and the values at these indexes. Its length is one, or zero for a message
    without words.
    """

    places: Places
    values: Float


def count_features(text: str) -> Wording:
    """How often the message has each hashed feature, damped as 1 + ln(count). This vector is not weighted, and its length is
    not one.
    """
    counts = Counter([crc32(feature.encode()) % DIMENSIONS for feature in _features(text)])
    places = np.fromiter(sorted(counts), np.int64, len(counts))
    values = np.array([counts[int(index)] for index in places], np.float32)
    return Wording(places, 1 + np.log(values, out=np.zeros_like(values), where=values > 0))


def rarity(wordings: Sequence[Wording]) -> Float:
    """The smoothed inverse document frequency of every feature, [DIMENSIONS]. wordings: results of `count_features`."""
    counts = np.zeros(DIMENSIONS, np.int64)
    for wording in wordings:
        counts[wording.places] += 1
    return (np.log((1 + len(wordings)) / (1 + counts)) + 1).astype(np.float32)


def weigh(wording: Wording, idf: Float) -> Wording:
    """The counts times the rarity, scaled to length one."""
    values = wording.values * idf[wording.places]
    length = float(np.linalg.norm(values))
    return Wording(wording.places, values / np.float32(length) if length else values)


def dense(wordings: Sequence[Wording]) -> Float:
    """The vectors as rows of one matrix, [n, DIMENSIONS]."""
    rows = np.zeros((len(wordings), DIMENSIONS), np.float32)
    for row, wording in zip(rows, wordings, strict=True):
        row[wording.places] = wording.values
    return rows


def _features(text: str) -> Sequence[str]:
    words = _WORD.findall(text[:MOST_CHARACTERS].lower())
    joined = f" {' '.join(words)} " if words else ""
    return [
        *[f"w1 {word}" for word in words],
        *[f"w2 {' '.join(pair)}" for pair in pairwise(words)],
        *[f"c{joined[at : at + length]}" for length in _RUNS for at in range(len(joined) - length + 1)],
    ]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The result of a training, as it is stored: k intents, vectors of d dimensions, D hashed features.

    labels: the intents, sorted. meaning: the weights of the vector, [d, k]. words: the weights of the features, [D, k]. idf:
    the rarity of each feature, [D]. threshold: the lowest score (logit of the nearest intent) that is in scope. embedder: the
    name of the embedder that computed the vectors. examples_sha256: the SHA-256 of the training examples (32 bytes).
    """

    labels: tuple[str, ...]
    meaning: Half
    words: Half
    idf: Float
    threshold: float
    embedder: str
    examples_sha256: bytes


class TrainedClassifier:
    """An `IntentClassifier` made from parameters and from the embedder with which they were trained."""

    def __init__(self, parameters: Parameters, embedder: BlockingEmbedder) -> None:
        if parameters.embedder != embedder.name:
            raise ValueError(f"The classifier is for vectors of {parameters.embedder}, not {embedder.name}.")
        self.parameters = parameters
        self._embedder = embedder
        # The weights are converted to 32 bits, because numpy multiplies 16-bit floats many times more slowly.
        self._meaning = parameters.meaning.astype(np.float32)
        self._words = parameters.words.astype(np.float32)

    @property
    def labels(self) -> Sequence[str]:
        return self.parameters.labels

    async def classify(self, text: str) -> Classified:
        """Decide on one message. This takes one embedding, which the turn's search for the same text uses too, and one matrix product."""
        cut = text[:MOST_CHARACTERS]
        scores = self._scores(await embed_once(self._embedder, [cut]), [count_features(cut)])
        best = int(scores[0].argmax())
        each = dict(zip(self.labels, map(float, probabilities(scores)[0]), strict=True))
        return Classified(
            self.labels[best],
            each[self.labels[best]],
            in_scope=float(scores[0, best]) >= self.parameters.threshold,
            all=each,
        )

    def scores_sync(self, texts: Sequence[str]) -> Float:
        """The logits of many messages, [n, k]. For a message that resembles no example, all logits are near zero.
        Blocks the caller.
        """
        cut = [text[:MOST_CHARACTERS] for text in texts]
        return self._scores(self._embedder.embed_sync(cut), [count_features(text) for text in cut])

    def _scores(self, vectors: Vectors, wordings: Sequence[Wording]) -> Float:
        scores = vectors @ self._meaning
        for row, wording in zip(scores, wordings, strict=True):
            words = weigh(wording, self.parameters.idf)
            row += words.values @ self._words[words.places]
        return scores


def probabilities(logits: Float) -> Float:
    """The probability distributions of the logits [n, k]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
