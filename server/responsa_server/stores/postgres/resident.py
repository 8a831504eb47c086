"""Reads whole collections for the servers' memory, and says whether what was read still holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.passages import TEXT_PART, FoundPassage, PassageSurroundings, SearchScope
from responsa_server.domain.people import Reader, Server
from responsa_server.stores.postgres.database import Database, Queries, shielded, uuid_array
from responsa_server.stores.postgres.passages import around_values, passages_of, surroundings_of

_PART_BYTES: Final = 9  # of a vector's row: the first letter of its kind, and both ends
_LEAST_NORM: Final = np.float32(1e-12)
_HEAD_BYTES: Final = 4  # of a vector: the number of dimensions, and a zero


class CollectionStamp(NamedTuple):
    """A collection as a reader means it. name: what the reader calls it. stamp: differs whenever a search in it may
    find something else. passages: the number of passages that the reader may read."""

    id: str
    name: str
    stamp: str
    passages: int


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of a collection's passages.

    owners: the index of the passage of each vector, ascending. kinds: the first letter of each `VectorKind`. starts,
    ends: the bytes that each one represents. units: float32 (vectors, dimensions), each vector of length 1.
    """

    owners: NDArray[np.int32]
    kinds: NDArray[np.bytes_]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    units: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CollectionRows:
    """A collection without documents of subjects, as it was when it had this stamp. The passages are in the order of
    their ids, without their pieces. lengths: their numbers of terms. surroundings: of all passages and documents.
    embedding, generation: see `TermStatistics`; synonyms_sha256: see its `synonyms`. synonyms: the file.
    """

    id: str
    stamp: str
    kind: CollectionKind
    embedding: str
    generation: UUID | None
    synonyms_sha256: bytes
    synonyms: str
    terms: int
    passages: Sequence[FoundPassage]
    lengths: Sequence[int]
    surroundings: PassageSurroundings
    vectors: Vectors


class ResidentStore:
    """Reads collections and their stamps. search_seconds: the maximum time of the statement that decides. All methods
    raise Unavailable, and `stamps` TooSlow, as a search by words does."""

    def __init__(self, database: Database, *, search_seconds: float) -> None:
        self._database = database
        self._search_seconds = search_seconds
        self._queries = Queries("resident.sql", "passages.sql")

    @shielded
    async def stamps(
        self, scope: SearchScope, ids: Collection[UUID] = ()
    ) -> tuple[Sequence[CollectionStamp], frozenset[UUID]]:
        """The collections that the scope's reader means, and those of these passages that the reader may read at the same moment."""
        values = {
            "tenant": scope.reader.tenant_id,
            "names": None if scope.collections is None else list(scope.collections),
            "ids": uuid_array(ids),
        }
        statement = self._queries["stamps"], values
        [[(collections, known)]] = await self._database.search(
            scope.reader, TEXT_PART, [statement], self._search_seconds
        )
        return [CollectionStamp(*row) for row in collections or ()], frozenset(known)

    @shielded
    async def load(self, tenant_id: str, collection_id: str, most_passages: int) -> CollectionRows | None:
        """A collection; None if it has documents of subjects or more than `most_passages`, or if it changes at this moment."""
        values: dict[str, object] = {"tenant": tenant_id, "collection": collection_id}
        reader: Reader = Server(tenant_id)
        async with self._database.reading(reader) as connection:

            async def rows(name: str) -> list[tuple[Any, ...]]:
                cursor = connection.cursor(binary=True)
                return await (await cursor.execute(self._queries[name], values)).fetchall()

            before = await rows("resident_collection")
            if not before or before[0][6] > most_passages:
                return None
            stamp, kind, embedding, generation, digest, synonyms, _, terms = before[0]
            values["generation"] = generation
            passages = await rows("resident_passages")
            values |= around_values([row[0] for row in passages], list({row[2] for row in passages}))
            surroundings = surroundings_of(await rows("surroundings"), await rows("editions"))
            vectors = await rows(
                "resident_vectors" if generation is None else "resident_vectors_of_generation"
            )
            # Each statement sees the database of its own moment. A stamp never comes again after a change.
            if await rows("resident_collection") != before:
                return None
        passages_by_id = passages_of([row[:-1] for row in passages])
        return CollectionRows(
            collection_id,
            stamp,
            CollectionKind(kind),
            embedding,
            generation,
            bytes(digest),
            synonyms,
            terms,
            list(passages_by_id.values()),
            [row[-1] for row in passages],
            surroundings,
            _read(vectors, {id_: index for index, id_ in enumerate(passages_by_id)}),
        )


def _read(rows: Sequence[tuple[UUID, bytes]], places: dict[UUID, int]) -> Vectors:
    """Of these rows, the vectors of the passages in `places`."""
    ordered = sorted((places[id_], data) for id_, data in rows if id_ in places)
    dimensions = int.from_bytes(ordered[0][1][_PART_BYTES : _PART_BYTES + 2], "big") if ordered else 0
    form = np.dtype(
        [
            ("kind", "S1"),
            ("start", ">i4"),
            ("end", ">i4"),
            ("head", f"V{_HEAD_BYTES}"),
            ("values", ">f2", (dimensions,)),
        ]
    )
    table = np.frombuffer(b"".join(data for _, data in ordered), form)
    counts = [len(data) // form.itemsize for _, data in ordered]
    return Vectors(
        np.repeat(np.array([index for index, _ in ordered], np.int32), counts),
        table["kind"].copy(),
        table["start"].astype(np.int32),
        table["end"].astype(np.int32),
        normalize(table["values"].astype(np.float32)),
    )


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """These vectors, or one, with the length 1; a zero vector stays as it is."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True).astype(np.float32)
    return vectors / np.maximum(norms, _LEAST_NORM)
