"""The parts of German compounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from responsa_server.text.compounds import split

NOUNS = {"auto", "bahn", "netz", "plan", "bahnnetz"}


@pytest.mark.parametrize(
    ("word", "most", "parts"),
    [
        ("autobahn", 2, ["auto", "bahn"]),
        ("autobahn", 1, []),
        ("autobahnplan", 2, []),
        ("autobahnplan", 3, ["auto", "bahn", "plan"]),
        ("autobahnnetz", 4, ["auto", "bahnnetz"]),
        ("autobahnnetzplan", 4, ["auto", "bahnnetz", "plan"]),
        ("auto", 4, []),
        ("autotal", 4, []),
    ],
)
def test_a_word_has_the_fewest_parts(word: str, most: int, parts: Sequence[str]) -> None:
    assert list(split(word, NOUNS.__contains__, most)) == parts
