"""Collections, documents, passages, searches and ingestion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.events import ByteRange

DEFAULT_COLLECTION = "default"
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunking:
    """Passages of at most max_tokens (64 to 2,000), each sharing overlap_tokens (less than half of max_tokens) with the one before."""

    max_tokens: int = 500
    overlap_tokens: int = 50


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents that are searched together. embedding: the model that made its vectors."""

    id: str
    tenant_id: str
    owner_id: UUID
    display_name: str
    chunking: Chunking
    embedding: str
    document_count: int
    create_time: datetime
    update_time: datetime
    etag: str


class DocumentState(StrEnum):
    """The state of a document's newest version. Until it is READY, searches use the version before."""

    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DocumentMetadata:
    """What a caller states about the document it sends; an empty text means that it states nothing."""

    collection_id: str
    source_key: str
    title: str = ""
    uri: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document. version: the searchable one, 0 before the first."""

    id: UUID
    tenant_id: str
    collection_id: str
    owner_id: UUID
    source_key: str
    title: str
    uri: str
    media_type: str
    version: int
    state: DocumentState
    error: ResponsaError | None
    size_bytes: int
    sha256: bytes
    passage_count: int
    create_time: datetime
    update_time: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document version. source: its bytes in the canonical text; text: those bytes, decoded."""

    id: UUID
    collection_id: str
    document_id: UUID
    version: int
    title: str
    uri: str
    source: ByteRange
    text: str
    headings: Sequence[str] = ()


class SearchMode(StrEnum):
    """The indexes that a search uses."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search. terms: 1 to 8; collections: empty means all; top_k: 1 to 100; threshold: the lowest score to return, 0 to 1."""

    terms: tuple[str, ...]
    collections: tuple[str, ...] = ()
    top_k: int = 10
    threshold: float = 0.0
    mode: SearchMode = SearchMode.HYBRID


@dataclass(frozen=True, slots=True)
class Hit:
    """A found passage. score: 0 to 1; text_score: BM25, unbounded; vector_score: cosine, -1 to 1; term: index of the term that matched best."""

    passage: Passage
    score: float
    text_score: float
    vector_score: float
    term: int


class IngestStage(StrEnum):
    """The stage of ingesting a document version."""

    QUEUED = "queued"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation: the ingestion of one document version.

    epoch: fences writers; a worker that holds an older epoch writes nothing. error, unchanged: valid once stage is DONE.
    """

    id: UUID
    tenant_id: str
    user_id: UUID
    document_id: UUID
    version: int
    stage: IngestStage
    passages_done: int
    passages_total: int
    error: ResponsaError | None
    unchanged: bool
    epoch: int
    create_time: datetime
    update_time: datetime

    @property
    def done(self) -> bool:
        """Whether the operation has ended."""
        return self.stage is IngestStage.DONE
