"""Every frame that a socket can send, word for word, through Envoy and with two client libraries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from responsa_server.transports.ws.bridge import Timing
from tests.gateway.conftest import Place
from tests.gateway.scripted_turns import CONVERSATION, log_of
from tests.gateway.sockets import Client, Json, reason_of

SOURCES = [
    {
        "passage": "passages/p",
        "document": "documents/d/versions/2",
        "title": "Leases",
        "uri": "https://example.org/l",
        "quote": "A lease ends.",
        "quote_origin": "copied",
        "verdict": "none",
        "differences": [],
        "page": 3,
        "boxes": [[100, 250, 900, 300]],
    }
]
EXCERPT: Json = {
    "passage": "passages/p",
    "document": "documents/d/versions/2",
    "collection": "collections/c",
    "collection_kind": "own",
    "title": "Leases",
    "headings": ["Turns", "Ends"],
    "uri": "https://example.org/l",
    "source_range": {"start": 40, "end": 60},
    "markdown": "First. A lease ends.",
    "piece_range": {"start": 40, "end": 60},
    "section_markdown": "More.",
    "marked_range": {"start": 47, "end": 60},
    "marked_in_markdown": {"start": 7, "end": 20},
    "grade": "answers",
    "score": 0.75,
    "page": 3,
    "boxes": [[100, 250, 900, 300]],
}
FURTHER: Json = {
    "passage": "passages/s",
    "document": "documents/s/versions/1",
    "collection": "collections/c",
    "title": "Sheet",
    "headings": [],
    "uri": "",
    "source_range": {"start": 0, "end": 8},
    "grade": "closest",
    "score": 0.5,
    "page": 2,
    "path": "Sheet2!A4:C4",
}
FETCHED: Json = {
    "passage": "",
    "document": "",
    "title": "A page",
    "uri": "https://example.org/page",
    "quote": "A lease ends.",
    "quote_origin": "chosen",
    "verdict": "supported",
    "differences": [],
    "tool": "tools/web_search",
    "call_id": "tool-1",
    "fetch_time": "2026-11-18T11:06:40Z",
}
METADATA: Json = {
    "intent": None,
    "chunks_used": 3,
    "source_chunks": ["passages/p"],
    "sources": SOURCES,
    "conversation_id": CONVERSATION,
}
NOTHING: Json = METADATA | {"chunks_used": 0, "source_chunks": [], "sources": []}
HTML = "<p>A <strong>lease</strong> &lt;script&gt;alert(1)&lt;/script&gt; ends.</p>\n"
RETRIEVING = {"type": "status", "step": "retrieving", "message": "Searching knowledge base..."}
GENERATING = {"type": "status", "step": "generating", "message": "Generating response..."}


def message(content: str, metadata: Json) -> Json:
    return {"type": "message", "role": "assistant", "content": content, "metadata": metadata}


def error(code: str, number: int, text: str, info: Json) -> Json:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "responsa", **info}
    return {
        "type": "error",
        "code": code,
        "message": text,
        "status": {"code": number, "message": text, "details": [detail]},
    }


TURNS: dict[str, tuple[bool, list[tuple[int, Json]]]] = {
    "answer": (False, [(2, RETRIEVING), (3, GENERATING), (8, message(HTML, METADATA))]),
    "limit": (
        False,
        [
            (
                2,
                message(
                    "<p>Much.</p>\n",
                    METADATA
                    | {
                        "outcome": "output_limit",
                        "model": "openai:m",
                        "unsupported_sentences": 2,
                    },
                ),
            )
        ],
    ),
    "fetched": (
        False,
        [(4, message("<p>A page.</p>\n", METADATA | {"source_chunks": [], "sources": [FETCHED]}))],
    ),
    "newer": (
        False,
        [
            (2, {"type": "status", "step": "unspecified", "message": "Something new..."}),
            (3, message("<p>Much.</p>\n", METADATA | {"outcome": "output_limit"})),
        ],
    ),
    "restarted": (
        True,
        [
            (2, GENERATING),
            (3, {"type": "delta", "text": "A lea"}),
            (4, {"type": "restarted", "discard_from_seq": 3, "keep_bytes": 0}),
            (5, {"type": "delta", "text": "A lease."}),
            (6, message("<p>A lease.</p>\n", METADATA)),
        ],
    ),
    "post": (
        False,
        [
            (2, {"type": "status", "step": "routing", "message": "Classifying your query..."}),
            (4, {"type": "status", "step": "verifying", "message": "Checking the sources..."}),
            (6, message("<p>Read this.</p>\n", METADATA | {"intent": "post"})),
        ],
    ),
    "passages": (
        False,
        [
            (2, RETRIEVING),
            (
                3,
                message(
                    "<p>A lease ends.</p>\n",
                    METADATA | {"model": "passages", "excerpts": [EXCERPT], "more_excerpts": [FURTHER]},
                ),
            ),
        ],
    ),
    "near": (
        False,
        [
            (
                2,
                message(
                    "<p>No.</p>",
                    NOTHING | {"outcome": "refused", "reason": "no_support", "excerpts": [FURTHER]},
                ),
            )
        ],
    ),
    "needs_model": (
        False,
        [
            (
                2,
                message(
                    "<p>A post needs a model.</p>",
                    NOTHING | {"intent": "post", "outcome": "refused", "reason": "needs_model"},
                ),
            )
        ],
    ),
    "out_of_scope": (
        False,
        [
            (
                2,
                message(
                    "<p>Not here.</p>",
                    NOTHING | {"intent": "out_of_scope", "outcome": "refused", "reason": "out_of_scope"},
                ),
            )
        ],
    ),
    "refused": (
        False,
        [
            (2, RETRIEVING),
            (
                3,
                message(
                    "<p>Nothing says “*a* &lt;b&gt;”.</p>",
                    NOTHING | {"outcome": "refused", "reason": "no_support"},
                ),
            ),
        ],
    ),
    "cancelled": (False, [(2, RETRIEVING), (3, message("", NOTHING | {"outcome": "cancelled"}))]),
    "failed": (
        False,
        [
            (2, RETRIEVING),
            (
                3,
                error(
                    "INTERNAL",
                    14,
                    "The worker was lost.",
                    {"reason": "WORKER_LOST", "metadata": {"turn": "turns/x"}},
                ),
            ),
        ],
    ),
    "late": (
        False,
        [
            (2, GENERATING),
            (
                3,
                error(
                    "LLM_ERROR",
                    4,
                    "It took too long.",
                    {"reason": "TURN_TIME_LIMIT", "metadata": {"turn": "turns/x"}},
                ),
            ),
        ],
    ),
    "model": (
        True,
        [
            (2, GENERATING),
            (
                3,
                error(
                    "LLM_ERROR",
                    14,
                    "The model cannot be reached.",
                    {"reason": "MODEL_UNAVAILABLE", "metadata": {"model": "m"}},
                ),
            ),
        ],
    ),
}
"""For each script: whether the client asks for deltas, and every frame with its seq."""


@pytest.mark.parametrize("script", TURNS)
def test_every_frame_of_a_turn(place: Place, script: str) -> None:
    deltas, expected = TURNS[script]
    with Client(place.target) as client:
        assert client.socket.subprotocol == "responsa.v1"
        frames = client.say(content=f"script {script}", deltas=deltas).turn()
        # Whatever happened to the turn, the socket works as before.
        assert client.say(type="ping").hear() == {"type": "pong"}
        again = client.say(content=f"script {script}", deltas=deltas).turn()
    turn = frames[0]["turn"]
    assert turn.startswith("turns/")
    assert frames == [{**frame, "turn": turn, "seq": seq} for seq, frame in expected]
    # A question without a request_id is a new turn each time.
    assert again[0]["turn"] != turn
    assert [frame["seq"] for frame in again] == [seq for seq, _ in expected]


def test_deltas_are_the_answers_markdown(place: Place) -> None:
    with Client(place.target) as client:
        frames = client.say(content="script answer", deltas=True).turn()
    deltas = [frame for frame in frames if frame["type"] == "delta"]
    assert "".join(frame["text"] for frame in deltas) == "A **lease** <script>alert(1)</script> ends."
    assert all(set(frame) == {"type", "text", "turn", "seq"} for frame in deltas)
    # Deltas that waited together were joined. A joined delta has the seq of its last delta.
    assert deltas[-1]["seq"] == 6
    assert frames[-1]["content"] == HTML


def test_whichever_way_a_question_is_spelled(place: Place) -> None:
    spellings: list[dict[str, Any]] = [
        {"conversation_id": "new"},
        {"conversation_id": None, "agent": None, "deltas": None},
        {"conversation_id": CONVERSATION},
        {"conversation_id": CONVERSATION.upper(), "agent": "default"},
        {"conversation_id": f"conversations/{CONVERSATION}", "agent": "agents/default", "type": "ask"},
    ]
    with Client(place.target) as client:
        for spelling in spellings:
            assert client.say(content="script limit", **spelling).turn()[-1]["type"] == "message"


TEACHER = "0192f3c8-0000-7000-8000-0000000000bb"
ASKED: dict[str, tuple[Json, str, Json]] = {
    "nothing": ({}, "agents/chat", {}),
    "a teacher": ({"teacher_id": TEACHER}, "agents/tutor", {"teacher_id": TEACHER}),
    "a teacher by name": (
        {"teacher_id": f"teachers/{TEACHER}"},
        "agents/tutor",
        {"teacher_id": f"teachers/{TEACHER}"},
    ),
    "a teacher, and whom": ({"teacher_id": TEACHER, "agent": "mine"}, "agents/mine", {"teacher_id": TEACHER}),
    "a teacher among parameters": (
        {"parameters": {"teacher_id": TEACHER, "level": "beginner"}},
        "agents/tutor",
        {"teacher_id": TEACHER, "level": "beginner"},
    ),
    "a teacher with parameters": (
        {"teacher_id": TEACHER, "parameters": {"level": "beginner"}},
        "agents/tutor",
        {"teacher_id": TEACHER, "level": "beginner"},
    ),
    "a teacher, twice": (
        {"teacher_id": TEACHER, "parameters": {"teacher_id": TEACHER}},
        "agents/tutor",
        {"teacher_id": TEACHER},
    ),
    "parameters": (
        {"agent": "chat", "parameters": {"intent": "post", "n": [1, 2.5, None, True, {"x": "é"}]}},
        "agents/chat",
        {"intent": "post", "n": [1, 2.5, None, True, {"x": "é"}]},
    ),
    "no parameters": ({"parameters": {}}, "agents/chat", {}),
}
"""The fields of a frame, and the resulting agent and parameters."""


@pytest.mark.parametrize("name", ASKED)
def test_parameters_are_carried_on(place: Place, name: str) -> None:
    said, agent, parameters = ASKED[name]
    with Client(place.target) as client:
        frames = client.say(content="script echo", deltas=True, **said).turn()
    (echo,) = [json.loads(frame["text"]) for frame in frames if frame["type"] == "delta"]
    assert (echo.get("agent", ""), echo["options"].get("parameters", {})) == (agent, parameters)
    assert (echo["includeDeltas"], set(echo["options"]) <= {"parameters"}) == (True, True)


def test_an_error_before_a_turn_names_the_question(place: Place) -> None:
    with Client(place.target) as client:
        first = client.say(content="busy").hear()
        second = client.say(content="busy", request_id="0192f3c8-0000-7000-8000-0000000000aa").hear()
    assert (first["type"], first["code"], reason_of(first)) == ("error", "INVALID_INPUT", "CONVERSATION_BUSY")
    assert set(first) == {"type", "code", "message", "status"}
    assert second == {**first, "request_id": "0192f3c8-0000-7000-8000-0000000000aa"}


def test_a_turn_that_waits_tells_its_place(place: Place) -> None:
    with Client(place.target) as client:
        frames = client.say(content="script limit queued").turn()
    assert frames[0] == {"type": "heartbeat", "queue_place": 2, "turn": frames[1]["turn"], "seq": 0}


def test_heartbeats_come_at_least_every_thirty_seconds(hasty: Place) -> None:
    assert Timing().heartbeat_seconds < 30
    with Client(hasty.target) as client:
        assert client.hear() == {"type": "heartbeat"}
        assert client.hear() == {"type": "heartbeat"}
        # During a long silent turn, the socket still sends heartbeats.
        client.say(content="script answer hang=3")
        frames = [client.hear() for _ in range(4)]
    assert {"type": "heartbeat"} in frames


def test_the_scripts_hold_every_kind_of_end() -> None:
    ends = {log_of(script)[-1].WhichOneof("event") for script in TURNS}
    assert ends == {"answer", "refused", "failed", "cancelled"}
