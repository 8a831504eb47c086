"""The parts of an answer, and the interfaces with which the graph finds and checks it: evidence, extraction, citations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import Passage
from responsa_server.domain.people import Principal


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results of a search for a question.

    passages: how many; embedding_tokens: the tokens that the embedding model read. content: plain values
    (texts, numbers, booleans, None, lists, mappings of these) that only the extractor of the same knowledge
    reads. degraded: "text_only" if vectors were not available, else "".
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
    """The best sentences for an answer, in the order of the answer. supported: whether they answer the question, by `support` (0 to 1)."""

    quotes: Sequence[Quote]
    support: float
    supported: bool


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    top_k: 1 to 50 passages, None for the source's own number; threshold: 0 to 1, the lowest score; rerank:
    whether candidates are compared with the question again. expansions: further words to search for; they add
    passages and never lower the question's support. last: collections whose passages are used only when no
    other passage supports an answer, by `support` (0 to 1; None for the source's own).
    """

    top_k: int | None = None
    threshold: float = 0.0
    rerank: bool = True
    expansions: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    support: float | None = None


DEFAULT_SEARCH: Final = SearchOptions()


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage as a prompt may show it. title: of its document; text: whole, or cut at a sentence."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of an answer and the passage that it names: its number among those that `passages` gave, from 1."""

    text: str
    passage: int


class EvidenceSource(Protocol):
    """Finds evidence for a question in the documents."""

    async def search(
        self,
        who: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        """The best passages that the caller may read, for a question in one or more wordings; collections: empty means all.

        Without vectors, words alone decide, and Evidence.degraded is "text_only". Raises Unavailable.
        """
        ...

    def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        """The passages for a prompt, the best first, with at most that many bytes of UTF-8 in total. Equal evidence gives equal passages."""
        ...


class Extractor(Protocol):
    """Chooses the sentences that answer a question."""

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        """The sentences of the evidence that answer the question best. question: one of the wordings that were searched for."""
        ...


class CitationJudge(Protocol):
    """Decides whether a passage supports the claim that cites it."""

    async def judge(
        self, claims: Sequence[Claim], evidence: Evidence, most_bytes: int
    ) -> Sequence[Quote | None]:
        """Return the best piece of the passage for each claim, or None if no such passage exists or it does not support the claim.

        most_bytes: the same as for `passages`, so that the numbers mean the same passages.
        """
        ...
