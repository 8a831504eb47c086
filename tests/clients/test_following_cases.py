"""tests/cases/following.yaml with both clients, against a real gRPC server that plays each case. The page's tests play the same cases."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client import (
    AsyncResponsa,
    AsyncTurnStream,
    Backoff,
    BrokenAnswer,
    Notice,
    Reconnecting,
    Responsa,
    ResponsaError,
    TurnStream,
    Waiting,
)
from tests.clients.scripted import CHAT, KEY, Context, Scripted, abort, status

TABLE = json.loads(
    re.sub(
        r"(?m)^#.*$",
        "",
        (Path(__file__).parents[1] / "cases" / "following.yaml").read_text(encoding="utf-8"),
    )
)
CASES: Mapping[str, Any] = {case["name"]: case for case in TABLE["cases"]}
EVENTS: Mapping[str, Any] = TABLE["events"]
TURN: str = TABLE["turn"]
OTHER = TURN[:-1] + "9"
HASTE = 0.005
"""For each second in tests/cases/following.yaml, these tests wait this many seconds."""
BASE = 0.001


@dataclass
class Heard:
    """Everything that the caller of a client received."""

    seqs: list[int] = field(default_factory=list[int])
    places: list[int] = field(default_factory=list[int])
    pauses: list[float] = field(default_factory=list[float])
    error: ResponsaError | None = None

    def notice(self, notice: Notice) -> None:
        match notice:
            case Waiting(place):
                self.places.append(place)
            case Reconnecting(seconds, _):
                self.pauses.append(seconds)


class Player:
    """Plays the calls of a case, and records each request and its connection."""

    def __init__(self, server: Scripted, case: Mapping[str, Any]) -> None:
        self.calls: list[Mapping[str, Any]] = case["calls"]
        self.asked: list[Any] = []
        self.peers: list[str] = []
        for method, play in (("Ask", self.stream), ("ResumeTurn", self.stream), ("GetTurn", self.turn)):
            server.on(f"{CHAT}/{method}", play)

    def next(self, request: Any, context: Context) -> Mapping[str, Any]:
        self.asked.append(request)
        self.peers.append(context.peer())
        assert len(self.asked) <= len(self.calls), "one call more than the case has"
        return self.calls[len(self.asked) - 1]

    async def turn(self, request: Any, context: Context) -> turn_pb2.Turn:
        return json_format.ParseDict(
            {"name": TURN, **self.next(request, context)["turn"]}, turn_pb2.Turn(), ignore_unknown_fields=True
        )

    async def stream(self, request: Any, context: Context) -> AsyncIterator[Any]:
        call = self.next(request, context)
        kind = (
            chat_service_pb2.AskResponse
            if isinstance(request, chat_service_pb2.AskRequest)
            else chat_service_pb2.ResumeTurnResponse
        )
        for after, through, *names in call["frames"]:
            made = kind(
                turn=OTHER if call.get("of_another_turn") else TURN, after_seq=after, through_seq=through
            )
            for name in names:
                event = json_format.ParseDict(EVENTS[name], made.events.add())
                if name == "unknown":
                    event.MergeFromString(bytes([0xFA, 0x06, 0x02, 0x08, 0x01]))  # field 111, a message
                if event.WhichOneof("event") == "reconnect":
                    seconds = event.reconnect.after.ToTimedelta().total_seconds() * HASTE
                    event.reconnect.after.FromNanoseconds(round(seconds * 1e9))
            yield made
        match call["end"]:
            case "ok":
                return
            case "cut":
                await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
            case "silent" | "left":
                await asyncio.Event().wait()
            case error:
                code = grpc.StatusCode[error["code"]]
                if "reason" not in error:
                    await context.abort(code, "Something on the way.")
                retry = error["retry_after"] * HASTE if "retry_after" in error else None
                await abort(context, status(code, error["reason"], retry_after=retry))


def backoff() -> Backoff:
    return Backoff(base=BASE, cap=1000 * BASE, jitter=lambda: 1.0)


def start(client: Responsa | AsyncResponsa, case: Mapping[str, Any], heard: Heard) -> Any:
    deltas = case["deltas"]
    if case["start"] == "ask":
        return client.ask("Who?", include_deltas=deltas, on_notice=heard.notice)
    return client.resume(TURN, case["start"]["resume"], deltas, on_notice=heard.notice)


async def follow(
    server: Scripted, case: Mapping[str, Any], heard: Heard, *, blocking: bool
) -> TurnStream | AsyncTurnStream:
    # A case without silence must not depend on the load of the machine.
    silence = 0.2 if any(call.get("end") == "silent" for call in case["calls"]) else 60.0
    if not blocking:
        async with AsyncResponsa(server.url, KEY, backoff=backoff, patience=30, silence=silence) as client:
            # The client believes that the server has answered before, because the cases are about streams and
            # not about the first connection.
            client._calls.connection.reached = True  # pyright: ignore[reportPrivateUsage]
            following: AsyncTurnStream = start(client, case, heard)
            try:
                async for event in following:
                    heard.seqs.append(event.seq)
            except ResponsaError as error:
                heard.error = error
            return following

    def run() -> TurnStream:
        with Responsa(server.url, KEY, backoff=backoff, patience=30, silence=silence) as client:
            client._calls.connection.reached = True  # pyright: ignore[reportPrivateUsage]
            following: TurnStream = start(client, case, heard)
            try:
                heard.seqs.extend(event.seq for event in following)
            except ResponsaError as error:
                heard.error = error
            return following

    return await asyncio.to_thread(run)


def check_requests(case: Mapping[str, Any], player: Player) -> None:
    assert len(player.asked) == len(case["calls"])
    for request, call in zip(player.asked, case["calls"], strict=True):
        match call["expect"]:
            case "ask":
                assert request == player.asked[0]
                assert request.request_id
                assert request.include_deltas == case["deltas"]
            case "get":
                assert request == chat_service_pb2.GetTurnRequest(name=TURN)
            case resumed:
                wanted = chat_service_pb2.ResumeTurnRequest(
                    turn=TURN, after_seq=resumed["resume"], include_deltas=case["deltas"]
                )
                assert request == wanted


def check_pauses(case: Mapping[str, Any], player: Player, heard: Heard) -> None:
    wanted = [call["pause"] for call in case["calls"] if "pause" in call]
    assert len(heard.pauses) == len(wanted)
    for pause, want in zip(heard.pauses, wanted, strict=True):
        if "exactly" in want:
            assert pause == pytest.approx(want["exactly"] * HASTE)
        else:
            longest = BASE * 2 ** (want["backoff"] - 1)
            assert pause == pytest.approx(max(longest, want.get("at_least", 0) * HASTE))
    for number, call in enumerate(case["calls"]):
        if call.get("fresh"):
            assert player.peers[number] != player.peers[number - 1]


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("name", CASES)
async def test_case(server: Scripted, name: str, blocking: bool) -> None:
    case, heard = CASES[name], Heard()
    player = Player(server, case)
    async with asyncio.timeout(30):
        stream = await follow(server, case, heard, blocking=blocking)
    ends = case["ends"]
    if isinstance(ends, str):
        assert heard.error is None
        assert stream.terminal is not None
        assert stream.terminal.WhichOneof("event") == ends
    else:
        assert heard.error is not None
        assert (heard.error.turn, heard.error.after_seq) == (stream.turn, stream.last_seq)
        assert heard.error.reason == ends["error"] or (
            ends["error"] == "broken" and isinstance(heard.error, BrokenAnswer)
        )
    assert heard.seqs == case["hands_out"]
    check_requests(case, player)
    check_pauses(case, player, heard)
    assert heard.places == case.get("places", heard.places)
    assert stream.text == case.get("text", stream.text)
    if "citations" in case:
        assert [citation.quote for citation in stream.citations] == [
            EVENTS[name]["citation"]["quote"]
            for name in EVENTS
            if "citation" in EVENTS[name] and EVENTS[name]["seq"] in case["citations"]
        ]
