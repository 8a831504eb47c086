"""How a question names its agent, parameters and limits through both clients, and the outcome of a turn."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import json_format

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client import Responsa, outcome
from responsa_client.requests import agent_name
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ASK,
    CHAT,
    TURN,
    Scripted,
    answer,
    complete,
    failed,
    play_streams,
    refused,
    started,
)

QUEUE = chat_service_pb2.ON_BUSY_QUEUE
PARAMETERS = {"level": "beginner", "length": 3, "polite": True, "deep": {"a": [1.5, None, "x"]}}


async def test_parameters_and_limits_travel_with_every_way_to_ask(server: Scripted, driver: Driver) -> None:
    play_streams(server, complete)
    server.reply(f"{CHAT}/Answer", turn_pb2.Turn(name=TURN, terminal_event=answer(3)))
    server.reply(f"{CHAT}/StartTurn", turn_pb2.Turn(name=TURN, terminal_event=answer(3)))
    for method, path in (("ask", ASK), ("answer", f"{CHAT}/Answer"), ("start_turn", f"{CHAT}/StartTurn")):
        how: dict[str, Any] = {"max_cost_usd_micros": 2_100, "filter_by": "date >= 2025", "on_busy": QUEUE}
        if method == "ask":
            how |= {"collections": ["letters", "collections/notes"], "cancel_on_disconnect": True}
        await driver.call(method, "Who?", agent="tutor", parameters=PARAMETERS, **how)
        await driver.call(method, "Who?", agent="agents/tutor", parameters={})
        asked, plain = server.requests[path]
        assert json_format.MessageToDict(asked.options.parameters) == PARAMETERS
        assert (asked.agent, plain.agent) == ("agents/tutor", "agents/tutor")
        assert (asked.options.max_cost_usd_micros, asked.options.on_busy) == (2_100, QUEUE)
        assert (asked.options.scope.filter, plain.options.scope.filter) == ("date >= 2025", "")
        # A question without parameters equals a question from before parameters existed, because the field is not sent.
        assert not plain.options.HasField("parameters")
    (question, _) = server.requests[ASK]
    assert question.cancel_on_disconnect
    assert question.options.scope.collections == ["collections/letters", "collections/notes"]


async def test_a_question_that_is_stopped_early_is_the_same_question(server: Scripted) -> None:
    """To find the turn, `stop` sends a request that equals the first request in all fields that the server compares."""

    server.reply(f"{CHAT}/StartTurn", turn_pb2.Turn(name=TURN))
    server.reply(f"{CHAT}/CancelTurn", turn_pb2.Turn(name=TURN))

    def stop() -> None:
        with Responsa(server.url) as client:
            client.ask(
                "Who?",
                collections=["notes"],
                include_deltas=True,
                cancel_on_disconnect=True,
                parameters=PARAMETERS,
                max_cost_usd_micros=7,
                on_busy=QUEUE,
            ).stop()

    await asyncio.to_thread(stop)
    (request,) = server.requests[f"{CHAT}/StartTurn"]
    options = request.options
    assert json_format.MessageToDict(options.parameters) == PARAMETERS
    assert (options.max_cost_usd_micros, options.on_busy) == (7, QUEUE)
    assert list(options.scope.collections) == ["collections/notes"]
    assert not {field.name for field, _ in request.ListFields()} & {"include_deltas", "cancel_on_disconnect"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("", ""),
        ("chat", "agents/chat"),
        ("agents/chat", "agents/chat"),
        ("chat/versions/3", "agents/chat/versions/3"),
        ("agents/chat/versions/3", "agents/chat/versions/3"),
    ],
)
def test_an_agent_is_named_by_its_id_or_a_version(written: str, name: str) -> None:
    assert agent_name(written) == name


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_parameters_that_are_no_json_are_refused_at_once(value: Any) -> None:
    with Responsa("127.0.0.1:1") as client, pytest.raises((ValueError, TypeError)):
        client.ask("Who?", parameters={"x": value})


def test_an_end_tells_who_answered_and_what_it_cost() -> None:
    fell = turn_pb2.Fallback(kind=turn_pb2.FALLBACK_KIND_PROVIDER, source="a:b", target="c:d", cause="empty")
    usage = turn_pb2.Usage(input_tokens=30, output_tokens=4, cost_usd_micros=2_100, unpriced_tokens=5)
    event = answer(3)
    event.answer.MergeFrom(
        turn_pb2.TurnAnswer(intent="qa", category="exercise", model="c:d", fallbacks=[fell], usage=usage)
    )
    ended = outcome(event)
    assert (ended.kind, ended.intent, ended.category, ended.model) == ("answer", "qa", "exercise", "c:d")
    assert (list(ended.fallbacks), ended.cost) == ([fell], Decimal("0.0021"))
    assert (ended.input_tokens, ended.output_tokens, ended.unpriced_tokens) == (30, 4, 5)
    assert outcome(turn_pb2.Turn(name=TURN, terminal_event=event)) == ended

    event = refused(3)
    event.refused.intent = "out_of_scope"
    assert (outcome(event).kind, outcome(event).intent) == ("refused", "out_of_scope")
    event = failed(3)
    event.failed.usage.CopyFrom(usage)
    event.failed.fallbacks.append(fell)
    assert (outcome(event).text, outcome(event).cost_usd_micros) == ("The worker was lost.", 2_100)
    assert list(outcome(event).fallbacks) == [fell]
    # The event `cancelled` contains no cost, so the cost comes from the turn. A running turn has no outcome.
    ended = turn_pb2.Turn(
        terminal_event=turn_pb2.TurnEvent(seq=3, cancelled=turn_pb2.TurnCancelled()), usage=usage
    )
    assert (outcome(ended).kind, outcome(ended).cost_usd_micros) == ("cancelled", 2_100)
    assert outcome(turn_pb2.Turn(name=TURN, usage=usage)).kind == ""
    assert outcome(started()).kind == ""
