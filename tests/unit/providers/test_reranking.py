"""Reranking models behind servers on real sockets that speak the protocols of Cohere, Jina, Voyage and TEI."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from responsa_lab.testing.loopback import LoopbackExchange, as_json
from responsa_server.domain.events import Usage
from responsa_server.domain.models import FREE, ModelError, ModelFault
from responsa_server.providers.http_model import MAX_TOKENS
from responsa_server.providers.prices import Prices, load_shipped
from responsa_server.providers.reranking import REQUESTS, HttpReranker
from tests.raising import raises
from tests.unit.providers.json_serving import Before, Served, connected, replying
from tests.wire.reranking import RerankServer, answer
from tests.wire.speaking import KEY

QUESTION = "when do eels return"
TEXTS = ["a mill grinds rye", "eels return to the sea when it is dark", "the hall is closed when it rains"]
SCORES = [0.0, 3.0, 1.0]


@pytest.fixture(params=list(REQUESTS))
def wire(request: pytest.FixtureRequest) -> str:
    return request.param


def served(
    wire: Any,
    before: Before | None = None,
    *,
    called: str = "lab:m-1",
    free: tuple[str, ...] = ("lab",),
    **options: Any,
) -> AbstractAsyncContextManager[Served[HttpReranker]]:
    prices = Prices(load_shipped(), dict.fromkeys(free, FREE))
    return connected(
        RerankServer(wire, before=before),
        lambda server, calling: HttpReranker(server, called, calling, prices),
        rerank=wire,
        **options,
    )


async def failure(ranking: Served[HttpReranker]) -> ModelError:
    return await raises(ModelError, ranking.client.rank(QUESTION, TEXTS))


async def test_each_text_gets_its_score_whatever_the_order_of_the_answer(wire: str) -> None:
    asked: list[LoopbackExchange] = []

    async def before(exchange: LoopbackExchange) -> bool:
        asked.append(exchange)
        return False

    async with served(wire, before) as one:
        assert list((await one.client.rank(QUESTION, TEXTS)).scores) == SCORES
        assert one.client.name == "lab:m-1"
    [request] = [exchange.request for exchange in asked]
    assert (request.method, request.path) == ("POST", "/v1/rerank")
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_requests_have_the_fields_of_their_protocol(wire: str) -> None:
    async with served(wire) as one:
        await one.client.rank(QUESTION, TEXTS)
        [body] = one.server.bodies
        assert one.server.paths == ["/v1/rerank"]
    shared = {"model": "m-1", "query": QUESTION, "documents": TEXTS}
    assert (
        body
        == {
            "cohere": {**shared, "top_n": 3},
            "jina": {**shared, "top_n": 3, "return_documents": False},
            "voyage": {**shared, "truncation": True},
            "tei": {"query": QUESTION, "texts": TEXTS, "raw_scores": True, "truncate": True},
        }[wire]
    )


async def test_a_request_has_a_bounded_number_of_texts(wire: str) -> None:
    async with served(wire) as one:
        texts = [f"when {'do ' * (place % 2)}" for place in range(150)]
        found = await one.client.rank(QUESTION, texts)
        sent = len(one.server.bodies)
        assert (await one.client.rank(QUESTION, [])).scores == []
        assert len(one.server.bodies) == sent
    assert list(found.scores) == [1.0 + place % 2 for place in range(150)]
    assert sent == {"tei": 5}.get(wire, 2)


async def test_what_a_model_costs_is_counted(wire: str) -> None:
    size = sum(map(len, TEXTS)) + 3 * len(QUESTION)
    tokens = {"jina": 30, "voyage": 30}.get(wire, -(-size // 4))
    async with served(wire) as one:
        assert (await one.client.rank(QUESTION, TEXTS)).usage == Usage(input_tokens=tokens)
    async with served(wire, called="jina:unknown") as one:
        usage = (await one.client.rank(QUESTION, TEXTS)).usage
        assert usage == Usage(input_tokens=tokens, unpriced_tokens=tokens)


@pytest.mark.parametrize("count", [-(10**30), 10**40, float("nan"), float("inf"), "7", [7]])
async def test_hostile_counts_of_tokens_give_nothing_back(wire: str, count: object) -> None:
    sent = cast("dict[str, Any]", answer(wire, SCORES))
    if wire == "cohere":
        sent |= {"usage": {"total_tokens": count}, "meta": {"billed_units": {"search_units": count}}}
    elif wire != "tei":  # it reports none
        sent["usage"]["total_tokens"] = count
    async with served(wire, replying(json.dumps(sent).encode())) as one:
        found = await one.client.rank(QUESTION, TEXTS)
    assert list(found.scores) == SCORES
    assert 0 <= found.usage.input_tokens <= MAX_TOKENS


@pytest.mark.parametrize(
    ("called", "texts", "micros"),
    # 2 dollars per thousand searches, of at most 100 texts each; 5 cents per million tokens.
    [("cohere:rerank-v3.5", 3, 2000), ("cohere:rerank-v3.5", 101, 4000), ("voyage:rerank-2.5", 90, 45)],
)
async def test_vendors_prices_are_by_searches_or_by_tokens(called: str, texts: int, micros: int) -> None:
    async with served(called.partition(":")[0], called=called) as one:
        assert (await one.client.rank(QUESTION, ["when"] * texts)).usage.cost_micros == micros


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again(wire: str, status: int) -> None:
    complaint = as_json({"message": "slow down", "error_type": "overloaded"})
    async with served(wire, replying(complaint, status, 2, retry_after="7")) as one:
        assert list((await one.client.rank(QUESTION, TEXTS)).scores) == SCORES
        assert one.pauses == [7.0, 7.0]
    async with served(wire, replying(complaint, status, retry_after="7")) as one:
        error = await failure(one)
        assert len(one.server.bodies) == 3
    assert error.fault is (ModelFault.RATE_LIMITED if status == 429 else ModelFault.OVERLOADED)
    assert (error.retry_after, error.status, error.tried) == (7.0, status, 3)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, ModelFault.REFUSED),
        (401, ModelFault.CREDENTIAL),
        (413, ModelFault.REFUSED),
        (422, ModelFault.REFUSED),
    ],
)
async def test_a_refusal_is_final_and_never_shows_the_key(wire: str, status: int, fault: ModelFault) -> None:
    with capture_logs() as logs:
        async with served(wire, replying(as_json({"error": f"bad key {KEY}"}), status)) as one:
            error = await failure(one)
            assert len(one.server.bodies) == 1
    assert error.fault is fault
    [log] = logs
    assert (log["event"], log["cause"], log["model"]) == ("reranking_call_failed", fault.value, "lab:m-1")
    assert not any(secret in f"{logs}{error}" for secret in (KEY, QUESTION, *TEXTS))


@pytest.mark.parametrize(
    "scores",
    [
        [1.0, 2.0],
        [1.0, float("nan"), 2.0],
        [1.0, 10**400, 2.0],
        [1.0, "2", 2.0],
        [1.0, True, 2.0],
    ],
)
async def test_scores_that_cannot_order_the_texts_are_malformed(wire: str, scores: list[object]) -> None:
    async with served(wire, replying(as_json(answer(wire, scores)))) as one:
        assert (await failure(one)).fault is ModelFault.MALFORMED
        assert len(one.server.bodies) == 1


@pytest.mark.parametrize("index", [0, -1, 3, "1"])
async def test_an_index_that_is_repeated_or_names_no_text_is_malformed(wire: str, index: object) -> None:
    body: Any = answer(wire, [3.0, 2.0, 1.0])
    rows = body if wire == "tei" else body.get("results", body.get("data"))
    rows[2]["index"] = index
    async with served(wire, replying(as_json(body))) as one:
        assert (await failure(one)).fault is ModelFault.MALFORMED


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"results": 1, "data": 1}', b"[" * 99_999])
async def test_an_answer_in_another_form_is_malformed(wire: str, body: bytes) -> None:
    async with served(wire, replying(body)) as one:
        assert (await failure(one)).fault is ModelFault.MALFORMED
