"""Intervals for the difference between the two versions of an experiment that stay valid however often somebody looks.

The mean of a version is a ratio: the sum of a metric over the turns, divided by the number of turns. The turns of one
user or conversation, the *unit*, depend on each other, so the variance is that of a ratio over units (Cochran, Sampling
Techniques, 1977, section 6.3). The width is that of an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence sequences, Annals of Statistics 52,
2024, theorem 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

ALPHA: Final = 0.05
"""The chance that a version is called better or worse, at any look, if there is no difference."""
LEAST_UNITS: Final = 10
"""So many units of each version are needed for an interval."""
_NARROWEST_AT: Final = 1000
"""The number of turns, of both versions together, for which the interval is narrowest in units of its standard error.
At ten times as many it is 7 % wider, at a tenth 27 %."""
_RHO2: Final = float((-2 * np.log(ALPHA) + np.log(1 - 2 * np.log(ALPHA))) / _NARROWEST_AT)

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sums:
    """What is known of a metric for one version, as numbers or as arrays of one shape.

    units: users or conversations. turns: turns with a value. total: the sum of the values. For a unit with x as its sum
    and n as its number of turns, squares, products and sizes are the sums of x², xn and n² over the units.
    """

    units: Numbers
    turns: Numbers
    total: Numbers
    squares: Numbers
    products: Numbers
    sizes: Numbers

    @property
    def mean(self) -> Numbers:
        """The mean over turns; 0 without turns."""
        return self.total / np.maximum(self.turns, 1)

    def with_both(self) -> Sums:
        """The sums with two units more, one with a turn of the value 0 and one with a turn of the value 1 (Agresti and
        Caffo, 2000), so that the variance of a rate that was 0 or 1 so far is not 0."""
        return Sums(
            self.units + 2,
            self.turns + 2,
            self.total + 1,
            self.squares + 1,
            self.products + 1,
            self.sizes + 2,
        )

    @property
    def variance(self) -> Numbers:
        """The estimated variance of `mean`."""
        mean = self.mean
        spread = self.squares - 2 * mean * self.products + mean**2 * self.sizes
        units = np.maximum(self.units, 2)
        return units / (units - 1) * np.maximum(spread, 0) / np.maximum(self.turns, 1) ** 2


def margin(baseline: Sums, candidate: Sums, *, rate: bool) -> Numbers:
    """Half the width of the interval around the difference of the means; infinite before LEAST_UNITS. rate: whether the values are 0 or 1.

    With a probability of at least 1 - ALPHA, the intervals of all looks together hold the true difference.
    """
    turns = np.maximum(baseline.turns + candidate.turns, 1)
    arms = [arm.with_both() if rate else arm for arm in (baseline, candidate)]
    scaled = turns * _RHO2
    factor = 2 * (scaled + 1) / scaled * np.log(np.sqrt(scaled + 1) / ALPHA)
    width = np.sqrt((arms[0].variance + arms[1].variance) * factor)
    enough = np.minimum(baseline.units, candidate.units) >= LEAST_UNITS
    return np.where(enough, width, np.inf)
