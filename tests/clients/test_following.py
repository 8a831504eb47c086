"""Asking and following, as far as the conformance kit (test_conformance.py) does not play it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from clients.conformance.server import Context, status
from responsa_client import (
    AsyncResponsa,
    Cancelled,
    ResourceExhausted,
    Responsa,
    StreamCut,
    turn_error,
)
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ASK,
    KEY,
    RESUME,
    TURN,
    Frames,
    Scripted,
    complete,
    failed,
    frame,
    play_streams,
    seqs,
    started,
    whole_turn,
    without_deltas,
)
from tests.raising import raises


async def breaks_off(_: Any, context: Context) -> Frames:
    yield frame(0, 3, whole_turn())
    await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


async def endless(request: Any, __: Context) -> Frames:
    yield frame(0, 1, whole_turn())
    await asyncio.Event().wait()


async def test_the_last_seq_is_of_what_was_handed_out_not_of_what_has_come(server: Scripted) -> None:
    async def quiet(_: Any, __: Context) -> Frames:
        yield frame(0, 5, without_deltas(whole_turn()))
        yield frame(5, 6, whole_turn())

    play_streams(server, quiet)
    seen: list[tuple[int, int]] = []

    def ask() -> None:
        with Responsa(server.url, KEY) as client, client.ask("Who?") as stream:
            seen.append((0, stream.last_seq))
            seen.extend((event.seq, stream.last_seq) for event in stream)

    await asyncio.to_thread(ask)
    async with AsyncResponsa(server.url, KEY) as client, client.ask("Who?") as stream:
        seen.append((0, stream.last_seq))
        async for event in stream:
            seen.append((event.seq, stream.last_seq))
    assert seen == [(0, 0), (1, 1), (2, 2), (6, 6)] * 2


async def test_a_server_that_is_restarted_is_found_again(server: Scripted, driver: Driver) -> None:
    begun = asyncio.Event()

    async def cut_by_the_stop(_: Any, __: Context) -> Frames:
        yield frame(0, 2, whole_turn())
        begun.set()
        await asyncio.Event().wait()

    play_streams(server, cut_by_the_stop, complete)
    asking = asyncio.create_task(driver.ask(include_deltas=True))
    await begun.wait()
    await server.stop()
    await server.start()
    assert seqs(await asking) == [1, 2, 3, 4, 5, 6]


async def test_it_gives_up_when_its_patience_ends_and_tells_how_to_go_on(
    server: Scripted, driver: Driver
) -> None:
    async def nothing(_: Any, context: Context) -> Frames:
        await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        yield frame(0, 1, whole_turn())

    play_streams(server, breaks_off, nothing)
    caught = await raises(StreamCut, driver.ask(include_deltas=True, patience=0.5))
    asked = server.requests[ASK][0].request_id
    assert (caught.turn, caught.after_seq, caught.request_id) == (TURN, 3, asked)
    assert f"resume {TURN} after seq 3" in str(caught)
    assert server.requests[RESUME]
    play_streams(server, nothing)
    caught = await raises(StreamCut, driver.ask(patience=0.1), r"ask again with request_id")
    assert (caught.turn, caught.after_seq) == ("", 0)


async def test_an_overloaded_server_is_believed_when_the_patience_ends(
    server: Scripted, driver: Driver
) -> None:
    server.refuse(ASK, status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=0.001))
    await raises(ResourceExhausted, driver.ask(patience=0.05))


async def test_a_server_that_is_overloaded_beyond_the_deadline_is_believed_at_once(
    server: Scripted, driver: Driver
) -> None:
    server.refuse(ASK, status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=500.0))
    await raises(ResourceExhausted, driver.ask(timeout=300))
    assert len(server.requests[ASK]) == 1


async def test_a_failed_turn_is_an_event_and_its_error_typed(server: Scripted, driver: Driver) -> None:
    async def script(_: Any, __: Context) -> Frames:
        yield frame(0, 2, [started(), failed(2)])

    play_streams(server, script)
    events = await driver.ask()
    error = turn_error(events[-1])
    assert error is not None
    assert (error.reason, error.metadata["turn"]) == ("WORKER_LOST", TURN)
    assert turn_error(events[0]) is None


async def test_a_stream_that_is_left_is_cancelled(server: Scripted) -> None:
    server.on(ASK, endless)

    def leave() -> str:
        with Responsa(server.url, KEY) as client, client.ask("Who?") as stream:
            assert next(stream).seq == 1
            assert stream.terminal is None
            return stream.turn

    assert await asyncio.to_thread(leave) == TURN
    await server.cancelled.wait()

    server.cancelled.clear()
    async with AsyncResponsa(server.url, KEY) as client, client.ask("Who?") as stream:
        assert (await anext(stream)).seq == 1
    await server.cancelled.wait()


async def test_a_task_that_is_cancelled_cancels_its_call(server: Scripted) -> None:
    begun = asyncio.Event()

    async def endless(_: Any, __: Context) -> Frames:
        yield frame(0, 1, whole_turn())
        begun.set()
        await asyncio.Event().wait()

    server.on(ASK, endless)
    async with AsyncResponsa(server.url, KEY) as client:

        async def follow() -> None:
            async for _ in client.ask("Who?"):
                pass

        task = asyncio.create_task(follow())
        await begun.wait()
        task.cancel()
        await raises(asyncio.CancelledError, task)
        await server.cancelled.wait()


async def test_closing_the_client_ends_a_stream_with_an_error_not_a_cancellation(server: Scripted) -> None:
    begun = asyncio.Event()

    async def endless(_: Any, __: Context) -> Frames:
        yield frame(0, 1, whole_turn())
        begun.set()
        await asyncio.Event().wait()

    server.on(ASK, endless)
    client = AsyncResponsa(server.url, KEY)

    async def follow() -> None:
        async for _ in client.ask("Who?"):
            pass

    task = asyncio.create_task(follow())
    await begun.wait()
    await client.close()
    await raises(Cancelled, task)
    await raises(Cancelled, client.me())
