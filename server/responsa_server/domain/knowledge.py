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
    """Bytes that were sent, whole. media_type: of its format, '' when the sandbox is to decide that."""

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
    """What a citation points to: bytes of the canonical text of a document version."""

    document_id: UUID
    version: int
    source: ByteRange


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """What became of it.

    current_version: the version that is searched, 0 for none, None when the document is gone.
    text: the bytes, None when that version is kept no longer.
    """

    current_version: int | None
    text: bytes | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write for an operation, as long as its epoch stands."""

    tenant_id: str
    operation_id: UUID
    epoch: int
    collection_id: str
    document_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class IngestTask:
    """A claimed operation with what it is to take in.

    title, declared_type: as the sender gave them, '' if not given. media_type: of the format as decided at the upload, '' if that did not
    decide it. embedding: the model of the collection's vectors.
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
    """What parsing gave. parser: what made it; text: UTF-8."""

    text: bytes
    title: str
    media_type: str
    language: str
    parser: str


class OwnershipLost(Exception):
    """The operation was cancelled, its document deleted, or another worker has it: whoever meets this stops and has written nothing."""


class Collections(Protocol):
    """Collections of a tenant. NotFound for one that is not there."""

    async def create(
        self,
        who: Principal,
        collection_id: str,
        display_name: str,
        chunking: Chunking,
        embedding: str,
        request_id: UUID | None,
    ) -> Collection:
        """Make one. Raises AlreadyExists: RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED."""
        ...

    async def get(self, tenant_id: str, collection_id: str) -> Collection:
        """Read one."""
        ...

    async def require(self, tenant_id: str, collection_ids: Sequence[str]) -> None:
        """Raises NotFound for the first that is not there."""
        ...

    async def list(self, tenant_id: str, query: ListQuery) -> Page[Collection]:
        """A page of them. Raises InvalidRequest as `ListQuery` is compiled."""
        ...

    async def update(
        self, tenant_id: str, collection_id: str, *, display_name: str | None, etag: str
    ) -> Collection:
        """Change what is not None. Raises Conflict ETAG_MISMATCH when an etag is given that is not its own."""
        ...

    async def delete(self, tenant_id: str, collection_id: str, etag: str, *, force: bool) -> Sequence[UUID]:
        """Delete it with all that is in it, in one transaction; return the operations that this ended.

        Raises Conflict ETAG_MISMATCH; Precondition COLLECTION_NOT_EMPTY when it holds documents and force is not set.
        """
        ...


class Sources(Protocol):
    """What citations are verified against."""

    async def sources(self, tenant_id: str, wanted: Sequence[SourceRef]) -> Sequence[SourceSlice]:
        """Look up what citations point to, in their order."""
        ...


class Documents(Sources, Protocol):
    """Documents of a tenant. NotFound for one that is not there."""

    async def accept(
        self, who: Principal, new: NewDocument, embedding: str, request_id: UUID | None
    ) -> Operation:
        """Take in bytes, in one transaction with the job that indexes them.

        The collection `default` is made when it is missing. Bytes that are the document's newest version already, described alike: a done,
        unchanged operation, or the one that is at work on them. Raises NotFound (collection), AlreadyExists REQUEST_ID_REUSED.
        """
        ...

    async def get(self, tenant_id: str, document_id: UUID) -> Document:
        """Read one."""
        ...

    async def find(self, tenant_id: str, document_ids: Sequence[UUID]) -> Mapping[UUID, Document]:
        """Read those that are there."""
        ...

    async def list(self, tenant_id: str, collection_id: str, query: ListQuery) -> Page[Document]:
        """A page of a collection's. Raises NotFound (collection), InvalidRequest as `ListQuery` is compiled."""
        ...

    async def delete(self, tenant_id: str, document_id: UUID, etag: str) -> Sequence[UUID]:
        """Delete it with versions, passages and vectors, in one transaction; return the operations that this ended.

        Raises Conflict ETAG_MISMATCH.
        """
        ...

    async def canonical(
        self, tenant_id: str, document_id: UUID, version: int | None, start: int, count: int
    ) -> CanonicalPiece:
        """Read canonical text; version None means the one that is searched. NotFound also for a version without text."""
        ...

    async def passage(self, tenant_id: str, passage_id: UUID) -> Passage:
        """Read a passage, of an older version too."""
        ...

    async def prune(self, tenant_id: str, document_id: UUID) -> None:
        """Remove versions and passages older than the one searched that no answer cites. Repeatable."""
        ...


class Operations(Protocol):
    """Operations of a tenant. NotFound for one that is not there."""

    async def get(self, tenant_id: str, operation_id: UUID) -> Operation:
        """Read one."""
        ...

    async def list(
        self, tenant_id: str, user_id: UUID | None, limit: int, after: Position | None
    ) -> Page[Operation]:
        """A page, newest first; of one user, or of all (None)."""
        ...

    async def cancel(self, tenant_id: str, operation_id: UUID) -> None:
        """End it with OPERATION_CANCELLED unless it has ended; its worker writes no more."""
        ...

    async def delete(self, tenant_id: str, operation_id: UUID) -> None:
        """Forget it. Raises Precondition OPERATION_RUNNING."""
        ...


class Ingestions(Protocol):
    """Operations as their worker writes them. All but `begin` raise OwnershipLost and write nothing once the claim no longer stands."""

    async def begin(self, tenant_id: str, operation_id: UUID) -> IngestTask | None:
        """Claim an operation (epoch + 1) and clear what an earlier attempt left; None when there is nothing to do any more."""
        ...

    async def parsed(self, claim: Claim, text: CanonicalText, passages_total: int) -> None:
        """Keep the canonical text; the stage becomes EMBEDDING."""
        ...

    async def write(self, claim: Claim, passages: Sequence[NewPassage], passages_done: int | None) -> None:
        """Store passages, not searched yet, and the progress when it is given."""
        ...

    async def publish(self, claim: Claim) -> bool:
        """In one transaction: the version is searched in place of the former one, document and operation say so.

        A version that a newer one has overtaken is dropped instead, and the result is False. Repeatable.
        """
        ...

    async def fail(self, claim: Claim, error: ResponsaError) -> None:
        """End it with an error: document and operation tell it, the former version stays searched, nothing of this one is left."""
        ...

    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """As `fail`, for an operation that nobody has claimed or whose claim is not known; nothing when it has ended."""
        ...


class Searcher(Protocol):
    """Search over passages."""

    async def search(self, tenant_id: str, query: SearchQuery) -> Sequence[Hit]:
        """Best first. Raises Unavailable when an index cannot be reached."""
        ...


class JobKind(StrEnum):
    """The jobs there are. Each is given the tenant's id and one other id, never more."""

    INGEST = "responsa.ingest"
    """Take in the version of an operation."""
    PRUNE = "responsa.prune"
    """Remove a document's versions that nobody cites."""


Work = Callable[[str, UUID, int], Awaitable[float | None]]
"""(tenant, id, attempts before this one) → None when it is done, or after how many seconds to try again."""


class JobRunner(Protocol):
    """Runs jobs until it is cancelled. A job may run again though it ran: work checks what is left to do."""

    async def run(self, work: Mapping[JobKind, Work]) -> None:
        """Take jobs and do them; jobs whose worker was lost are taken again. Returns only by being cancelled."""
        ...
