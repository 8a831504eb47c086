"""The tests that the pages about security name exist."""

from __future__ import annotations

import re

import pytest

from tests.instance import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")
"""A test, and perhaps its function; without a file, a function of the file named before."""


@pytest.mark.parametrize(
    "page", ["docs/access.md", "docs/accounts.md", "docs/security.md", "docs/maintainers/asvs.md"]
)
def test_every_named_test_exists(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert named
    text = ""
    for file, test in named:
        text = (ROOT / file).read_text(encoding="utf-8") if file else text
        assert not test or f"def {test}(" in text, f"{page}: {file}::{test}"
