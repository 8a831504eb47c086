"""Softmax regression with a quadratic penalty, minimised by L-BFGS (Liu and Nocedal 1989), in 32-bit floats on numpy alone. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Loss = Callable[[Float], tuple[float, Float]]

STEPS: Final = 60
_MEMORY: Final = 10
_SMALLEST_STEP: Final = 1e-8
_DECREASE: Final = 1e-4
_ENOUGH: Final = 1e-4


def fit(inputs: Float, targets: Float, shares: Float, penalty: float, start: Float | None = None) -> Float:
    """Weights [d, k], without intercept, that give `inputs` [n, d] the distributions `targets` [n, k].

    shares: how much each row counts, [n], in sum 1. start: weights to begin at, by default zero. The same arguments give the
    same weights on the same machine.
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
    return _minimised(loss, first.ravel()).reshape(shape)


def probabilities(logits: Float) -> Float:
    """The distributions that logits [n, k] stand for."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _minimised(loss: Loss, point: Float) -> Float:
    value, slope = loss(point)
    pairs: deque[tuple[Float, Float]] = deque(maxlen=_MEMORY)
    for _ in range(STEPS):
        direction = -_scaled(slope, pairs)
        descent = float(slope @ direction)
        if descent >= 0:
            break
        step = 1.0 if pairs else 1 / max(float(np.linalg.norm(slope)), _SMALLEST_STEP)
        while True:
            tried: Float = (point + np.float32(step) * direction).astype(np.float32, copy=False)
            reached, there = loss(tried)
            if reached <= value + _DECREASE * step * descent or step < _SMALLEST_STEP:
                break
            step /= 2
        if reached > value:
            break
        moved, bent = tried - point, there - slope
        if float(moved @ bent) > 0:
            pairs.append((moved, bent))
        gained = value - reached
        point, value, slope = tried, reached, there
        if gained < _ENOUGH * abs(value):
            break
    return point


def _scaled(slope: Float, pairs: deque[tuple[Float, Float]]) -> Float:
    """The slope times an approximation of the inverse curvature, by the two loops over what was seen."""
    made = slope.copy()
    passed: list[tuple[Float, Float, float, float]] = []
    for moved, bent in reversed(pairs):
        inverse = 1 / float(bent @ moved)
        part = inverse * float(moved @ made)
        made -= np.float32(part) * bent
        passed.append((moved, bent, inverse, part))
    if pairs:
        moved, bent = pairs[-1]
        made *= np.float32(float(moved @ bent) / float(bent @ bent))
    for moved, bent, inverse, part in reversed(passed):
        made += np.float32(part - inverse * float(bent @ made)) * moved
    return made
