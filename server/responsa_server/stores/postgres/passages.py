"""Passages in PostgreSQL: the rows, which the stores write in their own transactions, and the index of the passages' words.

The writing methods of `PassageTable` take the connection of a transaction (role app, tenant set), so that
passages become visible together with the other rows of that transaction. Methods that process a whole
document raise the transaction's statement timeout to ten minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
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
    TEXT_PART,
    DocumentSet,
    FoundPassage,
    LexicalCandidate,
    LexicalQuery,
    NewPassage,
    OutlinedHeading,
    Passage,
    PassageVectors,
    PlacedBlock,
    SearchScope,
    TermStatistics,
)
from responsa_server.domain.people import Reader
from responsa_server.stores.cached import NOT_CACHED, Entry, SharedCache, reader_key
from responsa_server.stores.postgres.database import (
    Connection,
    Cursor,
    Database,
    Queries,
    Rows,
    Statement,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.filters import DOCUMENT_COLUMNS, compile_filter
from responsa_server.stores.postgres.vectors import RealArray, vector_cursor

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
# The same if the words of a question have at most this number of passages together: to read the passages of the rarest words then takes PostgreSQL less than half of the time.
_FEW_MATCHES: Final = 5_000
# The number of passages of a word whose number is not known. Such a word counts as common.
_UNKNOWN: Final = 2**31 - 1
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

        generation: where their vectors belong; None for the first table. Raises psycopg.errors.UniqueViolation if the version already has a passage with the same ordinal.
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
                "words": f"\\x{new.words.hex()}" if new.words else None,
            }
            for new in passages
        ]
        values = {"tenant": tenant_id, "rows": Json(rows)}
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
        """Store vectors of passages of one collection. generation: as in `write`. Raises psycopg.errors.UniqueViolation if a passage has vectors in this generation."""
        found = [
            (passage.passage_id.hex, ordinal, vector)
            for passage in passages
            for ordinal, vector in enumerate(passage.vectors)
        ]
        query = self._queries["insert_vectors" if generation is None else "insert_generation_vectors"]
        for start in range(0, len(found), _VECTORS_A_STATEMENT):
            some = found[start : start + _VECTORS_A_STATEMENT]
            rows = [
                {
                    "passage": passage,
                    "ordinal": ordinal,
                    "kind": vector.kind.value,
                    "byte_start": vector.source.start,
                    "byte_end": vector.source.end,
                    "first": place,
                }
                for place, (passage, ordinal, vector) in enumerate(some)
            ]
            values = {
                "tenant": tenant_id,
                "collection": collection_id,
                "generation": generation,
                "rows": Json(rows),
                "values": RealArray(b"".join(vector.vector for *_, vector in some)),
                "dimensions": len(some[0][2].vector) // 4,
            }
            await vector_cursor(connection).execute(query, values)

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
        """Make the passages of a version the live passages of its document. Older passages lose their vectors but stay, because answers may cite them.

        first: whether no version of the document was live before. generation: where the vectors of the version are. Raises GenerationSwitched if this is no longer the
        collection's active generation. Idempotent. The caller ensures that versions are published in order.
        """
        await self.take_time(connection)
        values = self._document(tenant_id, collection_id, document_id) | {"version": version}
        await self.lock_statistics(connection, tenant_id, collection_id)
        active = await (await connection.execute(self._queries["active_generation"], values)).fetchone()
        if active is not None and active[0] != generation:
            raise GenerationSwitched
        await connection.execute(self._queries["publish_version"], values)
        for name in () if first else _UNUSED:
            await connection.execute(self._queries[name], values)
        if self._vectors and not first:
            for name in ("delete_retired_vectors", "delete_retired_generation_vectors"):
                await connection.execute(self._queries[name], values)

    async def lock_statistics(self, connection: Connection, tenant_id: str, collection_id: str) -> None:
        """Wait until no other transaction publishes or deletes passages of the collection, and keep others from it until this transaction ends."""
        values = {"tenant": tenant_id, "collection": collection_id}
        await connection.execute(self._queries["lock_statistics"], values)

    async def retire(
        self, connection: Connection, tenant_id: str, document_id: UUID, version: int, keep: Sequence[UUID]
    ) -> None:
        """Delete the passages of versions before this one, except the passages in `keep`, which answers cite."""
        await self.take_time(connection)
        values = {"tenant": tenant_id, "document": document_id, "version": version, "keep": list(keep)}
        await connection.execute(self._queries["delete_retired_passages"], values)

    async def delete(
        self, connection: Connection, tenant_id: str, collection_id: str, document_id: UUID
    ) -> None:
        """Remove the passages and vectors of all versions of a document."""
        await self.take_time(connection)
        values = self._document(tenant_id, collection_id, document_id)
        for name in ("lock_statistics", "delete_document", *_UNUSED):
            await connection.execute(self._queries[name], values)

    async def set_subject(self, connection: Connection, values: Mapping[str, object]) -> None:
        """Give all passages of a document another subject. values: the tenant, the collection, the document and the subject."""
        await self.take_time(connection)
        for name in ("lock_statistics", "move_to_subject", *_UNUSED):
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
        values = {"tenant": tenant_id, "ids": uuid_array(ids)}
        cursor = await connection.execute(self._queries["passages"], values)
        return [one.passage for one in _in_order(_found(await cursor.fetchall()), ids)]

    async def cached_vectors(
        self, connection: Connection, tenant_id: str, model: str, hashes: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """The cached vectors of texts with these SHA-256 hashes, rounded to 16 bits as in the index."""
        found: dict[bytes, bytes] = {}
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
                found[digest] = np.frombuffer(vector, "<f2").astype("<f4").tobytes()
                old = old or unused
            if old:
                await connection.execute(self._queries["touch_vectors"], values)
        return found

    async def cache_vectors(
        self, connection: Connection, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]
    ) -> None:
        """Cache vectors under the SHA-256 of their texts, and remove at least as many vectors that were not used for 30 days, if there are any.

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


class PassageWordsStore:
    """Finds the live passages whose words are not stored in the present form of `passage_words.py`, and stores them. All methods raise Unavailable."""

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
    async def without(self, tenant_id: str, most: int) -> Mapping[UUID, Mapping[str, int]]:
        """At most `most` of these passages, with how often each of their terms occurs."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "most": most}
            rows = await connection.execute(self._queries["without_words"], values)
            return {id_: counts or {} async for id_, counts in rows}

    @shielded
    async def write(self, tenant_id: str, words: Mapping[UUID, bytes | None]) -> int:
        """Store words; None removes those that are stored. Returns for how many passages; those that another transaction has locked are left out."""
        values = {"tenant": tenant_id, "ids": uuid_array(words), "words": list(words.values())}
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(self._queries["write_words"], values)).rowcount


class PostgresLexicalIndex:
    """Implements the port `LexicalIndex` with a GIN index. search_seconds: the maximum time of one statement, including the wait for locks. cached: passages."""

    def __init__(
        self,
        database: Database,
        *,
        search_seconds: float,
        cached: SharedCache[FoundPassage] = NOT_CACHED,
    ) -> None:
        self._database = database
        self._search_seconds = search_seconds
        self._cached = cached
        self._queries = Queries("passages.sql")

    def session(self, named: SearchScope) -> AbstractAsyncContextManager[None]:
        return self._database.search_session(named.reader, self._stamp(named))

    @shielded
    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        params: dict[str, object] = {}
        where = compile_filter(filters, SEARCHED, DOCUMENT_COLUMNS, params)
        statement = sql.SQL(self._queries["documents"]).format(where=where)
        values = {
            **params,
            "tenant": scope.reader.tenant_id,
            "collections": _listed(scope.collections),
            "own": _listed(scope.own),
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
            scope.reader, TEXT_PART, statements, self._search_seconds, _binary_cursor, decides=True
        )
        return DocumentSet(bytes(ids), passages)

    @shielded
    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        values = {"collections": _listed(scope.collections), "terms": list(terms)}
        totals, counts = await self._search(scope.reader, values, "collection_statistics", "term_frequencies")
        found = {
            collection: TermStatistics(
                passages, length, {}, synonyms, CollectionKind(kind), embedding, generation, shown
            )
            for collection, passages, length, synonyms, kind, embedding, generation, shown in totals
        }
        for collection, term, passages in counts:
            if collection in found:
                # Documents of the reader's subjects are counted separately.
                of_term = found[collection].frequencies
                of_term[term] = of_term.get(term, 0) + passages
        return found

    @shielded
    async def meant(self, reader: Reader, collections: Sequence[str]) -> Sequence[str]:
        [rows] = await self._search(reader, {"names": list(collections)}, "meant")
        return [id_ for (id_,) in rows]

    @shielded
    async def stamp(self, named: SearchScope) -> bytes:
        begun: Statement = (self._queries["begun"], {})
        [[row], [run]] = await self._database.together(named.reader, [self._stamp(named), begun])
        return f"{run['begun']} {row['md5']}".encode()

    def _stamp(self, named: SearchScope) -> Statement:
        names = _listed(named.collections) if named.own is None else None
        return self._queries["stamp"], {"tenant": named.reader.tenant_id, "names": names}

    @shielded
    async def hides(self, scope: SearchScope) -> bool:
        values = {"collections": _listed(scope.collections)}
        [[(hidden,)]] = await self._search(scope.reader, values, "hides")
        return bool(hidden)

    @shielded
    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        [rows] = await self._search(reader, {"collections": list(collections)}, "synonyms")
        return dict(rows)

    @shielded
    async def matching(self, reader: Reader, queries: Sequence[LexicalQuery]) -> Sequence[UUID]:
        statements: list[Statement] = [
            (self._queries["matching"], {"tenant": reader.tenant_id, **_values(query)}) for query in queries
        ]
        rows = await self._database.search(reader, TEXT_PART, statements, self._search_seconds, vector_cursor)
        return list({id_: None for of_query in rows for (id_,) in of_query})

    @shielded
    async def candidates(
        self, scope: SearchScope, terms: Sequence[str], ids: Collection[UUID]
    ) -> Sequence[LexicalCandidate]:
        values = {
            "collections": _listed(scope.collections),
            "terms": list(terms),
            "ids": uuid_array(ids),
            "form": VERSION,
        }
        [rows] = await self._search(scope.reader, values, "candidates", cursor=_binary_cursor, decides=True)
        places = {term: place for place, term in enumerate(terms)}
        stored = iter(WantedTerms(terms).counts([words for *_, words, _ in rows if words is not None]))
        found: list[LexicalCandidate] = []
        for id_, collection, language, length, words, counted in rows:
            counts: Mapping[str, int] = next(stored) if words is not None else counted or {}
            of_place = ([places[term] for term in counts], list(counts.values()))
            found.append(LexicalCandidate(id_, collection, language, length, *of_place))
        return found

    @shielded
    async def passages(self, reader: Reader, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        keys = {f"{reader_key(reader)}:{id_}": id_ for id_ in ids if self._cached.on}
        # A passage never changes, but the reader may have lost it.
        kept = {
            keys[key]: entry.value for key, entry in (await self._cached.get(reader.tenant_id, keys)).items()
        }
        names = ("passages", "known_passages") if kept else ("passages",)
        values = {"ids": uuid_array(id_ for id_ in ids if id_ not in kept), "known": uuid_array(kept)}
        rows, *known = await self._search(reader, values, *names, cursor=_binary_cursor, decides=True)
        read = _found(rows)
        good = {id_: kept[id_] for [id_] in chain.from_iterable(known)}
        self._cached.count(len(good), len(read))
        fresh = {key: Entry(b"", read[id_]) for key, id_ in keys.items() if id_ in read}
        await self._cached.put(reader.tenant_id, fresh)
        return _in_order(read | good, ids)

    @shielded
    async def before(self, reader: Reader, ids: Sequence[UUID], most_bytes: int) -> Mapping[UUID, str]:
        [rows] = await self._search(reader, {"ids": uuid_array(ids), "most": most_bytes}, "before")
        return {id_: text.decode(errors="ignore") for id_, text in rows}

    @shielded
    async def around(
        self, reader: Reader, ids: Sequence[UUID], most_bytes: int
    ) -> Mapping[UUID, tuple[int, bytes]]:
        [rows] = await self._search(reader, {"ids": uuid_array(ids), "most": most_bytes}, "around")
        return {id_: (start, bytes(text)) for id_, start, text in rows}

    async def _search(
        self,
        reader: Reader,
        values: Mapping[str, object],
        *names: str,
        cursor: Cursor = psycopg.AsyncConnection.cursor,
        decides: bool = False,
    ) -> Rows:
        parameters = {**values, "tenant": reader.tenant_id}
        statements: list[Statement] = [(self._queries[name], parameters) for name in names]
        return await self._database.search(
            reader, TEXT_PART, statements, self._search_seconds, cursor, decides=decides
        )


def _in_order(found: Mapping[UUID, FoundPassage], ids: Sequence[UUID]) -> Sequence[FoundPassage]:
    return [found[id_] for id_ in ids if id_ in found]


def _found(rows: Sequence[tuple[Any, ...]]) -> dict[UUID, FoundPassage]:
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
            ),
            language,
            (),
            media_type,
            words=words.decode("latin-1") if is_current(words) else "",
        )
        for id_, collection, document, version, title, uri, start, end, text, headings, language, media_type, places, date, words, outline in rows
    }


def _places(rows: Sequence[Sequence[Any]] | None) -> tuple[PlacedBlock, ...]:
    return tuple(
        PlacedBlock(start, end, page, tuple(box) if box else None, path)
        for start, end, page, box, path in rows or ()
    )


def _values(query: LexicalQuery) -> Mapping[str, object]:
    quoted = [_quoted(term) for term in query.terms]
    words = dict(zip(query.terms, zip(query.weights, query.frequencies, strict=True), strict=True))
    for place, options in enumerate(query.alternatives):
        phrases = ("(" + " & ".join(map(_quoted, option)) + ")" for option in options)
        quoted[place] = " | ".join((quoted[place], *phrases))
        for option in options:
            for term in option:
                words.setdefault(term, (query.weights[place] / len(option), _UNKNOWN))
    return {
        "collections": list(query.collections),
        "wanted": " | ".join(quoted[: query.gate]),
        "queries": quoted,
        "weights": list(query.weights),
        "mean_length": max(query.mean_length, 1.0),
        "limit": query.limit,
        "documents": query.documents,
        "few": sum(query.frequencies) <= _FEW_MATCHES
        or (query.documents is not None and query.documents.passages <= _FEW),
        "words": list(words),
        "word_weights": [weight for weight, _ in words.values()],
        "frequencies": [frequency for _, frequency in words.values()],
    }


def _binary_cursor(connection: Connection) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    return connection.cursor(binary=True)


def _listed(collections: Sequence[str] | None) -> list[str] | None:
    return None if collections is None else list(collections)


def _quoted(term: str) -> str:
    """A term as a tsquery with a single lexeme."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"
