"""Passages in PostgreSQL: the rows, which the stores write in their own transactions, and the index of the passages' words.

The writing methods of `PassageTable` take the connection of a transaction (role app, tenant set), so that
passages become visible together with the other rows of that transaction. Methods that process a whole
document raise the transaction's statement timeout to ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql
from psycopg.types.json import Json

from responsa_server.domain.events import ByteRange
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.knowledge import GenerationSwitched
from responsa_server.domain.listing import Filter
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.passage_words import VERSION, WantedTerms, is_current
from responsa_server.domain.passages import (
    ANALYSIS_VERSION,
    BEFORE_BYTES,
    INSTRUCTING_VERSION,
    NEAR_BYTES,
    TEXT_PART,
    VECTORS_PART,
    CandidateQuery,
    Candidates,
    DocumentSet,
    Edition,
    FoundPassage,
    LexicalQuery,
    NearText,
    NewPassage,
    OutlinedHeading,
    Passage,
    PassageSurroundings,
    PassageVectors,
    PlacedBlock,
    QuestionVector,
    SearchScope,
    TermStatistics,
)
from responsa_server.domain.people import Reader
from responsa_server.domain.sharing import pause
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    Statement,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.filters import DOCUMENT_COLUMNS, compile_filter
from responsa_server.stores.postgres.vectors import (
    EXACT_PASSAGES,
    half_vector,
    in_first,
    later,
    read_pieces,
    values_of,
)

_HASHES_A_QUERY: Final = 1000
_DISCARDED_AT_ONCE: Final = 500
# So a statement of the longest vectors has a few megabytes.
_VECTORS_A_STATEMENT: Final = 256
# A call that adds n vectors to the cache removes n unused vectors and this number more. So the cache shrinks to the
# vectors in use, and no call takes long.
_REMOVED_AT_ONCE: Final = 256
# One statement publishes or deletes all passages of a document. For a large document, this statement may take longer
# than the usual time limit of a statement.
_BULK_TIMEOUT: Final = "10min"
# If the documents of a filter have at most this number of passages, these are read instead of the index of the postings.
_FEW: Final = 10_000
# The same if the words of a question have at most this number of passages together: to read the passages of the rarest
# words then takes PostgreSQL less than half of the time.
_FEW_MATCHES: Final = 5_000
# The number of passages of a word whose number is not known. Such a word counts as common.
_UNKNOWN: Final = 2**31 - 1
# So many passages take some milliseconds, with a long question.
_COUNTED_AT_ONCE: Final = 50
# The parts of `candidates`: what finds the nearest passages, and what computes the cosines.
_PARTS: Final = {"near": "cosines", "near_of_generations": "cosines_of_generations", "": "no_cosines"}
_UNUSED: Final = ("delete_unused_terms", "delete_unused_terms_of_subjects", "delete_unused_subjects")


class PassageTable:
    """Writes passages, their statistics and the cache of vectors in a transaction of one tenant.

    vectors: whether the vectors of passages are stored here too; False if a `VectorStore` holds them.
    """

    def __init__(self, *, vectors: bool = True) -> None:
        self._vectors = vectors
        self._queries = Queries("passages.sql", "vectors.sql")

    async def write(
        self,
        connection: Connection,
        tenant_id: str,
        passages: Sequence[NewPassage],
        generation: UUID | None = None,
    ) -> None:
        """Store passages of a version that is not live. A later attempt must call `discard` first.

        generation: where their vectors belong; None for the first table. Raises psycopg.errors.UniqueViolation if the
        version already has a passage with the same ordinal.
        """
        if not passages:
            return
        rows = [
            {
                "id": new.passage.id.hex,
                "collection": new.passage.collection_id,
                "document": new.passage.document_id.hex,
                "version": new.passage.version,
                "ordinal": new.ordinal,
                "byte_start": new.passage.source.start,
                "byte_end": new.passage.source.end,
                "title": new.passage.title,
                "uri": new.passage.uri,
                "headings": new.passage.headings,
                "text": new.passage.text,
                "language": new.language,
                "tokens": new.tokens,
                "length": new.length,
                "terms": new.terms,
                "places": new.passage.places or None,
                "outline": new.passage.outline or None,
                "name": new.passage.name,
                "words": f"\\x{new.words.hex()}" if new.words else None,
                "cards": None if new.cards is None else f"\\x{new.cards.hex()}",
                "instructing": _pack(new.instructing),
            }
            for new in passages
        ]
        values = {"tenant": tenant_id, "rows": Json(rows), "analysis": ANALYSIS_VERSION}
        await connection.execute(self._queries["insert_passages"], values)
        if self._vectors:
            collection = passages[0].passage.collection_id
            vectors = [PassageVectors(new.passage.id, new.vectors) for new in passages]
            await self.write_vectors(connection, tenant_id, collection, vectors, generation)

    async def write_vectors(
        self,
        connection: Connection,
        tenant_id: str,
        collection_id: str,
        passages: Sequence[PassageVectors],
        generation: UUID | None,
    ) -> None:
        """Store vectors of passages of one collection. generation: as in `write`. Raises psycopg.errors.UniqueViolation
        if a passage has vectors in this generation."""
        vectors = [
            (passage.passage_id.hex, ordinal, vector)
            for passage in passages
            for ordinal, vector in enumerate(passage.vectors)
        ]
        query = self._queries["insert_vectors" if generation is None else "insert_generation_vectors"]
        for start in range(0, len(vectors), _VECTORS_A_STATEMENT):
            some = vectors[start : start + _VECTORS_A_STATEMENT]
            rows = [
                {
                    "passage": passage,
                    "ordinal": ordinal,
                    "kind": vector.kind.value,
                    "byte_start": vector.source.start,
                    "byte_end": vector.source.end,
                }
                for passage, ordinal, vector in some
            ]
            values = {
                "tenant": tenant_id,
                "collection": collection_id,
                "generation": generation,
                "rows": Json(rows),
                "vectors": [half_vector(vector.vector) for *_, vector in some],
                "dimensions": len(some[0][2].vector) // 4,
            }
            await connection.execute(query, values)

    async def discard(self, connection: Connection, tenant_id: str, document_id: UUID, version: int) -> None:
        """Remove the rows that an attempt has written for a version that is not live."""
        await self.take_time(connection)
        values = {"tenant": tenant_id, "document": document_id, "version": version}
        await connection.execute(self._queries["discard_version"], values)

    async def discard_some(
        self, connection: Connection, tenant_id: str, document_id: UUID, version: int
    ) -> bool:
        """Like `discard`, for some of the rows. Returns whether there may be more."""
        values = {
            "tenant": tenant_id,
            "document": document_id,
            "version": version,
            "most": _DISCARDED_AT_ONCE,
        }
        gone = await connection.execute(self._queries["discard_some"], values)
        return len(await gone.fetchall()) == _DISCARDED_AT_ONCE

    async def publish(
        self,
        connection: Connection,
        tenant_id: str,
        collection_id: str,
        document_id: UUID,
        version: int,
        generation: UUID | None = None,
        *,
        first: bool = False,
    ) -> None:
        """Make the passages of a version the live passages of its document. Older passages lose their vectors but stay,
        because answers may cite them.

        first: whether no version of the document was live before. generation: where the vectors of the version are.
        Raises GenerationSwitched if this is no longer the collection's active generation. Idempotent. The caller
        ensures that versions are published in order.
        """
        await self.take_time(connection)
        values = self._document(tenant_id, collection_id, document_id) | {"version": version}
        await self.lock_statistics(connection, tenant_id, collection_id)
        active = await (await connection.execute(self._queries["active_generation"], values)).fetchone()
        if active is not None and active[0] != generation:
            raise GenerationSwitched
        await connection.execute(self._queries["publish_version"] + self._queries["count_delta"], values)
        for name in () if first else _UNUSED:
            await connection.execute(self._queries[name], values)
        if self._vectors and not first:
            for name in ("delete_retired_vectors", "delete_retired_generation_vectors"):
                await connection.execute(self._queries[name], values)

    async def lock_statistics(self, connection: Connection, tenant_id: str, collection_id: str) -> None:
        """Wait until no other transaction publishes or deletes passages of the collection, and keep others from it
        until this transaction ends."""
        values = {"tenant": tenant_id, "collection": collection_id}
        await connection.execute(self._queries["lock_statistics"], values)

    async def retire(
        self, connection: Connection, tenant_id: str, document_id: UUID, version: int, keep: Sequence[UUID]
    ) -> None:
        """Delete the passages of versions before this one, except the passages in `keep`."""
        await self.take_time(connection)
        values = {"tenant": tenant_id, "document": document_id, "version": version, "keep": list(keep)}
        await connection.execute(self._queries["delete_retired_passages"], values)

    async def delete(
        self, connection: Connection, tenant_id: str, collection_id: str, document_id: UUID
    ) -> None:
        """Remove the passages and vectors of all versions of a document."""
        await self.take_time(connection)
        values = self._document(tenant_id, collection_id, document_id)
        await connection.execute(self._queries["lock_statistics"], values)
        await connection.execute(self._queries["delete_document"] + self._queries["count_delta"], values)
        for name in _UNUSED:
            await connection.execute(self._queries[name], values)

    async def set_subject(self, connection: Connection, values: Mapping[str, object]) -> None:
        """Give all passages of a document another subject. values: the tenant, the collection, the document and the subject."""
        await self.take_time(connection)
        await connection.execute(self._queries["lock_statistics"], values)
        await connection.execute(self._queries["move_to_subject"] + self._queries["count_delta"], values)
        for name in _UNUSED:
            await connection.execute(self._queries[name], values)

    async def delete_collection(self, connection: Connection, tenant_id: str, collection_id: str) -> None:
        """Remove all passages, vectors and statistics of a collection."""
        await self.take_time(connection)
        values = {"tenant": tenant_id, "collection": collection_id}
        for name in (
            "lock_statistics",
            "delete_collection_passages",
            "delete_collection_terms",
            "delete_collection_terms_of_subjects",
            "delete_collection_subjects",
            "delete_collection_statistics",
        ):
            await connection.execute(self._queries[name], values)

    async def get(self, connection: Connection, tenant_id: str, ids: Sequence[UUID]) -> Sequence[Passage]:
        """The passages with these ids, in the order of the ids, whether they are live or not. Unknown ids are left out."""
        values = {"tenant": tenant_id, "ids": uuid_array(ids), "searched": False}
        cursor = await connection.execute(self._queries["passages"], values)
        by_id = passages_of(await cursor.fetchall())
        return [by_id[id_].passage for id_ in ids if id_ in by_id]

    async def find_cached(
        self, connection: Connection, tenant_id: str, model: str, hashes: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """The cached vectors of texts with these SHA-256 hashes, rounded to 16 bits as in the index."""
        vectors: dict[bytes, bytes] = {}
        ordered = sorted(set(hashes))
        for start in range(0, len(ordered), _HASHES_A_QUERY):
            values = {
                "tenant": tenant_id,
                "model": model,
                "hashes": ordered[start : start + _HASHES_A_QUERY],
            }
            cursor = await connection.execute(self._queries["cached_vectors"], values)
            old = False
            async for digest, vector, unused in cursor:
                vectors[digest] = np.frombuffer(vector, "<f2").astype("<f4").tobytes()
                old = old or unused
            if old:
                await connection.execute(self._queries["touch_vectors"], values)
        return vectors

    async def cache_vectors(
        self, connection: Connection, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]
    ) -> None:
        """Cache vectors under the SHA-256 of their texts, and remove at least as many vectors that were not used for 30
        days, if there are any.

        Vectors that are already in the cache stay unchanged.
        """
        # Every writer uses the same order, so that two writers of the same texts cannot cause a deadlock.
        hashes = sorted(vectors)
        halves = [np.frombuffer(vectors[digest], "<f4").astype("<f2").tobytes() for digest in hashes]
        values = {
            "tenant": tenant_id,
            "model": model,
            "hashes": hashes,
            "vectors": halves,
            "most": _REMOVED_AT_ONCE + len(hashes),
        }
        await connection.execute(self._queries["cache_vectors"], values)

    async def take_time(self, connection: Connection) -> None:
        """Raise the statement timeout for the rest of this transaction."""
        await connection.execute(self._queries["take_time"], {"timeout": _BULK_TIMEOUT})

    @staticmethod
    def _document(tenant_id: str, collection_id: str, document_id: UUID) -> dict[str, object]:
        return {"tenant": tenant_id, "collection": collection_id, "document": document_id}


@dataclass(frozen=True, slots=True)
class PassageAnalysis:
    """What is stored of the text of a passage: see `NewPassage`."""

    words: bytes
    cards: bytes | None
    instructing: Sequence[tuple[int, int]] | None
    terms: str
    length: int
    name: str


class PassageWordsStore:
    """Finds the live passages whose analysis is not stored in the present form of `passage_words.py`, `text/lexical.py`
    and `text/instructing.py`, and stores it. All methods raise Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("passages.sql")

    @shielded
    async def tenants(self) -> Sequence[str]:
        """The tenants that are not erased."""
        async with self._database.no_tenant() as connection:
            rows = await connection.execute(self._queries["tenants_with_passages"])
            return [id_ async for (id_,) in rows]

    @shielded
    async def without(self, tenant_id: str, limit: int) -> Mapping[UUID, tuple[str, str]]:
        """At most `limit` of these passages, each with the header of the table within which it begins, or "", and with
        the address of its document, or "" if somebody has stated a title."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "most": limit}
            rows = await connection.execute(self._queries["without_words"], values)
            return {id_: (header, address) async for id_, header, address in rows}

    @shielded
    async def write(self, tenant_id: str, new: Mapping[UUID, PassageAnalysis | None]) -> int:
        """Store analyses, and count terms that have changed; None removes words and instructions that are stored.
        Returns for how many passages; those that another transaction has locked are left out."""
        values: dict[str, object] = {
            "tenant": tenant_id,
            "ids": uuid_array(new),
            "terms": [None if item is None else item.terms for item in new.values()],
            "lengths": [None if item is None else item.length for item in new.values()],
            "analysis": ANALYSIS_VERSION,
            "words": [None if item is None else item.words for item in new.values()],
            "cards": [None if item is None else item.cards for item in new.values()],
            "names": [None if item is None else item.name for item in new.values()],
            "instructing": Json([None if item is None else _pack(item.instructing) for item in new.values()]),
        }
        async with self._database.tenant(tenant_id) as connection:
            changed = await connection.execute(self._queries["of_other_terms"], values)
            for (collection,) in await changed.fetchall():
                # In the order that every writer uses. The statistics of a collection that is gone would stay for ever.
                of_it = values | {"collection": collection}
                held = await connection.execute(self._queries["hold_collection_of_terms"], of_it)
                if await held.fetchone() is not None:
                    await connection.execute(self._queries["lock_statistics"], of_it)
                    counted = self._queries["write_terms"] + self._queries["count_delta"]
                    await connection.execute(counted, of_it)
            return (await connection.execute(self._queries["write_words"], values)).rowcount


class PostgresLexicalIndex:
    """Implements the port `LexicalIndex` with a GIN index, and with the vectors in the database if there are any.
    search_seconds: the maximum time of one statement, including the wait for locks. breadth: HNSW's ef_search, from 1
    to 1,000. A larger value finds more passages and takes longer.
    """

    def __init__(
        self,
        database: Database,
        *,
        search_seconds: float,
        breadth: int,
    ) -> None:
        self._database = database
        self._search_seconds = search_seconds
        self._breadth = breadth
        self._queries = Queries("passages.sql", "vectors.sql")
        self._candidates = {
            near: sql.SQL(self._queries["candidates"]).format(
                near=sql.SQL(self._queries[near] if near else ""), cosines=sql.SQL(self._queries[cosines])
            )
            for near, cosines in _PARTS.items()
        }

    def session(self, named: SearchScope) -> AbstractAsyncContextManager[None]:
        return self._database.search_session(named.reader)

    @shielded
    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        params: dict[str, object] = {}
        where = compile_filter(filters, SEARCHED, DOCUMENT_COLUMNS, params)
        statement = sql.SQL(self._queries["documents"]).format(where=where)
        values = {
            **params,
            "tenant": scope.reader.tenant_id,
            "collections": _to_list(scope.collections),
            "own": _to_list(scope.own),
            "about": scope.about,
        }
        # How a filter is best answered depends on its values.
        plans = self._queries["plans"]
        statements: list[Statement] = [
            (plans, {"plans": "force_custom_plan"}),
            (statement, values),
            (plans, {"plans": "force_generic_plan"}),
        ]
        _, [(ids, passages)], _ = await self._database.search(
            scope.reader, TEXT_PART, statements, self._search_seconds, _binary_cursor
        )
        return DocumentSet(bytes(ids), passages)

    @shielded
    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        values = {"collections": _to_list(scope.collections), "terms": list(terms)}
        rows = await self._search(scope.reader, values, "statistics")
        return {
            collection: TermStatistics(
                passages, length, counts or {}, synonyms, CollectionKind(kind), embedding, generation, shown
            )
            for collection, passages, length, counts, synonyms, kind, embedding, generation, shown in rows
        }

    @shielded
    async def stamp(self, named: SearchScope) -> bytes:
        begun: Statement = (self._queries["begun"], {})
        names = _to_list(named.collections) if named.own is None else None
        stamp = self._queries["stamp"], {"tenant": named.reader.tenant_id, "names": names}
        [[row], [run]] = await self._database.together(named.reader, [stamp, begun])
        return f"{run['begun']} {row['md5']}".encode()

    @shielded
    async def languages(self, scope: SearchScope) -> Sequence[str]:
        values = {"tenant": scope.reader.tenant_id, "collections": _to_list(scope.collections)}
        return [language for (language,) in await self._search(scope.reader, values, "languages")]

    @shielded
    async def hides(self, scope: SearchScope) -> bool:
        values = {"collections": _to_list(scope.collections)}
        [(hidden,)] = await self._search(scope.reader, values, "hides")
        return bool(hidden)

    @shielded
    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        rows = await self._search(reader, {"collections": list(collections)}, "synonyms")
        return dict(rows)

    @shielded
    async def candidates(
        self, reader: Reader, queries: Sequence[CandidateQuery]
    ) -> Sequence[Mapping[str, Candidates]]:
        parts = [_parts(query.question) for query in queries]
        statements: list[Statement] = [
            (self._candidates[part], self._candidate_values(reader, query))
            for query, of_query in zip(queries, parts, strict=True)
            for part in of_query
        ]
        part = VECTORS_PART if any(query.question for query in queries) else TEXT_PART
        rows = iter(
            await self._database.search(reader, part, statements, self._search_seconds, _binary_cursor)
        )
        return [
            await _candidates(query.terms, list(chain.from_iterable(next(rows) for _ in of_query)))
            for query, of_query in zip(queries, parts, strict=True)
        ]

    def _candidate_values(self, reader: Reader, query: CandidateQuery) -> Mapping[str, object]:
        few = query.documents is not None and query.documents.passages <= _FEW
        return {
            **values_of(query.question),
            "tenant": reader.tenant_id,
            "collections": _to_list(query.collections),
            "queries": Json([_values(words, few=few) for words in query.words]),
            "documents": query.documents,
            "ids": uuid_array(query.ids),
            "terms": list(query.terms),
            "form": VERSION,
            "nearest": query.nearest,
            "breadth": self._breadth,
            "exact": query.documents is not None and query.documents.passages <= EXACT_PASSAGES,
        }

    @shielded
    async def passages(
        self, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
    ) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
        ids = list(dict.fromkeys(chain.from_iterable(wanted.values())))
        values: dict[str, object] = {"tenant": reader.tenant_id, "ids": uuid_array(ids), "searched": True}
        statements: list[Statement] = [(self._queries["passages"], values)]
        having = {question: [id_ for id_, pieces in of.items() if pieces] for question, of in wanted.items()}
        of_pieces: list[QuestionVector | None] = []
        for question, some in having.items():
            first = question if in_first(question) else None
            # Pieces are the same in all generations of a passage, but their cosines are not: those of the active one come last.
            for name, compared in (("pieces", first), ("pieces_of_generations", question)):
                if some and (name == "pieces" or first is None or later(question)):
                    statements.append(
                        (self._queries[name], {**values, **values_of(compared), "ids": uuid_array(some)})
                    )
                    of_pieces.append(question)
        part = VECTORS_PART if of_pieces else TEXT_PART
        rows = await self._database.search(reader, part, statements, self._search_seconds, _binary_cursor)
        read = passages_of(rows[0])
        pieces: dict[QuestionVector | None, dict[UUID, bytes]] = {question: {} for question in wanted}
        for question, pairs in zip(of_pieces, rows[1:], strict=True):
            pieces[question].update(pairs)
        return {
            question: [
                replace(read[id_], pieces=read_pieces(data))
                if (data := pieces[question].get(id_))
                else read[id_]
                for id_ in of_question
                if id_ in read
            ]
            for question, of_question in wanted.items()
        }

    @shielded
    async def read_stored(self, reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, FoundPassage]:
        values = {"ids": uuid_array(ids), "searched": False}
        return passages_of(await self._search(reader, values, "passages"))

    @shielded
    async def surroundings(
        self, reader: Reader, ids: Sequence[UUID], documents: Sequence[UUID], most_bytes: int = NEAR_BYTES
    ) -> PassageSurroundings:
        values = {"tenant": reader.tenant_id, **around_values(ids, documents), "most": most_bytes}
        names = ("surroundings", "editions") if documents else ("surroundings",)
        statements: list[Statement] = [(self._queries[name], values) for name in names]
        return surroundings_of(
            *await self._database.search(reader, TEXT_PART, statements, self._search_seconds)
        )

    async def _search(self, reader: Reader, values: Mapping[str, object], name: str) -> Sequence[Any]:
        """The rows of a statement."""
        statement: Statement = (self._queries[name], {**values, "tenant": reader.tenant_id})
        [rows] = await self._database.search(reader, TEXT_PART, [statement], self._search_seconds)
        return rows


def around_values(ids: Sequence[UUID], documents: Sequence[UUID]) -> dict[str, object]:
    """The values of the statements `surroundings` and `editions`, but for the tenant."""
    return {
        "ids": uuid_array(ids),
        "documents": uuid_array(documents),
        "most": NEAR_BYTES,
        "before": BEFORE_BYTES,
        "analysis": ANALYSIS_VERSION,
    }


def surroundings_of(
    rows: Sequence[tuple[Any, ...]], editions: Sequence[tuple[Any, ...]] = ()
) -> PassageSurroundings:
    """What these statements have found."""
    return PassageSurroundings(
        {
            id_: NearText(start, bytes(text), bytes(cards), bytes(before).decode(errors="ignore"))
            for id_, start, text, cards, before, _ in rows
        },
        {
            id_: sorted({OutlinedHeading(*heading) for outline in outlines for heading in outline})
            for id_, *_, outlines in rows
            if outlines
        },
        {
            id_: Edition(
                key,
                title,
                date,
                create_time,
                bytes(front).decode(errors="ignore"),
                [title for outline in outlines for _, _, title in outline],
            )
            for id_, key, title, date, create_time, front, outlines in editions
        },
    )


def passages_of(rows: Sequence[tuple[Any, ...]]) -> dict[UUID, FoundPassage]:
    """The passages of these rows, without pieces."""
    return {
        id_: FoundPassage(
            Passage(
                id_,
                collection,
                document,
                version,
                title,
                uri,
                ByteRange(start, end),
                text,
                tuple(headings),
                _places(places),
                date=date,
                outline=tuple(OutlinedHeading(*heading) for heading in outline or ()),
                name=name,
            ),
            language,
            (),
            media_type,
            words=words.decode("latin-1") if is_current(words) else "",
            instructing=_unpack(instructing),
        )
        for (
            id_,
            collection,
            document,
            version,
            title,
            uri,
            start,
            end,
            text,
            headings,
            language,
            media_type,
            places,
            date,
            words,
            instructing,
            outline,
            name,
        ) in rows
    }


def _pack(instructing: Sequence[tuple[int, int]] | None) -> Sequence[int] | None:
    return None if instructing is None else [INSTRUCTING_VERSION, *chain.from_iterable(instructing)]


def _unpack(stored: Sequence[int] | None) -> Sequence[tuple[int, int]] | None:
    if stored is None or stored[0] != INSTRUCTING_VERSION:
        return None
    return [*zip(stored[1::2], stored[2::2], strict=True)]


def _places(rows: Sequence[Sequence[Any]] | None) -> tuple[PlacedBlock, ...]:
    return tuple(
        PlacedBlock(start, end, page, tuple(box) if box else None, path)
        for start, end, page, box, path in rows or ()
    )


def _parts(question: QuestionVector | None) -> Sequence[str]:
    """The parts of `candidates` for a question: one for each table that has vectors of its generations."""
    parts = ["near"] if in_first(question) else []
    return [*parts, "near_of_generations"] if later(question) else parts or [""]


async def _candidates(terms: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Candidates]:
    """The candidates of these rows. terms: those that are counted."""
    wanted = WantedTerms(terms)
    stored: Iterator[Mapping[str, int]] = iter(())
    collections: dict[str, dict[UUID, tuple[Any, ...]]] = {}
    for row, (id_, collection, language, length, words, counted, window, piece) in enumerate(rows):
        if row % _COUNTED_AT_ONCE == 0:
            await pause()
            some = rows[row : row + _COUNTED_AT_ONCE]
            stored = iter(wanted.counts([cells[4] for cells in some if cells[4] is not None]))
        counts: Mapping[str, int] = next(stored) if words is not None else counted or {}
        of_collection = collections.setdefault(collection, {})
        # The rows of each table have the cosines of its own vectors.
        if window is not None or piece is not None or id_ not in of_collection:
            of_collection[id_] = language, length, [counts.get(term, 0) for term in terms], window, piece
    return {name: _to_columns(of_collection, len(terms)) for name, of_collection in collections.items()}


def _to_columns(rows: Mapping[UUID, tuple[Any, ...]], terms: int) -> Candidates:
    ids = sorted(rows)
    languages, lengths, counts, windows, pieces = zip(*(rows[id_] for id_ in ids), strict=True)
    return Candidates(
        ids,
        languages,
        np.array(lengths, np.float64),
        np.array(counts, np.float64).reshape(len(ids), terms),
        np.array(windows, np.float64),
        np.array(pieces, np.float64),
    )


def _values(query: LexicalQuery, *, few: bool) -> Mapping[str, object]:
    """A row of `queries` of `candidates`. few: whether it is searched among few documents."""
    quoted = [_quote(term) for term in query.terms]
    words = dict(zip(query.terms, zip(query.weights, query.frequencies, strict=True), strict=True))
    for index, options in enumerate(query.alternatives):
        phrases = ("(" + " & ".join(map(_quote, option)) + ")" for option in options)
        quoted[index] = " | ".join((quoted[index], *phrases))
        for option in options:
            for term in option:
                words.setdefault(term, (query.weights[index] / len(option), _UNKNOWN))
    return {
        "collections": list(query.collections),
        "wanted": " | ".join(quoted[: query.gate]),
        "queries": quoted,
        "weights": list(query.weights),
        "mean_length": max(query.mean_length, 1.0),
        "most": query.limit,
        "few": few or sum(query.frequencies) <= _FEW_MATCHES,
        "words": list(words),
        "word_weights": [weight for weight, _ in words.values()],
        "frequencies": [frequency for _, frequency in words.values()],
    }


def _binary_cursor(connection: Connection) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    return connection.cursor(binary=True)


def _to_list(collections: Sequence[str] | None) -> list[str] | None:
    return None if collections is None else list(collections)


def _quote(term: str) -> str:
    """A term as a tsquery with a single lexeme."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"
