"""Asking and following: each event once, whatever happens to the stream."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client import (
    AsyncResponsa,
    BrokenAnswer,
    Cancelled,
    CannotConnect,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    ResourceExhausted,
    Responsa,
    StreamCut,
    turn_error,
)
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ANSWER,
    CHAT,
    KEY,
    TURN,
    Context,
    Scripted,
    abort,
    answer,
    delta,
    failed,
    frame,
    refused,
    started,
    status,
    step,
    whole_turn,
    without_deltas,
)

ASK = f"{CHAT}/Ask"
Frames = AsyncIterator[chat_service_pb2.AskResponse]


def seqs(events: list[turn_pb2.TurnEvent]) -> list[int]:
    return [event.seq for event in events]


def attempts(server: Scripted, *scripts: Callable[[Any, Context], Frames]) -> None:
    """The first call gets the first script, and so on; the last one stays."""

    async def script(request: Any, context: Context) -> Frames:
        number = min(len(server.requests[ASK]), len(scripts)) - 1
        async for one in scripts[number](request, context):
            yield one

    server.on(ASK, script)


async def complete(_: Any, __: Context) -> Frames:
    events = whole_turn()
    for after, through in ((0, 2), (2, 5), (5, 5), (5, 6)):
        yield frame(after, through, events)


async def complete_without_deltas(_: Any, __: Context) -> Frames:
    events = without_deltas(whole_turn())
    yield frame(0, 2, events)
    yield frame(2, 5, events)
    yield frame(5, 6, events)


async def ends_early(_: Any, __: Context) -> Frames:
    yield frame(0, 2, whole_turn())
    yield frame(2, 4, whole_turn())


async def breaks_off(_: Any, context: Context) -> Frames:
    yield frame(0, 3, whole_turn())
    await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


async def drains(_: Any, context: Context) -> Frames:
    yield frame(0, 3, whole_turn())
    await abort(context, status(grpc.StatusCode.UNAVAILABLE, "DRAINING", retry_after=0.01))


async def has_a_hole(_: Any, __: Context) -> Frames:
    yield frame(0, 2, whole_turn())
    yield frame(3, 6, whole_turn())


async def lacks_an_event(_: Any, __: Context) -> Frames:
    yield frame(0, 2, whole_turn())
    yield frame(2, 5, [event for event in whole_turn() if event.seq != 4])


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
    assert request.options.include_deltas
    assert uuid.UUID(request.request_id)
    assert server.keys == [f"Bearer {KEY}"]


async def test_without_deltas_frames_still_cover_them(server: Scripted, driver: Driver) -> None:
    attempts(server, complete_without_deltas)
    assert seqs(await driver.ask()) == [1, 2, 6]


@pytest.mark.parametrize("broken", [ends_early, breaks_off, drains, has_a_hole, lacks_an_event])
async def test_a_cut_stream_is_asked_for_again(server: Scripted, driver: Driver, broken: Any) -> None:
    attempts(server, broken, broken, complete)
    events = await driver.ask(include_deltas=True)
    assert seqs(events) == [1, 2, 3, 4, 5, 6]
    first, *others = server.requests[ASK]
    assert len(others) == 2
    assert all(request == first for request in others)


async def test_a_request_id_of_ones_own_is_kept(server: Scripted, driver: Driver) -> None:
    attempts(server, ends_early, complete)
    mine = str(uuid.uuid4())
    await driver.ask(request_id=mine, include_deltas=True)
    assert {request.request_id for request in server.requests[ASK]} == {mine}


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


async def test_progress_renews_the_patience(server: Scripted, driver: Driver) -> None:
    """More cuts than the backoff has tries are borne, as long as each stream brings something new."""
    events = [started(), *(step(seq) for seq in range(2, 21)), answer(21)]

    async def one_more(_: Any, __: Context) -> Frames:
        through = min(len(server.requests[ASK]) + 1, 21)
        yield frame(0, through, events)

    attempts(server, one_more)
    assert seqs(await driver.ask()) == list(range(1, 22))


async def test_it_gives_up_with_the_request_id(server: Scripted, driver: Driver) -> None:
    attempts(server, breaks_off)
    with pytest.raises(StreamCut) as caught:
        await driver.ask()
    assert server.requests[ASK][0].request_id in str(caught.value)
    assert len(server.requests[ASK]) == 7


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
    assert [(one.field, one.rule, one.description) for one in error.violations] == [
        ("text", "string.min_bytes", "must not be empty")
    ]
    assert len(server.requests[ASK]) == 1


async def test_a_busy_conversation_is_not_waited_for(server: Scripted, driver: Driver) -> None:
    async def busy(_: Any, context: Context) -> Frames:
        await abort(
            context, status(grpc.StatusCode.ABORTED, "CONVERSATION_BUSY", metadata={"active_turn": TURN})
        )
        yield frame(0, 1, whole_turn())

    attempts(server, busy)
    with pytest.raises(Conflict) as caught:
        await driver.ask()
    assert caught.value.metadata["active_turn"] == TURN
    assert len(server.requests[ASK]) == 1


async def test_an_overloaded_server_is_waited_for_and_then_believed(server: Scripted, driver: Driver) -> None:
    async def overloaded(_: Any, context: Context) -> Frames:
        await abort(context, status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=0.001))
        yield frame(0, 1, whole_turn())

    attempts(server, overloaded, complete)
    assert len(await driver.ask(include_deltas=True)) == 6
    attempts(server, overloaded)
    with pytest.raises(ResourceExhausted):
        await driver.ask()


def wrong_sha(answer: turn_pb2.TurnAnswer) -> None:
    answer.sha256 = bytes(32)


def wrong_quote(answer: turn_pb2.TurnAnswer) -> None:
    answer.citations[1].quote = "It was in 1899."


def wrong_place(answer: turn_pb2.TurnAnswer) -> None:
    answer.citations[0].source_range.end = 101


def wrong_part(answer: turn_pb2.TurnAnswer) -> None:
    answer.citations[0].answer_range.end = 999


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (wrong_sha, "SHA-256"),
        (wrong_quote, "quote of citation 2"),
        (wrong_place, "as long as its place"),
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


async def test_deltas_must_add_up_to_the_answer(server: Scripted, driver: Driver) -> None:
    events = [started(), step(2), delta(3, "Émile ", 0), delta(4, "wrote.", 7), answer(5)]

    async def wrong(_: Any, __: Context) -> Frames:
        yield frame(0, 5, events)

    attempts(server, wrong)
    with pytest.raises(BrokenAnswer, match="add up"):
        await driver.ask(include_deltas=True)


async def test_a_delta_at_the_wrong_place_is_refused(server: Scripted, driver: Driver) -> None:
    async def wrong(_: Any, __: Context) -> Frames:
        yield frame(0, 3, [started(), delta(2, "Émile ", 0), delta(3, "wrote it.", 6)])

    attempts(server, wrong)
    with pytest.raises(BrokenAnswer, match="begins at byte 6, not at 7"):
        await driver.ask(include_deltas=True)


async def test_a_later_attempt_may_write_on_from_where_it_took_over(server: Scripted, driver: Driver) -> None:
    again = delta(4, " wrote it. It was in 1898.", 6)
    again.attempt = 2

    async def script(_: Any, __: Context) -> Frames:
        yield frame(0, 5, [started(), delta(2, "Émile", 0), delta(3, " lost", 6), again, answer(5)])

    attempts(server, script)
    assert seqs(await driver.ask(include_deltas=True)) == [1, 2, 3, 4, 5]


async def test_another_turn_under_the_same_request_id_is_refused(server: Scripted, driver: Driver) -> None:
    async def other(_: Any, __: Context) -> Frames:
        yield frame(0, 6, whole_turn(), turn=TURN.replace("1", "9"))

    attempts(server, ends_early, other)
    with pytest.raises(BrokenAnswer, match="request_id"):
        await driver.ask(include_deltas=True)


async def test_kinds_of_events_not_known_are_passed_over(server: Scripted, driver: Driver) -> None:
    unknown = turn_pb2.TurnEvent(seq=2, attempt=1)
    unknown.MergeFromString(bytes([0xFA, 0x06, 0x02, 0x08, 0x01]))  # field 111, a message

    async def script(_: Any, __: Context) -> Frames:
        yield frame(0, 3, [started(), unknown, refused(3)])

    attempts(server, script)
    assert seqs(await driver.ask()) == [1, 3]


async def test_a_failed_turn_is_an_event_and_its_error_typed(server: Scripted, driver: Driver) -> None:
    async def script(_: Any, __: Context) -> Frames:
        yield frame(0, 2, [started(), failed(2)])

    attempts(server, script)
    events = await driver.ask()
    error = turn_error(events[-1])
    assert error is not None
    assert (error.reason, error.metadata["turn"]) == ("WORKER_LOST", TURN)
    assert turn_error(events[0]) is None


async def test_time_is_up_for_the_whole_of_asking(server: Scripted, driver: Driver) -> None:
    async def silent(_: Any, context: Context) -> Frames:
        yield frame(0, 1, whole_turn())
        await asyncio.Event().wait()

    attempts(server, silent)
    with pytest.raises(DeadlineExceeded, match=r"within 0.3 seconds"):
        await driver.ask(timeout=0.3)
    await server.cancelled.wait()


async def test_a_stream_that_is_left_is_cancelled(server: Scripted) -> None:
    async def endless(_: Any, __: Context) -> Frames:
        yield frame(0, 1, whole_turn())
        await asyncio.Event().wait()

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


async def test_a_stream_that_falls_silent_counts_as_cut(
    server: Scripted, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def falls_silent(_: Any, __: Context) -> Frames:
        yield frame(0, 2, whole_turn())
        await asyncio.Event().wait()

    monkeypatch.setattr(f"responsa_client.{'' if driver.blocking else 'non'}blocking.SILENCE_SECONDS", 0.2)
    attempts(server, falls_silent, complete)
    assert seqs(await driver.ask(include_deltas=True)) == [1, 2, 3, 4, 5, 6]
    await server.cancelled.wait()
