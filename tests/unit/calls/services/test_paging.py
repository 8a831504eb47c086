"""Filters of lists that are in memory."""

from __future__ import annotations

import pytest

from responsa_server.calls.services.paging import fits
from responsa_server.domain.listing import FilterComparison, Operator, Wildcard


@pytest.mark.parametrize(
    ("text", "parts", "matches"),
    [
        ("Library", ("Lib", ""), True),
        ("Library", ("", "rary"), True),
        ("Library", ("L", "br", "y"), True),
        ("Library", ("L", "r", "r", "y"), True),
        ("Library", ("L", "r", "r", "r", "y"), False),
        ("Library", ("Library", "y"), False),
        ("a.b", ("a", ".", "b"), True),
        ("axb", ("", ".", ""), False),
        # With backtracking, this comparison would not end.
        ("a " * 50, ("", *["a"] * 25, "b"), False),
    ],
)
def test_wildcards(text: str, parts: tuple[str, ...], *, matches: bool) -> None:
    assert fits(text, FilterComparison("title", Operator.EQ, Wildcard(parts))) is matches
    assert fits(text, FilterComparison("title", Operator.NE, Wildcard(parts))) is not matches
