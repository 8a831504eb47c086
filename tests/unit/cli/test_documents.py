"""The place of a passage in a list of search results."""

from __future__ import annotations

import pytest

from responsa_server.cli.documents import heading_path


@pytest.mark.parametrize(
    ("title", "headings", "path"),
    [
        ("Security", ["Security", "Sessions"], "Security › Sessions"),
        ("Security", ["Security"], "Security"),
        ("Security", ["Sessions", "Security"], "Security › Sessions › Security"),
        ("Security", [], "Security"),
        ("", ["Sessions"], "Sessions"),
    ],
)
def test_a_title_is_told_once(title: str, headings: list[str], path: str) -> None:
    assert heading_path(title, headings) == path
