"""The interface to classifiers, which learn from examples and need no language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

OUT_OF_SCOPE: Final = frozenset({"oos", "out_of_scope"})
"""Labels of examples that have no intent. Such examples teach the classifier what to reject. The classifier never
returns these labels.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A message and its label: an intent's name, or one of OUT_OF_SCOPE."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Classified:
    """The result of a classification.

    label: the nearest intent, even if the message is out of scope. confidence: a score from 0 to 1, which is not a
    probability. all: the score of every intent, by its name; empty if the classifier gives only the nearest.
    """

    label: str
    confidence: float
    in_scope: bool
    all: Mapping[str, float] = field(default_factory=dict[str, float])


class ExamplesUnfit(ValueError):
    """A classifier cannot be trained from these examples; the message gives the reason."""


class IntentClassifier(Protocol):
    """A trained classifier, which chooses one of its intents."""

    @property
    def labels(self) -> Sequence[str]:
        """The intents, sorted, without “out of scope”."""
        ...

    async def classify(self, text: str) -> Classified:
        """Classify one message of any length and content. The call never fails because of the message."""
        ...


class Trainer(Protocol):
    """Creates and stores classifiers."""

    async def prepare(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        """Return the classifier for these examples. If no classifier is stored under the key, train a classifier and
        store it.

        key: the SHA-256 (32 bytes) of everything that the examples are derived from. Equal examples give equal
        classifiers. Raises ExamplesUnfit.
        """
        ...
