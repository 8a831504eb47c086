"""The choice of connections for streams of turns and operations."""

from __future__ import annotations

import asyncio
from typing import Any

from clients.conformance.server import Context
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client import (
    AsyncResponsa,
)
from responsa_client.lines import STREAMS_A_LINE
from tests.clients.scripted import (
    ASK,
    KEY,
    KNOWLEDGE,
    OPERATION,
    RESUME,
    TURN,
    Frames,
    Scripted,
    frame,
    ingested,
    operation,
    whole_turn,
)


async def test_more_streams_than_a_connection_carries_take_another(server: Scripted) -> None:
    peers: set[str] = set()
    lasting = asyncio.Event()

    async def hold(_: Any, context: Context) -> Frames:
        peers.add(context.peer())
        yield frame(0, 1, whole_turn())
        await lasting.wait()
        yield frame(1, 6, whole_turn())

    server.on(ASK, hold)
    count = STREAMS_A_LINE + 1
    async with AsyncResponsa(server.url, KEY) as client:
        streams = [client.ask("Who?", include_deltas=True) for _ in range(count)]
        assert [event.seq for event in await asyncio.gather(*(anext(one) for one in streams))] == [1] * count
        assert len(peers) == 2
        lasting.set()
        for stream in streams:
            assert [event.seq async for event in stream] == [2, 3, 4, 5, 6]


async def test_watched_operations_are_streams_too(server: Scripted) -> None:
    peers: set[str] = set()
    lasting = asyncio.Event()

    async def hold(_: Any, context: Context) -> Any:
        peers.add(context.peer())
        yield knowledge_service_pb2.WatchOperationResponse(operation=operation(), seq=1)
        await lasting.wait()
        yield knowledge_service_pb2.WatchOperationResponse(operation=operation(ingested()), seq=2)

    server.on(f"{KNOWLEDGE}/WatchOperation", hold)
    async with AsyncResponsa(server.url, KEY) as client:
        watches = [client.watch_operation(OPERATION) for _ in range(STREAMS_A_LINE + 1)]
        await asyncio.gather(*(anext(watch) for watch in watches))
        assert len(peers) == 2
        lasting.set()
        for watch in watches:
            assert [state.seq async for state in watch] == [2]


async def test_streams_that_are_sent_away_share_the_next_connection(server: Scripted) -> None:
    """When a server drains, many streams end at once. They must share one new connection."""
    all_there, away = asyncio.Event(), asyncio.Event()
    arrived: list[str] = []

    async def drains(_: Any, __: Context) -> Frames:
        yield frame(0, 2, whole_turn())
        if len(server.requests[ASK]) == 20:
            all_there.set()
        await away.wait()
        reconnect = turn_pb2.TurnEvent(reconnect=turn_pb2.TurnReconnect())
        yield chat_service_pb2.AskResponse(turn=TURN, after_seq=2, through_seq=2, events=[reconnect])

    async def resumed(request: Any, context: Context) -> Frames:
        arrived.append(context.peer())
        yield frame(2, 6, whole_turn())

    server.on(ASK, drains)
    server.on(RESUME, resumed)
    async with AsyncResponsa(server.url, KEY) as client:

        async def follow() -> list[int]:
            return [event.seq async for event in client.ask("Who?", include_deltas=True)]

        asking = [asyncio.create_task(follow()) for _ in range(20)]
        await all_there.wait()
        away.set()
        assert await asyncio.gather(*asking) == [[1, 2, 3, 4, 5, 6]] * 20
        await client.close()
    assert len(arrived) == 20
    assert len(set(arrived)) == 1
