"""Retrieval: finds the passages of a tenant that fit a question, best first, with the parts of their scores."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import monotonic
from typing import Final, TypeVar
from uuid import UUID

import ormsgpack
import structlog
from structlog.typing import FilteringBoundLogger

from responsa_formats.text.languages import language_of
from responsa_server import __version__
from responsa_server.domain.errors import Exhausted, TooSlow, Unavailable
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import (
    VECTORS_PART,
    CandidateQuery,
    FoundPassage,
    LexicalIndex,
    LexicalQuery,
    PassageIndex,
    PassageSurroundings,
    QuestionVector,
    SearchScope,
    TermStatistics,
    VectorStore,
    generation_name,
)
from responsa_server.domain.people import Principal, Reader, as_subject
from responsa_server.domain.sharing import Scheduler, pause
from responsa_server.search.embedder import (
    Embedders,
    SearchEmbedder,
    SearchVectors,
    knows_language,
    undeclared_embedding,
)
from responsa_server.search.evidence import CALIBRATED, ParsedQuestion, read_question
from responsa_server.search.outside import OutsideIndex
from responsa_server.search.prompt_passages import Neighbours, with_pieces
from responsa_server.search.readings import StringReader, StringReadings, TermReading
from responsa_server.search.resident import ResidentIndex, Residents
from responsa_server.search.scoring import Score, Weights, gate, score_candidates
from responsa_server.stores.cached import NOT_CACHED, SharedCache, reader_key
from responsa_server.telemetry import instruments
from responsa_server.telemetry.parts import SEARCH, took
from responsa_server.telemetry.stages import stage
from responsa_server.text.file_names import tell_apart
from responsa_server.text.lexical import Analyzer

Result = TypeVar("Result")

# A search learns the models of its collections from its first attempt. Further attempts are needed only if generations
# become active meanwhile.
_MOST_TRIES: Final = 3
_MOST_SCOPES: Final = 10_000
# A model that no search needs for this time may belong to no collection any more.
_MISSED_SECONDS: Final = 300.0

_LOG: Final[FilteringBoundLogger] = structlog.get_logger("search")

WITH_PIECES: Final = 10
"""The number of passages at the top that are read with their pieces."""
NEAREST_VECTORS: Final = 100
"""The number of vectors that a search takes from the vector index. A passage has several vectors."""
SEARCHED_ALONE: Final = 8
"""The number of collections whose words are searched one by one. If more collections contain words of a question, the
others are searched as if they were one."""


@dataclass(frozen=True)
class RetrievalQuery:
    """What a reader wants the best passages for, and where.

    terms: one or more strings. Each passage is returned once, for the string that it fits best. collections: the
    collections to search; None searches all collections of the tenant. top_k: the most passages. mode: vectors are not
    used for a question or a passage in a language that the model does not know, unless it is VECTOR. threshold:
    passages with a lower score (0 to 1) are left out. text_will_do: what happens in the mode HYBRID if vectors are not
    available. If true, the search uses only words, and `Retrieval.text_only` is true; otherwise the search fails. If a
    collection's model is not declared any more, only this collection is searched by words alone, in the mode HYBRID
    also if text_will_do is false; in the mode VECTOR, the collection is left out if others remain. expansions: further
    strings. Their passages may replace the worse half of the passages that the other strings find. filters: conditions
    that the passages' documents must meet, on the fields of `lists.SEARCHED`. own: if not None, the search finds only
    documents about the reader, whatever the reader's role, and documents without a subject in these collections.
    about: with `own`, whether those about the reader are among them.
    """

    reader: Reader
    terms: Sequence[str]
    collections: Sequence[str] | None = None
    top_k: int = 10
    mode: SearchMode = SearchMode.HYBRID
    threshold: float = 0.0
    text_will_do: bool = False
    expansions: Sequence[str] = ()
    filters: Sequence[Filter] = ()
    own: Sequence[str] | None = None
    about: bool = True

    @cached_property
    def strings(self) -> Sequence[tuple[str, str]]:
        """All searched strings, the expansions first, each with the language that it is guessed to be in."""
        return [(text, language_of(text)) for text in (*self.expansions, *self.terms)]

    @cached_property
    def scope(self) -> SearchScope:
        """The scope with the names that the reader uses. Raises ValueError for `own` if the reader is the server itself."""
        reader = self.reader
        if self.own is not None:
            if not isinstance(reader, Principal):
                raise ValueError("only a user can be the subject of documents, not the server itself")
            reader = as_subject(reader)
        return SearchScope(reader, self.collections, own=self.own, about=self.about)

    @property
    def chosen(self) -> bool:
        """Whether somebody has chosen what is searched."""
        return self.collections is not None or self.own is not None or bool(self.filters)

    @property
    def words_will_do(self) -> bool:
        """Whether a search by words alone is better than none."""
        return self.text_will_do and self.mode is not SearchMode.VECTOR

    def digest(self) -> str:
        """A name of what is asked, without the reader and the filters. Releases rank differently, so they share no results."""
        texts = (*self.expansions, *self.terms)
        request = (texts, len(self.expansions), self.collections, self.own, self.about)
        parts = [__version__, *request, self.top_k, self.mode, self.threshold]
        return hashlib.sha256(ormsgpack.packb(parts, default=list)).hexdigest()


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage that was found. term: the index of the searched string that the passage fits best."""

    found: FoundPassage
    score: Score
    term: int


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
        reading = self.readings[term].get(collection) if self.readings else None
        return reading or TermReading(self.weights[term], self.languages[term])


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


class Retriever:
    """Searches full text and vectors, and ranks passages by both. Vectors count only for languages that the model
    knows.

    A retrieval is one row of steps: how the collections in the scope read its strings, the candidates in an index, their
    scores, and the best passages. Each of the steps but the scores asks the index once. The index is the collections in
    memory if all are there, and otherwise the database, with vectors in it or outside.

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
        self.lexical = lexical
        """What only the database says of passages."""
        self.index: PassageIndex = lexical if outside is None else OutsideIndex(lexical, outside)
        """What a search reads that is not in memory."""
        self._configured = embedders.configured
        self._embedder = SearchEmbedder(embedders, cached_vectors, embedding_seconds)
        self._cached_results = cached_results
        self._outside = outside is not None
        self._residents = None if self._outside else residents
        # The models that the latest search of these collections needed.
        self._latest: dict[tuple[Reader, tuple[str, ...] | None], frozenset[str]] = {}
        # When a search last needed each of the models that are not declared.
        self._missed: dict[str, float] = {}
        self.analyzer = Analyzer()
        """The analyzer of the event loop's thread."""
        self._reader = StringReader(self.analyzer)
        self._slices = Scheduler("loop", 1)
        self._database_searches = Scheduler("database searches", database_searches)

    async def analyse(self, work: Callable[[Analyzer], Awaitable[Result]]) -> Result:
        """Runs `work`, which calls `pause` often, in slices on the event loop. Raises Exhausted (OVERLOADED)."""
        self._slices.slice_up()
        return await work(self.analyzer)

    async def surroundings(
        self, reader: Reader, ids: Sequence[UUID], documents: Sequence[UUID]
    ) -> PassageSurroundings:
        """What stands around passages that a search of the reader has just found, from memory if it is there.
        documents: whose editions are compared. Raises Unavailable."""
        if self._residents is not None:
            near = self._residents.surroundings(reader, ids, documents)
            if near is not None:
                return near
        return await self.lexical.surroundings(reader, ids, documents)

    async def read_words(self, query: RetrievalQuery) -> Sequence[Weights]:
        """What the terms of the query's only string weigh in each collection of the scope. Raises Unavailable."""
        self._slices.slice_up()
        index = self._find_resident(query) or self.index
        [string] = await self._reader.read(index, query.scope, query.strings, chosen=query.chosen)
        return [reading.weights for reading in string.by_collection.values()]

    async def read_passages(self, reader: Reader, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        """The passages with these ids that a search could find, with their pieces. Raises Unavailable."""
        return (await _read_wanted(self.index, reader, {None: dict.fromkeys(ids, True)}))[None]

    def missed(self) -> frozenset[str]:
        """The models that searches of the last five minutes needed and that the settings do not declare."""
        since = monotonic() - _MISSED_SECONDS
        return frozenset(model for model, latest in self._missed.items() if latest > since)

    async def retrieve(self, query: RetrievalQuery) -> Retrieval:
        """The best passages for a query. Raises ValueError (see `RetrievalQuery.scope`), Unavailable, TooSlow, and
        Precondition (EMBEDDING_FAILED, COLLECTION_EMBEDDING_DIFFERS)."""
        scope = query.scope
        self._slices.slice_up()
        begun = monotonic()
        attributes = {"gen_ai.operation.name": "retrieval"}
        try:
            with stage("retrieval", questions=len(query.strings), **attributes) as recorded:
                # The stamp covers neither the fields of documents nor vectors that are stored outside the database.
                if query.filters or self._outside:
                    result = await self._retrieve_now(query)
                else:
                    result = await self._cached_results.through(
                        scope.reader.tenant_id,
                        f"{reader_key(scope.reader)}:{query.digest()}",
                        lambda: self.lexical.stamp(scope),
                        lambda: self._retrieve_now(query),
                        worth=lambda result: not result.text_only,
                    )
                recorded.add(passages=len(result.passages), text_only=result.text_only)
        finally:
            seconds = monotonic() - begun
            took(SEARCH, seconds)
            instruments.SEARCH_SECONDS.add(seconds, "whole")
        return result

    async def _retrieve_now(self, query: RetrievalQuery) -> Retrieval:
        """The result with vectors, or by words alone if vectors fail and words will do."""
        try:
            retrieval = await self._retrieve_with_vectors(query)
            if retrieval.text_only:
                instruments.SEARCHES_WITHOUT_VECTORS.add(1)
            return retrieval
        except Unavailable as error:
            # The search with vectors may have been the slow part, so a search by words may still be fast enough.
            slow = isinstance(error, TooSlow)
            if not query.words_will_do or not (slow or error.metadata.get("part") == VECTORS_PART):
                raise
            _LOG.warning("vectors could not be searched; words alone decide", exc_info=True)
            instruments.SEARCHES_WITHOUT_VECTORS.add(1)
            by_words, none = replace(query, mode=SearchMode.TEXT), SearchVectors({}, frozenset())
            return replace(await self._search(by_words, none, strict=False), text_only=True)

    async def _retrieve_with_vectors(self, query: RetrievalQuery) -> Retrieval:
        """The result with vectors of the models that the collections in the scope have.

        The strings are embedded before the search begins, so that the search holds no connection meanwhile. The models
        are those of the latest search in this scope. If the search finds that the collections have others by now, it
        starts over.
        """
        reader, collections = query.scope.reader, query.collections
        key = (reader, None if collections is None else tuple(collections))
        latest = frozenset[str]() if query.mode is SearchMode.TEXT else self._latest.get(key, frozenset())
        models, failure = latest, None
        for left in reversed(range(_MOST_TRIES)):
            try:
                with _count_seconds("embedding"):
                    vectors = await self._embedder.embed(
                        reader.tenant_id,
                        query.strings,
                        query.mode,
                        models,
                        text_will_do=query.words_will_do,
                    )
            except Exception as error:
                if left < _MOST_TRIES - 1 or not models or isinstance(error, Exhausted):
                    raise
                # The collections may have another model by now, which does not fail.
                models, failure = frozenset[str](), error
                continue
            try:
                return await self._search(query, vectors, strict=left > 0)
            except _OtherModels as other:
                models = other.models
                if failure is not None and models == latest:
                    raise failure from None
                if len(self._latest) >= _MOST_SCOPES:
                    self._latest.clear()
                self._latest[key] = models
        raise AssertionError("the last attempt takes the models that it has")

    async def _search(self, query: RetrievalQuery, vectors: SearchVectors, *, strict: bool) -> Retrieval:
        """The result in memory if all collections are there and still hold, and otherwise in the database. strict:
        whether to raise _OtherModels if the collections have other models than `vectors`."""
        if (resident := self._find_resident(query)) is not None:
            with _count_seconds("passages"):
                result = await self._search_index(resident, query.scope, query, vectors, strict=strict)
            if await resident.holds([passage.found.passage.id for passage in result.passages]):
                return result
        with _count_seconds("passages"):
            async with self._database_searches.turn(), self.lexical.session(query.scope):
                scope = await self._decide_documents(query)
                return await self._search_index(self.index, scope, query, vectors, strict=strict)

    def _find_resident(self, query: RetrievalQuery) -> ResidentIndex | None:
        # What documents' fields say, and whom documents are about, only the database knows.
        if self._residents is None or query.own is not None or query.filters:
            return None
        return self._residents.index(query.scope, sum(len(text.split()) for text, _ in query.strings))

    async def _decide_documents(self, query: RetrievalQuery) -> SearchScope:
        """The scope with the documents if they decide. The nearest vectors of all documents outside the database could
        all be of documents that the reader may not read."""
        scope = query.scope
        if query.filters or query.own is not None or (self._outside and await self.lexical.hides(scope)):
            return replace(scope, documents=await self.lexical.documents(scope, query.filters))
        return scope

    async def _search_index(
        self,
        index: PassageIndex,
        scope: SearchScope,
        query: RetrievalQuery,
        vectors: SearchVectors,
        *,
        strict: bool,
    ) -> Retrieval:
        """The steps of a retrieval in one index."""
        with stage("words") as recorded:
            strings = await self._reader.read(index, scope, query.strings, chosen=query.chosen)
            statistics = {name: of for string in strings for name, of in string.statistics.items()}
            recorded.add(collections=len(statistics))
        self._check_models(query, statistics, vectors, strict=strict)
        with stage("candidates") as recorded:
            number, ranked = await _rank(index, scope, strings, vectors, query)
            recorded.add(passages=number)
        # Up to here, collections have the ids of the index; from here on, those of the reader's names.
        shown = {name: of.shown or name for name, of in statistics.items()}
        first_asked = len(query.expansions)
        asked = [passage for passage in ranked if passage.term >= first_asked] if first_asked else []
        best, alone = await _read(
            index, scope.reader, shown, _best(ranked)[: query.top_k], _best(asked)[: query.top_k]
        )
        passages = _tell_apart(_join_lists(alone, best, query.top_k) if first_asked else best)
        return Retrieval(
            tuple(text for text, _ in query.strings),
            [passage for passage in passages if passage.score.total >= query.threshold],
            [string.together.weights for string in strings],
            [string.together.language for string in strings],
            text_only=vectors.missing,
            readings=[
                {shown[name]: reading for name, reading in string.by_collection.items()} for string in strings
            ],
            kinds={shown[name]: of.kind for name, of in statistics.items()},
            embedding_tokens=vectors.tokens,
            chosen=query.chosen,
        )

    def _check_models(
        self,
        query: RetrievalQuery,
        statistics: Mapping[str, TermStatistics],
        vectors: SearchVectors,
        *,
        strict: bool,
    ) -> None:
        models = frozenset(of.embedding for of in statistics.values())
        if strict and query.mode is not SearchMode.TEXT and models != vectors.models:
            raise _OtherModels(models)
        for model in models & vectors.undeclared:
            if model not in self.missed():
                _LOG.warning("an embedding model is not declared; its vectors are not searched", model=model)
            self._missed[model] = monotonic()
        if query.mode is SearchMode.VECTOR and models and not vectors.by_model:
            name, of = min(statistics.items())
            raise undeclared_embedding(of.shown or name, of.embedding, self._configured)


@contextmanager
def _count_seconds(step: str) -> Generator[None]:
    """Counts the time of a step that succeeds."""
    begun = monotonic()
    yield
    instruments.SEARCH_SECONDS.add(monotonic() - begun, step)


async def _rank(
    index: PassageIndex,
    scope: SearchScope,
    strings: Sequence[StringReadings],
    vectors: SearchVectors,
    query: RetrievalQuery,
) -> tuple[int, Sequence[_Ranked]]:
    """How many passages the strings find, and the best of each string and collection with their scores."""
    queries: list[tuple[int, StringReadings, str, CandidateQuery]] = []
    for term, string in enumerate(strings):
        await pause()
        by_model = _queries(scope, string, term, vectors, query.mode)
        queries += ((term, string, model, wanted) for model, wanted in by_model.items())
    lists = await index.candidates(scope.reader, [wanted for *_, wanted in queries]) if queries else ()
    text_votes = query.mode is not SearchMode.VECTOR
    ranked: list[_Ranked] = []
    for (term, string, model, wanted), by_collection in zip(queries, lists, strict=True):
        question = wanted.question
        calibrated = question if question is not None and question.model.startswith(CALIBRATED) else None
        for collection, candidates in by_collection.items():
            await pause()
            vote = {
                language: question is not None
                and (not text_votes or knows_language(vectors.by_model[model].embedder, language))
                for language in {*candidates.languages}
            }
            scores = score_candidates(
                candidates,
                string.by_collection[collection].weights,
                wanted.terms,
                text_votes=text_votes,
                vector_votes=[vote[language] for language in candidates.languages],
            )
            ranked += (
                _Ranked(candidates.ids[row], collection, score, term, calibrated)
                for row, score in scores.select_best(query.top_k).items()
            )
    return sum(len(of.ids) for each in lists for of in each.values()), ranked


async def _read(
    index: PassageIndex, reader: Reader, shown: Mapping[str, str], *lists: Sequence[_Ranked]
) -> Sequence[Sequence[ScoredPassage]]:
    """One list of passages for each of these lists. Each of the first WITH_PIECES passages has its pieces with their
    cosines to the string that found it. A passage in several lists is read once. shown: what the reader calls the
    collections.
    """
    wanted: dict[QuestionVector | None, dict[UUID, bool]] = {}
    for ranked in lists:
        for rank, passage in enumerate(ranked):
            ids = wanted.setdefault(passage.question, {})
            ids[passage.id] = ids.get(passage.id, False) or rank < WITH_PIECES
    read: Mapping[tuple[QuestionVector | None, UUID], FoundPassage] = {
        (question, passage.passage.id): _rename_collection(passage, shown)
        for question, passages in (await _read_wanted(index, reader, wanted)).items()
        for passage in passages
    }
    # A passage that was deleted in the meantime is left out.
    return [
        [
            ScoredPassage(read[key], passage.score, passage.term)
            for passage in ranked
            if (key := (passage.question, passage.id)) in read
        ]
        for ranked in lists
    ]


async def _read_wanted(
    index: PassageIndex, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
    """Passages, those with a true value with their pieces. If the stored pieces are not available and no question
    compares them, the passages are split into pieces again."""
    if not wanted:
        return {}
    try:
        return await index.passages(reader, wanted)
    except Unavailable as error:
        if {*wanted} != {None} or error.metadata.get("part") != VECTORS_PART:
            raise
        _LOG.warning("pieces of passages could not be read; they are cut again", exc_info=True)
        whole = await index.passages(reader, {None: dict.fromkeys(wanted[None], False)})
        return {
            None: [
                with_pieces(passage) if wanted[None][passage.passage.id] else passage
                for passage in whole[None]
            ]
        }


def _rename_collection(passage: FoundPassage, shown: Mapping[str, str]) -> FoundPassage:
    """The passage with its collection's id as the reader calls it."""
    called = shown.get(passage.passage.collection_id, passage.passage.collection_id)
    if called == passage.passage.collection_id:
        return passage
    return replace(passage, passage=replace(passage.passage, collection_id=called))


def _tell_apart(passages: Sequence[ScoredPassage]) -> Sequence[ScoredPassage]:
    """The passages, with the names of the files in those titles that several documents have."""
    plain = [each.found.passage for each in passages]
    titles = tell_apart({passage.document_id: (passage.title, passage.uri) for passage in plain})
    return [
        replace(each, found=replace(each.found, passage=replace(passage, title=titles[passage.document_id])))
        if passage.document_id in titles
        else each
        for each, passage in zip(passages, plain, strict=True)
    ]


def _promise(weights: Weights) -> float:
    """The share of a string's weight that its terms in a collection have: the best that a passage there can reach by words."""
    return sum(weights.weights) / weights.total if weights.total else 0.0


def _queries(
    scope: SearchScope, string: StringReadings, term: int, vectors: SearchVectors, mode: SearchMode
) -> Mapping[str, CandidateQuery]:
    """A string as the collections of each model are searched for it. term: the string's index.

    Each collection is searched as if it were the only one. Otherwise, what is in one collection would decide which words of the question
    count in another, and could displace its passages.
    """
    by_model: dict[str, list[str]] = {}
    for name, of in string.statistics.items():
        by_model.setdefault(of.embedding, []).append(name)
    matching = [name for name, reading in string.by_collection.items() if reading.weights.terms]
    by_promise = sorted(matching, key=lambda name: -_promise(string.by_collection[name].weights))
    alone = by_promise[:SEARCHED_ALONE] if mode is not SearchMode.VECTOR else []
    together = by_promise[SEARCHED_ALONE:] if mode is not SearchMode.VECTOR else []
    queries: dict[str, CandidateQuery] = {}
    for model, names in by_model.items():
        words = [_query([name], string.by_collection[name].weights) for name in alone if name in names]
        if others := [name for name in together if name in names]:
            words.append(_query(others, string.together.weights))
        embedded = vectors.by_model.get(model)
        vector = embedded.vectors[term] if embedded is not None else None
        question = None
        if embedded is not None and vector is not None:
            generations = {name: string.statistics[name].generation for name in names}
            question = QuestionVector(
                embedded.embedder.name,
                vector,
                tuple(dict.fromkeys(generations.values())),
                tuple(generation_name(*pair) for pair in generations.items()),
            )
        if words or question:
            searched = dict.fromkeys(
                word for name in names for word in string.by_collection[name].weights.searched
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
    return sorted(best.values(), key=lambda passage: (-passage.score.total, passage.id.bytes))


def _join_lists(
    alone: Sequence[ScoredPassage], passages: Sequence[ScoredPassage], top_k: int
) -> Sequence[ScoredPassage]:
    """The best `top_k` passages, best first. They always include the better half of the passages in `alone`, which were
    found without expansions.

    passages: the passages that all strings found, best first.
    """
    # An expansion, which a model wrote, may fit other passages better than the question fits any passage.
    better = alone[: (top_k + 1) // 2]
    joined = {passage.found.passage.id: passage for passage in (*better, *passages)}
    return sorted(
        list(joined.values())[:top_k],
        key=lambda passage: (-passage.score.total, passage.found.passage.id.bytes),
    )


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
