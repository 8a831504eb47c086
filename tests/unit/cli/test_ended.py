"""The notes that accompany an answer."""

from __future__ import annotations

import pytest

from responsa.chat.v1 import turn_pb2
from responsa_client.results import outcome
from responsa_server.cli.rendering import dollars, remarks

VERSION = "agents/tutor/versions/3"


def told(version: str = VERSION, **answer: object) -> list[str]:
    made = turn_pb2.TurnAnswer(**answer)  # pyright: ignore[reportArgumentType] - the names are fields of the message
    return list(remarks(outcome(turn_pb2.TurnEvent(answer=made)), version))


def test_who_answered() -> None:
    assert told(model="extractive") == ["tutor answered with sentences from the documents."]
    assert told(model="template") == ["tutor answered with a template."]
    assert told("", model="openai:x\n") == ["answered with openai:x."]
    # An older server reports nothing, so the client prints nothing.
    assert told() == []
    assert told(intent="post", model="a:b") == ["tutor answered with a:b; classified as post."]


def test_what_it_cost() -> None:
    usage = turn_pb2.Usage(input_tokens=1, cost_usd_micros=0)
    assert told(usage=usage) == ["tutor; 1 token, 0.00 USD."]
    usage = turn_pb2.Usage(
        input_tokens=1_000, output_tokens=500, cost_usd_micros=120_000, unpriced_tokens=900
    )
    assert told(model="a:b", usage=usage) == [
        "tutor answered with a:b; 1,500 tokens, 0.12 USD (the price of 900 tokens is not known)."
    ]
    usage = turn_pb2.Usage(input_tokens=5, unpriced_tokens=5)
    assert told("", model="a:b", usage=usage) == [
        "answered with a:b; 5 tokens (the price of 5 tokens is not known)."
    ]


def test_every_kind_of_fallback_has_its_sentence() -> None:
    said = {
        kind: told(fallbacks=[turn_pb2.Fallback(kind=kind, source="write", cause="empty")])[0]
        for kind in turn_pb2.FallbackKind.values()
        if kind
    }
    assert len(set(said.values())) == len(said) >= 8
    assert all(one.endswith(" (write: empty).") for one in said.values())
    (unknown,) = told(fallbacks=[turn_pb2.Fallback(kind=99)])  # pyright: ignore[reportArgumentType] - a newer server may send this kind
    assert unknown not in {one.replace(" (write: empty)", "") for one in said.values()}


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0.00 USD"),
        (1, "0.000001 USD"),
        (2_100, "0.0021 USD"),
        (500_000, "0.50 USD"),
        (1_234_000_000, "1,234.00 USD"),
    ],
)
def test_money(micros: int, shown: str) -> None:
    assert dollars(micros) == shown
