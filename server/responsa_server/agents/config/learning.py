"""Classifiers that are trained when they are wanted, at the latest by the first message that is to be classified."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence

from responsa_server.domain.ports.intents import (
    OUT_OF_SCOPE,
    Classified,
    Example,
    ExamplesUnfit,
    IntentClassifier,
    Trainer,
)


class Learning:
    """An `IntentClassifier`. text: of a file of examples, one a line. Raises ExamplesUnfit where there is nothing to learn from."""

    def __init__(self, text: str, trainer: Trainer) -> None:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        self.examples: Sequence[Example] = [Example(row["text"], row["label"]) for row in rows]
        self._labels = sorted({one.label for one in self.examples} - OUT_OF_SCOPE)
        if not self._labels:
            raise ExamplesUnfit("no example has an intent")
        self._key = hashlib.sha256(text.encode()).digest()
        self._trainer = trainer
        self._trained: IntentClassifier | None = None
        self._lock = asyncio.Lock()

    @property
    def labels(self) -> Sequence[str]:
        """See `IntentClassifier.labels`."""
        return self._labels

    async def ready(self) -> IntentClassifier:
        """The classifier, trained by whoever comes first, once. Raises ExamplesUnfit."""
        if self._trained is None:
            async with self._lock:
                if self._trained is None:
                    self._trained = await self._trainer.trained(self.examples, key=self._key)
        return self._trained

    async def classify(self, text: str) -> Classified:
        """See `IntentClassifier.classify`."""
        return await (self._trained or await self.ready()).classify(text)


def learnings(examples: Mapping[str, str], trainer: Trainer | None) -> Mapping[str, Learning]:
    """One for each file of examples, by its path; none where none can be trained. Raises ExamplesUnfit."""
    return {} if trainer is None else {path: Learning(text, trainer) for path, text in examples.items()}
