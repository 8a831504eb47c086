"""Retrieval: what a tenant's passages have on a question, best first, with scores that are explained."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Protocol, TypeVar
from uuid import UUID

import numpy as np

from responsa_server.domain.errors import TooSlow, Unavailable
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.passages import (
    VECTORS_PART,
    Candidate,
    CandidateQuery,
    FoundPassage,
    TermStatistics,
)
from responsa_server.search.embedder import Embedder
from responsa_server.search.evidence import judge, read_question
from responsa_server.search.readings import Readings
from responsa_server.search.scoring import Score, Weights, gate, score, weigh
from responsa_server.text.cutting import cut_anew
from responsa_server.text.languages import UNKNOWN, language_of
from responsa_server.text.lexical import STEMMED, Analyzer

Result = TypeVar("Result")

_LOG: Final = logging.getLogger(__name__)

RERANKED: Final = 10
"""Passages whose pieces are read to rank them once more."""


class PassageReader(Protocol):
    """What one search reads of one tenant."""

    async def statistics(self, collections: Sequence[str] | None, terms: Sequence[str]) -> TermStatistics:
        """What BM25 counts, over these collections (None: all)."""
        ...

    async def candidates(
        self, collections: Sequence[str] | None, query: CandidateQuery
    ) -> Sequence[Candidate]:
        """The passages that either index finds, in no order."""
        ...

    async def read(self, ids: Sequence[UUID], vector: bytes | None) -> Sequence[FoundPassage]:
        """Passages with their pieces, in the order of the ids. Raises Unavailable; without a vector `read_texts` may do then."""
        ...

    async def read_texts(self, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        """Passages without their pieces, in the order of the ids."""
        ...


class PassageIndex(Protocol):
    """A store of passages that can be searched."""

    async def reading(
        self, tenant_id: str, model: str, work: Callable[[PassageReader], Awaitable[Result]]
    ) -> Result:
        """What `work` makes of one view of a tenant. It runs to its end even when the caller is cancelled, who is released at once.

        model: whose vectors may be compared; passages in collections of another model are found by their text alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage found. term: which of the searched strings it fits best."""

    found: FoundPassage
    score: Score
    term: int


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a search found, best first, and what its strings (`terms`, those of the question last) were taken for.

    text_only: vectors should have had a vote, and could not be had. expansions: so many of the terms are none of the question's own; alone: what is
    found without them, nothing where there are none.
    """

    terms: Sequence[str]
    passages: Sequence[ScoredPassage]
    weights: Sequence[Weights]
    languages: Sequence[str]
    text_only: bool = False
    expansions: int = 0
    alone: Sequence[ScoredPassage] = ()


@dataclass(frozen=True, slots=True)
class _Ranked:
    candidate: Candidate
    score: Score
    term: int
    vector: bytes | None


class Retriever:
    """Searches full text and vectors, each where it has something to say, and ranks by both."""

    def __init__(self, index: PassageIndex, embedder: Embedder, *, breadth: int = 100) -> None:
        """breadth: HNSW's ef_search, 1 to 1,000: more finds more and takes longer."""
        self._index = index
        self._embedder = embedder
        self._breadth = breadth
        self._analyzer = Analyzer()
        self._readings = Readings()
        # One thread: what it does holds the interpreter's lock, so that more would not be faster, and would each read every passage anew.
        self._thread = ThreadPoolExecutor(1, "passages")

    async def judging(self, work: Callable[[Readings], Result]) -> Result:
        """What `work` makes of the passages read last, off the event loop; one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._readings)

    async def search(
        self,
        tenant_id: str,
        terms: Sequence[str],
        collections: Sequence[str] | None = None,
        *,
        top_k: int = 10,
        mode: SearchMode = SearchMode.HYBRID,
        threshold: float = 0.0,
        rerank: bool = True,
        text_will_do: bool = False,
        expansions: Sequence[str] = (),
    ) -> Retrieval:
        """The best passages for one or more strings, each passage once, by the string that it fits best.

        collections: None searches all that the tenant has. threshold: passages that score less are left out (0 to 1).
        Vectors have no vote where the question or the passage is in a language that the model does not know, unless
        the mode asks for vectors alone. rerank: whether the pieces of the first passages are read to rank them once more.
        text_will_do: where vectors cannot be had, words alone decide, and the outcome says so; else that is an error.
        expansions: further strings, whose passages may take the places of the worse half of those that the others find.
        """
        own = len(expansions)
        terms = (*expansions, *terms)
        languages = [language_of(term) for term in terms]
        try:
            vectors = await self._vectors(terms, languages, mode)
        except Exception:
            # Whatever model it is and however it fails: words need none.
            if not text_will_do:
                raise
            _LOG.warning("a question could not be embedded; words alone decide", exc_info=True)
            vectors = None
        if vectors is not None:
            try:
                return await self._search(
                    tenant_id,
                    terms,
                    collections,
                    languages,
                    vectors,
                    mode,
                    top_k,
                    threshold,
                    rerank=rerank,
                    own=own,
                )
            except Unavailable as error:
                # A search that took too long may have waited for nothing but the vectors.
                slow = isinstance(error, TooSlow)
                if not text_will_do or not (slow or error.metadata.get("part") == VECTORS_PART):
                    raise
                _LOG.warning("vectors could not be searched; words alone decide", exc_info=True)
        found = await self._search(
            tenant_id,
            terms,
            collections,
            [language_of(term) for term in terms],
            [None] * len(terms),
            SearchMode.TEXT,
            top_k,
            threshold,
            rerank=rerank,
            own=own,
        )
        return replace(found, text_only=True)

    async def _search(
        self,
        tenant_id: str,
        terms: Sequence[str],
        collections: Sequence[str] | None,
        languages: list[str],
        vectors: Sequence[bytes | None],
        mode: SearchMode,
        top_k: int,
        threshold: float,
        *,
        rerank: bool,
        own: int,
    ) -> Retrieval:
        """languages: those that cannot be told are filled in. own: the terms from there on are not expansions."""
        most = max(top_k, RERANKED)

        async def found(
            reader: PassageReader,
        ) -> tuple[list[Weights], Sequence[ScoredPassage], Sequence[ScoredPassage]]:
            ranked: list[_Ranked] = []
            weights: list[Weights] = []
            for place, (term, vector) in enumerate(zip(terms, vectors, strict=True)):
                weighed, languages[place] = await self._weighed(reader, collections, term, languages[place])
                weights.append(weighed)
                ranked += await self._ranked(reader, collections, place, weighed, vector, mode)
            asked = [one for one in ranked if one.term >= own] if own else []
            passages, alone = await self._read(reader, _best(ranked)[:most], _best(asked)[:most])
            return weights, passages, alone

        weights, passages, alone = await self._index.reading(tenant_id, self._embedder.name, found)
        if passages and rerank and mode is not SearchMode.VECTOR:
            passages, alone = await self.judging(
                lambda readings: (
                    _reranked(terms, weights, languages, passages, readings),
                    _reranked(terms, weights, languages, alone, readings),
                )
            )
        alone = alone[:top_k]
        kept = _joined(alone, passages, top_k) if own else passages[:top_k]
        return Retrieval(
            tuple(terms),
            [one for one in kept if one.score.total >= threshold],
            weights,
            languages,
            expansions=own,
            alone=[one for one in alone if one.score.total >= threshold],
        )

    async def _weighed(
        self, reader: PassageReader, collections: Sequence[str] | None, term: str, language: str
    ) -> tuple[Weights, str]:
        """A string's terms, weighed, and the language they were taken in.

        A word or two do not tell their language. When no passage has any of them as English, the language in which most are found is theirs.
        """
        words = self._analyzer.query_terms(term, language)
        statistics = await reader.statistics(collections, words)
        if language != UNKNOWN or any(statistics.frequencies.values()):
            return weigh(words, statistics), language
        readings = {code: self._analyzer.query_terms(term, code) for code in STEMMED}
        union = list(dict.fromkeys(word for taken in readings.values() for word in taken))
        found = (await reader.statistics(collections, union)).frequencies
        code = max(readings, key=lambda one: sum(found.get(word, 0) > 0 for word in readings[one]))
        if not any(found.get(word) for word in readings[code]):
            return weigh(words, statistics), language
        return weigh(readings[code], await reader.statistics(collections, readings[code])), code

    async def _vectors(
        self, terms: Sequence[str], languages: Sequence[str], mode: SearchMode
    ) -> Sequence[bytes | None]:
        votes = [
            mode is SearchMode.VECTOR or (mode is SearchMode.HYBRID and self._knows(language))
            for language in languages
        ]
        wanted = [term for term, vote in zip(terms, votes, strict=True) if vote]
        made = iter(np.asarray(await self._embedder.embed(wanted), "<f4") if wanted else ())
        return [next(made).tobytes() if vote else None for vote in votes]

    async def _ranked(
        self,
        reader: PassageReader,
        collections: Sequence[str] | None,
        place: int,
        weights: Weights,
        vector: bytes | None,
        mode: SearchMode,
    ) -> Sequence[_Ranked]:
        text_votes = mode is not SearchMode.VECTOR
        if vector is None and not weights.terms:
            return []
        query = CandidateQuery(
            weights.terms,
            weights.weights,
            gate(weights.frequencies) if text_votes else 0,
            weights.mean_length,
            vector,
            breadth=self._breadth,
        )
        found = await reader.candidates(collections, query)
        return [
            _Ranked(
                one,
                score(
                    one,
                    weights,
                    vector_votes=vector is not None and (not text_votes or self._knows(one.language)),
                    text_votes=text_votes,
                ),
                place,
                vector,
            )
            for one in found
        ]

    async def _read(
        self, reader: PassageReader, *lists: Sequence[_Ranked]
    ) -> Sequence[Sequence[ScoredPassage]]:
        """Passages with their pieces' cosines to the string that found them, a list for each; what stands in several is read once."""
        by_vector: dict[bytes | None, dict[UUID, None]] = {}
        for one in chain(*lists):
            by_vector.setdefault(one.vector, {})[one.candidate.id] = None
        read: Mapping[tuple[bytes | None, UUID], FoundPassage] = {
            (vector, found.passage.id): found
            for vector, ids in by_vector.items()
            for found in await self._found(reader, list(ids), vector)
        }
        # A passage deleted in the meantime is left out.
        return [
            [
                ScoredPassage(read[key], one.score, one.term)
                for one in ranked
                if (key := (one.vector, one.candidate.id)) in read
            ]
            for ranked in lists
        ]

    async def _found(
        self, reader: PassageReader, ids: Sequence[UUID], vector: bytes | None
    ) -> Sequence[FoundPassage]:
        """Passages with their pieces; without a vector also where what is stored of the pieces cannot be had."""
        try:
            return await reader.read(ids, vector)
        except Unavailable:
            if vector is not None:
                raise
            _LOG.warning("pieces of passages could not be read; they are cut anew", exc_info=True)
        return [cut_anew(one) for one in await reader.read_texts(ids)]

    def _knows(self, language: str) -> bool:
        known = self._embedder.languages
        return known is None or language == UNKNOWN or language in known


def _best(ranked: Sequence[_Ranked]) -> Sequence[_Ranked]:
    """Each passage once, by the string that it fits best; best first."""
    best: dict[UUID, _Ranked] = {}
    for one in ranked:
        known = best.get(one.candidate.id)
        if known is None or one.score.total > known.score.total:
            best[one.candidate.id] = one
    return sorted(best.values(), key=lambda one: (-one.score.total, one.candidate.id.bytes))


def _joined(
    alone: Sequence[ScoredPassage], passages: Sequence[ScoredPassage], top_k: int
) -> Sequence[ScoredPassage]:
    """The best `top_k`, the better half of those that the question finds alone among them; best first.

    passages: found by all strings, best first.
    """
    # What a model makes of a question may fit other passages better than any fits the question.
    better = alone[: (top_k + 1) // 2]
    kept = {one.found.passage.id: one for one in (*better, *passages)}
    return sorted(list(kept.values())[:top_k], key=lambda one: (-one.score.total, one.found.passage.id.bytes))


def _reranked(
    terms: Sequence[str],
    weights: Sequence[Weights],
    languages: Sequence[str],
    passages: Sequence[ScoredPassage],
    readings: Readings,
) -> Sequence[ScoredPassage]:
    """The first RERANKED anew, each by the piece of it that answers best; whatever came after them stays after them."""
    questions = [
        read_question(term, weight, language, readings.analyzer)
        for term, weight, language in zip(terms, weights, languages, strict=True)
    ]
    judged: list[ScoredPassage] = []
    for one in passages[:RERANKED]:
        weighed = judge(questions[one.term], one.found, one.score.first, readings)
        evidence = max((piece.score for piece in weighed), default=one.score.first)
        judged.append(replace(one, score=replace(one.score, total=evidence, evidence=evidence)))
    judged.sort(key=lambda one: (-one.score.total, one.found.passage.id.bytes))
    least = judged[-1].score.total if judged else 1.0
    rest = [
        replace(one, score=replace(one.score, total=min(one.score.total, least)))
        for one in passages[RERANKED:]
    ]
    return [*judged, *rest]
