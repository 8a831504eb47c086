"""Text for terminals: lines are joined only where the source was wrapped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.cli.documents import heading_path
from responsa_server.cli.layout import reflow


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The server does not\nstart a second turn. [1]", "The server does not start a second turn. [1]"),
        ("One\r\n  two\n three.\n\nFour\nfive.", "One two three.\n\nFour five."),
        (
            "Wir gehen\nheute. 山は高い。\n川は長い。 산은\n높다.",
            "Wir gehen heute. 山は高い。川は長い。 산은 높다.",
        ),
        ("A break  \nthat is meant\\\nhere\nnot.", "A break  \nthat is meant\\\nhere not."),
    ],
)
def test_wrapped_lines_are_joined(text: str, shown: str) -> None:
    assert reflow(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Run it:\n```sh\nmake up\nmake down\n``` [1]",
        "~~~\n```\na\nb\n~~~",
        "make up\n    make down\n    make check",
        "Three things:\n- one\n- two\n  and its rest\ngoes on\n1. three\n2) four",
        "| Part | State |\n|---|---|\n| log | kept | [2]",
        "log | kept\nhub | lost",
        "log      kept\nhub      lost",
        "# Heading\n> a quote\n> of two lines",
        "",
        "\n\n",
    ],
)
def test_what_means_its_line_breaks_keeps_them(text: str) -> None:
    assert reflow(text) == text


@given(st.text(alphabet="ab. \n`~-#|>1)\t\\é山산", max_size=300))
def test_nothing_but_white_space_changes(text: str) -> None:
    assert "".join(reflow(text).split()) == "".join(text.split())
    assert reflow(reflow(text)).count("\n") <= text.count("\n")


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
