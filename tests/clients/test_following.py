"""Asking and following: each event arrives once, whatever happens to the stream."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from responsa.chat.v1 import turn_pb2
from responsa_client import (
    AsyncResponsa,
    BrokenAnswer,
    Cancelled,
    CannotConnect,
    DeadlineExceeded,
    InvalidRequest,
    OnBusy,
    ResourceExhausted,
    Responsa,
    StreamCut,
    turn_error,
)
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ANSWER,
    ASK,
    CHAT,
    KEY,
    RESUME,
    TURN,
    Context,
    Frames,
    Scripted,
    abort,
    answer,
    attempts,
    complete,
    failed,
    frame,
    seqs,
    started,
    status,
    whole_turn,
    without_deltas,
)


async def breaks_off(_: Any, context: Context) -> Frames:
    yield frame(0, 3, whole_turn())
    await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


async def endless(request: Any, __: Context) -> Frames:
    yield frame(0, 1, whole_turn())
    await asyncio.Event().wait()


async def test_events_come_once_and_in_order_with_the_key(server: Scripted, driver: Driver) -> None:
    attempts(server, complete)
    events = await driver.ask(
        "Who wrote it?", collections=["letters", "collections/notes"], include_deltas=True
    )
    assert seqs(events) == [1, 2, 3, 4, 5, 6]
    assert "".join(event.delta.text for event in events) == ANSWER == events[-1].answer.text
    request = server.requests[ASK][0]
    assert request.text == "Who wrote it?"
    assert request.options.scope.collections == ["collections/letters", "collections/notes"]
    assert request.include_deltas
    assert uuid.UUID(request.request_id)
    assert server.keys == [f"Bearer {KEY}"]


async def test_the_last_seq_is_of_what_was_handed_out_not_of_what_has_come(server: Scripted) -> None:
    async def quiet(_: Any, __: Context) -> Frames:
        yield frame(0, 5, without_deltas(whole_turn()))
        yield frame(5, 6, whole_turn())

    attempts(server, quiet)
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


async def test_an_error_names_what_was_handed_out(server: Scripted, driver: Driver) -> None:
    events = whole_turn()
    events[-1].answer.sha256 = bytes(32)

    async def broken(_: Any, __: Context) -> Frames:
        yield frame(0, 2, events)
        yield frame(2, 6, events)

    attempts(server, broken)
    with pytest.raises(BrokenAnswer) as caught:
        await driver.ask(include_deltas=True)
    assert (caught.value.turn, caught.value.after_seq) == (TURN, 2)


async def test_how_to_answer_is_sent(server: Scripted, driver: Driver) -> None:
    attempts(server, complete)
    made = turn_pb2.Turn(name=TURN, terminal_event=answer(6))

    async def whole(_: Any, __: Context) -> turn_pb2.Turn:
        return made

    server.on(f"{CHAT}/StartTurn", whole)
    server.on(f"{CHAT}/Answer", whole)
    queue = OnBusy.ON_BUSY_QUEUE
    await driver.ask(include_deltas=True, agent="testing", on_busy=queue, cancel_on_disconnect=True)
    await driver.call("answer", "Who?", agent="agents/testing", on_busy=queue)
    await driver.call("start_turn", "Who?", agent="testing", on_busy=queue)
    sent = [server.requests[f"{CHAT}/{method}"][0] for method in ("Ask", "Answer", "StartTurn")]
    assert [request.agent for request in sent] == ["agents/testing"] * 3
    assert [request.options.on_busy for request in sent] == [queue] * 3
    assert sent[0].cancel_on_disconnect
    assert sent[0].include_deltas


async def test_a_server_that_is_restarted_is_found_again(server: Scripted, driver: Driver) -> None:
    begun = asyncio.Event()

    async def cut_by_the_stop(_: Any, __: Context) -> Frames:
        yield frame(0, 2, whole_turn())
        begun.set()
        await asyncio.Event().wait()

    attempts(server, cut_by_the_stop, complete)
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

    attempts(server, breaks_off, nothing)
    with pytest.raises(StreamCut) as caught:
        await driver.ask(include_deltas=True, patience=0.1)
    asked = server.requests[ASK][0].request_id
    assert (caught.value.turn, caught.value.after_seq, caught.value.request_id) == (TURN, 3, asked)
    assert f"resume {TURN} after seq 3" in str(caught.value)
    assert len(server.requests[RESUME]) > 1
    attempts(server, nothing)
    with pytest.raises(StreamCut, match=r"ask again with request_id") as caught:
        await driver.ask(patience=0.1)
    assert (caught.value.turn, caught.value.after_seq) == ("", 0)


async def test_an_error_before_acceptance_is_raised_at_once(server: Scripted, driver: Driver) -> None:
    async def refuse(_: Any, context: Context) -> Frames:
        await abort(
            context,
            status(
                grpc.StatusCode.INVALID_ARGUMENT,
                "INVALID_FIELD",
                "text: must not be empty",
                metadata={"violations": "1"},
                violations=[("text", "string.min_bytes", "must not be empty")],
            ),
        )
        yield frame(0, 1, whole_turn())

    attempts(server, refuse)
    with pytest.raises(InvalidRequest) as caught:
        await driver.ask("")
    error = caught.value
    assert (error.reason, error.metadata, error.retry_after) == ("INVALID_FIELD", {"violations": "1"}, None)
    assert [(violation.field, violation.rule, violation.description) for violation in error.violations] == [
        ("text", "string.min_bytes", "must not be empty")
    ]
    assert len(server.requests[ASK]) == 1


async def test_an_overloaded_server_is_waited_for_and_then_believed(server: Scripted, driver: Driver) -> None:
    async def overloaded(_: Any, context: Context) -> Frames:
        await abort(context, status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=0.001))
        yield frame(0, 1, whole_turn())

    attempts(server, overloaded, complete)
    assert len(await driver.ask(include_deltas=True)) == 6
    attempts(server, overloaded)
    with pytest.raises(ResourceExhausted):
        await driver.ask(patience=0.05)


async def test_a_server_that_is_overloaded_beyond_the_deadline_is_believed_at_once(
    server: Scripted, driver: Driver
) -> None:
    async def overloaded(_: Any, context: Context) -> Frames:
        await abort(context, status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=500.0))
        yield frame(0, 1, whole_turn())

    attempts(server, overloaded)
    with pytest.raises(ResourceExhausted):
        await driver.ask(timeout=300)
    assert len(server.requests[ASK]) == 1


def wrong_quote(answer: turn_pb2.TurnAnswer) -> None:
    answer.citations[1].quote = "It was in 1899."


def wrong_place(answer: turn_pb2.TurnAnswer) -> None:
    answer.citations[0].source_range.end = 101


def wrong_part(answer: turn_pb2.TurnAnswer) -> None:
    answer.citations[0].answer_range.end = 999


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (wrong_quote, "quote of citation 2"),
        (wrong_place, "as long as its range"),
        (wrong_part, "beyond the answer"),
    ],
)
async def test_an_answer_that_does_not_fit_its_checksums_is_refused(
    server: Scripted, driver: Driver, changed: Callable[[turn_pb2.TurnAnswer], None], told: str
) -> None:
    events = whole_turn()
    changed(events[-1].answer)

    async def wrong(_: Any, __: Context) -> Frames:
        yield frame(0, 6, events)

    attempts(server, wrong)
    with pytest.raises(BrokenAnswer, match=told):
        await driver.ask(include_deltas=True)
    assert len(server.requests[ASK]) == 1


async def test_a_failed_turn_is_an_event_and_its_error_typed(server: Scripted, driver: Driver) -> None:
    async def script(_: Any, __: Context) -> Frames:
        yield frame(0, 2, [started(), failed(2)])

    attempts(server, script)
    events = await driver.ask()
    error = turn_error(events[-1])
    assert error is not None
    assert (error.reason, error.metadata["turn"]) == ("WORKER_LOST", TURN)
    assert turn_error(events[0]) is None


async def test_a_deadline_ends_the_following_and_names_the_turn(server: Scripted, driver: Driver) -> None:
    attempts(server, endless)
    with pytest.raises(
        DeadlineExceeded, match=f"{TURN} had not ended within 0.3 seconds. It continues"
    ) as caught:
        await driver.ask(timeout=0.3)
    assert (caught.value.turn, caught.value.after_seq) == (TURN, 1)
    assert caught.value.request_id == server.requests[ASK][0].request_id
    await server.cancelled.wait()


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
        with pytest.raises(asyncio.CancelledError):
            await task
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
    with pytest.raises(Cancelled):
        await task
    with pytest.raises(Cancelled):
        await client.me()


async def test_nobody_there_is_told_at_once(server: Scripted, driver: Driver) -> None:
    await server.stop()
    with pytest.raises(CannotConnect) as caught:
        await driver.ask()
    assert server.url in caught.value.message


async def test_a_server_killed_before_its_first_word_is_asked_again(server: Scripted, driver: Driver) -> None:
    """A server that accepted the connection may return, so the client asks again. The client gives up at once only if it cannot connect."""

    async def killed(_: Any, context: Context) -> Frames:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "recvmsg:Connection reset by peer")
        yield frame(0, 1, whole_turn())

    attempts(server, killed, killed, complete)
    assert seqs(await driver.ask(include_deltas=True)) == [1, 2, 3, 4, 5, 6]
