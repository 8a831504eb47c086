"""The interface to a reranking model, which reads a question together with each of several texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from responsa_server.domain.events import Usage


@dataclass(frozen=True, slots=True)
class Reranked:
    """What a reranking model found.

    scores: one finite number for each text, in the order of the texts. A higher score means a better fit. The scale is the model's own. usage: the tokens that
    the model read, with their price if it is known.
    """

    scores: Sequence[float]
    usage: Usage = field(default_factory=Usage)


class Reranker(Protocol):
    """A reranking model."""

    @property
    def name(self) -> str:
        """`provider:model`."""
        ...

    async def rank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Compare the query with each text. The model may cut texts that are too long for it. Raises ModelError."""
        ...
