"""Event streams over HTTP on a real server. A reader leaves, is sent to another server, waits, or comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from google.protobuf import json_format

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import turn_pb2
from responsa_server.app.gateway import GatewayServer
from responsa_server.domain.addresses import UnixAddress
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.http.guard import AllowedCallers
from tests.rpc.served import ANSWER, Caller, Serve, Served, spied
from tests.rpc.streams import QUICK, Frames, asking, events, kinds, resumed

Opening = Callable[..., Any]


@dataclass
class Replica:
    """A server, an HTTP client of its gateway, and the caller whose key the client sends."""

    served: Served
    http: httpx2.AsyncClient
    caller: Caller

    @asynccontextmanager
    async def resuming(
        self, turn: str, last_event_id: int | None = None, *, deltas: bool = False
    ) -> AsyncGenerator[Reading]:
        """The stream of a turn, opened as an EventSource opens it."""
        headers = {} if last_event_id is None else {"last-event-id": str(last_event_id)}
        parameters = {"includeDeltas": "true"} if deltas else {}
        async with self._opened("GET", f"/v1/{turn}/events", headers, params=parameters) as reading:
            yield reading

    @asynccontextmanager
    async def asking(self, text: str, **fields: object) -> AsyncGenerator[Reading]:
        """The stream of a question."""
        async with self._opened("POST", "/v1/turns:ask", {}, json={"text": text, **fields}) as reading:  # fmt: skip
            yield reading

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, headers: dict[str, str], **more: Any
    ) -> AsyncGenerator[Reading]:
        headers = {"accept": "text/event-stream", **dict(self.caller.metadata), **headers}
        async with self.http.stream(method, path, headers=headers, **more) as response:
            yield Reading(response, response.aiter_lines())


@dataclass
class Reading:
    """A stream that a test reads. last_event_id: the id that an EventSource would send in its header. retry: the retry
    time that the server sent, in milliseconds; None until it arrives."""

    response: httpx2.Response
    _lines: AsyncIterator[str]
    last_event_id: int | None = None
    retry: int | None = None
    comments: list[str] = field(default_factory=list[str])

    async def frame(self, *, or_comment: bool = False) -> pb.AskResponse | None:
        """The next frame; None at the stream's end, or at a comment."""
        data = kind = ""
        async for line in self._lines:
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    self.last_event_id = int(value)
                case "event":
                    kind = value
                case "retry":
                    self.retry = int(value)
                case "data":
                    data = value
                case "" if not line and data:
                    frame = json_format.Parse(data, pb.AskResponse())
                    assert frame.through_seq == self.last_event_id
                    last = frame.events[-1]
                    assert kind == last.DESCRIPTOR.fields_by_name[last.WhichOneof("event") or ""].json_name
                    return frame
                case "" if line:
                    self.comments.append(value)
                    if or_comment:
                        return None
                case _:
                    assert line == ""
        assert not data
        return None

    async def frames_before_a_comment(self) -> list[pb.AskResponse]:
        """The frames that come before the next comment."""
        found: list[pb.AskResponse] = []
        before = len(self.comments)
        while len(self.comments) == before:
            frame = await self.frame(or_comment=True)
            found += [] if frame is None else [frame]
        return found

    async def error(self) -> str:
        """The status of the stream's last event, which is an error."""
        lines = [line async for line in self._lines]
        return lines[lines.index("event: error_status") + 1]

    async def rest(self) -> list[pb.AskResponse]:
        """All frames to the stream's end."""
        found: list[pb.AskResponse] = []
        while (frame := await self.frame()) is not None:
            found.append(frame)
        return found


@pytest.fixture
def opening(serve: Serve, folder: Path) -> Opening:
    """Return a function that starts a replica with the given name on the test's database. Without a name, the replica is called s."""

    @asynccontextmanager
    async def start(replica: str = "s", **options: Any) -> AsyncGenerator[Replica]:
        turn_options = replace(QUICK, **options)
        async with serve(replica=replica, turn_options=turn_options) as served:
            settings = GatewaySettings(folder, AllowedCallers({"gateway"}, ()), secure_cookie=False)
            path = folder / f"{replica}.http"
            gateway = GatewayServer(build_app(settings, served.calls, served.identity), UnixAddress(path))
            await gateway.start()
            transport = httpx2.AsyncHTTPTransport(uds=str(path))
            try:
                async with httpx2.AsyncClient(base_url="http://gateway", transport=transport) as http:
                    yield Replica(served, http, served.bob)
            finally:
                await gateway.stop(1)

    return start


@pytest.fixture
async def quick(opening: Opening) -> AsyncGenerator[Replica]:
    """A server that checks turns at short intervals."""
    async with opening() as made:
        yield made


async def started(on: Replica, text: str = "wait") -> str:
    who = on.served.bob
    turn = await who.StartTurn(text=text)
    return turn.name


# Readers that leave.


@pytest.mark.parametrize("method", ["Ask", "ResumeTurn"])
async def test_a_reader_that_disconnects_ends_its_call_and_leaves_the_turn(
    quick: Replica, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    served = quick.served
    left = spied(served, monkeypatch)
    turn = await started(quick) if method == "ResumeTurn" else ""
    opened = quick.asking("wait") if method == "Ask" else quick.resuming(turn)
    async with opened as reading:
        frame = await reading.frame()
        assert frame is not None
        turn = frame.turn
        served.lines.kept.clear()
    line = await served.lines.call("CANCELLED")
    assert line["method"].endswith(f"/{method}")
    assert await left.get() == turn
    # The turn itself continues.
    served.agent.gate.set()
    assert kinds(await resumed(served.bob, turn))[-1] == "answer"
    assert left.empty()


async def test_a_reader_that_disconnects_cancels_a_turn_that_asked_for_it(quick: Replica) -> None:
    served = quick.served
    async with quick.asking("wait", cancelOnDisconnect=True) as reading:
        frame = await reading.frame()
        assert frame is not None
    await served.agent.ended.wait()
    turn = await served.bob.GetTurn(name=frame.turn)
    assert turn.terminal_event.cancelled.by == turn_pb2.CANCEL_CAUSE_DISCONNECT


async def test_a_reader_of_the_whole_stream_has_not_left(
    quick: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = spied(quick.served, monkeypatch)
    async with quick.asking("How long is it?") as reading:
        assert kinds(await reading.rest())[-1] == "answer"
    await quick.served.lines.call("OK")
    assert left.empty()


async def test_no_proxy_collects_a_stream(quick: Replica) -> None:
    async with quick.asking("How long is it?") as reading:
        assert reading.response.headers["x-accel-buffering"] == "no"


# Servers that drain.


async def test_a_drain_sends_readers_to_another_replica(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening() as first, opening("t") as other:
        left = spied(first.served, monkeypatch)
        other.served.agent.gate.set()
        other.caller = first.caller
        turn = await started(first)
        async with first.resuming(turn, deltas=True) as reading:
            frames: list[pb.AskResponse] = []
            while (frame := await reading.frame()) is not None:
                frames.append(frame)
                if "status" in kinds(frames):
                    break
            draining = asyncio.gather(first.served.server.drain(3.0), first.served.turns.drain(1.5))
            frames += await reading.rest()
            assert reading.retry is not None
            assert not any(event.HasField("reconnect") for frame in frames for event in frame.events)
        async with other.resuming(turn, reading.last_event_id, deltas=True) as again:
            frames += await again.rest()
        await draining
        assert text_of(frames) == ANSWER
        assert kinds(frames)[-1] == "answer"
        assert left.empty()


# Turns without new events.


async def test_silence_is_filled_with_comments(opening: Opening) -> None:
    async with opening(heartbeat_seconds=0.05) as replica, replica.asking("wait") as reading:
        frame = await reading.frame()
        assert frame is not None
        found = [frame]
        for _ in range(3):
            found += await reading.frames_before_a_comment()
        replica.served.agent.gate.set()
        # A comment is not an event: the ids are contiguous without it.
        assert kinds([*found, *await reading.rest()])[-1] == "answer"
        assert set(reading.comments) == {"heartbeat queue_place=0"}


# Readers that come back.


@pytest.mark.parametrize("deltas", [True, False])
async def test_a_reader_resumes_from_each_id_without_loss(quick: Replica, deltas: bool) -> None:
    whole = await asking(quick.served.bob, "How long is it?", include_deltas=deltas)
    turn = whole[0].turn
    async with quick.resuming(turn, deltas=deltas) as reading:
        assert events(await reading.rest()) == events(whole)
    for last in range(whole[-1].through_seq):
        async with quick.resuming(turn, last, deltas=deltas) as reading:
            found = events(await reading.rest(), last)
            assert found == [event for event in events(whole) if event.seq > last]


async def test_a_reader_that_is_cut_off_in_mid_answer_resumes_without_loss(opening: Opening) -> None:
    async with opening(heartbeat_seconds=0.05) as replica:
        turn = await started(replica)
        async with replica.resuming(turn, deltas=True) as reading:
            frames: list[pb.AskResponse] = []
            while "status" not in kinds(frames):
                frame = await reading.frame()
                assert frame is not None
                frames.append(frame)
        # The reader reconnects while there are no new events. The first heartbeat begins the response, and the events
        # follow as they are written.
        async with replica.resuming(turn, reading.last_event_id, deltas=True) as again:
            replica.served.agent.gate.set()
            frames += await again.rest()
        whole = await resumed(replica.served.sending(replica.caller.metadata), turn, include_deltas=True)
        assert events(frames) == events(whole)
        assert text_of(frames) == ANSWER


async def test_an_event_source_stays_away_after_the_last_event(quick: Replica) -> None:
    """A browser reconnects whenever a response has ended, unless its status was 204."""
    turn = await started(quick, "How long is it?")
    async with quick.resuming(turn) as reading:
        assert kinds(await reading.rest())[-1] == "answer"
    async with quick.resuming(turn, reading.last_event_id) as again:
        assert again.response.status_code == 204
        assert "content-type" not in again.response.headers
        assert await again.response.aread() == b""
    assert reading.last_event_id is not None
    async with quick.resuming(turn, reading.last_event_id + 1) as beyond:
        assert beyond.response.status_code == 400
        assert "AFTER_SEQ_BEYOND_END" in (await beyond.response.aread()).decode()


async def test_the_last_event_id_wins_over_the_query(quick: Replica) -> None:
    """An EventSource reconnects with the address of its first request, so the query still contains the first seq."""
    turn = await started(quick, "How long is it?")
    end = (await resumed(quick.served.bob, turn))[-1].through_seq
    headers = {"accept": "text/event-stream", **dict(quick.served.bob.metadata), "last-event-id": str(end)}
    response = await quick.http.get(f"/v1/{turn}/events?afterSeq=0", headers=headers)
    assert response.status_code == 204
    response = await quick.http.get(f"/v1/turns/{uuid4()}/events", headers=headers)
    assert response.status_code == 404


def text_of(frames: Frames) -> str:
    return "".join(event.delta.text for event in events(frames) if event.HasField("delta"))
