"""Retrieval and extraction for the graph. The evidence consists of plain values, so that checkpoints can store it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter

from responsa_server.domain.answers import (
    DEFAULT_SEARCH,
    Claim,
    Evidence,
    Extraction,
    FoundSource,
    Quote,
    SearchOptions,
    ShownPassage,
)
from responsa_server.domain.events import (
    MAX_ALSO_FOUND,
    MAX_QUOTE_BYTES,
    MAX_SUGGESTIONS,
    AlsoFound,
    ByteRange,
    SourcePassage,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.people import Principal
from responsa_server.search.claims import THRESHOLD, Excerpt, excerpts, read_passage, support_claim
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.extract import (
    PASSAGES_READ,
    ExtractedAnswer,
    Extractor,
    SupportedPart,
    joined_answers,
    restricted,
)
from responsa_server.search.retrieve import Retrieval, Retriever, ScoredPassage, joined
from responsa_server.search.sections import (
    AROUND_BYTES,
    RankedSection,
    by_tokens,
    rank_sections,
    whole_sections,
)
from responsa_server.search.support import DEFAULT_SUPPORT
from responsa_server.search.token_match import TokenMatcher
from responsa_server.search.tool_sources import NO_COLLECTION, whole, with_sources
from responsa_server.search.wording import PassageWords
from responsa_server.text.instructing import without_instructions
from responsa_server.text.lexical import UNKNOWN, language_of

MOST_REFERENCES: Final = 8
"""The number of passages without a subject in a search for what is about the caller."""
TEXT_ONLY: Final = "text_only"
"""The value of `Evidence.degraded` when vectors were not available."""

_KINDS: Final = tuple(CollectionKind)
FLOOR: Final = 0.2
"""The least support (0 to 1) of a refusal's suggestion. docs/retrieval.md has the figures from which this value and the next were chosen."""
FLOOR_OF_OTHERS: Final = 0.4
"""The least support (0 to 1) of an answer's suggestion."""
ALSO_FOUND: Final = 0.7
"""The least support (0 to 1) of a document of another collection that an answer names. Of 473 questions that one collection answers, 122 would name documents of collections about
other subjects from 0.5 on, and 26 do from this value on.
"""


class LibraryEvidence:
    """An `EvidenceSource`, an `Extractor`, a `SectionSource` and a `CitationJudge` over the library's passages.

    support: the minimum support (0 to 1) of an answer; a question whose answer has less support is refused.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        support: float = DEFAULT_SUPPORT,
        matcher: TokenMatcher | None = None,
        matching_seconds: float | None = None,
    ) -> None:
        """matcher: compares the tokens of sections with the question's, or None. matching_seconds: the maximum time for this."""
        self._retriever = retriever
        self._matcher = matcher
        self._matching_seconds = matching_seconds
        self._plain = TypeAdapter(Retrieval)
        self._support = support

    async def search(
        self,
        who: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        """See `EvidenceSource.search`."""
        top_k = PASSAGES_READ if options.top_k is None else options.top_k

        def tier(collection: str, kind: CollectionKind) -> int:
            # Collections that the question or its agent names may answer whatever their kind.
            named = collections or options.own is not None
            return (0 if named else _KINDS.index(kind)) + len(_KINDS) * (collection in options.last)

        async def searched(own: tuple[str, ...] | None, *, about: bool) -> Sequence[Retrieval]:
            return await self._retriever.search_tiers(
                who,
                questions,
                collections or None,
                tier,
                top_k=top_k,
                threshold=options.threshold,
                rerank=options.rerank,
                text_will_do=True,
                expansions=options.expansions,
                filters=options.filters,
                own=own,
                about=about,
                refers=options.refers,
            )

        found = await searched(() if options.own else options.own, about=True)
        if options.own:
            # Two searches, so that the many documents without a subject do not displace the few about the caller.
            found = [_with_references(found[0], (await searched(options.own, about=False))[0])]
        retrieval, also_found = found[0], ()
        if len(found) > 1:
            threshold = self._support if options.support is None else options.support
            retrieval, also_found = await self._retriever.analyse(
                lambda analyses: _preferred(Extractor(analyses), found, threshold, top_k)
            )
        content = self._plain.dump_python(retrieval, mode="json")
        # A search by words alone, or within collections that the question names, may find nothing of a record that exists.
        record = options.own is None or bool(retrieval.about) or bool(await self._retriever.about(who))
        degraded = TEXT_ONLY if retrieval.text_only else ""
        used = tuple(dict.fromkeys(one.found.passage.collection_id for one in retrieval.passages))
        kinds = {} if collections else {one: retrieval.kinds[one] for one in retrieval.collections}
        return Evidence(
            len(retrieval.passages),
            retrieval.embedding_tokens,
            content,
            degraded,
            used,
            kinds,
            also_found,
            record=record,
        )

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        """See `EvidenceSource.passages`."""
        if not evidence.content:  # nothing was searched
            return ()
        retrieval = self._plain.validate_python(evidence.content)
        return await self._retriever.analyse(
            lambda _: [
                ShownPassage(
                    without_instructions(one.found.passage.title),
                    without_instructions(one.text),
                    one.found.passage.read,
                    one.found.passage.uri,
                    _place(one),
                    one.text,
                )
                for one in _shown(retrieval, most_bytes)
            ]
        )

    async def with_sources(
        self, question: str, evidence: Evidence | None, sources: Sequence[FoundSource]
    ) -> Evidence:
        """See `EvidenceSource.with_sources`."""
        if not sources:
            return evidence or Evidence(0, 0, {})
        # Without a search, the evidence has no content.
        found = self._plain.validate_python(evidence.content) if evidence and evidence.content else None
        both = await self._retriever.analyse(
            lambda analyses: with_sources(found, question, sources, analyses.analyzer)
        )
        content = self._plain.dump_python(both, mode="json")
        return replace(evidence or Evidence(0, 0, {}), passages=len(both.passages), content=content)

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        """See `Extractor.extract`."""
        if not evidence.content:  # nothing was searched
            return Extraction((), 0.0, supported=False)
        # Runs on the thread that analysed these passages for the search.
        return await self._retriever.analyse(lambda analyses: self._extract(question, evidence, analyses))

    async def closest(
        self, question: str, evidence: Evidence, without: Sequence[Quote] = ()
    ) -> tuple[Quote, ...]:
        """See `Extractor.closest`."""
        if not evidence.passages:
            return ()
        # A suggestion names its collection, which a tool's source has not.
        retrieval = restricted(self._plain.validate_python(evidence.content), NO_COLLECTION, without=True)
        floor = FLOOR
        if without:
            # Somebody who may no longer read a suggested document may no longer read the answer, so the suggestions come from the answer's collection.
            retrieval, floor = restricted(retrieval, without[0].passage.collection_id), FLOOR_OF_OTHERS
        found = await self._retriever.analyse(
            lambda analyses: Extractor(analyses).closest(retrieval, floor, MAX_SUGGESTIONS, without)
        )
        return tuple(map(_shortened, found))

    async def sections(
        self, who: Principal, evidence: Evidence, most: int, most_bytes: int, *, divided: bool
    ) -> Sequence[Sequence[Quote]]:
        """See `SectionSource.sections`."""
        if not evidence.passages:
            return ()
        retrieval = self._plain.validate_python(evidence.content)
        ids = [one.found.passage.id for one in (*retrieval.passages, *retrieval.elsewhere)]
        around = await self._retriever.around(who, ids, AROUND_BYTES)
        ranked = await self._retriever.analyse(lambda analyses: rank_sections(retrieval, around, analyses))
        ranked = await self._by_tokens(retrieval, ranked)
        return await self._retriever.analyse(
            lambda _: whole_sections(ranked, most, most_bytes, divided=divided)
        )

    async def _by_tokens(
        self, retrieval: Retrieval, ranked: Sequence[RankedSection]
    ) -> Sequence[RankedSection]:
        """The sections in the order in which their tokens fit too. The order stays as it is without a matcher that knows the question's language, or if the matcher takes too long."""
        # The first string after the expansions is the question, in words that need no other message.
        question = retrieval.expansions
        known = self._matcher is not None and retrieval.languages[question] in {
            UNKNOWN,
            *self._matcher.languages,
        }
        if self._matcher is None or not known or not ranked:
            return ranked
        try:
            async with asyncio.timeout(self._matching_seconds):
                return await by_tokens(ranked, retrieval.terms[question], self._matcher)
        except TimeoutError:
            return ranked

    async def judge(
        self, claims: Sequence[Claim], evidence: Evidence, most_bytes: int
    ) -> Sequence[Quote | None]:
        """See `CitationJudge.judge`."""
        if not claims or not evidence.passages:
            return [None] * len(claims)
        return await self._retriever.analyse(
            lambda analyses: self._judged(claims, evidence, most_bytes, analyses)
        )

    def _judged(
        self, claims: Sequence[Claim], evidence: Evidence, most_bytes: int, analyses: PassageAnalyses
    ) -> Sequence[Quote | None]:
        retrieval = self._plain.validate_python(evidence.content)
        return judge_claims(claims, _shown(retrieval, most_bytes), analyses)

    async def judge_sources(
        self, claims: Sequence[Claim], sources: Sequence[FoundSource]
    ) -> Sequence[Quote | None]:
        """See `CitationJudge.judge_sources`."""
        if not claims:
            return ()
        return await self._retriever.analyse(
            lambda analyses: judge_claims(claims, [whole(one) for one in sources], analyses)
        )

    def _found(self, retrieval: Retrieval, extractor: Extractor) -> ExtractedAnswer:
        """The answer of the documents, and after it that of the sources that tools returned."""
        collections = {one.found.passage.collection_id for one in retrieval.passages}
        if NO_COLLECTION not in collections or len(collections) == 1:
            return extractor.answer(retrieval)
        documents = extractor.answer(restricted(retrieval, NO_COLLECTION, without=True))
        sources = extractor.answer(restricted(retrieval, NO_COLLECTION))
        return joined_answers(documents, sources, self._support)

    def _extract(self, question: str, evidence: Evidence, analyses: PassageAnalyses) -> Extraction:
        retrieval = self._plain.validate_python(evidence.content)
        found = self._found(retrieval, Extractor(analyses))
        quotes = [one.quote for one in found.parts]
        also_found: tuple[AlsoFound, ...] = ()
        if found.supported(self._support) and len(retrieval.collections) > 1:
            answered = found.parts[0].passage.collection_id
            also_found = tuple(
                _also_found(one)
                for one in Extractor(analyses).supporting(retrieval, max(self._support, ALSO_FOUND))
                if one.passage.collection_id not in (answered, NO_COLLECTION)
            )
        return Extraction(quotes, found.support, found.supported(self._support), also_found[:MAX_ALSO_FOUND])


def _place(one: Excerpt) -> SourcePassage | None:
    """Where an excerpt is in a document; None if it is from no document."""
    passage = one.found.passage
    if passage.origin is not None:
        return None
    return SourcePassage(passage.id, passage.document_id, passage.version, one.source)


def _shown(retrieval: Retrieval, most_bytes: int) -> Sequence[Excerpt]:
    """The excerpts that a prompt shows: those of documents, then those of tools' sources. If there are both, the sources get at most half of the bytes."""
    documents = [one for one in retrieval.passages if one.found.passage.collection_id != NO_COLLECTION]
    sources = [one for one in retrieval.passages if one.found.passage.collection_id == NO_COLLECTION]
    if not sources:
        return excerpts(documents, most_bytes)
    shown = excerpts(sources, most_bytes // 2 if documents else most_bytes)
    used = sum(len((one.found.passage.title + one.text).encode()) for one in shown)
    return [*excerpts(documents, most_bytes - used), *shown]


def _preferred(
    extractor: Extractor, tiers: Sequence[Retrieval], threshold: float, top_k: int
) -> tuple[Retrieval, tuple[AlsoFound, ...]]:
    """The first tier whose passages support an answer, and the documents of the tiers after it that support one too. If no tier
    supports an answer, the best `top_k` passages of all tiers.
    """
    for place, one in enumerate(tiers):
        if extractor.answer(one).supported(threshold):
            also_found = [
                _also_found(part)
                for later in tiers[place + 1 :]
                for part in extractor.supporting(later, max(threshold, ALSO_FOUND))
            ]
            return one, tuple(also_found[:MAX_ALSO_FOUND])
    alone = _best_first(passage for one in tiers for passage in one.alone)[:top_k]
    passages = _best_first(passage for one in tiers for passage in one.passages)
    kept = joined(alone, passages, top_k) if tiers[0].expansions else passages[:top_k]
    ids = {one.found.passage.id for one in kept}
    others = _best_first(passage for one in tiers for passage in (*one.passages, *one.elsewhere))
    elsewhere = [one for one in others if one.found.passage.id not in ids]
    as_asked = _best_first(passage for one in tiers for passage in one.as_asked)
    return replace(tiers[0], passages=kept, alone=alone, elsewhere=elsewhere, as_asked=as_asked), ()


def _with_references(own: Retrieval, references: Retrieval) -> Retrieval:
    """All passages about the caller, and after them the best of the other documents. Both searches had the same strings and scope."""
    return replace(
        own,
        passages=[*own.passages, *references.passages[:MOST_REFERENCES]],
        about=tuple(dict.fromkeys(one.found.passage.document_id for one in own.passages)),
        alone=[*own.alone, *references.alone[:MOST_REFERENCES]],
        as_asked=[*own.as_asked, *references.as_asked[:MOST_REFERENCES]],
        text_only=own.text_only or references.text_only,
        # The vectors of the strings are those of the other search.
        embedding_tokens=max(own.embedding_tokens, references.embedding_tokens),
    )


def _best_first(passages: Iterable[ScoredPassage]) -> Sequence[ScoredPassage]:
    return sorted(passages, key=lambda one: (-one.score.total, one.found.passage.id.bytes))


def _also_found(part: SupportedPart) -> AlsoFound:
    passage = part.passage
    return AlsoFound(passage.collection_id, passage.document_id, passage.version, passage.title)


def _shortened(part: SupportedPart) -> Quote:
    """The part as a quote of at most MAX_QUOTE_BYTES, which ends after a word if possible."""
    data = part.text.encode()
    if len(data) <= MAX_QUOTE_BYTES:
        shown = part.shown if len(part.shown.encode()) <= MAX_QUOTE_BYTES else ""
        return Quote(part.passage, part.source, part.text, part.score, shown)
    text = data[:MAX_QUOTE_BYTES].decode(errors="ignore")
    words = text.rpartition(" ")[0].rstrip()
    text = words if len(words) > len(text) // 2 else text
    source = ByteRange(part.source.start, part.source.start + len(text.encode()))
    return Quote(part.passage, source, text, part.score)


def judge_claims(
    claims: Sequence[Claim], passages: Sequence[Excerpt], analyses: PassageAnalyses
) -> Sequence[Quote | None]:
    """For each claim, a quote of the piece that supports the claim; None if the excerpt that the claim names does not exist, or does not support it."""
    # The language is detected for all claims together, because the language of a single sentence is often unknown.
    language = language_of(" ".join(claim.text for claim in claims))
    words: dict[int, PassageWords] = {}
    quotes: list[Quote | None] = []
    for claim in claims:
        quotes.append(None)
        if not 1 <= claim.passage <= len(passages):
            continue
        excerpt = passages[claim.passage - 1]
        if claim.passage not in words:
            words[claim.passage] = read_passage(excerpt.found, analyses)
        best = support_claim(claim.text, language, excerpt, words[claim.passage], analyses)
        if best is not None and best.score >= THRESHOLD:
            quotes[-1] = Quote(excerpt.found.passage, best.piece.source, best.analysis.quote, best.score)
    return quotes
