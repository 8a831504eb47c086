"""Retrieval and its ranking for the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final, cast
from uuid import UUID

from pydantic import TypeAdapter

from responsa_formats.text.languages import language_of_document
from responsa_server.domain.answers import (
    DEFAULT_SEARCH,
    CheckedClaim,
    CitedSentence,
    Evidence,
    FoundSource,
    Quote,
    Ranked,
    Ranking,
    SearchOptions,
    ShownPassage,
)
from responsa_server.domain.events import SourcePassage
from responsa_server.domain.kinds import DOCS_COLLECTION, CollectionKind
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.passages import FoundPassage, NearText, Passage, SearchScope
from responsa_server.domain.people import Principal, as_subject
from responsa_server.domain.sharing import pause
from responsa_server.search.citation_check import check_claims
from responsa_server.search.editions import MOST, put_dated_first
from responsa_server.search.excerpts import (
    ANSWERS,
    READ,
    ChosenExcerpt,
    choose,
    group_copies,
    ranking,
    with_excerpts,
)
from responsa_server.search.hits import list_compared, with_all_pieces
from responsa_server.search.prompt_passages import Neighbours, PromptPassage, neighbours_of, prompt_passages
from responsa_server.search.reranking import Reranking, RerankScores, order, text_to_rerank
from responsa_server.search.retrieve import Retrieval, RetrievalQuery, Retriever, ScoredPassage
from responsa_server.search.sections import AROUND_BYTES as SECTION_BYTES
from responsa_server.search.sections import rank_sections, whole_sections
from responsa_server.search.tool_sources import whole_source
from responsa_server.telemetry.stages import stage
from responsa_server.text.instructing import without_instructions

TOP_K: Final = 16
"""The number of passages of a search, if its options name no number."""
MOST_REFERENCES: Final = 8
"""The number of passages without a subject in a search for what is about the caller."""
ABOUT_MARGIN: Final = 0.02
"""In such a search, a passage about the caller stands before another whose score (0 to 1) is higher by at most this much."""
RARE: Final = 0.01
"""The share of a collection's passages below which a word of theirs is rare."""
TEXT_ONLY: Final = "text_only"
"""The value of `Evidence.degraded` when vectors were not available."""


Around = Mapping[UUID, NearText]
"""The text around passages."""


class Found:
    """The content of evidence: what a search found, and what was made of it in this turn. around: the text around the
    first passages; empty if it was not read. chosen: the excerpts that say how well they fit."""

    def __init__(
        self, retrieval: Retrieval, around: Around | None = None, chosen: Sequence[ChosenExcerpt] = ()
    ) -> None:
        self.retrieval = retrieval
        self.around = around or {}
        self.chosen = chosen
        self._by_size: dict[int, Sequence[PromptPassage]] = {}

    def shown(self, most_bytes: int) -> Sequence[PromptPassage]:
        """What a prompt shows of it."""
        if most_bytes not in self._by_size:
            passages = [passage.found for passage in self.retrieval.passages]
            self._by_size[most_bytes] = prompt_passages(passages, self.retrieval.neighbours, most_bytes)
        return self._by_size[most_bytes]

    @property
    def kept(self) -> Retrieval:
        """See `Evidence.content`. `read_again` reads the text of the passages, and that around those in `neighbours`."""
        passages = [replace(each, found=_strip_text(each.found)) for each in self.retrieval.passages]
        return replace(
            self.retrieval, passages=passages, neighbours=dict.fromkeys(self.around, Neighbours("", ""))
        )


class LibraryEvidence:
    """An `EvidenceSource`, a `SectionSource` and a `CitationJudge` over the library's passages."""

    def __init__(self, retriever: Retriever, reranking: Reranking | None = None) -> None:
        self._retriever = retriever
        self._reranking = reranking
        self._kept = TypeAdapter(Retrieval)

    async def search(
        self,
        caller: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        top_k = TOP_K if options.top_k is None else options.top_k
        # The reranking model chooses among more passages than are kept.
        limit = top_k if self._reranking is not None and options.rerank else 0
        top = max(top_k, self._reranking.limit) if self._reranking is not None and limit else top_k

        query = RetrievalQuery(
            caller,
            questions,
            collections or None,
            top_k=top,
            threshold=options.threshold,
            text_will_do=True,
            expansions=options.expansions,
            filters=options.filters,
            own=() if options.own else options.own,
        )
        retrieval = await self._retriever.retrieve(query)
        # A search by words alone, or within collections that the question names, may find nothing of a record that exists.
        record = options.own is None or bool(retrieval.passages)
        if not record:
            own = SearchScope(as_subject(caller), own=())
            record = bool(await self._retriever.lexical.documents(own, ()))
        if options.own:
            # Two searches, so that the many documents without a subject do not displace the few about the caller.
            references = await self._retriever.retrieve(replace(query, own=options.own, about=False))
            retrieval = _with_references(retrieval, references)
            limit += MOST_REFERENCES if limit else 0
        used = tuple(dict.fromkeys(passage.found.passage.collection_id for passage in retrieval.passages))
        return Evidence(
            len(retrieval.passages),
            retrieval.embedding_tokens,
            Found(replace(retrieval, kept=limit)),
            TEXT_ONLY if retrieval.text_only else "",
            used,
            kinds={} if collections else {name: retrieval.kinds[name] for name in used},
            languages=await self._compare_languages(caller, questions[-1], retrieval),
            record=record,
        )

    async def _compare_languages(
        self, caller: Principal, question: str, retrieval: Retrieval
    ) -> tuple[str, ...]:
        """See `Evidence.languages`."""
        own = language_of_document(question)
        by_words = [each.found.language for each in retrieval.passages if each.score.vector is None]
        if not own or own in by_words or len(by_words) < len(retrieval.passages):
            return ()
        scope = SearchScope(caller, list(retrieval.kinds))
        languages = await self._retriever.lexical.languages(scope) if retrieval.kinds else ()
        return (own, *languages[:2]) if languages and own not in languages else ()

    async def rank(self, caller: Principal, question: str, evidence: Evidence) -> Ranked:
        ranked = await self._rank(caller, question, evidence)
        if ranked.ranking.near or not evidence.content or self._read(evidence).retrieval.chosen:
            return ranked
        # Nothing that was searched supports an answer, so the question may be about Responsa.
        own = self._read(ranked.evidence)
        docs = await self.search(caller, tuple(own.retrieval.terms), (DOCS_COLLECTION,))
        of_docs = await self._rank(caller, question, docs)
        # The strings were embedded once; a reranking model has read both.
        ranked = replace(ranked, usage=ranked.usage + of_docs.usage)
        if of_docs.ranking.support < ANSWERS:
            return ranked
        manual = self._read(of_docs.evidence)
        retrieval = _with_manual(own.retrieval, manual.retrieval)
        around = {**own.around, **manual.around}
        chosen = await self._retriever.analyse(lambda analyzer: choose(retrieval, around, analyzer))
        both = replace(
            ranked.evidence,
            passages=len(retrieval.passages),
            content=Found(retrieval, around, chosen),
            collections=(*ranked.evidence.collections, DOCS_COLLECTION),
            kinds={**ranked.evidence.kinds, DOCS_COLLECTION: CollectionKind.DOCS},
        )
        return replace(ranked, evidence=both, ranking=ranking(chosen))

    async def _rank(self, caller: Principal, question: str, evidence: Evidence) -> Ranked:
        if not evidence.passages:
            return Ranked(evidence, Ranking())
        content = self._read(evidence)
        retrieval = content.retrieval
        documents, reranked = await self._rerank(
            question,
            [first for first, *_ in group_copies(retrieval.passages)],
            retrieval.kept,
        )
        # What a reranking model has read since the search is read with the rights of this moment.
        index = self._retriever if self._reranking is None else self._retriever.lexical
        ids = [document.found.passage.id for document in documents[:READ]]
        near = await index.surroundings(caller, ids, list_compared(question, documents[:MOST]))
        documents = with_all_pieces(documents)
        searched = [document.found for document in documents]
        ordered = await self._retriever.analyse(
            lambda _: put_dated_first(searched, near.editions, retrieval.weights)
        )
        documents = [documents[index] for index in ordered]
        first = [document.found for document in documents[:READ]]
        retrieval = replace(
            retrieval,
            passages=documents,
            neighbours=neighbours_of(first, near.around, near.headings),
            kept=0,
        )
        chosen = await self._retriever.analyse(lambda analyzer: choose(retrieval, near.around, analyzer))
        content = Found(retrieval, near.around, chosen)
        ranked = replace(evidence, passages=len(retrieval.passages), content=content)
        return Ranked(ranked, ranking(chosen), reranked.fallback, reranked.usage)

    async def has_rare_word(self, caller: Principal, words: str, collections: tuple[str, ...]) -> bool:
        query = RetrievalQuery(caller, (words,), collections or None, mode=SearchMode.TEXT)
        alone = len(words.split()) == 1
        return any(
            alone or frequency == 1 or frequency < RARE * weights.passages
            for weights in await self._retriever.read_words(query)
            for frequency in weights.frequencies
        )

    async def excerpts(self, evidence: Evidence, ranking: Ranking) -> Ranking:
        content = self._read(evidence)
        retrieval = replace(content.retrieval, kinds=evidence.kinds)
        return await self._retriever.analyse(
            lambda analyzer: with_excerpts(ranking, content.chosen, retrieval, analyzer)
        )

    async def _rerank(
        self, question: str, passages: Sequence[ScoredPassage], limit: int
    ) -> tuple[Sequence[ScoredPassage], RerankScores]:
        """The first `limit` passages in the order of the reranking model; all passages as they are if `limit` is 0 or
        there is no such model any more."""
        if self._reranking is None or not limit:
            return passages, RerankScores([None] * len(passages))
        reranked = await self._reranking.scores(
            question, [text_to_rerank(passage.found.passage) for passage in passages]
        )
        return [passages[index] for index in order(reranked.scores)[:limit]], reranked

    async def read_again(self, caller: Principal, evidence: Evidence) -> Evidence | None:
        if not evidence.content:  # nothing was searched
            return evidence
        retrieval = self._kept.validate_python(evidence.content)
        ids = [each.found.passage.id for each in retrieval.passages]
        stored = await self._retriever.lexical.read_stored(caller, ids)
        passages: list[ScoredPassage] = []
        for each in retrieval.passages:
            passage = _restore_text(each.found, stored.get(each.found.passage.id))
            if passage is None:
                return None
            passages.append(replace(each, found=passage))
        read = await self._retriever.lexical.surroundings(caller, [*retrieval.neighbours], ())
        near = neighbours_of([each.found for each in passages], read.around, read.headings)
        retrieval = replace(retrieval, passages=passages, neighbours=near)
        chosen = await self._retriever.analyse(lambda analyzer: choose(retrieval, read.around, analyzer))
        return replace(evidence, content=Found(retrieval, read.around, chosen))

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        if not evidence.content:  # nothing was searched
            return ()
        content = self._read(evidence)
        return await self._retriever.analyse(lambda _: _show_in_prompt(content.shown(most_bytes)))

    async def sections(
        self, caller: Principal, evidence: Evidence, limit: int, most_bytes: int, *, divided: bool
    ) -> Sequence[Sequence[Quote]]:
        if not evidence.passages:
            return ()
        retrieval = self._read(evidence).retrieval
        ids = [passage.found.passage.id for passage in retrieval.passages]
        near = await self._retriever.lexical.surroundings(caller, ids, (), SECTION_BYTES)
        ranked = await self._retriever.analyse(
            lambda analyzer: rank_sections(retrieval, near.around, analyzer)
        )
        return whole_sections(ranked, limit, most_bytes, divided=divided)

    async def check(
        self,
        claims: Sequence[CitedSentence],
        evidence: Evidence,
        most_bytes: int,
        sources: Sequence[FoundSource] = (),
    ) -> Sequence[CheckedClaim | None]:
        shown = self._read(evidence).shown(most_bytes) if evidence.content else ()
        with stage("citation check", claims=len(claims), sources=len(sources)):
            return await self._retriever.analyse(
                lambda analyzer: check_claims(claims, [*shown, *map(whole_source, sources)], analyzer)
            )

    @staticmethod
    def _read(evidence: Evidence) -> Found:
        return cast("Found", evidence.content)


def _strip_text(found_passage: FoundPassage) -> FoundPassage:
    """A passage as a milestone keeps it: with a digest for its text, and a letter for its words if they are stored."""
    own = found_passage.passage
    digest = blake2b(own.text.encode(), digest_size=8).hexdigest()
    ids = own.id, own.collection_id, own.document_id, own.version
    reference = Passage(*ids, own.title, "", own.source, digest)
    return FoundPassage(reference, "", found_passage.pieces, words=found_passage.words[:1])


def _restore_text(reference: FoundPassage, stored: FoundPassage | None) -> FoundPassage | None:
    """A passage as the search had found it; None if it is gone or has another text."""
    own = reference.passage
    if stored is None or _strip_text(stored).passage.text != own.text:
        return None
    passage = replace(stored.passage, title=own.title, collection_id=own.collection_id)
    words = stored.words if reference.words else ""
    return replace(stored, passage=passage, pieces=reference.pieces, words=words)


async def _show_in_prompt(prompt_passages: Sequence[PromptPassage]) -> Sequence[ShownPassage]:
    shown: list[ShownPassage] = []
    for prompt_passage in prompt_passages:
        await pause()
        passage = prompt_passage.found.passage
        shown.append(
            ShownPassage(
                without_instructions(passage.title),
                without_instructions(prompt_passage.text, prompt_passage.instructing),
                passage.read,
                passage.uri,
                SourcePassage(passage.id, passage.document_id, passage.version, prompt_passage.source),
                prompt_passage.text,
                tuple(map(without_instructions, passage.headings)),
                passage.date,
            )
        )
    return shown


def _with_references(own: Retrieval, references: Retrieval) -> Retrieval:
    """All passages about the caller and the best of the other documents, best first. Both searches had the same strings and scope."""
    passages = [*own.passages, *references.passages[:MOST_REFERENCES]]
    about = frozenset(passage.found.passage.document_id for passage in own.passages)
    return replace(
        own,
        passages=sorted(
            passages,
            key=lambda it: -it.score.total - ABOUT_MARGIN * (it.found.passage.document_id in about),
        ),
        about=about,
        kinds={**references.kinds, **own.kinds},
        readings=[{**theirs, **mine} for mine, theirs in zip(own.readings, references.readings, strict=True)],
        text_only=own.text_only or references.text_only,
        # The vectors of the strings are those of the other search.
        embedding_tokens=max(own.embedding_tokens, references.embedding_tokens),
    )


def _with_manual(own: Retrieval, manual: Retrieval) -> Retrieval:
    """Passages of the documents that were searched, and those of Responsa's documentation, which have two of the first
    three places. Both searches had the same strings."""
    return replace(
        own,
        passages=[*own.passages[:1], *manual.passages[:2], *own.passages[1:], *manual.passages[2:]],
        kinds={**own.kinds, **manual.kinds},
        readings=[{**theirs, **mine} for mine, theirs in zip(own.readings, manual.readings, strict=True)],
        neighbours={**own.neighbours, **manual.neighbours},
    )
