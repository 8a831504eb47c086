"""Reranking models behind HTTP servers (each a `Reranker`): Cohere, Jina, Voyage, and servers of one's own that speak a
protocol of these or that of Hugging Face's text-embeddings-inference (TEI).

An answer is used only if it has exactly one finite score for each text.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from responsa_server.domain.events import Usage
from responsa_server.domain.models import PriceTable, Reranked, Spent
from responsa_server.providers import openai_chat
from responsa_server.providers.http_model import tokens
from responsa_server.providers.json_server import JsonServer, RequestOptions
from responsa_server.providers.settings import CompatibleSettings, RerankWire

# How many bytes of text count as one token if the server does not report tokens.
_BYTES_A_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class RerankAnswer:
    """The content of an answer. scored: (the text's index, its score), in any order. tokens: the tokens that the model
    read; None if the server does not say.
    searches: the search units that the vendor bills.
    """

    scored: Iterable[tuple[object, object]]
    tokens: int | None = None
    searches: int = 0


class HttpReranker(JsonServer, abc.ABC):
    """A `Reranker` over HTTP. Call `close` at the end."""

    texts_a_call: ClassVar[int] = 100
    """The maximum number of texts of a request. Scores of several requests can be compared, because a model scores each text by itself."""

    def __init__(
        self, server: CompatibleSettings, called: str, calling: RequestOptions, prices: PriceTable
    ) -> None:
        """called: `provider:model`."""
        key = server.api_key.get_secret_value()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        super().__init__(server, called, headers, openai_chat.complaint, openai_chat.FAULTS, calling)
        self._prices = prices

    @property
    def name(self) -> str:
        return self._called

    async def rank(self, query: str, texts: Sequence[str]) -> Reranked:
        scores: list[float] = []
        usage = Usage()
        for start in range(0, len(texts), self.texts_a_call):
            batch = texts[start : start + self.texts_a_call]
            body = self._request(self._called.partition(":")[2], query, batch)

            def read(answer: Any, count: int = len(batch)) -> tuple[RerankAnswer, Sequence[float]]:
                content = self._read(answer)
                return content, _in_order(content.scored, count)

            answer, some = await self._json("/rerank", body, read, "reranking_call_failed")
            scores += some
            usage += self._usage(answer, query, batch)
        return Reranked(scores, usage)

    @abc.abstractmethod
    def _request(self, model: str, query: str, texts: Sequence[str]) -> Mapping[str, object]:
        pass

    @abc.abstractmethod
    def _read(self, answer: Any) -> RerankAnswer:
        """The content of an answer. See `JsonServer._json` for its errors."""

    def _usage(self, answer: RerankAnswer, query: str, texts: Sequence[str]) -> Usage:
        read = answer.tokens
        if read is None:
            size = sum(len(text.encode()) for text in texts) + len(texts) * len(query.encode())
            read = math.ceil(size / _BYTES_A_TOKEN)
        usage = Usage(input_tokens=read)
        spent = Spent(usage, self._called, searches=answer.searches)
        cost = self._prices.cost_micros(spent, datetime.now(UTC).date())
        if cost is None:
            return replace(usage, unpriced_tokens=read)
        return replace(usage, cost_micros=cost)


class CohereReranker(HttpReranker):
    """Cohere's `/v2/rerank`, which vLLM, llama.cpp and Infinity imitate."""

    def _request(self, model: str, query: str, texts: Sequence[str]) -> Mapping[str, object]:
        return {"model": model, "query": query, "documents": list(texts), "top_n": len(texts)}

    def _read(self, answer: Any) -> RerankAnswer:
        # Cohere reports the units that it bills, other servers the tokens.
        meta: Any = answer.get("meta") or {}
        billed: Any = meta.get("billed_units") or {}
        usage: Any = answer.get("usage") or {}
        total: Any = usage.get("total_tokens")
        return RerankAnswer(
            [(row["index"], row["relevance_score"]) for row in answer["results"]],
            None if total is None else tokens(total),
            tokens(billed.get("search_units", 1)),
        )


class JinaReranker(HttpReranker):
    """Jina's `/v1/rerank`."""

    def _request(self, model: str, query: str, texts: Sequence[str]) -> Mapping[str, object]:
        body = {"model": model, "query": query, "documents": list(texts), "top_n": len(texts)}
        return {**body, "return_documents": False}

    def _read(self, answer: Any) -> RerankAnswer:
        scored = [(row["index"], row["relevance_score"]) for row in answer["results"]]
        return RerankAnswer(scored, tokens(answer["usage"]["total_tokens"]))


class VoyageReranker(HttpReranker):
    """Voyage's `/v1/rerank`."""

    def _request(self, model: str, query: str, texts: Sequence[str]) -> Mapping[str, object]:
        return {"model": model, "query": query, "documents": list(texts), "truncation": True}

    def _read(self, answer: Any) -> RerankAnswer:
        scored = [(row["index"], row["relevance_score"]) for row in answer["data"]]
        return RerankAnswer(scored, tokens(answer["usage"]["total_tokens"]))


class TeiReranker(HttpReranker):
    """`/rerank` of text-embeddings-inference, which serves a single model."""

    # The server's default for `--max-client-batch-size`.
    texts_a_call: ClassVar[int] = 32

    def _request(self, model: str, query: str, texts: Sequence[str]) -> Mapping[str, object]:
        # Raw scores, because texts that fit very well would all be 1.0 otherwise.
        return {"query": query, "texts": list(texts), "raw_scores": True, "truncate": True}

    def _read(self, answer: Any) -> RerankAnswer:
        return RerankAnswer([(row["index"], row["score"]) for row in answer])


RERANKERS: Final[
    Mapping[RerankWire, Callable[[CompatibleSettings, str, RequestOptions, PriceTable], HttpReranker]]
] = {
    "cohere": CohereReranker,
    "jina": JinaReranker,
    "voyage": VoyageReranker,
    "tei": TeiReranker,
}
"""Maps the name of each protocol (`CompatibleSettings.rerank`) to its reranker."""


def _in_order(scored: Iterable[tuple[object, object]], count: int) -> Sequence[float]:
    """The scores in the order of the texts. Raises ValueError unless there is exactly one finite score for each of `count` texts."""
    scores: dict[int, float] = {}
    for index, score in scored:
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
