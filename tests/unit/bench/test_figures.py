from __future__ import annotations

import pytest

from bench.figures import Comparison, Figure, percentile
from bench.interleaved import interleaved


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile(values, 0.0) == 1.0
    assert percentile([7.0], 0.99) == 7.0


def test_a_ratio_is_made_round_by_round() -> None:
    # The machine was half as fast in the second round, which does not change the ratio.
    found = Comparison.of([100.0, 50.0, 110.0], [200.0, 100.0, 200.0])
    assert found.ratio == Figure(0.5, 0.5, 0.55)
    assert found.ours == Figure(100.0, 50.0, 110.0)
    assert found.rounds == 3
    with pytest.raises(ValueError, match="argument 2 is"):
        Comparison.of([1.0], [1.0, 2.0])


def test_sides_take_turns_and_each_begins_once_in_a_while() -> None:
    order: list[str] = []

    def side(name: str, number: int) -> str:
        order.append(name)
        return f"{name}{number}"

    found = interleaved(3, lambda number: side("a", number), lambda number: side("b", number))
    assert found == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]
    assert order == ["a", "b", "b", "a", "a", "b"]
