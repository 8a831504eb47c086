"""The library's searches: hits, each with what to show of its passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from responsa_server.domain.events import Excerpt
from responsa_server.domain.knowledge import ExcerptPlace, Hit, SearchMode, SearchQuery, ShownPart
from responsa_server.domain.passages import NearText
from responsa_server.domain.people import Reader
from responsa_server.domain.sharing import pause
from responsa_server.search.editions import MOST, names_edition, put_dated_first
from responsa_server.search.excerpts import READ, excerpts_of, group_copies, show_part
from responsa_server.search.prompt_passages import with_pieces
from responsa_server.search.reranking import Reranking, order, text_to_rerank
from responsa_server.search.retrieve import (
    ParsedQuestions,
    Retrieval,
    RetrievalQuery,
    Retriever,
    ScoredPassage,
)
from responsa_server.search.scoring import Score
from responsa_server.text.lexical import Analyzer


def with_all_pieces(passages: Sequence[ScoredPassage]) -> Sequence[ScoredPassage]:
    """The passages, of which those that cards are made of have pieces."""
    first = [replace(passage, found=with_pieces(passage.found)) for passage in passages[:READ]]
    return [*first, *passages[READ:]]


def list_compared(question: str, passages: Sequence[ScoredPassage]) -> Sequence[UUID]:
    """The documents of passages whose editions are compared; none if the question names an edition."""
    documents = {passage.found.passage.document_id for passage in passages}
    return () if len(documents) < 2 or names_edition(question) else [*documents]


async def _hits(
    retrieval: Retrieval,
    around: Mapping[UUID, NearText],
    copies: Mapping[UUID, Sequence[ScoredPassage]],
    analyzer: Analyzer,
) -> Sequence[Hit]:
    questions = ParsedQuestions(retrieval, analyzer)
    hits: list[Hit] = []
    for passage in retrieval.passages:
        await pause()
        near = around.get(passage.found.passage.id)
        chosen = next(excerpts_of(passage, near, retrieval, questions, analyzer), None)
        score = passage.score
        hits.append(
            Hit(
                passage.found.passage,
                score.total,
                score.bm25,
                score.vector or 0.0,
                passage.term,
                chosen and chosen.best.score,
                excerpt=chosen and chosen.show({}, analyzer),
                copies=[copy.found.passage for copy in copies[passage.found.passage.id]],
            )
        )
    return hits


class KnowledgeSearch:
    """The search of the library. With a reranking model, it orders the passages of every search
    that asks for `rerank`, except by vectors alone."""

    def __init__(self, retriever: Retriever, reranking: Reranking | None = None) -> None:
        self._retriever = retriever
        self._reranking = reranking

    async def search(self, reader: Reader, query: SearchQuery) -> Sequence[Hit]:
        """Return the passages that match best, best first. Raises Unavailable if an index cannot be reached."""
        wanted = query.rerank and query.mode is not SearchMode.VECTOR
        reranking = self._reranking if wanted else None
        request = RetrievalQuery(
            reader,
            query.terms,
            query.collections or None,
            top_k=query.top_k if reranking is None else max(query.top_k, reranking.limit),
            mode=query.mode,
            threshold=query.threshold,
            filters=query.filters,
        )
        limit = request.top_k
        while True:
            retrieval = await self._retriever.retrieve(request)
            groups = group_copies(retrieval.passages)
            if len(groups) >= limit or len(retrieval.passages) < request.top_k:
                break
            request = replace(request, top_k=2 * request.top_k)  # others stand in the places of the copies
        copies = {first.found.passage.id: others for first, *others in groups}
        retrieval = replace(retrieval, passages=[first for first, *_ in groups[:limit]])
        compared = retrieval.passages[: MOST if reranking is None else reranking.limit]
        surroundings = await self._retriever.surroundings(
            reader,
            [passage.found.passage.id for passage in retrieval.passages[:READ]],
            list_compared(" ".join(query.terms), compared),
        )
        shown = replace(retrieval, passages=with_all_pieces(retrieval.passages))
        hits = await self._retriever.analyse(
            lambda analyzer: _hits(shown, surroundings.around, copies, analyzer)
        )
        if reranking is not None:
            texts = [text_to_rerank(hit.passage) for hit in hits]
            scores = (await reranking.scores("\n".join(query.terms), texts)).scores
            scored = [replace(hit, reranker_score=score) for hit, score in zip(hits, scores, strict=True)]
            hits = [scored[index] for index in order(scores)[: query.top_k]]
        by_id = {passage.found.passage.id: passage.found for passage in shown.passages}
        found_passages = [by_id[hit.passage.id] for hit in hits]
        ordered = await self._retriever.analyse(
            lambda _: put_dated_first(found_passages, surroundings.editions, retrieval.weights)
        )
        return [hits[index] for index in ordered]

    async def show(self, reader: Reader, place: ExcerptPlace) -> ShownPart | None:
        """Make what an excerpt shows. None if the passage is not searched any more, or the reader may not read it. Raises
        Unavailable."""
        searched = await self._retriever.read_passages(reader, [place.passage_id])
        near = (await self._retriever.lexical.surroundings(reader, [place.passage_id], ())).around.get(
            place.passage_id
        )
        if not searched or near is None:
            return None
        found_passage = with_pieces(searched[0])
        if not place.further:
            return show_part(found_passage, near, place)
        query = RetrievalQuery(reader, [place.question], [place.collection], text_will_do=True)
        retrieval = await self._retriever.retrieve(query)
        same = (each for each in retrieval.passages if each.found.passage.id == place.passage_id)
        # What asked for it may have been another question than the reader's, which does not find it.
        passage = next(same, ScoredPassage(found_passage, Score(0.0, 0.0, 0.0, None), 0))

        async def choose(analyzer: Analyzer) -> Excerpt | None:
            questions = ParsedQuestions(retrieval, analyzer)
            whole = replace(passage, found=with_pieces(passage.found))
            chosen = next(excerpts_of(whole, near, retrieval, questions, analyzer), None)
            return chosen and chosen.show({}, analyzer)

        excerpt = await self._retriever.analyse(choose)
        if excerpt is None:
            return show_part(found_passage, near, place)
        return ShownPart(
            found_passage.passage, excerpt.markdown, excerpt.marked_shown, excerpt.section, excerpt
        )
