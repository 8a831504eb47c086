"""Collections, documents, passages and what a search finds."""

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
    """Documents that are searched together. embedding names the model of its vectors."""

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
    """Where a document's newest version stands; an older one is searched meanwhile."""

    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DocumentMetadata:
    """What a caller says of the bytes it sends; empty text means "not told"."""

    collection_id: str
    source_key: str
    title: str = ""
    uri: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document in its current version (0: none searchable yet)."""

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
    """A piece of a document version; text is the canonical text's bytes in `source`."""

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
    """Which indexes are asked."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """terms: 1 to 8; collections: empty means all; top_k: 1 to 100; threshold: 0 to 1."""

    terms: tuple[str, ...]
    collections: tuple[str, ...] = ()
    top_k: int = 10
    threshold: float = 0.0
    mode: SearchMode = SearchMode.HYBRID


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its score (0 to 1), its parts (BM25 as it is, cosine -1 to 1) and the term that matched best."""

    passage: Passage
    score: float
    text_score: float
    vector_score: float
    term: int


class IngestStage(StrEnum):
    """What is being done to a document."""

    QUEUED = "queued"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running piece of work: taking in one version of one document.

    epoch fences writers: who holds an older one writes nothing. error and unchanged count once stage is DONE.
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
        """Whether it has ended."""
        return self.stage is IngestStage.DONE
