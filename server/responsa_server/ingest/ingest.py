"""Taking in one version of a document: parse, cut, embed, store, publish."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import DocumentRejected, Precondition, Reason, ResponsaError
from responsa_server.domain.ports.knowledge import CanonicalText, Ingestions, IngestTask
from responsa_server.ingest import parse_errors
from responsa_server.ingest.indexing import CutDocument, DocumentIdentity, Indexer
from responsa_server.ingest.uploads import rejected
from responsa_server.ingest.waiting import Waiting
from responsa_server.text.canonical import ParsedDocument

MAX_TITLE_BYTES: Final = 512
# How often the progress is written, in seconds; it is written at the end in any case.
_PROGRESS_SECONDS: Final = 0.5


class Parser(Protocol):
    """Reads a document's bytes, as `knowledge.sandbox.pool.ParserPool` does."""

    async def parse(self, source: bytes, declared_name: str = "", declared_type: str = "") -> ParsedDocument:
        """Parse. Raises parse_errors.DocumentRejected for the document's fault, ParserUnavailable for ours."""
        ...


class Ingest:
    """One attempt at an operation. Beginning again is always safe: nothing is searched before all of it is."""

    def __init__(self, ingestions: Ingestions, parser: Parser, indexer: Indexer, waiting: Waiting) -> None:
        self._ingestions = ingestions
        self._parser = parser
        self._indexer = indexer
        self._waiting = waiting

    async def run(self, tenant_id: str, operation_id: UUID) -> None:
        """Take the version in, or end its operation with the document's fault, or the collection's.

        Raises OwnershipLost when somebody else ended or took the operation, and whatever went wrong on our side: then it can be tried again.
        """
        task = await self._ingestions.begin(tenant_id, operation_id)
        if task is None:
            return
        try:
            await self._take_in(task)
        except parse_errors.DocumentRejected as error:
            refusal = rejected(error, task.source_key, task.declared_type)
            await self._ingestions.fail(task.claim, refusal)
        except (DocumentRejected, Precondition) as error:
            await self._ingestions.fail(task.claim, error)
        self._waiting.ended([operation_id])

    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the operation with an error of ours, after the last attempt."""
        await self._ingestions.give_up(tenant_id, operation_id, error)
        self._waiting.ended([operation_id])

    async def _take_in(self, task: IngestTask) -> None:
        running = self._indexer.model
        if task.embedding != running:
            collection = names.collection(task.claim.collection_id)
            raise Precondition(
                Reason.COLLECTION_EMBEDDING_DIFFERS,
                f"{collection} holds vectors of another embedding model than the server runs; upload to a new collection.",
                {"collection": collection, "embedding": task.embedding, "running": running},
            )
        parsed = await self._parser.parse(task.original, task.source_key, task.declared_type)
        cut = await self._indexer.cut(parsed, task.chunking)
        if not cut.chunks:
            raise DocumentRejected(
                Reason.DOCUMENT_EMPTY,
                "The document holds no text. Upload a file with visible text in it.",
                {"source_key": task.source_key},
            )
        title = _title(task, parsed)
        text = CanonicalText(
            text=parsed.canonical_text.encode(),
            title=title,
            media_type=parsed.document_type.content_type,
            language=cut.language,
            parser=parsed.document_type.value,
        )
        await self._ingestions.parsed(task.claim, text, len(cut.chunks))
        await self._embed(task, title, cut)
        await self._ingestions.publish(task.claim)

    async def _embed(self, task: IngestTask, title: str, cut: CutDocument) -> None:
        claim = task.claim
        identity = DocumentIdentity(
            claim.tenant_id,
            claim.collection_id,
            claim.document_id,
            claim.version,
            title,
            task.uri or task.source_key,
        )
        loop = asyncio.get_running_loop()
        done, told = 0, float("-inf")
        async for batch in self._indexer.passages(identity, cut):
            done += len(batch)
            due = loop.time() - told >= _PROGRESS_SECONDS or done == len(cut.chunks)
            if due:
                told = loop.time()
            await self._ingestions.write(claim, batch, done if due else None)


def _title(task: IngestTask, parsed: ParsedDocument) -> str:
    """As told, else as found in the document, else the last part of its key."""
    found = task.title or parsed.title or PurePosixPath(task.source_key).name or task.source_key
    return found.encode()[:MAX_TITLE_BYTES].decode(errors="ignore")
