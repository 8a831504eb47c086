"""Random logs that are cut, repeated and damaged at random. The client yields exactly the log, or raises an error.
These tests use no transport."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator

import pytest

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client import requests
from responsa_client.connection import Connection, Deadline
from responsa_client.errors import BrokenAnswer
from responsa_client.following import Following, Opening
from responsa_client.frames import ChainBroken, Frame
from responsa_client.retries import Backoff

TURN = "turns/0192f3c8-0000-7000-8000-000000000001"
LETTERS = "aé漢😀 "


class Log:
    """A turn with up to four attempts; each may withdraw text of the previous one."""

    def __init__(self, rng: random.Random) -> None:
        self.events: list[turn_pb2.TurnEvent] = []
        self.text = ""
        self._rng = rng
        self._attempt = 1
        self._add(started=turn_pb2.TurnStarted())
        # The positions at which a new attempt may take over. A position is the last seq and the length of the text so far.
        places = [(2, 0)]
        for attempt in range(1, rng.randint(1, 4) + 1):
            self._attempt = attempt
            if attempt > 1:
                seq, size = rng.choice(places)
                places = [place for place in places if place[0] <= seq]
                self._add(
                    attempt_restarted=turn_pb2.TurnAttemptRestarted(
                        discard_from_seq=seq, keep_bytes=len(self.text[:size].encode())
                    )
                )
                self.text = self.text[:size]
            for _ in range(rng.randint(0, 8)):
                self._step()
                if rng.random() < 0.3:
                    places.append((len(self.events) + 1, len(self.text)))
        sha = hashlib.sha256(self.text.encode()).digest()
        self._add(answer=turn_pb2.TurnAnswer(text=self.text, sha256=sha))

    def _step(self) -> None:
        if self._rng.random() < 0.25:
            self._add(status=turn_pb2.TurnStatus(message="Searching"))
            return
        piece = "".join(self._rng.choices(LETTERS, k=self._rng.randint(1, 4)))
        self._add(delta=turn_pb2.TurnDelta(text=piece, byte_offset=len(self.text.encode())))
        self.text += piece

    def _add(self, **event: object) -> None:
        made = turn_pb2.TurnEvent(seq=len(self.events) + 1, attempt=self._attempt, **event)  # pyright: ignore[reportArgumentType]
        self.events.append(made)

    def shown(self, *, deltas: bool) -> list[turn_pb2.TurnEvent]:
        return [event for event in self.events if deltas or event.WhichOneof("event") != "delta"]

    def stream(self, after: int, *, deltas: bool) -> Iterator[Frame]:
        """Frames of random lengths with heartbeats between them."""
        while after < len(self.events):
            if self._rng.random() < 0.2:
                yield chat_service_pb2.ResumeTurnResponse(turn=TURN, after_seq=after, through_seq=after)
            through = min(len(self.events), after + self._rng.randint(1, 5))
            inside = [event for event in self.shown(deltas=deltas) if after < event.seq <= through]
            yield chat_service_pb2.ResumeTurnResponse(
                turn=TURN, after_seq=after, through_seq=through, events=inside
            )
            after = through


def after_of(request: Opening) -> int:
    return request.after_seq if isinstance(request, chat_service_pb2.ResumeTurnRequest) else 0


def following(opening: Opening) -> Following:
    connection = Connection("127.0.0.1:1", None, None, Backoff)
    connection.reached = True
    return Following(opening, connection, math.inf)


def play(log: Log, follower: Following, rng: random.Random, *, deltas: bool) -> list[turn_pb2.TurnEvent]:
    """Follow a turn to its end over streams that are cut at random or ask the client to reconnect."""
    handed: list[turn_pb2.TurnEvent] = []
    while not follower.ended:
        after = after_of(follower.begin())
        assert after == follower.reader.last_seq or not follower.reader.turn
        for frame in log.stream(after, deltas=deltas):
            if rng.random() < 0.3:
                break
            handed += follower.take(frame)
            if rng.random() < 0.1 and not follower.ended:
                away = turn_pb2.TurnEvent(reconnect=turn_pb2.TurnReconnect())
                last = follower.reader.last_seq
                follower.take(
                    chat_service_pb2.AskResponse(turn=TURN, after_seq=last, through_seq=last, events=[away])
                )
                break
        if not follower.ended:
            assert follower.after(None, Deadline(None)).seconds >= 0
    return handed


def opening(*, deltas: bool) -> chat_service_pb2.AskRequest:
    options = chat_service_pb2.AskOptions()
    request = requests.question(chat_service_pb2.AskRequest, "Who?", None, None, "", options)
    request.include_deltas = deltas
    return request


@pytest.mark.parametrize("deltas", [True, False])
def test_cut_anywhere_and_often_the_log_is_handed_out_once(deltas: bool) -> None:
    for seed in range(400):
        rng = random.Random(seed)
        log = Log(rng)
        follower = following(opening(deltas=deltas))
        assert play(log, follower, rng, deltas=deltas) == log.shown(deltas=deltas), seed
        assert follower.reader.text == log.text, seed


def test_resumed_anywhere_the_rest_of_the_log_is_handed_out() -> None:
    for seed in range(400):
        rng = random.Random(seed)
        log = Log(rng)
        after = rng.randrange(len(log.events))
        follower = following(requests.resume(TURN, after, True))
        assert play(log, follower, rng, deltas=True) == log.events[after:], seed
        assert follower.reader.text == log.text, seed


def damage(frame: Frame, rng: random.Random) -> None:
    """Change one property of a frame that holds events."""
    event = rng.choice(frame.events)
    match rng.randrange(6):
        case 0:
            frame.events.remove(event)
        case 1:
            frame.events.add().CopyFrom(event)
        case 2:
            event.seq += rng.choice((-1, 1))
        case 3:
            frame.after_seq += rng.choice((-1, 1))
        case 4:
            frame.through_seq += rng.choice((-1, 1))
        case _:
            event.delta.text += "x"


def test_a_damaged_stream_is_never_believed() -> None:
    """The events before an error are the beginning of the log; a successful turn ends with the log's answer."""
    cut, broken, whole = 0, 0, 0
    for seed in range(2000):
        rng = random.Random(seed)
        log = Log(rng)
        follower = following(opening(deltas=True))
        follower.begin()
        handed: list[turn_pb2.TurnEvent] = []
        frames = list(log.stream(0, deltas=True))
        damage(rng.choice([frame for frame in frames if frame.events]), rng)
        try:
            for frame in frames:
                handed += follower.take(frame)
        except ChainBroken:
            cut += 1
            assert handed == log.events[: len(handed)], seed
        except BrokenAnswer:
            broken += 1
            assert not follower.ended or follower.reader.text == log.text, seed
        else:
            whole += 1
            assert not follower.ended or follower.reader.text == log.text, seed
    assert (cut > 0, broken > 0, whole > 0) == (True, True, True)
