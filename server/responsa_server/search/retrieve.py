"""Retrieval: finds the passages of a tenant that fit a question, best first, with the parts of their scores."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final, Protocol, TypeVar
from uuid import UUID

import numpy as np
import ormsgpack
import structlog
from opentelemetry.trace import SpanKind
from structlog.typing import FilteringBoundLogger

from responsa_server import __version__
from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import (
    VECTORS_PART,
    CandidateQuery,
    DocumentSet,
    FoundPassage,
    LexicalIndex,
    LexicalQuery,
    PassageCosines,
    PassageIndex,
    PassageSurroundings,
    QuestionVector,
    SearchScope,
    TermStatistics,
    VectorStore,
    stored_generation,
)
from responsa_server.domain.people import Principal, Reader, as_subject
from responsa_server.domain.sharing import Scheduler, pause, work_within
from responsa_server.search.embedder import Embedder, Embedders, QuestionEmbedder, undeclared_embedding
from responsa_server.search.evidence import CALIBRATED, ParsedQuestion, read_question
from responsa_server.search.outside import OutsideIndex
from responsa_server.search.prompt_passages import Neighbours, with_pieces
from responsa_server.search.resident import ResidentIndex, Residents
from responsa_server.search.scoring import PassageScorer, Score, Weights, gate, weigh
from responsa_server.search.synonyms import SynonymReader
from responsa_server.stores.cached import NOT_CACHED, SharedCache, reader_key
from responsa_server.telemetry import instruments
from responsa_server.telemetry.models import IN_PROCESS, model_attributes
from responsa_server.telemetry.parts import SEARCH, took
from responsa_server.telemetry.stages import stage
from responsa_server.text.lexical import (
    STEMMED,
    UNKNOWN,
    Analyzer,
    has_english_letters,
    is_doubtful,
    language_of,
)

Result = TypeVar("Result")

# A search learns the models of its collections from its first attempt. Further attempts are needed only if generations
# become active meanwhile.
_MOST_TRIES: Final = 3
_MOST_SCOPES: Final = 10_000
# The begin and end tokens that a model reads around every text.
_SPECIAL_TOKENS: Final = 2
_TOKEN_CHARACTERS: Final = 16
# A model that no search needs for this time may belong to no collection any more.
_MISSED_SECONDS: Final = 300.0

_LOG: Final[FilteringBoundLogger] = structlog.get_logger("search")

WITH_PIECES: Final = 10
"""The number of passages at the top that are read with their pieces."""
NEAREST_VECTORS: Final = 100
"""The number of vectors that a search takes from the vector index. A passage has several vectors."""
MOST_GUESSED_CHARACTERS: Final = 256
"""If a string is longer, its language is not guessed from the passages, because all words would be stemmed once for each language."""
SEARCHED_ALONE: Final = 8
"""The number of collections whose words are searched one by one. If more collections contain words of a question, the
others are searched as if they were one."""


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage that was found. term: the index of the searched string that the passage fits best."""

    found: FoundPassage
    score: Score
    term: int


@dataclass(frozen=True, slots=True)
class TermReading:
    """A searched string as one collection reads it: the weights that its terms have there, and the language whose rules
    produced the terms."""

    weights: Weights
    language: str


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The passages that a search found, best first, and the analysis of the searched strings.

    terms: the searched strings; the expansions come first. weights, languages: one entry for each string, over all collections searched.
    text_only: whether vectors were not available although the search needed them. readings: for each string, how each
    collection reads it. kinds: the kinds of the collections that have passages. embedding_tokens: the number of tokens
    that embedding models read. neighbours: the text next to the first passages. kept: how many passages stay when the
    reranking model has ordered them; 0 if it is not to be asked. about: the documents about the caller, if other
    documents were searched apart from them. chosen: whether somebody has chosen what is searched. Checkpoints store the
    fields under these names.
    """

    terms: Sequence[str]
    passages: Sequence[ScoredPassage]
    weights: Sequence[Weights]
    languages: Sequence[str]
    text_only: bool = False
    readings: Sequence[Mapping[str, TermReading]] = ()
    kinds: Mapping[str, CollectionKind] = field(default_factory=dict[str, CollectionKind])
    embedding_tokens: int = 0
    neighbours: Mapping[UUID, Neighbours] = field(default_factory=dict[UUID, Neighbours])
    kept: int = 0
    about: frozenset[UUID] = frozenset()
    chosen: bool = True

    def reading(self, term: int, collection: str) -> TermReading:
        """How a collection reads the string with the index `term`."""
        found = self.readings[term].get(collection) if self.readings else None
        return found or TermReading(self.weights[term], self.languages[term])


@dataclass(frozen=True, slots=True)
class _Read:
    """How each collection reads a searched string, and how all of them together do. statistics: those of the string's
    terms, by collection."""

    readings: Mapping[str, TermReading]
    together: TermReading
    statistics: Mapping[str, TermStatistics]


@dataclass(frozen=True, slots=True)
class _Embedded:
    """The searched strings as one embedding model sees them. vectors: one entry for each string; None if the string needs no vector."""

    embedder: Embedder
    vectors: Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The strings' vectors by model, under the names of `TermStatistics.embedding`. models: the models that were
    wanted, whether they are available or not. undeclared: those that the settings do not declare. tokens: the number of
    tokens that the models read.
    """

    by_model: Mapping[str, _Embedded]
    models: frozenset[str]
    undeclared: frozenset[str] = frozenset()
    tokens: int = 0

    @property
    def missing(self) -> bool:
        """Whether vectors of a model are not available."""
        return len(self.by_model) < len(self.models)


class _OtherModels(Exception):
    """The collections searched have vectors of other models than those that embedded the strings."""

    def __init__(self, models: frozenset[str]) -> None:
        super().__init__(models)
        self.models = models


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A passage that a string found. question: the string's vector, with which the cosines of the passage's pieces are
    computed; None if pieces get no cosines, because the weights of cosines are not fitted for the model.
    """

    id: UUID
    collection_id: str
    score: Score
    term: int
    question: QuestionVector | None


class _Search(Protocol):
    """Searches with these vectors. strict: see `Retriever._search`."""

    def __call__(self, vectors: _Vectors, mode: SearchMode, *, strict: bool) -> Awaitable[Retrieval]: ...


class Retriever:
    """Searches full text and vectors, and ranks passages by both. Vectors count only for languages that the model
    knows. A search asks its index three times: for the statistics of its words, for the candidates, and for what it
    shows of the best ones.

    Each collection's vectors come from the embedding model of its active generation. A search embeds its strings once
    for each of these models.
    """

    def __init__(
        self,
        lexical: LexicalIndex,
        embedders: Embedders,
        cached_vectors: SharedCache[bytes] = NOT_CACHED,
        cached_results: SharedCache[Retrieval] = NOT_CACHED,
        *,
        embedding_seconds: float | None = None,
        outside: VectorStore | None = None,
        residents: Residents | None = None,
        database_searches: int = 4,
    ) -> None:
        """residents: the collections in memory; None to search the database alone. outside: where the vectors are if
        they are not in the database. It knows no readers, so it searches only within what the reader may read.
        cached_vectors: of questions. embedding_seconds: the maximum time for the vectors of a search, without the time
        during which they wait for the model. database_searches: how many searches may hold a connection."""
        self._lexical = lexical
        self.index: PassageIndex = lexical if outside is None else OutsideIndex(lexical, outside)
        """What a search reads that is not in memory."""
        self._embedders = embedders
        self._cached_vectors = cached_vectors
        self._cached_results = cached_results
        self._embedding_seconds = embedding_seconds
        self._outside = outside is not None
        self._residents = None if self._outside else residents
        # The models that the latest search of these collections needed.
        self._latest: dict[tuple[Reader, tuple[str, ...] | None], frozenset[str]] = {}
        # When a search last needed each of the models that are not declared.
        self._missed: dict[str, float] = {}
        self.analyzer = Analyzer()
        """The analyzer of the event loop's thread."""
        self._synonyms = SynonymReader(self.analyzer)
        self._slices = Scheduler("loop", 1)
        self._database_searches = Scheduler("database searches", database_searches)

    async def analyse(self, work: Callable[[Analyzer], Awaitable[Result]]) -> Result:
        """Runs `work`, which calls `pause` often, in slices on the event loop. Raises Exhausted (OVERLOADED)."""
        self._slices.slice_up()
        return await work(self.analyzer)

    async def about(self, reader: Reader) -> DocumentSet:
        """The documents about the reader, whatever the reader's role. Raises Unavailable, and ValueError for the server itself."""
        return await self._lexical.documents(SearchScope(_as_subject(reader), own=()), ())

    async def passages(self, reader: Reader, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        """The passages with these ids that a search could find, with their pieces. Raises Unavailable."""
        return (await _found(self.index, reader, {None: dict.fromkeys(ids, True)}))[None]

    async def around(
        self, reader: Reader, ids: Sequence[UUID], most_bytes: int
    ) -> Mapping[UUID, tuple[int, bytes]]:
        return await self._lexical.around(reader, ids, most_bytes)

    async def surroundings(
        self,
        reader: Reader,
        ids: Sequence[UUID],
        within: Sequence[UUID],
        documents: Sequence[UUID],
        most_bytes: int,
        before_bytes: int,
    ) -> PassageSurroundings:
        return await self._lexical.surroundings(reader, ids, within, documents, most_bytes, before_bytes)

    def missed(self) -> frozenset[str]:
        """The models that searches of the last five minutes needed and that the settings do not declare."""
        since = monotonic() - _MISSED_SECONDS
        return frozenset(model for model, latest in self._missed.items() if latest > since)

    async def search(
        self,
        reader: Reader,
        terms: Sequence[str],
        collections: Sequence[str] | None = None,
        *,
        top_k: int = 10,
        mode: SearchMode = SearchMode.HYBRID,
        threshold: float = 0.0,
        text_will_do: bool = False,
        expansions: Sequence[str] = (),
        filters: Sequence[Filter] = (),
        own: Sequence[str] | None = None,
        about: bool = True,
    ) -> Retrieval:
        """The best passages for one or more strings. Each passage is returned once, for the string that it fits best.

        collections: the collections to search; None searches all collections of the tenant. threshold: passages with a
        lower score (0 to 1) are left out. Vectors are not used for a question or a passage in a language that the model
        does not know, unless the mode is VECTOR. text_will_do: what happens in the mode HYBRID if vectors are not
        available. If true, the search uses only words, and `Retrieval.text_only` is true; otherwise the search fails.
        If a collection's model is not declared any more, only this collection is searched by words alone, in the mode
        HYBRID also if text_will_do is false; in the mode VECTOR, the collection is left out if others remain.
        expansions: further strings. Their passages may replace the worse half of the passages that the other strings
        find. filters: conditions that the passages' documents must meet, on the fields of `lists.SEARCHED`. own: if not
        None, the search finds only documents about the reader, whatever the reader's role, and documents without a
        subject in these collections. about: with `own`, whether those about the reader are among them. Raises
        ValueError for `own` if the reader is the server itself. Raises Unavailable, TooSlow, Precondition
        (EMBEDDING_FAILED, COLLECTION_EMBEDDING_DIFFERS).
        """
        if own is not None:
            reader = _as_subject(reader)
        named = SearchScope(reader, collections, own=own, about=about)
        text_will_do = text_will_do and mode is not SearchMode.VECTOR
        asked_from = len(expansions)
        terms = (*expansions, *terms)
        request = (terms, asked_from, collections, own, about, top_k, mode, threshold)
        languages = [language_of(term) for term in terms]
        words = sum(len(term.split()) for term in terms)
        self._slices.slice_up()

        async def search_with(vectors: _Vectors, mode: SearchMode, *, strict: bool) -> Retrieval:
            async def within(index: ResidentIndex | None) -> Retrieval:
                return await self._search(
                    named,
                    filters,
                    terms,
                    languages,
                    vectors,
                    mode,
                    top_k,
                    threshold,
                    asked_from=asked_from,
                    strict=strict,
                    index=index,
                )

            # What documents' fields say, and whom documents are about, only the database knows.
            small = self._residents if own is None and not filters else None
            if small is not None and (index := small.index(named, words)) is not None:
                proposed = await within(index)
                if await index.holds([one.found.passage.id for one in proposed.passages]):
                    return proposed
            return await within(None)

        async def searched() -> Retrieval:
            return await self._searched(search_with, named, terms, languages, mode, text_will_do=text_will_do)

        begun = monotonic()
        recorded = stage("retrieval", questions=len(terms), **{"gen_ai.operation.name": "retrieval"})
        try:
            with recorded:
                # The stamp covers neither the fields of documents nor vectors that are stored outside the database.
                if filters or self._outside:
                    result = await searched()
                else:
                    result = await self._cached_results.through(
                        reader.tenant_id,
                        f"{reader_key(reader)}:{_digest(request)}",
                        lambda: self._lexical.stamp(named),
                        searched,
                        worth=lambda result: not result.text_only,
                    )
                recorded.add(passages=len(result.passages), text_only=result.text_only)
        finally:
            seconds = monotonic() - begun
            took(SEARCH, seconds)
            instruments.SEARCH_SECONDS.add(seconds, "whole")
        return result

    async def _searched(
        self,
        search_with: _Search,
        named: SearchScope,
        terms: Sequence[str],
        languages: Sequence[str],
        mode: SearchMode,
        *,
        text_will_do: bool,
    ) -> Retrieval:
        try:
            retrieval = await self._with_vectors(
                search_with, named, terms, languages, mode, text_will_do=text_will_do
            )
            if retrieval.text_only:
                instruments.SEARCHES_WITHOUT_VECTORS.add(1)
            return retrieval
        except Unavailable as error:
            # The search with vectors may have been the slow part, so a search by words may still be fast enough.
            slow = isinstance(error, TooSlow)
            if not text_will_do or not (slow or error.metadata.get("part") == VECTORS_PART):
                raise
            _LOG.warning("vectors could not be searched; words alone decide", exc_info=True)
            instruments.SEARCHES_WITHOUT_VECTORS.add(1)
            return replace(
                await search_with(_Vectors({}, frozenset()), SearchMode.TEXT, strict=False), text_only=True
            )

    async def _with_vectors(
        self,
        search_with: _Search,
        named: SearchScope,
        terms: Sequence[str],
        languages: Sequence[str],
        mode: SearchMode,
        *,
        text_will_do: bool,
    ) -> Retrieval:
        """The result of `search_with`, with vectors of the models that the collections in the scope have.

        The strings are embedded before the search begins, so that the search holds no connection meanwhile. The models
        are those of the latest search in this scope. If the search finds that the collections have others by now, it
        starts over.
        """
        place = (named.reader, None if named.collections is None else tuple(named.collections))
        models = frozenset[str]() if mode is SearchMode.TEXT else self._latest.get(place, frozenset())
        remembered, left = True, _MOST_TRIES
        failure: tuple[frozenset[str], Exception] | None = None
        while True:
            left -= 1
            begun = monotonic()
            try:
                vectors = await self._embed(
                    named.reader, terms, languages, mode, models, text_will_do=text_will_do
                )
                instruments.SEARCH_SECONDS.add(monotonic() - begun, "embedding")
            except Exception as error:
                if not remembered or not models:
                    raise
                # The collections may have another model by now, which does not fail.
                failure = (models, error)
                remembered, models = False, frozenset[str]()
                continue
            try:
                retrieval = await search_with(vectors, mode, strict=left > 0)
            except _OtherModels as other:
                if failure is not None and other.models == failure[0]:
                    raise failure[1] from None
                remembered, models = False, other.models
                if len(self._latest) >= _MOST_SCOPES:
                    self._latest.clear()
                self._latest[place] = models
                continue
            return replace(retrieval, text_only=vectors.missing, embedding_tokens=vectors.tokens)

    async def _search(
        self,
        named: SearchScope,
        filters: Sequence[Filter],
        terms: Sequence[str],
        languages: Sequence[str],
        vectors: _Vectors,
        mode: SearchMode,
        top_k: int,
        threshold: float,
        *,
        asked_from: int,
        strict: bool,
        index: ResidentIndex | None,
    ) -> Retrieval:
        """named: the scope with the names that the reader uses. asked_from: the index of the first string that is not
        an expansion. strict: whether to raise _OtherModels if the collections have other models than `vectors`. index:
        the collections in memory; None to search the database."""
        limit, begun = top_k, monotonic()
        at = self.index if index is None else index
        async with AsyncExitStack() as stack:
            if index is None:
                await stack.enter_async_context(self._database_searches.turn())
                await stack.enter_async_context(self._lexical.session(named))
            scope = named if index is not None else await self._scope(named, filters)
            with stage("words") as recorded:
                chosen = named.collections is not None or named.own is not None or bool(filters)
                strings = await self._weigh(at, scope, terms, languages, chosen=chosen)
                statistics = {name: one for string in strings for name, one in string.statistics.items()}
                recorded.add(collections=len(statistics))
            models = frozenset(one.embedding for one in statistics.values())
            if strict and mode is not SearchMode.TEXT and models != vectors.models:
                raise _OtherModels(models)
            for model in models & vectors.undeclared:
                if model not in self.missed():
                    _LOG.warning(
                        "an embedding model is not declared; its vectors are not searched", model=model
                    )
                self._missed[model] = monotonic()
            if mode is SearchMode.VECTOR and models and not vectors.by_model:
                name, one = min(statistics.items())
                raise undeclared_embedding(one.shown or name, one.embedding, self._embedders.configured)
            with stage("candidates") as recorded:
                ranked = await self._rank(at, scope, strings, vectors, mode)
                recorded.add(passages=len(ranked))
            # Up to here, collections have the ids of the index; from here on, those of the reader's names.
            shown = {name: one.shown or name for name, one in statistics.items()}
            kinds = {shown[name]: one.kind for name, one in statistics.items()}
            best = _best(ranked)[:limit]
            asked = [one for one in ranked if one.term >= asked_from] if asked_from else []
            first = _best(asked)[:limit]
            read, alone = await self._read(at, scope.reader, shown, best, first)
        retrieval = Retrieval(
            tuple(terms),
            (),
            [one.together.weights for one in strings],
            [one.together.language for one in strings],
            readings=[{shown[name]: of for name, of in one.readings.items()} for one in strings],
            kinds=kinds,
            chosen=chosen,
        )
        instruments.SEARCH_SECONDS.add(monotonic() - begun, "passages")
        kept = _joined(alone, read, top_k) if asked_from else read[:top_k]
        return replace(retrieval, passages=[one for one in kept if one.score.total >= threshold])

    async def _scope(self, named: SearchScope, filters: Sequence[Filter]) -> SearchScope:
        """The scope with the documents if they decide. The nearest vectors of all documents outside the database could
        all be of documents that the reader may not read."""
        if filters or named.own is not None or (self._outside and await self._lexical.hides(named)):
            return replace(named, documents=await self._lexical.documents(named, filters))
        return named

    async def _weigh(
        self,
        at: PassageIndex,
        scope: SearchScope,
        terms: Sequence[str],
        languages: Sequence[str],
        *,
        chosen: bool,
    ) -> Sequence[_Read]:
        """How collections read each string. chosen: whether somebody has chosen what is searched. Otherwise, the
        documentation of Responsa and the samples are left out if there are other documents.

        The language of a string is a guess, and what decides is how the collection's passages were read: unless all
        words are there, or the string is surely English, the collection reads it in the language in which it has the
        most of its words, and otherwise in the guessed one. A string of more than MOST_GUESSED_CHARACTERS is read in
        the guessed language.
        """
        read: list[Mapping[str, Sequence[str]]] = []
        for string in zip(terms, languages, strict=True):
            await pause()
            read.append(self._stems(*string))
        words = dict.fromkeys(word for stems in read for taken in stems.values() for word in taken)
        every = await at.statistics(scope, list(words))
        if not chosen:
            every = {name: one for name, one in every.items() if one.kind is CollectionKind.OWN} or every
        return [
            await self._weigh_one(at, scope, *string, every)
            for string in zip(terms, languages, read, strict=True)
        ]

    def _stems(self, term: str, language: str) -> Mapping[str, Sequence[str]]:
        """The words of a string in each language in which a collection may read it; the first is the guessed one."""
        surely = language == "en" and not is_doubtful(term)
        guessed = surely or len(term) > MOST_GUESSED_CHARACTERS
        # The function words are those of the guessed language, or each other language would have them too.
        return {
            code: self.analyzer.query_terms(term, code, language)
            for code in (language, *(() if guessed else STEMMED))
        }

    async def _weigh_one(
        self,
        at: PassageIndex,
        scope: SearchScope,
        term: str,
        language: str,
        stems: Mapping[str, Sequence[str]],
        of_all: Mapping[str, TermStatistics],
    ) -> _Read:
        words = stems[language]
        alternatives, statistics = await self._synonyms.expand(at, scope, term, language, of_all)
        readings: dict[str, TermReading] = {}
        for name, one in statistics.items():
            await pause()
            readings[name] = TermReading(weigh(words, one, alternatives.get(name)), language)
        together = TermReading(weigh(words, _sum(statistics.values())), language)
        for name in [name for name, one in readings.items() if one.weights.missing]:
            await pause()
            collection_statistics = of_all[name]
            # The first of several that are as good.
            code = max(
                stems, key=lambda one: sum(word in collection_statistics.frequencies for word in stems[one])
            )
            if code == language:
                continue
            union = {word for taken in stems.values() for word in taken}
            words = [word for word in self.analyzer.query_terms(term, code) if word in union] or stems[code]
            own, known = await self._synonyms.expand(at, scope, term, code, {name: collection_statistics})
            readings[name] = TermReading(weigh(words, known[name], own.get(name)), code)
            if not together.weights.terms:
                together = readings[name]
        return _Read(readings, together, statistics)

    async def _embed(
        self,
        reader: Reader,
        terms: Sequence[str],
        languages: Sequence[str],
        mode: SearchMode,
        models: frozenset[str],
        *,
        text_will_do: bool,
    ) -> _Vectors:
        """The vectors of the strings by each of these models. If `text_will_do` is true, a model that fails is left out."""
        results = await asyncio.gather(
            *(self._embedded(reader, one, terms, languages, mode) for one in models),
            return_exceptions=True,
        )
        made: dict[str, _Embedded] = {}
        undeclared: set[str] = set()
        for model, result in zip(models, results, strict=True):
            match result:
                case _Embedded():
                    made[model] = result
                case None:
                    undeclared.add(model)
                case Exception() if text_will_do:
                    # A search by words needs no model, so the kind of failure does not matter.
                    _LOG.warning("a question could not be embedded; words alone decide", exc_info=result)
                case _:
                    raise result
        tokens = sum(_tokens(one, terms) for one in made.values())
        return _Vectors(made, models, frozenset(undeclared), tokens)

    async def _embedded(
        self,
        reader: Reader,
        model: str,
        terms: Sequence[str],
        languages: Sequence[str],
        mode: SearchMode,
    ) -> _Embedded | None:
        """The strings as one model sees them; None if the settings do not declare the model."""
        try:
            async with work_within(self._embedding_seconds):
                embedder = await (self._embedders.named(model) if model else self._embedders.declared())
                if embedder is None:
                    return None
                votes = [
                    mode is SearchMode.VECTOR
                    or (mode is SearchMode.HYBRID and _knows(embedder, language, term))
                    for term, language in zip(terms, languages, strict=True)
                ]
                wanted = [term for term, vote in zip(terms, votes, strict=True) if vote]
                questions = QuestionEmbedder(embedder, self._cached_vectors)
                vectors = iter(())
                if wanted:
                    called, _, _ = embedder.name.rpartition("/")
                    named = model_attributes(called)
                    remote = named["gen_ai.provider.name"] != IN_PROCESS
                    with stage(
                        f"embeddings {named['gen_ai.request.model']}",
                        SpanKind.CLIENT if remote else SpanKind.INTERNAL,
                        texts=len(wanted),
                        **{
                            "gen_ai.operation.name": "embeddings",
                            **named,
                            "gen_ai.embeddings.dimension.count": embedder.dimensions,
                        },
                    ):
                        made = await questions.embed(reader.tenant_id, wanted)
                    vectors = iter(np.asarray(made, "<f4"))
        except TimeoutError as error:
            raise _embedding_too_slow(model) from error
        return _Embedded(embedder, [next(vectors).tobytes() if vote else None for vote in votes])

    async def _rank(
        self,
        at: PassageIndex,
        scope: SearchScope,
        strings: Sequence[_Read],
        vectors: _Vectors,
        mode: SearchMode,
    ) -> Sequence[_Ranked]:
        """The passages that the strings find, with their scores."""
        queries: list[tuple[int, _Read, str, CandidateQuery]] = []
        for place, string in enumerate(strings):
            await pause()
            by_model = _queries(scope, string, place, vectors, mode)
            queries += ((place, string, model, query) for model, query in by_model.items())
        found = await at.candidates(scope.reader, [query for *_, query in queries]) if queries else ()
        text_votes = mode is not SearchMode.VECTOR
        ranked: list[_Ranked] = []
        for (place, string, model, query), candidates in zip(queries, found, strict=True):
            question = query.question
            scorers = {
                name: PassageScorer(string.readings[name].weights, query.terms, text_votes=text_votes)
                for name in query.collections or ()
            }
            for candidate in candidates:
                await pause()
                votes = question is not None and (
                    not text_votes or _knows(vectors.by_model[model].embedder, candidate.language)
                )
                cosines = candidate.cosines and PassageCosines(*map(_rounded, candidate.cosines))
                score = scorers[candidate.collection_id].score(candidate, cosines, vector_votes=votes)
                calibrated = question is not None and question.model.startswith(CALIBRATED)
                ranked.append(
                    _Ranked(
                        candidate.id, candidate.collection_id, score, place, question if calibrated else None
                    )
                )
        return ranked

    async def _read(
        self, at: PassageIndex, reader: Reader, shown: Mapping[str, str], *lists: Sequence[_Ranked]
    ) -> Sequence[Sequence[ScoredPassage]]:
        """One list of passages for each of these lists. Each of the first WITH_PIECES passages has its pieces with their
        cosines to the string that found it. A passage in several lists is read once. shown: what the reader calls the
        collections.
        """
        by_question: dict[QuestionVector | None, dict[UUID, bool]] = {}
        for ranked in lists:
            for place, passage in enumerate(ranked):
                ids = by_question.setdefault(passage.question, {})
                ids[passage.id] = ids.get(passage.id, False) or place < WITH_PIECES
        read: Mapping[tuple[QuestionVector | None, UUID], FoundPassage] = {
            (question, one.passage.id): _called(one, shown)
            for question, found in (await _found(at, reader, by_question)).items()
            for one in found
        }
        # A passage that was deleted in the meantime is left out.
        return [
            [
                ScoredPassage(read[key], one.score, one.term)
                for one in ranked
                if (key := (one.question, one.id)) in read
            ]
            for ranked in lists
        ]


async def _found(
    at: PassageIndex, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
    """Passages, those with a true value with their pieces. If the stored pieces are not available and no question
    compares them, the passages are split into pieces again."""
    if not wanted:
        return {}
    try:
        passages = await at.passages(reader, wanted)
    except Unavailable as error:
        if {*wanted} != {None} or error.metadata.get("part") != VECTORS_PART:
            raise
        _LOG.warning("pieces of passages could not be read; they are cut again", exc_info=True)
        whole = await at.passages(reader, {None: dict.fromkeys(wanted[None], False)})
        return {None: [with_pieces(one) if wanted[None][one.passage.id] else one for one in whole[None]]}
    return {
        question: [
            replace(one, pieces=[replace(piece, cosine=_rounded(piece.cosine)) for piece in one.pieces])
            for one in of_question
        ]
        for question, of_question in passages.items()
    }


def _digest(request: tuple[object, ...]) -> str:
    """A name of what was asked. Releases rank differently, so they share no results."""
    return hashlib.sha256(ormsgpack.packb([__version__, *request], default=list)).hexdigest()


def _as_subject(reader: Reader) -> Principal:
    if not isinstance(reader, Principal):
        raise ValueError("only a user can be the subject of documents, not the server itself")
    return as_subject(reader)


def _called(passage: FoundPassage, shown: Mapping[str, str]) -> FoundPassage:
    """The passage with its collection's id as the reader calls it."""
    called = shown.get(passage.passage.collection_id, passage.passage.collection_id)
    if called == passage.passage.collection_id:
        return passage
    return replace(passage, passage=replace(passage.passage, collection_id=called))


def _knows(embedder: Embedder, language: str, text: str = "") -> bool:
    """text: a question, whose letters may say that it is not English if nothing says what it is."""
    known = embedder.languages
    return known is None or language in known or (language == UNKNOWN and has_english_letters(text))


def _tokens(embedded: _Embedded, terms: Sequence[str]) -> int:
    """The number of tokens that the model read."""
    embedder = embedded.embedder
    # No model reads more of a text, unless its words are very long.
    most = embedder.max_tokens * _TOKEN_CHARACTERS
    return sum(
        min(len(embedder.token_offsets(term[:most])), embedder.max_tokens) + _SPECIAL_TOKENS
        for term, vector in zip(terms, embedded.vectors, strict=True)
        if vector is not None
    )


def _embedding_too_slow(model: str) -> Unavailable:
    return Unavailable(
        Reason.PART_UNAVAILABLE,
        f"The embedding model {model} takes too long at the moment; try again.",
        {"part": "embedding"},
        retry_after=1.0,
    )


def _sum(statistics: Iterable[TermStatistics]) -> TermStatistics:
    passages = terms = 0
    frequencies = Counter[str]()
    for statistic in statistics:
        passages += statistic.passages
        terms += statistic.terms
        frequencies.update(statistic.frequencies)
    return TermStatistics(passages, terms, dict(frequencies))


def _promise(weights: Weights) -> float:
    """The share of a string's weight that its terms in a collection have: the best that a passage there can reach by words."""
    return sum(weights.weights) / weights.total if weights.total else 0.0


def _queries(
    scope: SearchScope, string: _Read, place: int, vectors: _Vectors, mode: SearchMode
) -> Mapping[str, CandidateQuery]:
    """A string as the collections of each model are searched for it. place: the string's index.

    Each collection is searched as if it were the only one. Otherwise, what is in one collection would decide which words of the question
    count in another, and could displace its passages.
    """
    by_model: dict[str, list[str]] = {}
    for name, one in string.statistics.items():
        by_model.setdefault(one.embedding, []).append(name)
    matching = [name for name, one in string.readings.items() if one.weights.terms]
    by_promise = sorted(matching, key=lambda name: -_promise(string.readings[name].weights))
    alone = by_promise[:SEARCHED_ALONE] if mode is not SearchMode.VECTOR else []
    together = by_promise[SEARCHED_ALONE:] if mode is not SearchMode.VECTOR else []
    queries: dict[str, CandidateQuery] = {}
    for model, names in by_model.items():
        words = [_query([name], string.readings[name].weights) for name in alone if name in names]
        if others := [name for name in together if name in names]:
            words.append(_query(others, string.together.weights))
        embedded = vectors.by_model.get(model)
        vector = embedded.vectors[place] if embedded is not None else None
        question = None
        if embedded is not None and vector is not None:
            generations = {name: string.statistics[name].generation for name in names}
            question = QuestionVector(
                embedded.embedder.name,
                vector,
                tuple(dict.fromkeys(generations.values())),
                tuple(stored_generation(*one) for one in generations.items()),
            )
        if words or question:
            searched = dict.fromkeys(
                term for name in names for term in string.readings[name].weights.searched
            )
            queries[model] = CandidateQuery(
                names, list(searched), words, question, NEAREST_VECTORS, scope.documents
            )
    return queries


def _query(collections: Sequence[str], weights: Weights) -> LexicalQuery:
    return LexicalQuery(
        collections,
        weights.terms,
        weights.weights,
        weights.frequencies,
        gate(weights.frequencies),
        weights.mean_length,
        alternatives=[weights.alternatives.get(term, ()) for term in weights.terms]
        if weights.alternatives
        else (),
    )


def _best(ranked: Iterable[_Ranked]) -> Sequence[_Ranked]:
    """Each passage once, with the string that the passage fits best. The best passage is first."""
    best: dict[UUID, _Ranked] = {}
    for passage in ranked:
        earlier = best.get(passage.id)
        if earlier is None or passage.score.total > earlier.score.total:
            best[passage.id] = passage
    return sorted(best.values(), key=lambda one: (-one.score.total, one.id.bytes))


def _rounded(cosine: float | None) -> float | None:
    """A cosine with the digits that all indexes agree on: each adds up in another order."""
    return None if cosine is None else round(cosine, 4)


def _joined(
    alone: Sequence[ScoredPassage], passages: Sequence[ScoredPassage], top_k: int
) -> Sequence[ScoredPassage]:
    """The best `top_k` passages, best first. They always include the better half of the passages in `alone`, which were
    found without expansions.

    passages: the passages that all strings found, best first.
    """
    # An expansion, which a model wrote, may fit other passages better than the question fits any passage.
    better = alone[: (top_k + 1) // 2]
    kept = {one.found.passage.id: one for one in (*better, *passages)}
    return sorted(list(kept.values())[:top_k], key=lambda one: (-one.score.total, one.found.passage.id.bytes))


class ParsedQuestions:
    """Parses the searched strings of a retrieval, each as the collections of its passages read it."""

    def __init__(self, retrieval: Retrieval, analyzer: Analyzer) -> None:
        self._retrieval = retrieval
        self._analyzer = analyzer
        self._parsed: dict[tuple[int, str], ParsedQuestion] = {}

    def of(self, passage: ScoredPassage) -> ParsedQuestion:
        """The string that found the passage, as the passage's collection reads it."""
        key = (passage.term, passage.found.passage.collection_id)
        parsed = self._parsed.get(key)
        if parsed is None:
            reading = self._retrieval.reading(*key)
            text = self._retrieval.terms[key[0]]
            parsed = read_question(text, reading.weights, reading.language, self._analyzer)
            self._parsed[key] = parsed
        return parsed
