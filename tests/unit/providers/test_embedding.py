"""Embedding models behind servers on real sockets that speak the protocols of OpenAI and Gemini."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import numpy as np
import pytest
from structlog.testing import capture_logs

from responsa_lab.testing.loopback import LoopbackExchange, as_json
from responsa_server.domain.errors import Precondition, Reason, Unavailable
from responsa_server.domain.models import ModelError
from responsa_server.providers import embedding as adapters
from responsa_server.providers import json_server
from responsa_server.providers.embedding import EMBEDDERS, HttpEmbedder
from responsa_server.providers.http_model import receive_json
from responsa_server.providers.settings import EmbeddingModelSettings
from tests.raising import raises
from tests.unit.providers.json_serving import Before, Served, connected, replying
from tests.wire.embeddings import EmbeddingServer, vector_of
from tests.wire.gemini import Gemini
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, WireServer

WIRES: Mapping[str, WireServer] = {"openai": OpenAi(), "gemini": Gemini()}
TEXTS = ["eels return to the sea", "a mill grinds rye", "the hall is closed"]
PATHS = {"openai": "/v1/embeddings", "gemini": "/v1/models/m-1:batchEmbedContents"}


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> str:
    return request.param


def served(
    wire: str,
    before: Before | None = None,
    *,
    length: int = 384,
    settings: EmbeddingModelSettings | None = None,
    **options: Any,
) -> AbstractAsyncContextManager[Served[HttpEmbedder]]:
    """length: the dimensions of the server's vectors. settings: those of the model; by default, its dimensions are known."""
    of_model = settings or EmbeddingModelSettings(dimensions=384)
    return connected(
        EmbeddingServer(length, before),
        lambda server, calling: EMBEDDERS[wire](server, "lab:m-1", of_model, None, calling),
        **options,
    )


async def failure(embedding: Served[HttpEmbedder], texts: Sequence[str] = TEXTS) -> Precondition:
    caught = await raises(Precondition, embedding.client.embed(texts))
    assert caught.reason is Reason.EMBEDDING_FAILED
    return caught


def complaining(wire: str, status: int, times: int = 1 << 30, **headers: str) -> Before:
    """Answers the first requests with an error of this status, which repeats the key."""
    complaint = WIRES[wire].complaint(status, KEY)
    return replying(as_json(complaint.body), status, times, **{**complaint.headers, **headers})


def answering(wire: str, *vectors: object) -> Before:
    """Answers every request with these vectors."""

    rows = [{"embedding": one, "index": place} for place, one in enumerate(vectors)]
    values = [{"values": vector} for vector in vectors]
    return replying(json.dumps({"data": rows} if wire == "openai" else {"embeddings": values}).encode())


def unit(text: str) -> np.ndarray[Any, Any]:
    vector = np.array(vector_of(text, 384))
    return vector / np.linalg.norm(vector)


async def test_each_text_gets_its_vector_of_length_one(wire: str) -> None:
    asked: list[LoopbackExchange] = []

    async def before(exchange: LoopbackExchange) -> bool:
        asked.append(exchange)
        return False

    async with served(wire, before) as one:
        vectors = await one.client.embed(TEXTS)
        assert one.client.name == "lab:m-1/384"
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 384))
    assert np.allclose(vectors, [unit(text) for text in TEXTS], atol=1e-6)
    [request] = [exchange.request for exchange in asked]
    assert (request.method, request.path) == ("POST", PATHS[wire])
    key = {"openai": ("authorization", f"Bearer {KEY}"), "gemini": ("x-goog-api-key", KEY)}[wire]
    assert request.headers[key[0]] == key[1]


async def test_openai_orders_vectors_by_their_index() -> None:
    rows = [{"index": place, "embedding": vector_of(TEXTS[place], 384)} for place in (2, 0, 1)]
    async with served("openai", replying(as_json({"data": rows}))) as one:
        assert np.allclose(await one.client.embed(TEXTS), [unit(text) for text in TEXTS], atol=1e-6)


async def test_a_request_has_a_bounded_number_of_texts_and_tokens(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as few:
        few.setattr(adapters, "_TEXTS_A_CALL", 2)
        async with served(wire) as model:
            assert len(await model.client.embed([*TEXTS, *TEXTS[:2]])) == 5
            assert len(model.server.bodies) == 3
    monkeypatch.setattr(adapters, "_TOKENS_A_CALL", 256)
    async with served(wire) as model:
        await model.client.embed(["word " * 80] * 4)
        assert len(model.server.bodies) == 2
        await model.client.embed([])
        assert len(model.server.bodies) == 2


async def test_dimensions_are_asked_for_only_on_request(wire: str) -> None:
    shorter = EmbeddingModelSettings(dimensions=256, ask_for_dimensions=True)
    async with served(wire, length=768, settings=shorter) as one:
        assert (await one.client.embed(TEXTS)).shape == (3, 256)
    [body] = one.server.bodies
    sent = body if wire == "openai" else body["requests"][0]
    assert sent[{"openai": "dimensions", "gemini": "outputDimensionality"}[wire]] == 256


async def test_a_model_is_asked_once_for_unknown_dimensions(wire: str) -> None:
    async with served(wire, length=768, settings=EmbeddingModelSettings()) as model:
        for _ in range(2):
            await model.client.prepare()
        assert (model.client.dimensions, len(model.server.bodies)) == (768, 1)
    async with served(wire, length=100, settings=EmbeddingModelSettings()) as model:
        caught = await raises(Precondition, model.client.prepare(), "100 dimensions, not one of 256, 384")
        assert caught.reason is Reason.EMBEDDING_FAILED
        assert caught.metadata == {"embedding": "lab:m-1", "cause": "dimensions"}
    async with served(wire, answering(wire), settings=EmbeddingModelSettings()) as model:
        caught = await raises(Precondition, model.client.prepare())
        assert caught.metadata == {"embedding": "lab:m-1", "cause": "vector_count"}


async def test_a_text_is_cut_where_the_model_stops_reading_and_is_never_blank(wire: str) -> None:
    short = EmbeddingModelSettings(dimensions=384, max_tokens=256)
    async with served(wire, settings=short) as one:
        await one.client.embed(["word " * 100, " \n"])
        [body] = one.server.bodies
        most = one.client.max_tokens
    sent = (
        body["input"]
        if wire == "openai"
        else [each["content"]["parts"][0]["text"] for each in body["requests"]]
    )
    assert sent == [("word " * 100)[: 5 * most - 1], "."]
    assert most * 6 + 3 <= 256


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again(wire: str, status: int) -> None:
    async with served(wire, complaining(wire, status, times=2, retry_after="7")) as one:
        assert len(await one.client.embed(TEXTS)) == 3
        assert one.pauses == [7.0, 7.0]


async def test_a_server_that_stays_busy_is_unavailable(wire: str) -> None:
    with capture_logs() as logs:
        async with served(wire, complaining(wire, 429, retry_after="7")) as one:
            caught = await raises(Unavailable, one.client.embed(TEXTS))
            assert len(one.server.bodies) == 3
    assert caught.metadata == {"part": "embedding"}
    assert caught.retry_after == 7.0
    assert [log["attempt"] for log in logs] == [1, 2, 3]
    assert not any(secret in str((logs, caught)) for secret in (KEY, *TEXTS))


@pytest.mark.parametrize(
    ("status", "most", "words"),
    [
        (413, 32, "batch of {} is above 32"),
        (422, 10, "at most 10 inputs"),
        (400, 10, "the batch size is invalid, it should not be larger than 10"),
        (400, 1, "too many texts"),
    ],
)
async def test_a_batch_that_is_too_large_is_halved_and_stays_so(
    wire: str, status: int, most: int, words: str
) -> None:
    async def before(exchange: LoopbackExchange) -> bool:
        body = json.loads(exchange.request.body)
        if len(body.get("input", body.get("requests"))) <= most:
            return False
        await exchange.reply(status, as_json({"error": {"message": words}}))
        return True

    texts = [f"word{number}" for number in range(100)]
    async with served(wire, before) as embedding:
        vectors = await embedding.client.embed(texts)
        assert np.allclose(vectors, [unit(text) for text in texts], atol=1e-6)
        first = len(embedding.server.bodies)
        assert embedding.client.texts_a_call <= most
        await embedding.client.embed(texts)
        sizes = [len(body.get("input", body.get("requests"))) for body in embedding.server.bodies[first:]]
        assert (max(sizes), sum(sizes)) == (embedding.client.texts_a_call, 100)


async def test_a_text_that_is_refused_alone_teaches_nothing(wire: str) -> None:
    async def before(exchange: LoopbackExchange) -> bool:
        if b"word7" not in exchange.request.body:
            return False
        await exchange.reply(413, as_json({"error": {"message": "one input is too long"}}))
        return True

    async with served(wire, before) as embedding:
        error = await failure(embedding, [f"word{number}" for number in range(16)])
        assert "one input is too long" in str(error)
        assert 'models.embeddings."lab:m-1"' in str(error)
        assert embedding.client.texts_a_call == 64


@pytest.mark.parametrize(("status", "cause"), [(400, "refused"), (401, "credential"), (404, "refused")])
async def test_a_refusal_is_final_and_never_shows_the_key(wire: str, status: int, cause: str) -> None:
    with capture_logs() as logs:
        async with served(wire, complaining(wire, status)) as one:
            error = await failure(one)
            assert len(one.server.bodies) == 1
    assert error.metadata == {"embedding": "lab:m-1", "cause": cause}
    assert not any(secret in str((logs, error)) for secret in (KEY, *TEXTS))


async def test_a_silent_or_absent_server_is_unavailable(wire: str) -> None:
    async def silent(exchange: LoopbackExchange) -> bool:
        await asyncio.Event().wait()
        return True

    async with served(wire, silent, idle_seconds=0.05) as one:
        await raises(Unavailable, one.client.embed(TEXTS))
        await one.server.close()
        await raises(Unavailable, one.client.embed(TEXTS))


async def test_a_server_that_never_ends_its_answer_is_unavailable(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def trickling(exchange: LoopbackExchange) -> bool:
        await exchange.begin("application/json")
        while True:
            await exchange.piece(b" ")
            await asyncio.sleep(0.01)

    monkeypatch.setattr(json_server, "_RECEIVING_SECONDS", 0.0)
    async with served(wire, trickling, idle_seconds=0.5) as one:
        async with asyncio.timeout(30):
            await raises(Unavailable, one.client.embed(TEXTS))


async def test_an_answer_has_a_bounded_number_of_numbers(wire: str) -> None:
    async with served(wire, length=3072, settings=EmbeddingModelSettings(dimensions=3072)) as one:
        assert one.client.texts_a_call == 42
        assert (await one.client.embed(["word"] * 43)).shape == (43, 3072)
        assert len(one.server.bodies) == 2


@pytest.mark.parametrize(
    ("vectors", "cause"),
    [
        ([[1.0] * 384], "vector_count"),
        ([[1.0] * 384, [1.0] * 383], "vector_length"),
        ([[1.0] * 384, [float("nan")] * 384], "vector_not_finite"),
        ([[1.0] * 384, [10**400] * 384], "vector_not_finite"),
        ([[1.0] * 384, ["x"] * 384], "vector_not_finite"),
        ([[1.0] * 384, [0.0] * 384], "vector_zero"),
    ],
)
async def test_vectors_that_cannot_be_compared_are_refused(
    wire: str, vectors: list[object], cause: str
) -> None:
    async with served(wire, answering(wire, *vectors)) as one:
        assert (await failure(one, TEXTS[:2])).metadata["cause"] == cause


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b'{"data": [1], "embeddings": [1]}', "application/json"),
        (b'{"data": [{"index": 1e999}], "embeddings": [1]}', "application/json"),
        (b"[" * 99_999, "application/json"),
        (b"<p>Hello</p>", "text/html"),
    ],
)
async def test_an_answer_in_another_form_is_malformed(wire: str, body: bytes, kind: str) -> None:
    async with served(wire, replying(body, content_type=kind)) as one:
        assert (await failure(one)).metadata["cause"] == "malformed"


async def test_an_answer_of_so_many_parts_that_reading_it_takes_long_is_malformed() -> None:
    async def receive(body: bytes) -> bytes:
        return await receive_json(httpx2.Response(200, content=body), 8 << 20)

    assert await receive(b'{"data": [' + b"0.125," * 200_000 + b"{}]}")
    for parts in (b"{}," * 20_001, b"[]," * 20_001, b"1," * 500_001):
        with pytest.raises(ModelError, match="too many parts"):
            await receive(parts)


def test_every_protocol_that_has_embedding_models_is_tested() -> None:
    assert EMBEDDERS.keys() == WIRES.keys()
