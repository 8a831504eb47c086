"""What a run of a source stores with a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a page or a file was fetched. listed: its address in the mapping or the sitemap, or its path. address: the one
    that answered, after redirects. etag, modified: the headers ETag and Last-Modified; "" without. For a file, etag is
    what changes with its content. collection: that of its document."""

    listed: str
    address: str
    etag: str
    modified: str
    collection: str


class DocumentKey(NamedTuple):
    """What tells a document of a source apart: the kind, and the key within the kind."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A claim on a run. A worker with an older epoch can write nothing."""

    tenant_id: str
    operation_id: UUID
    epoch: int
    source_id: str


@dataclass(frozen=True, slots=True)
class RunUpload:
    """What is stored with the upload of a document that a run makes, in one transaction with it. The transaction fails
    with OwnershipLost if the run is not the worker's any more.

    digest: of all that the row made. together: whether the version waits until `PostgresSourceRuns.publish` publishes
    it with the other documents of its subject. metadata: the document's from then on. fetched: of a page. urgent:
    whether somebody waits for the document, so that it is indexed before others of the tenant; otherwise it is indexed
    after those that no run made.
    """

    claim: RunClaim
    at: DocumentKey
    digest: bytes
    together: bool
    metadata: Mapping[str, object]
    fetched: Fetched | None = None
    urgent: bool = False
