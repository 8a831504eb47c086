"""The library's searches: hits, each with what to show of its passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from responsa_server.domain.knowledge import ExcerptPlace, Hit, SearchMode, SearchQuery, ShownPart
from responsa_server.domain.passages import FoundPassage, LexicalIndex, PassageSurroundings, VectorKind
from responsa_server.domain.people import Reader
from responsa_server.domain.sharing import pause
from responsa_server.search.editions import MOST, names_edition, newest_first
from responsa_server.search.excerpts import READ, excerpts_of, group_copies, show_part
from responsa_server.search.parts import READ_BEFORE_BYTES
from responsa_server.search.prompt_passages import with_pieces
from responsa_server.search.reranking import Reranking, order, text_to_rerank
from responsa_server.search.retrieve import (
    ParsedQuestions,
    Retrieval,
    RetrievalQuery,
    Retriever,
    ScoredPassage,
)
from responsa_server.text.instructing import NEAR_BYTES
from responsa_server.text.lexical import Analyzer


async def with_surroundings(
    lexical: LexicalIndex, reader: Reader, question: str, passages: Sequence[ScoredPassage], compared: int
) -> tuple[Sequence[ScoredPassage], PassageSurroundings]:
    """The passages, of which the first have what a card of them needs, and what stands around these. compared: of how
    many of the passages the editions are wanted. If the question names an edition, none is. Raises Unavailable."""
    documents = {passage.found.passage.document_id for passage in passages[:compared]}
    first, surroundings = await _read_around(
        lexical,
        reader,
        [passage.found for passage in passages[:READ]],
        () if len(documents) < 2 or names_edition(question) else [*documents],
    )
    ready = [replace(passage, found=whole) for passage, whole in zip(passages[:READ], first, strict=True)]
    return [*ready, *passages[READ:]], surroundings


async def _read_around(
    lexical: LexicalIndex, reader: Reader, passages: Sequence[FoundPassage], documents: Sequence[UUID] = ()
) -> tuple[Sequence[FoundPassage], PassageSurroundings]:
    """The passages with their pieces, and with the header of the table that they begin in, which may be in an earlier
    passage; and what stands around them. documents: whose editions are wanted. Raises Unavailable."""
    passages = [with_pieces(passage) for passage in passages]
    surroundings = await lexical.surroundings(
        reader,
        [searched.passage.id for searched in passages],
        [
            searched.passage.id
            for searched in passages
            if searched.pieces and searched.pieces[0].kind is VectorKind.ROW
        ],
        documents,
        NEAR_BYTES,
        READ_BEFORE_BYTES,
    )
    before = surroundings.before
    return [
        replace(searched, before=before.get(searched.passage.id, searched.before)) for searched in passages
    ], surroundings


async def _hits(
    retrieval: Retrieval,
    around: Mapping[UUID, tuple[int, bytes]],
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
        passages, surroundings = await with_surroundings(
            self._retriever.lexical,
            reader,
            " ".join(query.terms),
            retrieval.passages,
            MOST if reranking is None else reranking.limit,
        )
        shown = replace(retrieval, passages=passages)
        hits = await self._retriever.analyse(
            lambda analyzer: _hits(shown, surroundings.around, copies, analyzer)
        )
        if reranking is not None:
            texts = [text_to_rerank(hit.passage) for hit in hits]
            scores = (await reranking.scores("\n".join(query.terms), texts)).scores
            scored = [replace(hit, reranker_score=score) for hit, score in zip(hits, scores, strict=True)]
            hits = [scored[index] for index in order(scores)[: query.top_k]]
        ordered = newest_first([hit.passage for hit in hits], surroundings.editions)
        return [hits[index] for index in ordered]

    async def show(self, reader: Reader, place: ExcerptPlace) -> ShownPart | None:
        """Make what an excerpt shows. None if the passage is not searched any more, or the reader may not read it. Raises
        Unavailable."""
        searched = await self._retriever.read_passages(reader, [place.passage_id])
        passages, surroundings = await _read_around(self._retriever.lexical, reader, searched)
        near = surroundings.around.get(place.passage_id)
        return show_part(passages[0], near, place) if passages and near else None
