from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Comparison, Figure, median, percentile
from bench.interleaved import interleaved
from bench.report import Line, Machine, as_json

NUMBERS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50)


def test_a_median_is_the_middle() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    with pytest.raises(ValueError, match="median needs"):
        median([])


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile(values, 0.0) == 1.0
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_a_percentile_of_nothing_or_beyond_all_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="a percentile needs"):
        percentile(values, share)


@given(NUMBERS, st.floats(0, 1))
def test_a_percentile_leaves_its_share_below(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)


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


def test_a_line_as_json_tells_all() -> None:
    found = Comparison.of([2.0, 4.0], [1.0, 1.0])
    machine = Machine(2, "x86_64", "3.11.7", 0.25)
    told = json.loads(as_json([Line.compared("S", "w", "/s", "more", found, 10)], machine))
    assert told["machine"] == {"cores": 2, "architecture": "x86_64", "python": "3.11.7", "load": 0.25}
    (line,) = told["lines"]
    assert line == {
        "section": "S",
        "what": "w",
        "unit": "/s",
        "better": "more",
        "ours": {"median": 3.0, "low": 2.0, "high": 4.0},
        "peer": {"median": 1.0, "low": 1.0, "high": 1.0},
        "ratio": {"median": 3.0, "low": 2.0, "high": 4.0},
        "rounds": 2,
        "measured": 10,
    }
