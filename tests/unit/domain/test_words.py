"""Numbers in messages."""

from __future__ import annotations

import pytest

from responsa_client.connection import Deadline
from responsa_server.domain.words import in_seconds


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.2, "0.2 seconds"), (1, "1 second"), (2.0, "2 seconds"), (2_000_000, "2000000 seconds")],
)
def test_seconds(number: float, words: str) -> None:
    assert in_seconds(number) == str(Deadline(number)) == words
