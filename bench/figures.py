"""Statistics: medians, percentiles, and ratios of paired measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def median(values: Sequence[float]) -> float:
    """The middle value. If the number of values is even, the mean of the two middle values. Raises ValueError if there are no values."""
    if not values:
        raise ValueError("a median needs values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value v for which at least the given share (0 to 1) of all values is v or less. Raises ValueError if
    there are no values."""
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of several rounds, with the lowest and the highest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The spread of the values, one from each round. Raises ValueError if there are no values."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides that were measured alternately. ratio: our value divided by the peer's value. The ratio is computed in
    each round, so that a slowdown of both sides does not change it.
    """

    ours: Figure
    peer: Figure
    ratio: Figure
    rounds: int

    @classmethod
    def of(cls, ours: Sequence[float], peer: Sequence[float]) -> Comparison:
        """The comparison of values, one per side and round. The ratio to nothing, as in a round too short for a clock's
        tick, is infinite. Raises ValueError unless both sides have the same number of values, at least one."""
        ratios = [mine / theirs if theirs else math.inf for mine, theirs in zip(ours, peer, strict=True)]
        return cls(Figure.of(ours), Figure.of(peer), Figure.of(ratios), len(ratios))
