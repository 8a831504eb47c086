"""Small collections in the memory of the server, so that a search asks the database for nothing but whether what it found still holds.

The index proposes, the database decides: a search in memory counts only if, afterwards, one statement says that the
reader means the same collections, that none of them has changed since it was read, and that the reader may read each
passage that was found (`ResidentIndex.holds`). Otherwise the search is made again in the database, and the collection
is read again in the background. A collection with documents of subjects (each about one person, and hidden from other
users) stays in the database, because its readers find different passages in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import nan
from time import monotonic
from typing import Final, TypeVar
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.background import Background
from responsa_server.domain.cache import LruCache
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passage_words import code_of, codes_and_counts
from responsa_server.domain.passages import (
    COSINE_DIGITS,
    CandidateQuery,
    Candidates,
    FoundPassage,
    LexicalQuery,
    PassagePiece,
    PassageSurroundings,
    QuestionVector,
    SearchScope,
    TermStatistics,
    VectorKind,
)
from responsa_server.domain.people import Reader
from responsa_server.domain.sharing import pause
from responsa_server.search.scoring import normalize_lengths, weigh_counts
from responsa_server.stores.cached import reader_key
from responsa_server.stores.postgres.resident import (
    CollectionRows,
    CollectionStamp,
    ResidentStore,
    normalize,
)
from responsa_server.telemetry import instruments

_PASSAGE_BYTES: Final = 30_000
"""About what a passage takes, with fifteen vectors of 384 dimensions."""
_MOST_PASSAGES: Final = 20_000
_MOST_VECTORS: Final = 50_000
"""A search compares all vectors of its collections. For more than these, which take one processor about 3 ms, the
search is left to the database's graph."""
_VECTORS_AT_ONCE: Final = 5_000
"""More vectors than these are compared on a thread, so that no other call waits for it."""
_MOST_COMPARED: Final = 20_000_000
"""The most words × passages of a search, which take the event loop about two seconds, in slices. For six million, the
database takes five times as much of a processor; more than these would hold up other searches."""
_MOST_SCOPES: Final = 10_000
_AGAIN_SECONDS: Final = 1.0
"""A collection that has changed is read again after this time, and a scope is looked at again after it if a collection
of it is not in memory."""
_SHARE: Final = 0.1
"""The most of one processor's time that reading one collection again and again may take."""
_NONE: Final = np.float32(nan)
_KINDS: Final = {kind.value[:1].encode(): kind for kind in VectorKind}
"""By the letters in `Vectors.kinds`."""
_WINDOW: Final = VectorKind.WINDOW.value[:1].encode()

_LOG: Final[FilteringBoundLogger] = structlog.get_logger("search")

Value = TypeVar("Value")
Floats = NDArray[np.float32]
Places = NDArray[np.int32]
_Scope = tuple[str, str, tuple[str, ...] | None]
"""A tenant, a reader in it, and the collections as the reader names them."""


class ResidentCollection:
    """A collection in memory. A passage is named by its place: its index in `rows.passages`, which are in the order of the ids."""

    def __init__(self, rows: CollectionRows) -> None:
        self.rows = rows
        self.ids = [passage.passage.id for passage in rows.passages]
        self.places = {id_: index for index, id_ in enumerate(self.ids)}
        self.lengths = np.array(rows.lengths, np.float64)
        # A character a byte, see `FoundPassage.words`.
        words = [codes_and_counts(passage.words.encode("latin-1")) for passage in rows.passages]
        codes = np.frombuffer(b"".join(code for code, _ in words), "<u4")
        order = np.argsort(codes, kind="stable")
        self._codes = codes[order]
        self._owners = np.repeat(np.arange(len(words), dtype=np.int32), [len(counts) for _, counts in words])[
            order
        ]
        self._counts = np.frombuffer(b"".join(counts for _, counts in words), np.uint8)[order]
        # The vectors of passage p are those from first[p] to before first[p + 1].
        self.first = np.searchsorted(rows.vectors.owners, np.arange(len(words) + 1))
        # About: a character of a text takes one to four bytes, and the 2,000 are for the other fields.
        self.size_bytes = (
            rows.vectors.units.nbytes
            + sum(len(near.text) + len(near.cards) for near in rows.surroundings.around.values())
            + sum(2 * len(passage.passage.text) + len(passage.words) + 2_000 for passage in rows.passages)
        )

    @classmethod
    def of(cls, rows: CollectionRows) -> ResidentCollection | None:
        """None if there are too many vectors, or if the words of a passage are not stored in their present form: then
        `FoundPassage.words` is empty."""
        fit = len(rows.vectors.owners) <= _MOST_VECTORS and all(passage.words for passage in rows.passages)
        return cls(rows) if fit else None

    def postings(self, term: str) -> tuple[Places, NDArray[np.uint8]]:
        """The passages that have a term, ascending, and how often each has it."""
        code = np.uint32(code_of(term))  # of the codes' own type, or each search would convert all of them
        low, high = (np.searchsorted(self._codes, code, side) for side in ("left", "right"))
        return self._owners[low:high], self._counts[low:high]

    def cosines(self, question: bytes) -> Floats:
        """The cosine of each vector to a question, whose vector is rounded as the stored ones are. question: float32."""
        vector = np.frombuffer(question, "<f4").astype(np.float16).astype(np.float32)
        # Not `@`: its threads busy-wait for their next work, which costs more than this.
        cosines: Floats = np.einsum("ij,j->i", self.rows.vectors.units, normalize(vector))
        return cosines

    def greatest(self, cosines: Floats) -> tuple[Floats, Floats]:
        """For each passage, the greatest cosine of its windows, and of its other vectors; NaN where it has none."""
        windows = self.rows.vectors.kinds == _WINDOW
        return self._greatest_per_passage(np.where(windows, cosines, _NONE)), self._greatest_per_passage(
            np.where(windows, _NONE, cosines)
        )

    def _greatest_per_passage(self, values: Floats) -> Floats:
        # The value at the end is for the last passages if they have no vectors. For a passage without vectors,
        # reduceat gives the next value, which is therefore replaced.
        greatest: Floats = np.fmax.reduceat(np.append(values, _NONE), self.first[:-1])
        return np.where(self.first[:-1] < self.first[1:], greatest, _NONE)

    async def bm25(self, query: LexicalQuery) -> NDArray[np.float64]:
        """The BM25 of each passage."""
        norm = normalize_lengths(self.lengths, query.mean_length)
        scores = np.zeros(len(self.lengths))
        for at, (term, weight) in enumerate(zip(query.terms, query.weights, strict=True)):
            await pause()
            counts = self.count_term(term)
            for option in query.alternatives[at] if query.alternatives else ():
                # An alternative of several words occurs as often as its rarest word.
                counts += np.min([self.count_term(word) for word in option], axis=0)
            scores += weigh_counts(weight, counts, norm)
        return scores

    def count_term(self, term: str) -> NDArray[np.float64]:
        """How often each passage has a term."""
        counts = np.zeros(len(self.lengths))
        owners, counted = self.postings(term)
        counts[owners] = counted
        return counts


class ResidentIndex:
    """The collections that a reader means, for one search. It implements the port `PassageIndex`, but for queries with
    `documents` or `ids`: its scope has none (see `Residents.index`)."""

    def __init__(
        self,
        residents: Residents,
        scope: SearchScope,
        collections: Mapping[str, ResidentCollection],
        stamps: Sequence[CollectionStamp],
    ) -> None:
        self._residents = residents
        self._scope = scope
        self._collections = collections
        self._stamps = stamps
        self._cosines: dict[tuple[str, bytes], Floats] = {}

    async def holds(self, ids: Collection[UUID]) -> bool:
        """Whether these passages, and all that the search was made with, are still what the reader may find. Raises Unavailable."""
        return await self._residents.holds(self._scope, self._stamps, ids)

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        del scope  # this index was made for it
        shown = {stamp.id: stamp.name for stamp in self._stamps}
        statistics: dict[str, TermStatistics] = {}
        for collection_id, collection in self._collections.items():
            rows = collection.rows
            counts: dict[str, int] = {}
            for term in terms:
                await pause()
                if count := len(collection.postings(term)[0]):
                    counts[term] = count
            statistics[collection_id] = TermStatistics(
                len(rows.passages),
                rows.terms,
                counts,
                rows.synonyms_sha256,
                rows.kind,
                rows.embedding,
                rows.generation,
                shown[collection_id],
            )
        return statistics

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        del reader
        return {id_: self._collections[id_].rows.synonyms for id_ in collections}

    async def candidates(
        self, reader: Reader, queries: Sequence[CandidateQuery]
    ) -> Sequence[Mapping[str, Candidates]]:
        del reader
        return [await self._candidates(query) for query in queries]

    async def _candidates(self, query: CandidateQuery) -> Mapping[str, Candidates]:
        within = self._within(query.collections)
        chosen = {id_: np.zeros(len(collection.ids), bool) for id_, collection in within.items()}
        for words in query.words:
            await self._choose_matching(chosen, words)
        cosines = await self._choose_nearest(chosen, within, query)
        candidates: dict[str, Candidates] = {}
        for id_, collection in within.items():
            places = np.flatnonzero(chosen[id_])
            counts = np.zeros((len(places), len(query.terms)))
            for number, term in enumerate(query.terms):
                await pause()
                counts[:, number] = collection.count_term(term)[places]
            windows, pieces = (of[places].astype(np.float64) for of in cosines[id_])
            rows = places.tolist()
            candidates[id_] = Candidates(
                [collection.ids[row] for row in rows],
                [collection.rows.passages[row].language for row in rows],
                collection.lengths[places],
                counts,
                windows,
                pieces,
            )
        return candidates

    async def _choose_matching(self, chosen: Mapping[str, NDArray[np.bool_]], query: LexicalQuery) -> None:
        """Choose the passages that a query selects."""
        ranked: list[tuple[float, UUID, str, int]] = []
        for id_ in query.collections:
            collection = self._collections[id_]
            scores = await collection.bm25(query)
            best = np.arange(len(scores))
            if len(scores) > query.limit:
                best = np.argpartition(-scores, query.limit)[: query.limit]
            rows = zip((-scores[best]).tolist(), best.tolist(), strict=True)
            ranked += [(score, collection.ids[at], id_, at) for score, at in rows if score < 0]
        for _, _, id_, at in sorted(ranked)[: query.limit]:
            chosen[id_][at] = True

    async def _choose_nearest(
        self,
        chosen: Mapping[str, NDArray[np.bool_]],
        within: Mapping[str, ResidentCollection],
        query: CandidateQuery,
    ) -> Mapping[str, tuple[Floats, Floats]]:
        """Choose the passages of the nearest vectors. Returns the best cosines of all passages, see `ResidentCollection.greatest`."""
        question, limit = query.question, query.nearest
        cosines = {
            id_: await self._compare(id_, collection, question)
            for id_, collection in within.items()
            if question is not None and self._is_of(collection, question)
        }
        least = -np.inf
        if sum(map(len, cosines.values())) > limit:
            least = np.partition(np.concatenate([*cosines.values()]), -limit)[-limit]
        for id_, values in cosines.items():
            chosen[id_][within[id_].rows.vectors.owners[values >= least]] = True
        nothing = {id_: np.full(len(collection.ids), _NONE) for id_, collection in within.items()}
        return {
            id_: collection.greatest(cosines[id_]) if id_ in cosines else (nothing[id_], nothing[id_])
            for id_, collection in within.items()
        }

    async def passages(
        self, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
    ) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
        del reader
        passages: dict[QuestionVector | None, Sequence[FoundPassage]] = {}
        for question, ids in wanted.items():
            located = ((self._find(id_), with_pieces) for id_, with_pieces in ids.items())
            passages[question] = [
                replace(
                    collection.rows.passages[index],
                    pieces=await self._pieces(collection_id, collection, index, question),
                )
                if with_pieces
                else collection.rows.passages[index]
                for (collection_id, collection, index), with_pieces in (
                    (match, with_pieces) for match, with_pieces in located if match is not None
                )
            ]
        return passages

    def _find(self, id_: UUID) -> tuple[str, ResidentCollection, int] | None:
        """The collection of a passage, its id and as it is in memory, and the passage's place in it."""
        for collection_id, collection in self._collections.items():
            if (index := collection.places.get(id_)) is not None:
                return collection_id, collection, index
        return None

    async def _pieces(
        self, collection_id: str, collection: ResidentCollection, index: int, question: QuestionVector | None
    ) -> Sequence[PassagePiece]:
        values = None
        if question is not None and self._is_of(collection, question):
            values = await self._compare(collection_id, collection, question)
        vectors, places = collection.rows.vectors, slice(*collection.first[index : index + 2])
        ends = zip(vectors.starts[places].tolist(), vectors.ends[places].tolist(), strict=True)
        kinds = vectors.kinds[places].tolist()
        cosines = (
            [None] * len(kinds)
            if values is None
            else np.round(values[places].astype(np.float64), COSINE_DIGITS).tolist()
        )
        return [
            PassagePiece(_KINDS[kind], ByteRange(start, end), cosine)
            for kind, (start, end), cosine in zip(kinds, ends, cosines, strict=True)
            if kind != _WINDOW
        ]

    def _within(self, collections: Sequence[str] | None) -> Mapping[str, ResidentCollection]:
        if collections is None:
            return self._collections
        return {id_: self._collections[id_] for id_ in collections}

    @staticmethod
    def _is_of(collection: ResidentCollection, question: QuestionVector) -> bool:
        return (
            collection.rows.embedding == question.model and collection.rows.generation in question.generations
        )

    async def _compare(
        self, collection_id: str, collection: ResidentCollection, question: QuestionVector
    ) -> Floats:
        """The cosine of each vector of a collection, which a search needs several times."""
        key = (collection_id, question.data)
        if key not in self._cosines:
            if len(collection.rows.vectors.owners) > _VECTORS_AT_ONCE:
                self._cosines[key] = await asyncio.to_thread(collection.cosines, question.data)
            else:
                self._cosines[key] = collection.cosines(question.data)
        return self._cosines[key]


class Residents:
    """The collections in memory. most_bytes: their greatest size together, about; 0 keeps none."""

    def __init__(self, store: ResidentStore, most_bytes: int) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._loaded: LruCache[tuple[str, str], ResidentCollection] = LruCache(most_bytes)
        # What the latest search of a reader in a scope learned.
        self._scopes: dict[_Scope, Sequence[CollectionStamp]] = {}
        self._learning: set[_Scope] = set()
        self._learned_at: dict[_Scope, float] = {}
        self._reading: set[tuple[str, str]] = set()
        # The times before which collections that were read are not read again.
        self._rests_until: dict[tuple[str, str], float] = {}
        # The stamp with which a collection could not be taken into memory; with another stamp, it is tried again.
        self._unfit: dict[tuple[str, str], str] = {}
        self.background = Background()

    async def close(self) -> None:
        await self.background.cancel()

    def index(self, scope: SearchScope, words: int = 0) -> ResidentIndex | None:
        """The index of a scope; None for too much work, or if a collection of it is not in memory. Then it is read in the background.

        scope: one without `documents` and `own`, at which nothing here looks. The caller leaves all others to the database.
        words: how many words are searched.
        """
        if not self._most_bytes:
            return None
        stamps, tenant = self._scopes.get(_key(scope)), scope.reader.tenant_id
        searched = [stamp for stamp in stamps or () if stamp.passages]
        if words * sum(stamp.passages for stamp in searched) > _MOST_COMPARED:
            return None
        loaded = {stamp.id: self._loaded.get((tenant, stamp.id)) for stamp in searched}
        collections = {
            stamp.id: collection
            for stamp in searched
            if (collection := loaded[stamp.id]) is not None and collection.rows.stamp == stamp.stamp
        }
        if stamps is not None and len(collections) == len(searched):
            vectors = sum(len(collection.rows.vectors.owners) for collection in collections.values())
            return ResidentIndex(self, scope, collections, stamps) if vectors <= _MOST_VECTORS else None
        key = _key(scope)
        if key not in self._learning and monotonic() >= self._learned_at.get(key, 0.0) + _AGAIN_SECONDS:
            self._learning.add(key)
            self.background.start(self._learn(scope), report=_report)
        return None

    def surroundings(
        self, reader: Reader, ids: Collection[UUID], documents: Collection[UUID]
    ) -> PassageSurroundings | None:
        """What stands around passages that the reader was just found to be allowed to read; None if it is not in memory."""
        surroundings = PassageSurroundings({}, {}, {})
        # The collections that the search has just used come first.
        for (tenant, _), collection in self._loaded.entries():
            if len(surroundings.around) == len(ids):
                break
            if tenant == reader.tenant_id:
                near = collection.rows.surroundings
                surroundings = PassageSurroundings(
                    {**surroundings.around, **_pick(near.around, ids)},
                    {**surroundings.headings, **_pick(near.headings, ids)},
                    {**surroundings.editions, **_pick(near.editions, documents)},
                )
        return surroundings if len(surroundings.around) == len(ids) else None

    async def holds(
        self, scope: SearchScope, stamps: Sequence[CollectionStamp], ids: Collection[UUID]
    ) -> bool:
        """Whether a search with these stamps still holds, and the reader may read these passages. Raises Unavailable."""
        present, known = await self._store.stamps(scope, ids)
        self._remember(scope, present)
        for changed in {*stamps} - {*present}:
            key = (scope.reader.tenant_id, changed.id)
            if (loaded := self._loaded.get(key)) is not None and loaded.rows.stamp == changed.stamp:
                self._loaded.drop(key)
        good = set(present) == set(stamps) and known.issuperset(ids)
        instruments.CACHE_LOOKUPS.add(1, "collections", "hit" if good else "miss")
        return good

    async def _learn(self, scope: SearchScope) -> None:
        """Read the collections of a scope that are not in memory as they are now, but for those that cannot be."""
        try:
            stamps, _ = await self._store.stamps(scope)
            self._remember(scope, stamps)
            if sum(stamp.passages for stamp in stamps) * _PASSAGE_BYTES > self._most_bytes:
                return
            for present in stamps:
                key = (scope.reader.tenant_id, present.id)
                loaded = self._loaded.get(key)
                same = loaded is not None and loaded.rows.stamp == present.stamp
                if present.passages and not same and self._unfit.get(key) != present.stamp:
                    await self._read(key, present.stamp)
        finally:
            self._learning.discard(_key(scope))
            self._learned_at[_key(scope)] = monotonic()

    def _remember(self, scope: SearchScope, stamps: Sequence[CollectionStamp]) -> None:
        if len(self._scopes) >= _MOST_SCOPES:
            self._scopes.clear()
            self._learned_at.clear()
        self._scopes[_key(scope)] = stamps

    async def _read(self, key: tuple[str, str], stamp: str) -> None:
        """Read a collection, unless it is already being read for another scope, or was read a moment ago.

        If it was read before, it has most likely changed, and may change again at once. So it is read a second later:
        several changes then need one reading.
        """
        if key in self._reading or monotonic() < self._rests_until.get(key, 0.0):
            return
        self._reading.add(key)
        begun = monotonic()
        try:
            if key in self._rests_until:
                await asyncio.sleep(_AGAIN_SECONDS)
                begun = monotonic()
            limit = min(self._most_bytes // _PASSAGE_BYTES, _MOST_PASSAGES)
            rows = await self._store.load(*key, limit)
            collection = None if rows is None else await asyncio.to_thread(ResidentCollection.of, rows)
            if collection is None:
                self._unfit[key] = stamp
                return
            self._loaded.put(key, collection, collection.size_bytes)
        finally:
            self._reading.discard(key)
            # A collection that is written all the time is not read all the time.
            self._rests_until[key] = monotonic() + (monotonic() - begun) / _SHARE


def _pick(values: Mapping[UUID, Value], keys: Collection[UUID]) -> Mapping[UUID, Value]:
    return {key: values[key] for key in keys if key in values}


def _key(scope: SearchScope) -> _Scope:
    names = None if scope.collections is None else tuple(scope.collections)
    return scope.reader.tenant_id, reader_key(scope.reader), names


def _report(error: BaseException) -> None:
    _LOG.warning("a collection could not be read into memory; searches ask the database", exc_info=error)
