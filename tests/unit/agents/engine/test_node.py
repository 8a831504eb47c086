"""The limits of a turn, the turn's remaining budget, and the part of the conversation that the turn reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from uuid_utils.compat import uuid7

from responsa_server.agents.engine.node import TurnLimits, most_output
from responsa_server.agents.engine.state import divide
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.events import Usage


def test_a_request_can_only_lower_the_cost() -> None:
    assert TurnLimits(cost_micros=100).lower_to(50).cost_micros == 50
    assert TurnLimits(cost_micros=100).lower_to(500).cost_micros == 100
    assert TurnLimits().lower_to(50).cost_micros == 50
    assert TurnLimits(cost_micros=100).lower_to(0).cost_micros == 100


def test_a_limit_is_told_in_plain_words_and_whose_it_is() -> None:
    agent = TurnLimits(steps=5, tokens=100, cost_micros=100)
    sentences = {limit: agent.sentence(limit) for limit in ("steps", "tokens", "cost_micros")}
    for limit, word in (("steps", "more steps"), ("tokens", "more tokens"), ("cost_micros", "cost more")):
        assert word in sentences[limit]
        assert "the agent may" in sentences[limit]
        assert "_" not in sentences[limit]
    assert "you allow" in agent.lower_to(50).sentence("cost_micros")
    assert "the agent may" in agent.lower_to(50).sentence("tokens")
    # A caller's limit that is above the agent's limit has no effect.
    assert agent.lower_to(200).sentence("cost_micros") == sentences["cost_micros"]


def test_the_limit_that_is_reached_is_named() -> None:
    spent = Usage(input_tokens=60, output_tokens=40, cost_micros=7)
    assert TurnLimits().forbids(spent) == ""
    assert TurnLimits(tokens=101, cost_micros=8).forbids(spent) == ""
    assert TurnLimits(tokens=100).forbids(spent) == "tokens"
    assert TurnLimits(cost_micros=7).forbids(spent) == "cost_micros"
    assert TurnLimits(tokens=10).tokens_left(spent) == 0


def test_a_model_without_a_price_is_limited_by_what_was_spent_alone() -> None:
    assert most_output(1000, prompt_tokens=100, micros_left=5) == 1000
    assert most_output(1000, prompt_tokens=100, micros_left=0) == 0


def talk(*sizes: int) -> list[Message]:
    return [
        Message(uuid7(), uuid7(), uuid7(), Speaker.USER, "x" * size, (), None, datetime.now(UTC))
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("messages", "tokens", "older", "kept", "before"),
    [
        (10, 0, 0, [40, 40, 40, 400], []),
        (2, 0, 5, [40, 400], [40, 40]),
        (2, 0, 1, [40, 400], [40]),
        (10, 120, 5, [40, 40, 400], [40]),
        (10, 100, 5, [400], [40, 40, 40]),
        (10, 1, 0, [400], []),
        (0, 0, 2, [], [40, 400]),
    ],
)
def test_the_last_messages_are_read_and_those_before_them_kept_for_a_summary(
    messages: int, tokens: int, older: int, kept: list[int], before: list[int]
) -> None:
    found = divide(talk(40, 40, 40, 400), messages=messages, tokens=tokens, older=older)
    assert [[len(one.text) for one in part] for part in found] == [kept, before]
