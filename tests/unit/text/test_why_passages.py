"""The line that says why an answer shows passages."""

from __future__ import annotations

import pytest

from responsa_server.text.why_passages import why_passages, without_why


@pytest.mark.parametrize(
    ("causes", "language", "line"),
    [
        ([], "en", "Closest passages:"),
        (["no_model"], "fr", "No language model is configured. Closest passages:"),
        (
            ["declined", "no_model"],
            "de",
            "Es ist kein Sprachmodell eingestellt. Nächstliegende Stellen:",
        ),
        (
            ["model_unavailable:rate_limited"],
            "de",
            "Das Sprachmodell ist gerade nicht verfügbar (rate limited). Nächstliegende Stellen:",
        ),
        (
            ["model_unavailable:It's\x1b[2J"],
            "en",
            "The language model is not available at the moment. Closest passages:",
        ),
    ],
)
def test_the_line_is_written_and_taken_out_again(causes: list[str], language: str, line: str) -> None:
    assert why_passages(causes, language) == line
    assert without_why(line) == ""
    assert without_why(f"{line}\n\nSources:\n\n1. A") == "Sources:\n\n1. A"


def test_other_texts_stay() -> None:
    for text in ("", "No language model is configured.", "A. Closest passages:"):
        assert without_why(text) == text
