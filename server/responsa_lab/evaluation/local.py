"""Measures parts of the product on this machine, without a server: the embedding model and classifiers of intents.

Commands import this module late, because it loads numpy, the model's runtime and the agents, which measurements through
a server do not need.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from responsa_local.embedded import LocalLayout
from responsa_server.app.settings import load
from responsa_server.cli.output import CommandFailed
from responsa_server.domain.intents import OUT_OF_SCOPE
from responsa_server.providers import minilm
from responsa_server.routing.classifier import Float
from responsa_server.search.embedder import BlockingEmbedder


def load_embedder(stack: ExitStack) -> BlockingEmbedder:
    """Loads the embedding model of this machine's instance. `stack` closes the model.

    Raises:
        CommandFailed: the model cannot be loaded.
        SettingsError: a setting is not valid.
    """
    settings = load()
    models = LocalLayout.of(settings.home).data / "models"
    if not models.is_dir():
        # If this machine has no instance, a measurement must leave no files behind.
        models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        embedder = minilm.load(models, threads=settings.retrieval.embedding_threads)
    except minilm.EmbeddingModelUnavailable as error:
        raise CommandFailed(str(error)) from None
    stack.callback(embedder.close)
    return embedder


@dataclass(frozen=True, slots=True)
class Confusion:
    """`count` messages of the intent `right` were classified as `chosen`."""

    right: str
    chosen: str
    count: int


@dataclass(frozen=True, slots=True)
class ClassifierScores:
    """The quality of a classifier. The fractions are from 0 to 1, or None if there are no messages to count.

    accuracy: the share of in-scope messages with the right intent, before rejection. oos_recall: the share of out-of-scope
    messages that score below the threshold. kept: the share of in-scope messages that score at least the threshold.
    confusions: the confusions, the most frequent first. An out-of-scope message counts as a confusion only if it passed the
    threshold. In that case, `right` is the message's out-of-scope label.
    """

    in_scope: int
    out_of_scope: int
    accuracy: float | None
    oos_recall: float | None
    kept: float | None
    confusions: Sequence[Confusion]


def score_classifier(
    scores: Float, labels: Sequence[str], right: Sequence[str], threshold: float
) -> ClassifierScores:
    """Compares the scores [n, k] of n messages for k labels with the n right labels. A message whose right label is not
    among the k labels counts as a mistake.
    """
    inside = np.array([label not in OUT_OF_SCOPE for label in right], bool)
    best = scores.argmax(axis=1)
    passed = scores.max(axis=1) >= np.float32(threshold)
    chosen = [labels[int(index)] for index in best]
    correct = np.array([guess == label for guess, label in zip(chosen, right, strict=True)], bool)
    mistakes = Counter(
        (label, guess)
        for label, guess, within, above in zip(right, chosen, inside, passed, strict=True)
        if guess != label and (within or above)
    )
    return ClassifierScores(
        in_scope=int(inside.sum()),
        out_of_scope=int((~inside).sum()),
        accuracy=_fraction(correct[inside]),
        oos_recall=_fraction(~passed[~inside]),
        kept=_fraction(passed[inside]),
        confusions=[
            Confusion(label, guess, count)
            for (label, guess), count in sorted(mistakes.items(), key=lambda item: (-item[1], item[0]))
        ],
    )


def _fraction(these: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float | None:
    return float(these.mean()) if len(these) else None
