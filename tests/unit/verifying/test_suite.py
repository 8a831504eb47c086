"""The comparison of a live provider with the adapters' assumptions, against scripted servers that behave, and servers
that deviate on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from responsa_lab.testing.embeddings import EmbeddingServer
from responsa_lab.testing.loopback import Exchange, LoopbackServer, as_json
from responsa_lab.verifying.suite import CheckVerdict, Finding, Provider, verify, verify_embeddings
from responsa_server.domain.models import Stop, ToolRequest
from responsa_server.providers.chain import KeyLimits, RetryPolicy
from responsa_server.providers.embedding import EMBEDDERS, described
from responsa_server.providers.json_server import Calling
from responsa_server.providers.settings import CompatibleSettings, EmbeddingModelSettings
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Complaint, Scene, WireServer

WIRES: Mapping[str, WireServer] = {"openai": OpenAi(), "anthropic": Anthropic(), "gemini": Gemini()}
PREFILLS = {"openai": "continue", "anthropic": "last", "gemini": "none"}


@dataclass(frozen=True)
class Deviation:
    """How a server deviates. reported: the beginning of a line that reports it. swaps: bytes of events, and what is sent in their place."""

    wire: str
    reported: str
    swaps: tuple[tuple[bytes, bytes], ...] = ()
    echoes: bool = False


def calls(*cities: str) -> Scene:
    return Scene(calls=[ToolRequest(f"call-{city}", "get_weather", {"city": city}) for city in cities])


class Live:
    """A provider that does what it is asked. seen: how many requests came."""

    def __init__(self, name: str, deviation: Deviation | None = None) -> None:
        self.wire = WIRES[name]
        self.deviation = deviation or Deviation(name, "")
        self.seen = 0

    def scene(self, body: Mapping[str, Any], text: str, most: int) -> Scene:
        numbers = [f"{one} " for one in range(1, 61)]
        if "17 degrees" in text:
            return Scene(["It is 17 ", "degrees."])
        if "tools" in body and "twice" in text:
            return calls("Oslo", "Lima")
        if "tools" in body and "Use the tool" in text:
            return calls("Oslo")
        if "Norway" in text:
            return Scene(['{"capital": ', '"Oslo"}'])
        if "BANANA" in text:
            return Scene(["BANANA"])
        if "Count from" not in text:
            return Scene(["Hello."])
        if most <= 16:
            return Scene(numbers[:8], stop=Stop.LIMIT)
        begun = "1 2 3 4 5 6 7 8 9" in text and not self.deviation.echoes
        return Scene(numbers[9:] if begun else numbers)

    async def handle(self, exchange: Exchange) -> None:
        self.seen += 1
        deviation, headers = self.deviation, exchange.request.headers
        text = exchange.request.body.decode()
        body = json.loads(text)
        most = body.get("generationConfig", {}).get("maxOutputTokens") or body.get("max_tokens")
        known = KEY in headers.get("authorization", "") + headers.get("x-goog-api-key", "")
        complaint: Complaint | None = None
        if not known:
            complaint = self.wire.complaint(401, "responsa-wrong-key-0000")
        elif "no-such-model" in text + exchange.request.path:
            complaint = self.wire.complaint(404)
        elif most > 1_000_000:
            complaint = self.wire.complaint(400)
        if complaint is not None:
            await exchange.reply(complaint.status, as_json(complaint.body))
            return
        await exchange.begin("text/event-stream")
        for event in self.wire.events(self.scene(body, text, most)):
            for old, new in deviation.swaps:
                event = event.replace(old, new)
            await exchange.piece(event)
        await exchange.end()


async def verified(name: str, deviation: Deviation | None = None) -> tuple[bool, list[Finding]]:
    live = Live(name, deviation)
    server = LoopbackServer(live.handle)
    await server.start()
    settings = CompatibleSettings.model_validate(
        {"url": f"{server.url}/v1", "api_key": SecretStr(KEY), "wire": name, "prefill": PREFILLS[name]}
    )
    findings: list[Finding] = []
    try:
        right = await verify(Provider(name, settings, "m-1", live.wire.model), findings.append)
    finally:
        await server.close()
    assert KEY not in "\n".join(map(str, findings))
    assert live.seen <= 15
    return right, findings


@pytest.mark.parametrize("name", list(WIRES))
async def test_a_server_that_speaks_as_the_tests_assume_differs_in_nothing(name: str) -> None:
    right, told = await verified(name)
    assert (right, [str(one) for one in told if one.verdict is CheckVerdict.DIFFERS]) == (True, [])
    held = [one.shape for one in told if one.verdict is CheckVerdict.HOLDS]
    assert held == [
        *("answer", "streaming", "usage", "place of the usage", "limit", "system prompt", "temperature"),
        *("schema", "tool call", "tool result", "several tool calls"),
        *(["prefix"] if PREFILLS[name] != "none" else []),
        *("wrong key", "unknown model", "limit too high"),
    ]


DEVIATIONS = [
    Deviation(
        "openai",
        "differs stop reason of limit: assumed one of content_filter, length, stop, tool_calls, got max_output",
        ((b'"length"', b'"max_output"'),),
    ),
    Deviation("anthropic", "differs prefix: assumed the text after the prefix", echoes=True),
    Deviation(
        "gemini",
        "differs usage: assumed tokens read and written, in the stream, got no report",
        ((b'"usageMetadata"', b'"laterMetadata"'),),
    ),
]


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda one: one.reported[8:40])
async def test_a_deviation_is_reported(deviation: Deviation) -> None:
    right, told = await verified(deviation.wire, deviation)
    lines = [str(one) for one in told]
    assert any(line.startswith(deviation.reported) for line in lines), "\n".join(lines)
    assert not right


@pytest.mark.parametrize("name", list(EMBEDDERS))
@pytest.mark.parametrize("shuffled", [False, True])
async def test_embedding_models_are_verified(name: str, shuffled: bool) -> None:
    async def before(exchange: Exchange) -> bool:
        if shuffled:  # the vectors say nothing about their texts
            body = json.loads(exchange.request.body)
            texts = body.get("input") or body["requests"]
            vectors = [[float(place == at) for at in range(384)] for place in range(len(texts))]
            data = [{"embedding": vector} for vector in vectors]
            await exchange.reply(
                200, as_json({"data": data, "embeddings": [{"values": vector} for vector in vectors]})
            )
        return shuffled

    server = EmbeddingServer(384, before)
    await server.start()
    settings = CompatibleSettings.model_validate({"url": server.url, "api_key": SecretStr(KEY), "wire": name})
    model = described("lab:m-1", EmbeddingModelSettings())
    embedder = EMBEDDERS[name](settings, model, Calling(KeyLimits(4, 0, 5.0), RetryPolicy(retries=0)))
    told: list[Finding] = []
    try:
        assert await verify_embeddings(embedder, KEY, told.append) is not shuffled
    finally:
        await embedder.close()
        await server.close()
    assert [one.shape for one in told] == ["vectors", "order", "meaning"]
