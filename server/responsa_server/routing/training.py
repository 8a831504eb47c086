"""Trains a classifier: makes its parameters from examples. Equal examples give equal parameters.

The method is a softmax regression with a quadratic penalty, minimised by L-BFGS (Liu and Nocedal 1989), in 32-bit floats with numpy only.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from responsa_server.domain.intents import OUT_OF_SCOPE, Example, ExamplesUnfit
from responsa_server.routing.classifier import (
    MOST_CHARACTERS,
    Float,
    Half,
    Parameters,
    count_features,
    dense,
    rarity,
    weigh,
)
from responsa_server.search.embedder import BlockingEmbedder

KEPT: Final = 0.95
"""The share of in-scope messages that the threshold accepts."""

MOST_EXAMPLES: Final = 20_000
"""The maximum number of examples. Training holds a matrix with 4,480 numbers for each example, at most 360 MB in total."""

# These values were chosen on clinc150.
_WORDING: Final = 0.8
_PENALTY: Final = 0.075

_HALF_MAX: Final = float(np.finfo(np.float16).max)

Loss = Callable[[Float], tuple[float, Float]]

STEPS: Final = 60
# The number of steps from which L-BFGS estimates the curvature.
_REMEMBERED_STEPS: Final = 10
_SMALLEST_STEP: Final = 1e-8
# A step is halved until the loss decreases by at least this share of what the slope promises.
_LEAST_DECREASE: Final = 1e-4
# The training ends with a step that lowers the loss by less than this share of it.
_LEAST_GAIN: Final = 1e-4


def digest(examples: Sequence[Example]) -> bytes:
    """The SHA-256 of the examples in their order. Different examples never give the same hashed bytes."""
    hashed = hashlib.sha256()
    for example in examples:
        for part in (example.label.encode(), example.text.encode()):
            hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.digest()


def train(
    examples: Sequence[Example],
    embedder: BlockingEmbedder,
    *,
    held_out: Sequence[Example] = (),
    key: bytes = b"",
) -> Parameters:
    """The parameters trained on the examples. Blocks the caller for seconds.

    The threshold accepts 95 % of the in-scope messages in `held_out`. These messages are scored with weights that were
    trained on `examples` alone. Without `held_out`, the threshold accepts 95 % of the in-scope examples, and each half
    of the examples is scored with weights that were trained on the other half. The final weights are trained on
    `examples` and `held_out` together. An example with a label in OUT_OF_SCOPE has the same target probability for every intent.
    key: 32 bytes that identify the examples, such as the SHA-256 of the file that has them; by default their digest.

    Raises ExamplesUnfit if there are no examples or too many, if no example has an intent, or if an example has no text or
    no label.
    """
    every = [*examples, *held_out]
    _check(examples, every)
    labels = tuple(sorted({example.label for example in every} - OUT_OF_SCOPE))
    column = {label: index for index, label in enumerate(labels)}
    targets = np.full((len(every), len(labels)), 1 / len(labels), np.float32)
    inside = np.array([example.label in column for example in every], bool)
    for row, example in zip(targets, every, strict=True):
        if example.label in column:
            row[:] = 0
            row[column[example.label]] = 1
    texts = [example.text[:MOST_CHARACTERS] for example in every]
    wordings = [count_features(text) for text in texts]
    idf = rarity(wordings)
    words = dense([weigh(wording, idf) for wording in wordings])
    inputs = np.hstack([embedder.embed_sync(texts), np.float32(_WORDING) * words])
    shares = _shares(every)
    judged = np.arange(len(examples) if held_out else 0, len(every))
    scores, weights = _cross_validate(inputs, targets, shares, judged, 1 if held_out else 2)
    weights = fit(inputs, targets, shares / shares.sum(), _PENALTY / len(every), weights)
    inside_scores = scores[inside[judged]]
    # The classifier does not scale the wording, so the weights of the words carry the factor.
    return Parameters(
        labels=labels,
        meaning=_half(weights[: embedder.dimensions]),
        words=_half(np.float32(_WORDING) * weights[embedder.dimensions :]),
        idf=idf,
        threshold=float(np.quantile(inside_scores, 1 - KEPT)) if len(inside_scores) else 0.0,
        embedder=embedder.name,
        examples_sha256=key or digest(every),
    )


def _cross_validate(
    inputs: Float, targets: Float, shares: Float, judged: npt.NDArray[np.int64], folds: int
) -> tuple[Float, Float | None]:
    """The score of each judged row's nearest intent, and initial weights for further training.

    Each score comes from weights that were not trained on its row.
    """
    scores = np.zeros(len(judged), np.float32)
    weights: Float | None = None
    for fold in range(folds):
        held_out = np.arange(len(judged)) % folds == fold
        learnt = np.ones(len(inputs), bool)
        learnt[judged[held_out]] = False
        if not learnt.any():
            continue  # it is the only example: without training, the weights are zero, and so is its score
        # A row with the weight zero has no effect. Removing the row instead would need a second matrix.
        counting = np.where(learnt, shares, np.float32(0))
        # This training starts at zero, because the weights of the other fold were trained on the rows that are judged here.
        weights = fit(inputs, targets, counting / counting.sum(), _PENALTY / int(learnt.sum()))
        scores[held_out] = (inputs[judged[held_out]] @ weights).max(axis=1)
    return scores, weights


def _shares(examples: Sequence[Example]) -> Float:
    """The weight of each example. All labels have the same total weight, however many examples they have. The mean
    weight of an example is 1.
    """
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


def fit(inputs: Float, targets: Float, shares: Float, penalty: float, start: Float | None = None) -> Float:
    """The weights [d, k], without intercept, that best predict the distributions `targets` [n, k] from `inputs` [n, d].

    shares: the weight of each row, [n]; their sum is 1. start: the initial weights, by default zero. The same arguments give
    the same weights on the same machine.
    """
    shape = inputs.shape[1], targets.shape[1]

    def loss(flat: Float) -> tuple[float, Float]:
        weights = flat.reshape(shape)
        logits = inputs @ weights
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        sums = powers.sum(axis=1, keepdims=True)
        surprise = -float((shares[:, None] * targets * (logits - np.log(sums))).sum(dtype=np.float64))
        slope = inputs.T @ (shares[:, None] * (powers / sums - targets))
        return surprise + penalty / 2 * float(flat @ flat), (slope + np.float32(penalty) * weights).ravel()

    first = np.zeros(shape, np.float32) if start is None else start
    return _minimise(loss, first.ravel()).reshape(shape)


def _minimise(loss: Loss, point: Float) -> Float:
    value, slope = loss(point)
    pairs: deque[tuple[Float, Float]] = deque(maxlen=_REMEMBERED_STEPS)
    for _ in range(STEPS):
        direction = -_scale(slope, pairs)
        descent = float(slope @ direction)
        if descent >= 0:
            break
        step = 1.0 if pairs else 1 / max(float(np.linalg.norm(slope)), _SMALLEST_STEP)
        while True:
            tried: Float = (point + np.float32(step) * direction).astype(np.float32, copy=False)
            reached, there = loss(tried)
            if reached <= value + _LEAST_DECREASE * step * descent or step < _SMALLEST_STEP:
                break
            step /= 2
        if reached > value:
            break
        moved, bent = tried - point, there - slope
        if float(moved @ bent) > 0:
            pairs.append((moved, bent))
        gained = value - reached
        point, value, slope = tried, reached, there
        if gained < _LEAST_GAIN * abs(value):
            break
    return point


def _scale(slope: Float, pairs: deque[tuple[Float, Float]]) -> Float:
    """The slope times an approximation of the inverse curvature, which L-BFGS computes in two loops over the recent steps."""
    direction = slope.copy()
    passed: list[tuple[Float, Float, float, float]] = []
    for moved, bent in reversed(pairs):
        inverse = 1 / float(bent @ moved)
        part = inverse * float(moved @ direction)
        direction -= np.float32(part) * bent
        passed.append((moved, bent, inverse, part))
    if pairs:
        moved, bent = pairs[-1]
        direction *= np.float32(float(moved @ bent) / float(bent @ bent))
    for moved, bent, inverse, part in reversed(passed):
        direction += np.float32(part - inverse * float(bent @ direction)) * moved
    return direction
