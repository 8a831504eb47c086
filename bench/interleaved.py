"""Measures two sides alternately (A B A B …), so that a slow phase of the machine affects both sides equally."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bench.figures import Comparison
from bench.jobs import Outcome

Value = TypeVar("Value")


def interleaved(rounds: int, *sides: Callable[[int], Value]) -> Sequence[Sequence[Value]]:
    """Measures each side in each round, in rotating order. Returns the values of each side, in the order of the rounds."""
    found: list[list[Value]] = [[] for _ in sides]
    for number in range(rounds):
        for step in range(len(sides)):
            side = (number + step) % len(sides)
            found[side].append(sides[side](number))
    return found


def by(value: Callable[[Outcome], float], ours: Sequence[Outcome], peer: Sequence[Outcome]) -> Comparison:
    """Compares the outcomes of two sides by one value per outcome."""
    return Comparison.of([value(one) for one in ours], [value(one) for one in peer])


def calls(*sides: Sequence[Outcome]) -> int:
    """The number of calls in the outcomes."""
    return sum(len(one.totals) for side in sides for one in side)
