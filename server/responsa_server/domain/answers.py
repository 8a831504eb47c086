"""What an answer is made of: evidence found for a question, and the sentences in it that support an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Passage


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a search found for a question.

    passages: how many; embedding_tokens: what the embedding model read for it. content: plain values (texts, numbers, booleans, None, lists, mappings
    of these) which the extractor of the same knowledge understands, and nobody else reads. degraded: "text_only" where vectors could not be had, else "".
    """

    passages: int
    embedding_tokens: int
    content: Mapping[str, object]
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of a passage: text is the canonical text's bytes in `source`; score 0 to 1, how well it supports an answer."""

    passage: Passage
    source: ByteRange
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Extraction:
    """The sentences that answer best, in the order to say them. supported: whether they do answer, by `support` (0 to 1)."""

    quotes: Sequence[Quote]
    support: float
    supported: bool
