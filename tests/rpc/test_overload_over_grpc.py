"""A server with as many questions without a model as it answers in time: it refuses new ones, and everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from uuid import uuid4

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import turn_pb2
from responsa_server.turns.settings import TurnOptions
from tests.rpc.served import Serve, Served, failed

MOST = 2
FLOOD = 40


@pytest.fixture
async def served(serve: Serve) -> AsyncGenerator[Served, None]:
    # In so short a time, a server answers only what has a slot.
    options = TurnOptions(slots=MOST, answer_seconds=0.1)
    async with serve(turn_options=options) as one:
        one.agent.asks_models = False
        yield one


async def test_a_flood_is_refused_by_type_and_existing_streams_and_other_calls_go_on(served: Served) -> None:
    requests = [chat.AskRequest(text="wait", request_id=str(uuid4())) for _ in range(MOST)]
    streams = [aiter(served.ann.Ask(request)) for request in requests]
    turns = [(await anext(stream)).turn for stream in streams]

    flood = [served.ann.Ask(text="wait", request_id=str(uuid4())) for _ in range(FLOOD)]
    refusals = await asyncio.gather(*map(failed, flood))
    for refusal in refusals:
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert refusal.metadata == {"limit": str(MOST)}
        assert 0 < (refusal.retry_after or 0) <= 30
    assert len({refusal.retry_after for refusal in refusals}) > FLOOD / 2

    assert (await served.bob.GetMe()).name == served.bob.name
    asks_a_model = await served.ann.StartTurn(text="wait", agent="agents/other")
    assert asks_a_model.state == turn_pb2.TURN_STATE_RUNNING
    attached = aiter(served.ann.Ask(requests[0]))
    resumed = aiter(served.ann.ResumeTurn(turn=turns[1]))
    assert [(await anext(stream)).turn for stream in (attached, resumed)] == turns

    served.agent.gate.set()
    for stream in (*streams, attached, resumed):
        frames = [frame async for frame in stream]
        assert frames[-1].events[-1].WhichOneof("event") == "answer"
    assert (await served.ann.Answer(text="How long is the Nile?")).state == turn_pb2.TURN_STATE_ANSWERED
