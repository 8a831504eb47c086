"""How good a classifier is on messages whose intents are known. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from responsa_server.domain.ports.intents import OUT_OF_SCOPE
from responsa_server.routing.classifier import Float


@dataclass(frozen=True, slots=True)
class Confusion:
    """count messages of the intent `right` were taken for `chosen`."""

    right: str
    chosen: str
    count: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Fractions; None where there is no such message.

    accuracy: in-scope messages given their intent, with nothing rejected. oos_recall: out-of-scope messages below the
    threshold. kept: in-scope messages at or above it. confusions: most frequent first; for what is out of scope those that
    passed the threshold, under the label that the message has.
    """

    in_scope: int
    out_of_scope: int
    accuracy: float | None
    oos_recall: float | None
    kept: float | None
    confusions: Sequence[Confusion]


def measured(scores: Float, labels: Sequence[str], right: Sequence[str], threshold: float) -> Measured:
    """Compare scores [n, k] of n messages for k labels with the n right labels; one that is not among the k is a mistake."""
    inside = np.array([label not in OUT_OF_SCOPE for label in right], bool)
    best = scores.argmax(axis=1)
    passed = scores.max(axis=1) >= np.float32(threshold)
    chosen = [labels[int(place)] for place in best]
    correct = np.array([one == label for one, label in zip(chosen, right, strict=True)], bool)
    mistakes = Counter(
        (label, one)
        for label, one, within, told in zip(right, chosen, inside, passed, strict=True)
        if one != label and (within or told)
    )
    return Measured(
        in_scope=int(inside.sum()),
        out_of_scope=int((~inside).sum()),
        accuracy=_share(correct[inside]),
        oos_recall=_share(~passed[~inside]),
        kept=_share(passed[inside]),
        confusions=[
            Confusion(label, one, count)
            for (label, one), count in sorted(mistakes.items(), key=lambda item: (-item[1], item[0]))
        ],
    )


def _share(these: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float | None:
    return float(these.mean()) if len(these) else None
