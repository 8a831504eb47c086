"""A model writes Markdown that reaches a host when it is shown: no door of an instance hands it out, also after a
resume, and after a worker was killed while an image was half written."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx2
import pytest

from tests.gateway.sockets import Client
from tests.hostile_markdown import EVIL, HOSTILE, live
from tests.instance import Instance, eventually
from tests.system.a2a_asking import Read, asking
from tests.system.conftest import Bench
from tests.transports import Call, Json, Way, Ways, method_of, request_of
from tests.transports_sse import events_in
from tests.wire.openai import OpenAi
from tests.wire.speaking import Scene

PARTS: Final = 6
ANSWERS: Final = tuple("\n\n***\n\n".join(HOSTILE[part::PARTS]) for part in range(PARTS))
"""What the model writes: all hostile texts, in a few answers."""
AGENT: Final = """name = "Hostile"
description = "Asks a model."
start = "write"
model = { chain = ["lab:hostile"], max_output_tokens = 4000 }
history = { messages = 0 }

[nodes]
write = { kind = "prompt", prompt = "reply" }
"""
PROMPT: Final = '+++\nvariables = { question = "the question" }\n+++\nAnswer.\n=== user\n{{ question }}\n'
HALF: Final = f"All is well, and this is how it looks: ![words]({EVIL[:20]}"


class Model:
    """A model that writes the hostile answer whose number the question has, three characters at a time. stalls:
    whether it stops in the middle of an image."""

    def __init__(self) -> None:
        self.stalls = False
        self.stalled, self.released = threading.Event(), threading.Event()

    def events(self, body: Any) -> Iterator[bytes]:
        number = re.search(r"answer (\d)", json.dumps(body["messages"]))
        assert number is not None
        if self.stalls:
            yield from OpenAi().unfinished(*pieces(HALF))
            self.stalled.set()
            self.released.wait()
        yield from OpenAi().events(Scene(pieces(ANSWERS[int(number[1])])))


def pieces(text: str) -> Sequence[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


class Harness:
    """An instance whose agent asks the model, and the doors for its user."""

    def __init__(self, instance: Instance, model: Model, ways: Ways) -> None:
        self.instance, self.model, self._ways = instance, model, ways
        self._headers = {"authorization": f"Bearer {instance.key}"}

    def frames(self, method: str, **request: Any) -> list[Json]:
        """The events of a stream over gRPC."""
        descriptor = method_of(f"ChatService/{method}")
        call = Call(descriptor, [request_of(descriptor, request)], headers=self._headers)
        outcome = self._ways.by_name[Way.GRPC].call(call)
        assert outcome.problem is None
        return [event for frame in outcome.messages for event in frame.get("events", ())]

    def grpc(self, question: str) -> str:
        return read(self.frames("Ask", text=question, agent="agents/hostile", includeDeltas=True))

    def start(self, question: str) -> str:
        """Begin a turn. Returns its name."""
        return self._post("/v1/turns", {"text": question, "agent": "agents/hostile"})["name"]

    def is_over(self, turn: str) -> bool:
        with suppress(httpx2.TransportError, KeyError):
            return "terminalEvent" in self._ways.http.get(f"/v1/{turn}", headers=self._headers).json()
        return False

    def rest(self, question: str) -> str:
        turn = self._post("/v1/turns:answer", {"text": question, "agent": "agents/hostile"})
        return turn["terminalEvent"]["answer"]["text"]

    def openai(self, question: str) -> str:
        body = {"model": "hostile", "messages": [{"role": "user", "content": question}]}
        return self._post("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def mcp(self, question: str) -> str:
        params = {"name": "ask", "arguments": {"question": question, "agent": "hostile"}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {**self._headers, "accept": "application/json, text/event-stream"}
        reply = self._ways.http.post("/mcp", json=call, headers=headers)
        *_, event = events_in(reply.text.replace("\r\n", "\n"))
        result = json.loads(event["data"])["result"]
        assert live(result["structuredContent"]["text"]) == []
        return result["content"][0]["text"]

    def a2a(self, question: str) -> str:
        async def streamed() -> str:
            async with asking(self.instance, "hostile") as client:
                reader = Read()
                async for event in client.stream(question):
                    reader.take(event)
            return reader.text

        return asyncio.run(streamed())

    def websocket(self, question: str) -> str:
        with Client(self.instance.target, key=self.instance.key) as client:
            *frames, last = client.say(type="ask", content=question, agent="hostile", deltas=True).turn()
        assert not re.search(
            "<(?!/?(?:p|em|strong|code|pre|br|hr|[ou]l|li|blockquote|t[a-z]+)\\b)", last["content"]
        )
        return "".join(frame["text"] for frame in frames if frame["type"] == "delta")

    def _post(self, path: str, body: Json) -> Json:
        return self._ways.http.post(path, json=body, headers=self._headers).json()


def read(events: Sequence[Json]) -> str:
    """The text that a reader of the deltas has, which is the answer's, byte for byte."""
    data = b""
    for event in events:
        if "attemptRestarted" in event:
            data = data[: int(event["attemptRestarted"].get("keepBytes", 0))]
        data += event.get("delta", {}).get("text", "").encode()
    answer = events[-1]["answer"]
    assert data.decode() == answer["text"]
    assert base64.b64decode(answer["sha256"]) == hashlib.sha256(data).digest()
    return answer["text"]


DOORS: Final[Mapping[str, Callable[[Harness, str], str]]] = {
    "gRPC": Harness.grpc,
    "REST": Harness.rest,
    "OpenAI": Harness.openai,
    "MCP": Harness.mcp,
    "A2A": Harness.a2a,
    "WebSocket": Harness.websocket,
}


@pytest.fixture(scope="module")
def harness(bench: Bench) -> Iterator[Harness]:
    """The bench with the agent of these tests, whose model is `Model`."""
    model, instance, says = Model(), bench.instance, bench.echo.says
    bench.echo.says = model.events
    with bench.agent("hostile", AGENT, reply=PROMPT), Ways(instance.target) as ways:
        yield Harness(instance, model, ways)
    model.released.set()
    bench.echo.says = says


@pytest.mark.parametrize("door", DOORS)
def test_no_door_hands_out_what_reaches_a_host(harness: Harness, door: str) -> None:
    for number, written in enumerate(ANSWERS):
        assert live(written)
        shown = DOORS[door](harness, f"answer {number}")
        assert len(shown) > len(written) // 2
        assert live(shown) == []


def test_readers_of_a_half_written_image_see_no_host(harness: Harness) -> None:
    """The worker is killed in the middle of an image. Another one answers, and readers that resume have its text."""
    model, instance = harness.model, harness.instance
    model.stalls = True
    turn = harness.start("answer 3")
    assert model.stalled.wait(60)
    model.stalls = False
    for process in instance.processes()["supervisor"].children():
        if "serve" in process.cmdline():
            process.kill()
    eventually(lambda: harness.is_over(turn), "another worker answers")
    events = harness.frames("ResumeTurn", turn=turn, includeDeltas=True)
    whole = read(events)
    assert live(whole) == []
    restarts = [event for event in events if "attemptRestarted" in event]
    assert restarts
    for event in events[:-1]:
        rest = harness.frames("ResumeTurn", turn=turn, includeDeltas=True, afterSeq=event["seq"])
        assert rest[-1]["answer"]["text"] == whole
