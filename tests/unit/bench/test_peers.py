from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from bench.agents import GraphAgent
from bench.client import by_grpc
from bench.jobs import JOBS, OUTCOMES, Call, Job, Transport
from bench.peers.evidence import MemoryEvidence
from bench.peers.in_memory import InMemoryChat
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub


@asynccontextmanager
async def served(folder: Path, *, alone: bool = False) -> AsyncGenerator[str]:
    evidence = MemoryEvidence()
    server = grpc.aio.server()
    InMemoryChat(GraphAgent(evidence), alone=alone).added_to(server)
    target = f"unix:{folder}/peer.sock"
    server.add_insecure_port(target)
    await server.start()
    try:
        yield target
    finally:
        await server.stop(None)


async def frames_of(target: str, *, deltas: bool) -> list[chat_service_pb2.AskResponse]:
    async with grpc.aio.insecure_channel(target) as channel:
        request = chat_service_pb2.AskRequest(text="Why?", include_deltas=deltas)
        return [frame async for frame in ChatServiceStub(channel).Ask(request)]


@pytest.mark.parametrize("alone", [False, True])
async def test_the_peer_in_memory_answers_as_the_contract_says(tmp_path: Path, alone: bool) -> None:
    async with served(tmp_path, alone=alone) as target:
        frames = await frames_of(target, deltas=True)
    events = [event for frame in frames for event in frame.events]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert frames[0].after_seq == 0
    assert all(one.through_seq == two.after_seq for one, two in itertools.pairwise(frames))
    answer = events[-1].answer
    assert "".join(event.delta.text for event in events) == answer.text
    assert len(answer.citations) == 1
    assert events[1].status.step == turn_pb2.Step.STEP_RETRIEVING
    assert not alone or all(len(frame.events) == 1 for frame in frames)


async def test_a_job_is_done_to_its_number_and_survives_the_way_to_its_process(tmp_path: Path) -> None:
    async with served(tmp_path) as target:
        job = Job(
            Call.ASK,
            Transport.GRPC,
            target,
            "key",
            streams=3,
            calls=10,
            texts=("a", "b"),
            streams_a_channel=2,
        )
        outcome = await by_grpc(JOBS.validate_json(JOBS.dump_json(job)))
    again = OUTCOMES.validate_json(OUTCOMES.dump_json(outcome))
    assert (len(again.totals), len(again.firsts), again.odd) == (10, 10, 0)
    assert again.messages >= 20
    assert again.rate == pytest.approx(10 / again.seconds)
    assert all(first <= total for first, total in zip(again.firsts, again.totals, strict=True))
