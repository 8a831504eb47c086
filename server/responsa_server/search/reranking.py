"""Asks the reranking model for the order of passages. A search never fails because of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import structlog

from responsa_server.domain.breakers import Breakers, CircuitOpen, Probe
from responsa_server.domain.events import Fallback, FallbackKind, Usage
from responsa_server.domain.models import ModelError, ModelFault, Reranker
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.passages import Passage
from responsa_server.telemetry import instruments

SEARCH_ORDER: Final = "search_order"
"""The target of a Fallback: the order of the search itself."""
# After two such failures in a row, the model is not asked for a while, because each of them costs a search time.
_STRIKES: Final = frozenset(
    {ModelFault.TIMEOUT, ModelFault.UNREACHABLE, ModelFault.OVERLOADED, ModelFault.RATE_LIMITED}
)
_MOST_STRIKES: Final = 2


@dataclass(frozen=True, slots=True)
class RerankScores:
    """The result for some passages.

    scores: one for each passage, or None for those that the model did not read, which are the last. All None if the
    model failed. fallback: why the model has no scores; None if it has. usage: what the model cost.
    """

    scores: Sequence[float | None]
    fallback: Fallback | None = None
    usage: Usage = field(default_factory=Usage)

    @property
    def ordered(self) -> bool:
        """Whether the model has scored passages."""
        return any(score is not None for score in self.scores)


class Reranking:
    """The reranking model of this server, with its limits."""

    def __init__(
        self, model: Reranker, *, seconds: float, limit: int, most_bytes: int, breakers: Breakers
    ) -> None:
        """seconds: the maximum time of a call. limit: the number of passages that the model reads. most_bytes: the
        maximum size of a passage for the model. breakers: those of all models.
        """
        self._model = model
        self._seconds = seconds
        self.limit = limit
        self._most_bytes = most_bytes
        self._breakers = breakers
        self._circuit = f"model:{model.name}"

    @property
    def name(self) -> str:
        """`provider:model`."""
        return self._model.name

    async def scores(self, question: str, passages: Sequence[str]) -> RerankScores:
        """How well each passage fits the question. passages: best first; the model reads the first `limit`, each cut to `most_bytes`."""
        texts = [_cut_text(text, self._most_bytes) for text in passages[: self.limit]]
        if len(texts) < 2:  # nothing to order
            return RerankScores([None] * len(passages))
        admitted = self._breakers.admit(self._circuit)
        if isinstance(admitted, CircuitOpen):
            return self._without(passages, admitted.cause)
        begun = monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                ranking = await self._model.rank(_cut_text(question, self._most_bytes), texts)
        except TimeoutError:
            self._breakers.record_failure(self._circuit, ModelFault.TIMEOUT, _MOST_STRIKES)
            structlog.get_logger("models").warning(
                "reranking_call_failed",
                model=self.name,
                cause=ModelFault.TIMEOUT.value,
                seconds=self._seconds,
            )
            return self._without(passages, ModelFault.TIMEOUT)
        except ModelError as error:
            if error.fault is ModelFault.CREDENTIAL:
                self._breakers.open(self._circuit, error.fault)
            elif error.fault in _STRIKES:
                self._breakers.record_failure(self._circuit, error.fault, _MOST_STRIKES)
            return self._without(passages, error.fault)
        finally:
            instruments.SEARCH_SECONDS.add(monotonic() - begun, "reranking")
            if admitted is Probe.PROBE:
                self._breakers.end_probe(self._circuit)
        self._breakers.record_success(self._circuit)
        return RerankScores([*ranking.scores, *[None] * (len(passages) - len(texts))], usage=ranking.usage)

    def _without(self, passages: Sequence[str], cause: str) -> RerankScores:
        fallback = Fallback(FallbackKind.WITHOUT_RERANKER, self.name, SEARCH_ORDER, str(cause))
        return RerankScores([None] * len(passages), fallback)


def order(scores: Sequence[float | None]) -> Sequence[int]:
    """The indexes of the passages, best first. Passages without a score stay in their order, after the others; so do
    passages with equal scores."""
    return sorted(range(len(scores)), key=lambda index: _descending(scores[index]))


def text_to_rerank(passage: Passage) -> str:
    """What the model reads of a passage: its text under its title and headings."""
    return f"{' > '.join([passage.title, *passage.headings])}\n{passage.text}"


def _descending(score: float | None) -> tuple[bool, float]:
    return (True, 0.0) if score is None else (False, -score)


def _cut_text(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


class RerankerPart:
    """The health of the reranking model: whether its circuit is closed. The check costs nothing, because it does not ask the model."""

    name = "reranker"

    def __init__(self, reranking: Reranking, breakers: Breakers) -> None:
        self._reranking = reranking
        self._breakers = breakers

    async def check(self) -> PartReport:
        """Report the model's name, and the failure that opened its circuit."""
        cause = self._breakers.cause(f"model:{self._reranking.name}")
        if cause:
            detail = (
                f"The reranking model is not asked at the moment ({cause}). Searches keep their own order."
            )
            return PartReport(Health.DEGRADED, version=self._reranking.name, detail=detail)
        return PartReport(Health.OK, version=self._reranking.name)
