"""Reranking models behind HTTP servers (each a `Reranker`): Cohere, Jina, Voyage, and servers of one's own that speak a
protocol of these or that of Hugging Face's text-embeddings-inference (TEI).

An answer is used only if it has exactly one finite score for each text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from responsa_server.domain.events import Usage
from responsa_server.domain.models import PriceTable, Reranked, Spent
from responsa_server.providers import openai_chat
from responsa_server.providers.http_model import bearer, tokens
from responsa_server.providers.json_server import JsonServer, RequestOptions
from responsa_server.providers.settings import CompatibleSettings, RerankWire

# How many bytes of text count as one token if the server does not report tokens.
_BYTES_A_TOKEN: Final = 4
# The maximum number of texts of a request; TEI's default for `--max-client-batch-size`.
_MOST_TEXTS: Final = 100
_TEXTS_A_CALL: Final = {"tei": 32}


def _ask(model: str, query: str, texts: Sequence[str], **more: object) -> Mapping[str, object]:
    return {"model": model, "query": query, "documents": texts, **more}


REQUESTS: Final[Mapping[RerankWire, Callable[[str, str, Sequence[str]], Mapping[str, object]]]] = {
    # vLLM, llama.cpp and Infinity imitate Cohere's /v2/rerank.
    "cohere": lambda model, query, texts: _ask(model, query, texts, top_n=len(texts)),
    "jina": lambda model, query, texts: _ask(model, query, texts, top_n=len(texts), return_documents=False),
    "voyage": lambda model, query, texts: _ask(model, query, texts, truncation=True),
    # It serves a single model. Raw scores, because texts that fit very well would all be 1.0 otherwise.
    "tei": lambda _, query, texts: {"query": query, "texts": texts, "raw_scores": True, "truncate": True},
}
"""Maps the name of each protocol (`ServerSettings.rerank`) to its request for a model, a question and texts."""


class HttpReranker(JsonServer):
    """A `Reranker` over HTTP. Call `close` at the end."""

    def __init__(
        self, server: CompatibleSettings, called: str, calling: RequestOptions, prices: PriceTable
    ) -> None:
        """server: its setting `rerank` is given. called: `provider:model`."""
        super().__init__(server, called, bearer(server), openai_chat.complaint, openai_chat.FAULTS, calling)
        assert server.rerank is not None, "only such providers are listed"
        self._wire: RerankWire = server.rerank
        self._prices = prices

    @property
    def name(self) -> str:
        return self._called

    async def rank(self, query: str, texts: Sequence[str]) -> Reranked:
        scores, usage, limit = list[float](), Usage(), _TEXTS_A_CALL.get(self._wire, _MOST_TEXTS)
        # Scores of several requests can be compared, because a model scores each text by itself.
        for start in range(0, len(texts), limit):
            batch = texts[start : start + limit]
            body = REQUESTS[self._wire](self._called.partition(":")[2], query, list(batch))

            def read(answer: Any, batch: Sequence[str] = batch) -> tuple[Sequence[float], Usage]:
                return _in_order(answer, len(batch)), self._usage(answer, query, batch)

            some, spent = await self._json("/rerank", body, read, "reranking_call_failed")
            scores += some
            usage += spent
        return Reranked(scores, usage)

    def _usage(self, answer: Any, query: str, texts: Sequence[str]) -> Usage:
        # Cohere reports the units that it bills, others the tokens, and TEI nothing.
        told: dict[str, Any] = {} if isinstance(answer, list) else answer
        spent: Any = told.get("usage") or {}
        meta: Any = told.get("meta") or {}
        total: Any = spent.get("total_tokens")
        billed: Any = meta.get("billed_units") or {}
        size = sum(len(text.encode()) for text in texts) + len(texts) * len(query.encode())
        usage = Usage(input_tokens=math.ceil(size / _BYTES_A_TOKEN) if total is None else tokens(total))
        searches = tokens(billed.get("search_units", 1)) if self._wire == "cohere" else 0
        cost = self._prices.cost_micros(
            Spent(usage, self._called, searches=searches), datetime.now(UTC).date()
        )
        if cost is None:
            return replace(usage, unpriced_tokens=usage.input_tokens)
        return replace(usage, cost_micros=cost)


def _in_order(answer: Any, count: int) -> Sequence[float]:
    """The scores in the order of the texts. Raises ValueError unless there is exactly one finite score for each of `count` texts."""
    scores: dict[int, float] = {}
    rows: list[dict[str, Any]] = answer
    if not isinstance(answer, list):
        rows = answer["results"] if "results" in answer else answer["data"]
    for row in rows:
        index, score = row["index"], row.get("relevance_score", row.get("score"))
        # JSON's true is not a number, but Python's is.
        if type(index) is not int or not 0 <= index < count or index in scores:
            raise ValueError(f"the index {index!r} is repeated or is not one of {count} texts")
        # Pyright does not narrow by this check of the type.
        if type(score) not in (int, float) or not math.isfinite(value := float(score)):  # pyright: ignore[reportArgumentType]
            raise ValueError("a score is not a finite number")
        scores[index] = value
    if len(scores) != count:
        raise ValueError(f"there are {len(scores)} scores for {count} texts")
    return [scores[index] for index in range(count)]
