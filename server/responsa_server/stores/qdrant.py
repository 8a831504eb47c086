"""Vectors of passages in Qdrant.

Each embedding model has a collection of Qdrant, in which each vector is a point. The payload of a point has the tenant,
the collection, the generation and the document version, the epoch of the attempt that stored the point, whether it is
published, and what `PassageVector` says of the vector.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from itertools import chain
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.domain.events import ByteRange
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.passages import (
    COSINE_DIGITS,
    VECTORS_PART,
    IndexingAttempt,
    PassageCosines,
    PassagePiece,
    PassageVectors,
    QuestionVector,
    SearchScope,
    VectorKind,
)
from responsa_server.domain.people import Reader
from responsa_server.telemetry.stages import exchange

_WRITE_SECONDS: Final = 60
# A transaction of PostgreSQL, which may be idle for a minute, waits for two such writes.
_HELD_SECONDS: Final = 25
_CHECK_SECONDS: Final = 2.0
_POINTS_A_REQUEST: Final = 256
# More vectors than any passage has, so that a query that compares all vectors of some passages returns all of them.
_MOST_OF_PASSAGE: Final = 256
_PIECES: Final = [kind.value for kind in VectorKind if kind is not VectorKind.WINDOW]
_INDEXES: Final[Mapping[str, models.PayloadSchemaType | models.KeywordIndexParams]] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "collection": models.PayloadSchemaType.KEYWORD,
    "generation": models.PayloadSchemaType.KEYWORD,
    "document": models.PayloadSchemaType.KEYWORD,
    "passage": models.PayloadSchemaType.KEYWORD,
    "kind": models.PayloadSchemaType.KEYWORD,
    "version": models.PayloadSchemaType.INTEGER,
    "epoch": models.PayloadSchemaType.INTEGER,
    "published": models.PayloadSchemaType.BOOL,
}
"""The fields of the payload by which points are filtered, and the indexes of these fields."""


class Quantization(StrEnum):
    """How Qdrant shortens the vectors that its graph compares. Whatever it finds is compared again with the vectors of 16-bit floats.

    NONE: it does not. INT8: one byte for each dimension. BINARY: one bit for each dimension.
    """

    NONE = "none"
    INT8 = "int8"
    BINARY = "binary"


_OVERSAMPLING: Final[Mapping[Quantization, float]] = {
    Quantization.NONE: 1.0,
    Quantization.INT8: 2.0,
    Quantization.BINARY: 4.0,
}
"""How many times the wanted number of vectors is compared again. docs/retrieval.md has the measurement."""


@dataclass(frozen=True, slots=True)
class QdrantOptions:
    """prefix: the names of the collections begin with it and a hyphen; a-z, 0-9 and underscore. search_seconds: the
    maximum time of one request of a search. m, ef_construction, ef_search: as in the section `retrieval` of the
    settings.
    """

    prefix: str
    search_seconds: float
    m: int
    ef_construction: int
    ef_search: int
    quantization: Quantization


def connect(url: str, key: str) -> AsyncQdrantClient:
    """A client of the server at this address, which is asked nothing yet. key: the API key; '' for none. Proxies do not
    come from the environment."""
    headers = {"api-key": key} if key else {}
    return AsyncQdrantClient(
        url=url, headers=headers, timeout=_WRITE_SECONDS, check_compatibility=False, trust_env=False
    )


class QdrantVectors:
    """Implements `VectorStore`."""

    name = "qdrant"

    def __init__(self, client: AsyncQdrantClient, options: QdrantOptions) -> None:
        self._client = client
        self._options = options
        # The collections that were there when this process last looked.
        self._known: frozenset[str] = frozenset()
        # Those of them that have all indexes.
        self._prepared: frozenset[str] = frozenset()

    async def close(self) -> None:
        await self._client.close()

    async def check(self) -> PartReport:
        try:
            async with self._asking("info", _CHECK_SECONDS):
                await self._collections()  # which needs the key, unlike the version
                return PartReport(Health.OK, version=(await self._client.info()).version)
        except Unavailable as error:
            refused = isinstance(error.__cause__, UnexpectedResponse) and error.__cause__.status_code in (
                HTTPStatus.UNAUTHORIZED,
                HTTPStatus.FORBIDDEN,
            )
            problem = "Qdrant refuses this server" if refused else "Qdrant cannot be reached"
            remedy = (
                "Correct QDRANT_API_KEY."
                if refused
                else "Check that Qdrant runs, and the address in retrieval.vector_store."
            )
            return PartReport(
                Health.DEGRADED, detail=f"{problem}; searches use only words, and uploads wait. {remedy}"
            )

    async def prepare(self, model: str, dimensions: int) -> bool:
        name = self._name(model)
        graph = models.HnswConfigDiff(m=self._options.m, ef_construct=self._options.ef_construction)
        quantization = _quantization(self._options.quantization)
        async with self._asking("prepare", _WRITE_SECONDS):
            new = name not in await self._collections()
            if new:
                await self._client.create_collection(
                    name,
                    vectors_config=models.VectorParams(
                        size=dimensions, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
                    ),
                    hnsw_config=graph,
                    quantization_config=quantization,
                )
            collection = await self._client.get_collection(name)
            config = collection.config.hnsw_config
            # The server completes the fields of a quantisation, so only its kind is compared.
            if (config.m, config.ef_construct) != (graph.m, graph.ef_construct) or type(
                collection.config.quantization_config
            ) is not type(quantization):
                # Qdrant builds the graph again in the background.
                await self._client.update_collection(
                    name,
                    hnsw_config=graph,
                    quantization_config=_quantization(self._options.quantization) or models.Disabled.DISABLED,
                )
            for field, index in _INDEXES.items():
                if field not in collection.payload_schema:
                    await self._client.create_payload_index(name, field, index, wait=True)
            self._known |= {name}
            self._prepared |= {name}
        return new

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        name, vector = self._name(question.model), _floats(question.data)
        active = _active(scope.reader.tenant_id, question)
        wanted = {str(id_) for id_ in named}
        async with self._asking("nearest", self._options.search_seconds):
            await self._require(name)
            within = _scope(scope)
            if within is not None:
                near = await self._client.query_points(
                    name,
                    query=vector,
                    query_filter=_all(active, within),
                    limit=limit,
                    search_params=models.SearchParams(
                        hnsw_ef=max(self._options.ef_search, limit),
                        quantization=models.QuantizationSearchParams(
                            rescore=True, oversampling=_OVERSAMPLING[self._options.quantization]
                        ),
                    ),
                    with_payload=["passage"],
                )
                wanted |= {_payload(point)["passage"] for point in near.points}
            # The best cosines of a passage are among all of its vectors, not only the nearest ones.
            points = await self._compare(name, vector, active, wanted, ["passage", "kind"])
        best: dict[str, list[float | None]] = {}
        for point in points:  # the best one first
            payload = _payload(point)
            cosines = best.setdefault(payload["passage"], [None, None])
            slot = payload["kind"] != VectorKind.WINDOW
            if cosines[slot] is None:
                cosines[slot] = point.score
        return {UUID(id_): PassageCosines(*cosines) for id_, cosines in best.items()}

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        missing = {str(id_) for id_ in ids}
        fields = ["passage", "generation", "ordinal", "kind", "start", "end"]
        pieces_by_passage: dict[str, dict[str, dict[int, PassagePiece]]] = {}

        def add(points: Iterable[models.ScoredPoint | models.Record]) -> None:
            for point in points:
                payload = _payload(point)
                cosine = round(point.score, COSINE_DIGITS) if isinstance(point, models.ScoredPoint) else None
                piece = PassagePiece(
                    VectorKind(payload["kind"]), ByteRange(payload["start"], payload["end"]), cosine
                )
                of_passage = pieces_by_passage.setdefault(payload["passage"], {})
                of_passage.setdefault(payload["generation"], {})[payload["ordinal"]] = piece

        async with self._asking("pieces", self._options.search_seconds):
            compared = self._name(question.model) if question else ""
            if question and missing:
                await self._require(compared)
                vector = _floats(question.data)
                active = _active(reader.tenant_id, question)
                add(await self._compare(compared, vector, active, missing, fields, _among("kind", _PIECES)))
            missing.difference_update(pieces_by_passage)
            for name in sorted(await self._collections()) if missing else ():
                add(
                    await self._read(
                        name,
                        [*_only_published(reader.tenant_id), _among("kind", _PIECES)],
                        missing,
                        fields,
                    )
                )
        # Pieces are the same in all generations, but one that is being built may lack some.
        whole = {id_: max(pieces.values(), key=len) for id_, pieces in pieces_by_passage.items()}
        return {UUID(id_): [piece for _, piece in sorted(pieces.items())] for id_, pieces in whole.items()}

    async def put(
        self, passages: Mapping[IndexingAttempt, Sequence[PassageVectors]], *, published: bool = False
    ) -> None:
        points = [
            models.PointStruct(
                # A repeated call stores the same points.
                id=str(uuid5(passage.passage_id, f"{attempt.generation}/{attempt.epoch}/{ordinal}")),
                vector=_floats(item.vector),
                payload={
                    "tenant": attempt.tenant_id,
                    "collection": attempt.collection_id,
                    "generation": attempt.generation,
                    "document": str(attempt.document_id),
                    "version": attempt.version,
                    "epoch": attempt.epoch,
                    "published": published,
                    "passage": str(passage.passage_id),
                    "ordinal": ordinal,
                    "kind": item.kind.value,
                    "start": item.source.start,
                    "end": item.source.end,
                },
            )
            for attempt, of_attempt in passages.items()
            for passage in of_attempt
            for ordinal, item in enumerate(passage.vectors)
        ]
        if not points:
            return
        # The first vector of a passage comes last, because `lacking` looks for it.
        points.sort(key=lambda point: _payload(point)["ordinal"], reverse=True)
        first, of_first = next(iter(passages.items()))
        name = self._name(first.model)
        async with self._asking("put", _HELD_SECONDS):
            if name not in self._prepared:
                await self.prepare(first.model, len(of_first[0].vectors[0].vector) // 4)
            for start in range(0, len(points), _POINTS_A_REQUEST):
                await self._client.upsert(name, points[start : start + _POINTS_A_REQUEST], wait=True)

    async def lacking(
        self, tenant_id: str, model: str, generation: str, passages: Sequence[UUID]
    ) -> Sequence[UUID]:
        where = [*_only_published(tenant_id), _is("generation", generation), _is("ordinal", 0)]
        async with self._asking("lacking", _WRITE_SECONDS):
            if not await self._has(self._name(model)):
                return passages
            points = await self._read(self._name(model), where, [str(id_) for id_ in passages], ["passage"])
        present = {_payload(point)["passage"] for point in points}
        return [id_ for id_ in passages if str(id_) not in present]

    async def publish(self, attempt: IndexingAttempt) -> None:
        name = self._name(attempt.model)
        of_version = [
            *_version(attempt.tenant_id, attempt.document_id, attempt.version),
            _is("generation", attempt.generation),
        ]
        this = _all(of_version, [_is("epoch", attempt.epoch)])
        earlier = _all(of_version, [_between("epoch", lt=attempt.epoch)])
        later = _all(of_version, [_is("published", True), _between("epoch", gt=attempt.epoch)])
        async with self._asking("publish", _HELD_SECONDS):
            if not await self._has(name):
                return  # the version has no vectors
            overtaken = (await self._client.count(name, later, exact=True)).count > 0
            if not overtaken:
                await self._client.set_payload(
                    name, {"published": True}, models.FilterSelector(filter=this), wait=True
                )
            gone = models.FilterSelector(filter=this if overtaken else earlier)
            await self._client.delete(name, gone, wait=True)

    async def drop_attempts(self, tenant_id: str, document_id: UUID, version: int, before_epoch: int) -> None:
        earlier = [_between("epoch", lt=before_epoch)]
        await self._drop(_all(_version(tenant_id, document_id, version), earlier))

    async def drop_versions(
        self, tenant_id: str, document_id: UUID, before_version: int | None, keep: Collection[int] = ()
    ) -> None:
        earlier = [] if before_version is None else [_between("version", lt=before_version)]
        where = _all(_document(tenant_id, document_id), earlier)
        await self._drop(where.model_copy(update={"must_not": [_is("version", version) for version in keep]}))

    async def drop_generation(self, tenant_id: str, generation: str) -> None:
        await self._drop(_all([_is("tenant", tenant_id), _is("generation", generation)]))

    async def drop_tenant(self, tenant_id: str) -> None:
        await self._drop(_all([_is("tenant", tenant_id)]))

    async def _drop(self, where: models.Filter) -> None:
        async with self._asking("drop", _WRITE_SECONDS):
            for name in await self._collections():
                await self._client.delete(name, models.FilterSelector(filter=where), wait=True)

    async def _compare(
        self,
        name: str,
        vector: list[float],
        among: Sequence[models.FieldCondition],
        passages: Collection[str],
        fields: list[str],
        *more: models.FieldCondition,
    ) -> Sequence[models.ScoredPoint]:
        """The vectors of these passages with their exact cosines, the best one first."""
        if not passages:
            return ()
        response = await self._client.query_points(
            name,
            query=vector,
            query_filter=_all(among, [_among("passage", passages), *more]),
            limit=len(passages) * _MOST_OF_PASSAGE,
            search_params=models.SearchParams(exact=True),
            with_payload=fields,
        )
        return response.points

    async def _read(
        self,
        name: str,
        among: Sequence[models.FieldCondition],
        passages: Collection[str],
        fields: list[str],
    ) -> Sequence[models.Record]:
        """The payloads of the vectors of these passages."""
        where, limit = _all(among, [_among("passage", passages)]), len(passages) * _MOST_OF_PASSAGE
        return (await self._client.scroll(name, where, limit=limit, with_payload=fields))[0]

    def _name(self, model: str) -> str:
        """The name of a model's collection."""
        readable = re.sub(r"[^a-z0-9.]+", "-", model.lower())[:80]
        return f"{self._options.prefix}-{readable}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"

    async def _collections(self) -> frozenset[str]:
        known = (await self._client.get_collections()).collections
        self._known = frozenset(row.name for row in known if row.name.startswith(f"{self._options.prefix}-"))
        self._prepared &= self._known
        return self._known

    async def _has(self, name: str) -> bool:
        return name in self._known or name in await self._collections()

    async def _require(self, name: str) -> None:
        """Raises Unavailable if there is no such collection: searches ask only for models with passages, so Qdrant has
        lost their vectors, or does not have them yet."""
        if not await self._has(name):
            raise _unavailable(Unavailable)

    @asynccontextmanager
    async def _asking(self, what: str, seconds: float) -> AsyncGenerator[None]:
        """Raises Unavailable if a request in the block fails, and TooSlow if the block takes longer."""
        try:
            with exchange(what, **{"db.system.name": "qdrant"}):
                async with asyncio.timeout(seconds):
                    yield
        except (TimeoutError, ApiException, QdrantException) as error:
            self._known = self._prepared = frozenset()  # a collection may be gone
            raise _unavailable(TooSlow if isinstance(error, TimeoutError) else Unavailable) from error


def _unavailable(kind: type[Unavailable]) -> Unavailable:
    told = "The documents cannot be searched at the moment; try again."
    return kind(Reason.PART_UNAVAILABLE, told, {"part": VECTORS_PART}, retry_after=1.0)


def _quantization(chosen: Quantization) -> models.QuantizationConfig | None:
    match chosen:
        case Quantization.NONE:
            return None
        case Quantization.INT8:
            scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            return models.ScalarQuantization(scalar=scalar)
        case Quantization.BINARY:
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))


def _scope(scope: SearchScope) -> Sequence[models.FieldCondition] | None:
    """The conditions of a scope; None if nothing is in it."""
    conditions: list[models.FieldCondition] = []
    for field, allowed in (("collection", scope.collections), ("document", scope.documents)):
        if allowed is not None:
            if not len(allowed):
                return None
            conditions.append(_among(field, [str(value) for value in allowed]))
    return conditions


def _only_published(tenant_id: str) -> Sequence[models.FieldCondition]:
    return [_is("tenant", tenant_id), _is("published", True)]


def _active(tenant_id: str, question: QuestionVector) -> Sequence[models.FieldCondition]:
    """The conditions of vectors with which the question is compared."""
    return [*_only_published(tenant_id), _among("generation", question.stored)]


def _document(tenant_id: str, document_id: UUID) -> Sequence[models.FieldCondition]:
    return [_is("tenant", tenant_id), _is("document", str(document_id))]


def _version(tenant_id: str, document_id: UUID, version: int) -> Sequence[models.FieldCondition]:
    return [*_document(tenant_id, document_id), _is("version", version)]


def _all(*conditions: Iterable[models.FieldCondition]) -> models.Filter:
    return models.Filter(must=list(chain.from_iterable(conditions)))


def _is(field: str, value: str | int | bool) -> models.FieldCondition:
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def _among(field: str, values: Collection[str]) -> models.FieldCondition:
    return models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))


def _between(field: str, *, gt: int | None = None, lt: int | None = None) -> models.FieldCondition:
    return models.FieldCondition(key=field, range=models.Range(gt=gt, lt=lt))


def _payload(point: models.ScoredPoint | models.Record | models.PointStruct) -> Mapping[str, Any]:
    assert point.payload is not None, "every request asks for payload"
    return point.payload


def _floats(vector: bytes) -> list[float]:
    return np.frombuffer(vector, "<f4").tolist()
