"""Numbers in messages, and texts that can be seen."""

from __future__ import annotations

import pytest

from responsa_client.connection import Deadline
from responsa_server.domain.formatting import counted, in_seconds, is_visible, plain_name
from responsa_server.domain.limits import Scope, too_fast, too_many


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.2, "0.2 seconds"), (1, "1 second"), (2.0, "2 seconds"), (2_000_000, "2000000 seconds")],
)
def test_seconds(number: float, words: str) -> None:
    assert in_seconds(number) == str(Deadline(number)) == words


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\u202e\u00a0", "\u2028\x07"])
def test_a_text_that_nobody_sees(text: str) -> None:
    assert not is_visible(text)
    assert is_visible(f"{text}a")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("Ferry\u202eman\n", "Ferryman"),
        (" Ferry \t man ", "Ferry man"),
        ("\u3164\u2800\u200b", ""),
        ("\u2699\ufe0f Tool", "\u2699 Tool"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("नमस्ते ที่นี่ བསྒྲུབས شَدَّة", "नमस्ते ที่นี่ བསྒྲུབས شَدَّة"),
        ("Go\u0338ogle", None),
        ("\u0301Google", None),
        ("Google \u0305", None),
        ("ж\u0311\u0311", None),
        ("ж\u0311\u0300\u0302\u0303\u0304", None),
        ("ж\u20dd", None),
    ],
)
def test_a_name_that_strangers_give(name: str, seen: str | None) -> None:
    assert plain_name(name) == seen


def test_one_and_many_of_a_limit() -> None:
    assert [counted(one, "token") for one in (0, 1, 1_000)] == ["0 tokens", "1 token", "1,000 tokens"]
    fast = [too_fast("messages_per_minute", Scope.USER, most, 30).message for most in (1, 10)]
    assert fast == [
        "You have used up the limit of 1 message a minute; try again in 30 seconds.",
        "You have used up the limit of 10 messages a minute; try again in 30 seconds.",
    ]
    many = [too_many("api_keys", Scope.TENANT, most).message for most in (1, 2)]
    assert many == [
        "Your tenant has reached the limit of 1 API key. Revoke one, then try again.",
        "Your tenant has reached the limit of 2 API keys. Revoke one, then try again.",
    ]
