"""Training: from examples to parameters, the same from the same examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from responsa_server.domain.ports.intents import OUT_OF_SCOPE, Example, ExamplesUnfit
from responsa_server.routing.classifier import Float, Half, Parameters
from responsa_server.routing.features import MOST_CHARACTERS, counted, dense, rarity, weighted
from responsa_server.routing.softmax import fit
from responsa_server.search.embedder import Embedder

KEPT: Final = 0.95
"""Share of in-scope messages that the threshold lets pass."""

MOST_EXAMPLES: Final = 20_000
"""Training holds a matrix of examples × 4,480 numbers: 360 MB at most."""

# Chosen on clinc150; docs/routing.md has what else was tried.
_WORDING: Final = 0.8
_PENALTY: Final = 0.075

_HALF_MAX: Final = float(np.finfo(np.float16).max)


def digest(examples: Sequence[Example]) -> bytes:
    """SHA-256 of the examples in their order, without ambiguity."""
    hashed = hashlib.sha256()
    for example in examples:
        for part in (example.label.encode(), example.text.encode()):
            hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.digest()


def train(
    examples: Sequence[Example], embedder: Embedder, *, held_out: Sequence[Example] = (), key: bytes = b""
) -> Parameters:
    """Parameters that decide as the examples do; blocks the caller (docs/routing.md says for how long).

    The threshold keeps 95 % of the in-scope messages of `held_out`, scored by what was learnt from the examples; where none is held
    out, of the examples themselves, each half scored by what was learnt from the other. Then all are learnt from, the held-out
    ones too. Examples with a label of OUT_OF_SCOPE teach that no intent is near.
    key: 32 bytes that name the examples, by default their own digest.
    Raises ExamplesUnfit: no examples, one without text or label, no intent, or too many.
    """
    every = [*examples, *held_out]
    _check(examples, every)
    labels = tuple(sorted({example.label for example in every} - OUT_OF_SCOPE))
    column = {label: place for place, label in enumerate(labels)}
    targets = np.full((len(every), len(labels)), 1 / len(labels), np.float32)
    inside = np.array([example.label in column for example in every], bool)
    for row, example in zip(targets, every, strict=True):
        if example.label in column:
            row[:] = 0
            row[column[example.label]] = 1
    texts = [example.text[:MOST_CHARACTERS] for example in every]
    wordings = [counted(text) for text in texts]
    idf = rarity(wordings)
    words = dense([weighted(wording, idf) for wording in wordings])
    inputs = np.hstack([embedder.embed_sync(texts), np.float32(_WORDING) * words])
    shares = _shares(every)
    judged = np.arange(len(examples) if held_out else 0, len(every))
    scores, weights = _left_out(inputs, targets, shares, judged, 1 if held_out else 2)
    weights = fit(inputs, targets, shares / shares.sum(), _PENALTY / len(every), weights)
    kept = scores[inside[judged]]
    return Parameters(
        labels=labels,
        meaning=_half(weights[: embedder.dimensions]),
        words=_half(np.float32(_WORDING) * weights[embedder.dimensions :]),
        idf=idf,
        threshold=float(np.quantile(kept, 1 - KEPT)) if len(kept) else 0.0,
        embedder=embedder.name,
        examples=key or digest(every),
    )


def _left_out(
    inputs: Float, targets: Float, shares: Float, judged: npt.NDArray[np.int64], folds: int
) -> tuple[Float, Float | None]:
    """The score of each judged row's nearest intent by weights that have not seen the row, and weights to go on from."""
    scores = np.zeros(len(judged), np.float32)
    weights: Float | None = None
    for fold in range(folds):
        asked = np.arange(len(judged)) % folds == fold
        learnt = np.ones(len(inputs), bool)
        learnt[judged[asked]] = False
        if not learnt.any():
            continue
        # Rows that count nothing are as good as not there, and no second matrix is made.
        counting = np.where(learnt, shares, np.float32(0))
        # From zero: weights of the other fold have seen this one.
        weights = fit(inputs, targets, counting / counting.sum(), _PENALTY / int(learnt.sum()))
        scores[asked] = (inputs[judged[asked]] @ weights).max(axis=1)
    return scores, weights


def _shares(examples: Sequence[Example]) -> Float:
    """All intents count the same, however many examples each has; in the mean an example counts 1."""
    counts = Counter(example.label for example in examples)
    each = len(examples) / len(counts)
    return np.array([each / counts[example.label] for example in examples], np.float32)


def _check(examples: Sequence[Example], every: Sequence[Example]) -> None:
    if not examples:
        raise ExamplesUnfit("There are no examples.")
    if len(every) > MOST_EXAMPLES:
        raise ExamplesUnfit(f"There are {len(every)} examples; {MOST_EXAMPLES} is the most.")
    if all(example.label in OUT_OF_SCOPE for example in examples):
        raise ExamplesUnfit("No example has an intent; all are out of scope.")
    for number, example in enumerate(every, start=1):
        if not example.text.strip() or not example.label.strip():
            raise ExamplesUnfit(f"Example {number} has no {'label' if example.text.strip() else 'text'}.")


def _half(values: Float) -> Half:
    return np.clip(values, -_HALF_MAX, _HALF_MAX).astype(np.float16)
