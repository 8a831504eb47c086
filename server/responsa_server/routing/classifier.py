"""The classifier: what a message is about and how it is worded, weighed for each intent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from responsa_server.domain.ports.intents import Classified
from responsa_server.routing.features import MOST_CHARACTERS, Wording, counted, weighted
from responsa_server.routing.softmax import probabilities
from responsa_server.search.embedder import Embedder, Vectors

Half = npt.NDArray[np.float16]
Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Parameters:
    """What training chose, as it is stored: k intents, vectors of d dimensions, D hashed features.

    meaning: weights of the vector, [d, k]. words: weights of the features, [D, k]. idf: rarity of each feature, [D]. threshold: the
    least score (logit of the nearest intent) that is in scope. embedder: name of the vectors. examples: SHA-256 of what it was
    trained from.
    """

    labels: tuple[str, ...]
    meaning: Half
    words: Half
    idf: Float
    threshold: float
    embedder: str
    examples: bytes


class TrainedClassifier:
    """An `IntentClassifier` of parameters and the embedder that they were trained with."""

    def __init__(self, parameters: Parameters, embedder: Embedder) -> None:
        if parameters.embedder != embedder.name:
            raise ValueError(f"The classifier is for vectors of {parameters.embedder}, not {embedder.name}.")
        self.parameters = parameters
        self._embedder = embedder
        # 32 bits: numpy multiplies 16-bit floats many times slower.
        self._meaning = parameters.meaning.astype(np.float32)
        self._words = parameters.words.astype(np.float32)

    @property
    def labels(self) -> Sequence[str]:
        """The intents, sorted."""
        return self.parameters.labels

    async def classify(self, text: str) -> Classified:
        """Decide on one message: one embedding, off the loop, and a product."""
        cut = text[:MOST_CHARACTERS]
        scores = self._scores(await self._embedder.embed([cut]), [counted(cut)])
        best = int(scores[0].argmax())
        return Classified(
            self.labels[best],
            float(probabilities(scores)[0, best]),
            in_scope=float(scores[0, best]) >= self.parameters.threshold,
        )

    def scores_sync(self, texts: Sequence[str]) -> Float:
        """Logits of many messages, [n, k]: all near zero for what is like no example. Blocks the caller."""
        cut = [text[:MOST_CHARACTERS] for text in texts]
        return self._scores(self._embedder.embed_sync(cut), [counted(text) for text in cut])

    def _scores(self, vectors: Vectors, wordings: Sequence[Wording]) -> Float:
        scores = vectors @ self._meaning
        for row, wording in zip(scores, wordings, strict=True):
            words = weighted(wording, self.parameters.idf)
            row += words.values @ self._words[words.places]
        return scores
