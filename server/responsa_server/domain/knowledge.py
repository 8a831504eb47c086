"""Collections, documents, operations, searches and jobs, and the stores and the queue of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.events import ByteRange
from responsa_server.domain.listing import ListQuery, Page, Position
from responsa_server.domain.passages import NewPassage, Passage
from responsa_server.domain.people import Principal

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
    """The caller's description of a document; an empty text means that the caller does not state the field."""

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


@dataclass(frozen=True, slots=True)
class NewDocument:
    """The complete bytes of a new document. media_type: of its format, '' when the sandbox decides."""

    metadata: DocumentMetadata
    content: bytes
    sha256: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class CanonicalPiece:
    """Bytes of a version's canonical text from `start` on; version: the one read; length: of the whole text, in bytes."""

    version: int
    start: int
    data: bytes
    length: int


@dataclass(frozen=True, slots=True)
class SourceRef:
    """The target of a citation: bytes of the canonical text of a document version."""

    document_id: UUID
    version: int
    source: ByteRange


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """The state of a citation's source.

    current_version: the version that is searched, 0 for none, None for a deleted document. text: the bytes,
    None when that version is no longer stored.
    """

    current_version: int | None
    text: bytes | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write for an operation, as long as its epoch is current."""

    tenant_id: str
    operation_id: UUID
    epoch: int
    collection_id: str
    document_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class IngestTask:
    """A claimed operation and the document version to ingest.

    title, declared_type: from the sender, '' if not given. media_type: of the format that the upload recognised, '' if it recognised
    none. embedding: the model of the collection's vectors.
    """

    claim: Claim
    source_key: str
    title: str
    uri: str
    declared_type: str
    media_type: str
    original: bytes
    chunking: Chunking
    embedding: str


@dataclass(frozen=True, slots=True)
class CanonicalText:
    """The result of parsing. parser: its name; text: UTF-8."""

    text: bytes
    title: str
    media_type: str
    language: str
    parser: str


class OwnershipLost(Exception):
    """The operation was cancelled, its document was deleted, or another worker has it. The worker that receives this stops; it has written nothing."""


class Collections(Protocol):
    """Collections of a tenant. Methods raise NotFound for an unknown collection."""

    async def create(
        self,
        who: Principal,
        collection_id: str,
        display_name: str,
        chunking: Chunking,
        embedding: str,
        request_id: UUID | None,
    ) -> Collection:
        """Create a collection. Raises AlreadyExists: RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED."""
        ...

    async def get(self, tenant_id: str, collection_id: str) -> Collection:
        """Return one."""
        ...

    async def require(self, tenant_id: str, collection_ids: Sequence[str]) -> None:
        """Raise NotFound for the first collection that does not exist."""
        ...

    async def list(self, tenant_id: str, query: ListQuery) -> Page[Collection]:
        """Return a page of collections."""
        ...

    async def update(
        self, tenant_id: str, collection_id: str, *, display_name: str | None, etag: str
    ) -> Collection:
        """Update the fields that are not None. Raises Conflict ETAG_MISMATCH if an etag is given and the collection has another."""
        ...

    async def delete(self, tenant_id: str, collection_id: str, etag: str, *, force: bool) -> Sequence[UUID]:
        """Delete a collection with its documents in one transaction. Return the operations that this ended.

        Raises Conflict ETAG_MISMATCH; Precondition COLLECTION_NOT_EMPTY when it holds documents and force is not set.
        """
        ...


class Sources(Protocol):
    """The texts that citations are verified against."""

    async def sources(self, tenant_id: str, wanted: Sequence[SourceRef]) -> Sequence[SourceSlice]:
        """Look up the targets of citations, in their order."""
        ...


class Documents(Sources, Protocol):
    """Documents of a tenant. Methods raise NotFound for an unknown document."""

    async def accept(
        self, who: Principal, new: NewDocument, embedding: str, request_id: UUID | None
    ) -> Operation:
        """Store a document, in one transaction with the job that indexes it.

        The collection `default` is created if it is missing. If these bytes with this description are the newest version already, the result is
        a done operation marked unchanged, or the running operation of that version. Raises NotFound (collection), AlreadyExists REQUEST_ID_REUSED.
        """
        ...

    async def get(self, tenant_id: str, document_id: UUID) -> Document:
        """Return one."""
        ...

    async def find(self, tenant_id: str, document_ids: Sequence[UUID]) -> Mapping[UUID, Document]:
        """Return the documents that exist among these."""
        ...

    async def list(self, tenant_id: str, collection_id: str, query: ListQuery) -> Page[Document]:
        """Return a page of a collection's documents. Raises NotFound (collection)."""
        ...

    async def delete(self, tenant_id: str, document_id: UUID, etag: str) -> Sequence[UUID]:
        """Delete a document with its versions, passages and vectors in one transaction. Return the operations that this ended.

        Raises Conflict ETAG_MISMATCH.
        """
        ...

    async def canonical(
        self, tenant_id: str, document_id: UUID, version: int | None, start: int, count: int
    ) -> CanonicalPiece:
        """Read canonical text; version None means the one that is searched. NotFound also for a version without text."""
        ...

    async def passage(self, tenant_id: str, passage_id: UUID) -> Passage:
        """Return a passage, also of an older version."""
        ...

    async def prune(self, tenant_id: str, document_id: UUID) -> None:
        """Delete versions and passages that are older than the searchable version and that no answer cites. Repeatable."""
        ...


class Operations(Protocol):
    """Operations of a tenant. Methods raise NotFound for an unknown operation."""

    async def get(self, tenant_id: str, operation_id: UUID) -> Operation:
        """Return one."""
        ...

    async def list(
        self, tenant_id: str, user_id: UUID | None, limit: int, after: Position | None
    ) -> Page[Operation]:
        """Return a page, newest first, of one user or of all users (None)."""
        ...

    async def cancel(self, tenant_id: str, operation_id: UUID) -> None:
        """End an operation with OPERATION_CANCELLED unless it has ended; its worker writes nothing afterwards."""
        ...

    async def delete(self, tenant_id: str, operation_id: UUID) -> None:
        """Delete an operation that has ended. Raises Precondition OPERATION_RUNNING."""
        ...


class Ingestions(Protocol):
    """Operations as their worker writes them. After the claim is lost, all methods but `begin` raise OwnershipLost and write nothing."""

    async def begin(self, tenant_id: str, operation_id: UUID) -> IngestTask | None:
        """Claim an operation (epoch + 1) and delete the rows of an earlier attempt. Return None when nothing is left to do."""
        ...

    async def parsed(self, claim: Claim, text: CanonicalText, passages_total: int) -> None:
        """Store the canonical text; the stage becomes EMBEDDING."""
        ...

    async def write(self, claim: Claim, passages: Sequence[NewPassage], passages_done: int | None) -> None:
        """Store passages that are not searchable yet, and the progress if it is given."""
        ...

    async def publish(self, claim: Claim) -> bool:
        """Make the version searchable in place of the former one, and update document and operation, in one transaction.

        If a newer version is searchable already, this version is deleted instead, and the result is False. Repeatable.
        """
        ...

    async def fail(self, claim: Claim, error: ResponsaError) -> None:
        """End the operation with an error. Document and operation record it, the former version stays searchable, and this version's rows are deleted."""
        ...

    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """Like `fail`, for an operation without a known claim. Does nothing if it has ended."""
        ...


class Searcher(Protocol):
    """Search over passages."""

    async def search(self, tenant_id: str, query: SearchQuery) -> Sequence[Hit]:
        """Return the best passages, best first. Raises Unavailable when an index cannot be reached."""
        ...


class JobKind(StrEnum):
    """The kinds of jobs. Each job receives the tenant's id and one other id, and nothing else."""

    INGEST = "responsa.ingest"
    """Ingest the version of an operation."""
    PRUNE = "responsa.prune"
    """Delete a document's versions that no answer cites."""


Work = Callable[[str, UUID, int], Awaitable[float | None]]
"""(tenant, id, earlier attempts) → None when the job is done, or the seconds until the next attempt."""


class JobRunner(Protocol):
    """Runs jobs until it is cancelled. A job may run more than once, so its work first checks which steps are left."""

    async def run(self, work: Mapping[JobKind, Work]) -> None:
        """Run jobs, also those whose worker was lost. Ends only by cancellation."""
        ...
