"""Bad messages. The server answers each one with a typed frame, and the socket stays open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from responsa_server.domain.errors import InvalidRequest
from responsa_server.transports.ws.incoming import parse
from tests.gateway.conftest import Place
from tests.gateway.sockets import LIBRARIES, Client, Json, reason_of

MOST_BYTES = 262_144
UUID = "0192f3c8-0000-7000-8000-0000000000aa"
MALFORMED: dict[str, str | bytes] = {
    "binary": b"\x00\x01\xff",
    "binary JSON": b'{"content": "Why?"}',
    "one megabyte": json.dumps({"content": "x" * 1_000_000}),
    "one megabyte of nothing": " " * 1_000_000,
    "more bytes than characters": json.dumps({"content": "é" * 200_000}, ensure_ascii=False),
    "broken": '{"content": "Why?"',
    "nothing": "",
    "no object": '["content"]',
    "a number": "17",
    "null": "null",
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 50_000,
    "no JSON": "Why?",
}


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


WRONG: dict[str, tuple[Json, list[str]]] = {
    "nothing in it": ({}, ["content"]),
    "no content": ({"conversation_id": "new"}, ["content"]),
    "content of the wrong type": ({"content": ["Why?"]}, ["content"]),
    "an unknown field": ({"content": "Why?", "model": "gpt"}, ["model"]),
    "several": ({"content": 1, "deltas": "yes", "x": 1}, ["content", "deltas", "x"]),
    "no flag": ({"content": "Why?", "deltas": 1}, ["deltas"]),
    "half a character": ({"content": "\ud83d"}, ["content"]),
    "half a character's name": ({"content": "Why?", "\ud83d": 1}, ["?"]),
    "a teacher of the wrong type": ({"content": "Why?", "teacher_id": 7}, ["teacher_id"]),
    "two teachers": (
        {"content": "Why?", "teacher_id": UUID, "parameters": {"teacher_id": "x"}},
        ["teacher_id"],
    ),
    "parameters of the wrong type": ({"content": "Why?", "parameters": ["level"]}, ["parameters"]),
    "half a character in a parameter": (
        {"content": "Why?", "parameters": {"x": ["\ud83d"]}},
        ["parameters.x[0]"],
    ),
    "a number beyond all measure": ({"content": "Why?", "parameters": {"x": 10**400}}, ["parameters.x"]),
    "parameters that are deep": ({"content": "Why?", "parameters": deep(150)}, ["parameters"]),
    "an unknown type": ({"type": "subscribe"}, ["type"]),
    "a type of the wrong type": ({"type": 7}, ["type"]),
    "a ping with more": ({"type": "ping", "content": "Why?"}, ["content"]),
    "resume nothing": ({"type": "resume"}, ["turn"]),
    "resume from a text": ({"type": "resume", "turn": UUID, "after_seq": "7"}, ["after_seq"]),
    "resume from true": ({"type": "resume", "turn": UUID, "after_seq": True}, ["after_seq"]),
    "resume from beyond": ({"type": "resume", "turn": UUID, "after_seq": 2**70}, ["after_seq"]),
    "cancel nothing": ({"type": "cancel"}, ["turn"]),
    "sign in with nothing": ({"type": "auth"}, ["token"]),
    "what the RPC calls otherwise": ({"content": ""}, ["content", "teacher_id"]),
}


def fields(frame: Json) -> list[str]:
    bad = [one for one in frame["status"]["details"] if one["@type"].endswith("/google.rpc.BadRequest")]
    assert all(one["description"] for one in bad[0]["fieldViolations"])
    return [one["field"] for one in bad[0]["fieldViolations"]]


@pytest.mark.parametrize("library", LIBRARIES)
def test_messages_that_are_none(place: Place, library: str) -> None:
    with Client(place.target, library) as client:
        for name, content in MALFORMED.items():
            client.socket.send(content)
            frame = client.hear()
            assert (frame["type"], frame["code"], frame["status"]["code"]) == ("error", "INVALID_INPUT", 3), (
                name
            )
            assert reason_of(frame) == "MALFORMED_MESSAGE", name
            assert frame["message"] == frame["status"]["message"]
        assert client.say(content="script limit").turn()[-1]["type"] == "message"


def test_fields_that_do_not_belong(place: Place) -> None:
    with Client(place.target) as client:
        for name, (content, wrong) in WRONG.items():
            client.socket.send(json.dumps(content))
            frame = client.hear()
            assert (frame["code"], reason_of(frame)) == ("INVALID_INPUT", "INVALID_FIELD"), name
            assert fields(frame) == wrong, name
            assert frame["message"].startswith(f"{wrong[0]}: "), name
        assert client.say(type="ping").hear() == {"type": "pong"}


def test_what_the_rpc_refuses_is_told_in_its_words(place: Place) -> None:
    with Client(place.target) as client:
        frame = client.say(type="resume", turn=UUID).hear()
        assert (frame["code"], reason_of(frame)) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
        assert (frame["turn"], "seq" in frame) == (f"turns/{UUID}", False)
        frame = client.say(type="cancel", turn=f"turns/{UUID}").hear()
        assert (frame["code"], reason_of(frame)) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
        assert (frame["turn"], "seq" in frame) == (f"turns/{UUID}", False)
        frame = client.say(type="cancel", turn="x" * 10_000).hear()
        assert len(frame["turn"]) == 64
        assert client.say(type="ping").hear() == {"type": "pong"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"content": "Why?", "deltas": false, "content": "How?"}', "content"),
        ('{"content": null, "content": "How?"}', "content"),
        ('{"type": "ping", "type": "ask", "content": "Why?"}', "type"),
        ('{"content": "Why?", "parameters": {"level": 1, "level": 2}}', "level"),
    ],
)
def test_a_key_that_is_given_twice_is_named(text: str, name: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(text, MOST_BYTES)
    assert [(violation.field, violation.rule) for violation in raised.value.violations] == [
        (name, "field.twice")
    ]


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_too_long_for_any_answer_ends_the_socket(place: Place, library: str) -> None:
    with Client(place.target, library) as client:
        client.socket.send("x" * 2_200_000)
        assert client.closed() == 1009
    with Client(place.target, library) as client:
        assert client.say(type="ping").hear() == {"type": "pong"}


def test_a_seventeenth_turn_is_one_too_many(place: Place) -> None:
    with Client(place.target) as client:
        client.say(content="script limit", request_id="done").turn()
        for number in range(16):
            client.say(content="script answer hang=2", request_id=f"h{number}")
        turns = {client.hear()["turn"] for _ in range(16)}
        assert len(turns) == 16
        frame = client.say(content="script limit", request_id="more").hear()
        assert (frame["code"], reason_of(frame), frame["request_id"]) == ("RATE_LIMIT", "OVERLOADED", "more")
        assert "RetryInfo" in json.dumps(frame["status"])
        frame = client.say(type="resume", turn="turns/x").hear()
        assert (reason_of(frame), frame["turn"]) == ("OVERLOADED", "turns/x")
        one = turns.pop()
        assert client.say(type="cancel", turn=one).hear()["turn"] == one
        assert client.say(content="script limit").turn()[-1]["type"] == "message"
        for turn in turns:
            client.say(type="cancel", turn=turn).hear()


def test_a_hundred_at_once(place: Place) -> None:
    with Client(place.target) as client:
        for number in range(100):
            client.say(content="script limit", request_id=f"r{number}")
        ends: list[Json] = []
        while len(ends) < 100:
            frame = client.hear()
            if frame["type"] in ("message", "error"):
                ends.append(frame)
        answered = [end for end in ends if end["type"] == "message"]
        refused = [end for end in ends if end["type"] == "error"]
        # The socket follows turns up to its limit. For each further question, it sends an error that says when to retry.
        assert len({one["turn"] for one in answered}) == len(answered) >= 16
        assert {(one["code"], reason_of(one)) for one in refused} <= {("RATE_LIMIT", "OVERLOADED")}
        assert all("RetryInfo" in json.dumps(one["status"]) for one in refused)
        assert client.say(content="script limit").turn()[-1]["type"] == "message"


def test_a_hundred_of_everything_at_once(place: Place) -> None:
    messages: list[Any] = [
        '{"type": "ping"}',
        "broken",
        b"binary",
        '{"type": "resume"}',
        '{"content": "busy"}',
    ]
    with Client(place.target) as client:
        for number in range(100):
            client.socket.send(messages[number % 5])
        heard = [client.hear() for _ in range(100)]
        assert sum(frame["type"] == "pong" for frame in heard) == 20
        assert sum(frame["type"] == "error" for frame in heard) == 80


def test_a_hundred_before_the_token(place: Place) -> None:
    with Client(place.target, key=None) as client:
        for _ in range(100):
            client.socket.send("broken")
        client.say(type="auth", token="rsp_good")
        assert all(reason_of(client.hear()) == "MALFORMED_MESSAGE" for _ in range(100))
        assert client.say(content="script limit").turn()[-1]["type"] == "message"


def test_more_before_the_token_is_not_listened_to(place: Place) -> None:
    with Client(place.target, key=None) as client:
        for _ in range(128):
            client.say(type="ping")
        heard = [client.hear() for _ in range(129)]
        assert heard[:128] == [{"type": "pong"}] * 128
        assert reason_of(heard[128]) == "CREDENTIAL_MISSING"
        assert client.closed() == 1008


def test_what_comes_before_the_token_is_short(place: Place) -> None:
    with Client(place.target, key=None) as client:
        frame = client.say(type="auth", token="x" * 8_192).hear()
        assert reason_of(frame) == "MALFORMED_MESSAGE"
        assert "8 KiB" in frame["message"]
        assert client.say(type="auth", token="rsp_good").say(type="ping").hear() == {"type": "pong"}


def test_no_more_violations_are_described_than_a_status_carries() -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(json.dumps({"content": "Why?"} | {f"f{number}": 1 for number in range(10_000)}), MOST_BYTES)
    assert [violation.field for violation in raised.value.violations] == [
        f"f{number}" for number in range(16)
    ]
    assert raised.value.metadata == {"violations": "10000"}
