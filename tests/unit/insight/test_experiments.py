"""Simulated experiments: how often their intervals find a difference that is there, or one that is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest
from uuid_utils.compat import uuid4, uuid7

from responsa_server.domain.experiments import Experiment, ExperimentMetric, ExperimentUnit
from responsa_server.insight.intervals import Sums, margin

RUNS, DAYS = 1000, 14
NOW = datetime(2026, 11, 27, tzinfo=UTC)

Numbers = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, Numbers, npt.NDArray[np.bool_]], Numbers]
"""The sums of a day's values from the number of turns of each unit, and whether the unit has the candidate. All have
the shape [RUNS, units]."""


def winners(units: int, draw: Draw, *, rate: bool, a_day: float = 0.5) -> Numbers:
    """For each of RUNS experiments, the sign of the first difference that a daily look finds; 0 if there is none. Units
    arrive evenly; each asks `a_day` questions a day after its first."""
    rng = np.random.default_rng(units)
    shape = (RUNS, units)
    candidate, arrival = rng.random(shape) < 0.5, rng.integers(0, DAYS, shape)
    turns, values, signs = np.zeros(shape), np.zeros(shape), np.zeros(RUNS)
    for day in range(DAYS):
        asked = np.where(arrival < day, rng.poisson(a_day, shape), arrival == day).astype(float)
        turns += asked
        values += draw(rng, asked, candidate)
        baseline, other = (_sums(turns * arm, values * arm) for arm in (~candidate, candidate))
        difference = other.mean - baseline.mean
        seen = (np.abs(difference) > margin(baseline, other, rate=rate)) & (signs == 0)
        signs[seen] = np.sign(difference[seen])
    return signs


def _sums(turns: Numbers, values: Numbers) -> Sums:
    squares, products, sizes = (values**2).sum(1), (values * turns).sum(1), (turns**2).sum(1)
    return Sums((turns > 0).sum(1).astype(float), turns.sum(1), values.sum(1), squares, products, sizes)


def rates(baseline: float, candidate: float, *, spread: float = 0.0) -> Draw:
    """A metric that is 0 or 1. spread: how much the rates of units differ, from 0 to 1."""
    own: list[Numbers] = []

    def draw(rng: np.random.Generator, questions: Numbers, arm: npt.NDArray[np.bool_]) -> Numbers:
        if not own:
            mean = np.where(arm, candidate, baseline)
            own.append(
                np.where(rng.random(questions.shape) < spread, rng.random(questions.shape) < mean, mean)
            )
        return rng.binomial(questions.astype(int), own[0]).astype(float)

    return draw


def seconds(rng: np.random.Generator, questions: Numbers, _: npt.NDArray[np.bool_]) -> Numbers:
    return questions * rng.lognormal(1.0, 0.8, questions.shape)


@pytest.mark.parametrize(
    ("units", "draw", "rate"),
    [
        (200, rates(0.2, 0.2), True),
        (200, rates(0.2, 0.2, spread=0.5), True),
        (200, rates(0.02, 0.02), True),
        (60, seconds, False),
    ],
)
def test_of_a_thousand_experiments_without_a_difference_few_call_a_winner(
    units: int, draw: Draw, rate: bool
) -> None:
    # 5 % of 1,000, and two standard deviations of a binomial count.
    assert np.count_nonzero(winners(units, draw, rate=rate)) <= 64


def test_a_difference_of_4_standard_errors_at_1000_turns_is_found_in_4_of_5_experiments() -> None:
    """As docs/experiments.md promises."""
    baseline = 0.2
    error = math.sqrt(2 * baseline * (1 - baseline) / 500)
    candidate = baseline + 4 * error
    # The variance grows with the rate, so that 4 standard errors are the more of them.
    assert np.sum(winners(1000, rates(baseline, candidate), rate=True, a_day=0.0) > 0) >= 0.8 * RUNS


@pytest.mark.parametrize("unit", list(ExperimentUnit))
def test_a_unit_stays_with_its_version_and_the_units_are_split_as_wanted(unit: ExperimentUnit) -> None:
    metric = ExperimentMetric.COST
    times = (timedelta(days=1), NOW, NOW + timedelta(days=1), None, None, False)
    experiment = Experiment(uuid7(), "own", 1, 2, 20, unit, metric, metric, 0.0, "acme", *times)
    users, same = [uuid4() for _ in range(2000)], uuid4()
    by_user = unit is ExperimentUnit.USER
    parts = [experiment.assign(*((user, same) if by_user else (same, user))) for user in users]
    again = [experiment.assign(*((user, uuid4()) if by_user else (uuid4(), user))) for user in users]
    assert parts == again
    assert len({part.unit for part in parts}) == len(users)
    assert 330 <= sum(part.candidate for part in parts) <= 470
