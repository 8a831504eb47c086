"""Statistics: medians, percentiles, and ratios of paired measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number the mean of the two middle ones. Raises ValueError without values."""
    if not values:
        raise ValueError("a median needs values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value v such that at least this share (0 to 1) of all values is v or less. Raises ValueError without values."""
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of several rounds, and the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """From one value per round. Raises ValueError without values."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, measured alternately. ratio: ours to the peer's, computed in each round, so that a slowdown of both does not change it."""

    ours: Figure
    peer: Figure
    ratio: Figure
    rounds: int

    @classmethod
    def of(cls, ours: Sequence[float], peer: Sequence[float]) -> Comparison:
        """From one value per side and round. Raises ValueError unless both sides have the same number of values, at least one."""
        ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
        return cls(Figure.of(ours), Figure.of(peer), Figure.of(ratios), len(ratios))
