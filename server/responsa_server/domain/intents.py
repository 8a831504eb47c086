"""Classifies messages from examples, without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

OUT_OF_SCOPE: Final = frozenset({"oos", "out_of_scope"})
"""Labels of examples without an intent: they teach the classifier what to reject, and are never its answer."""


@dataclass(frozen=True, slots=True)
class Example:
    """A message and its label: an intent's name, or one of OUT_OF_SCOPE."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Classified:
    """A decision. label: the nearest intent, even if the message is out of scope; confidence: 0 to 1, not a probability."""

    label: str
    confidence: float
    in_scope: bool


class ExamplesUnfit(ValueError):
    """Nothing can be learnt from these examples; the message says why."""


class IntentClassifier(Protocol):
    """Chooses among the intents that it was trained for."""

    @property
    def labels(self) -> Sequence[str]:
        """The intents, sorted, without “out of scope”."""
        ...

    async def classify(self, text: str) -> Classified:
        """Classify one message, of any length and content; never fails because of the message."""
        ...


class Trainer(Protocol):
    """Creates and stores classifiers."""

    async def trained(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        """The classifier of these examples: the stored one if the key is known, otherwise it is trained now and stored.

        key: SHA-256 (32 bytes) of everything that the examples are made from. Equal examples make equal classifiers.
        Raises ExamplesUnfit.
        """
        ...
