"""Receives the bytes of an upload: all of them or none."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from responsa_formats.rejections import Rejected
from responsa_server.domain.errors import CallCancelled, InvalidRequest, Reason
from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES, DocumentMetadata
from responsa_server.domain.spools import spooling
from responsa_server.ingest.parsing import document_error

IN_MEMORY_BYTES: Final = 1024 * 1024
"""The most bytes of an upload that are in memory, and not in a file."""
_CHUNK_BYTES: Final = 256 * 1024


class Upload:
    """A complete upload. Implements `StoredBytes`."""

    def __init__(self, file: IO[bytes], size: int, sha256: bytes) -> None:
        self.size = size
        self.sha256 = sha256
        self.file = file

    def read(self, start: int, count: int) -> bytes:
        try:
            self.file.seek(start)
            return self.file.read(count)
        except ValueError:  # closed, because the caller has left
            raise CallCancelled(Reason.CANCELLED, "The caller ended the call.") from None


@asynccontextmanager
async def receive(
    metadata: DocumentMetadata, chunks: AsyncIterator[bytes], size: int | None, spool_dir: Path | None
) -> AsyncGenerator[Upload, None]:
    """Receive all chunks and keep them until the block ends. size: the announced number of bytes, or None.

    An upload of more than 1 MiB goes to a file without a name, so that the file never outlives the process. If the file
    system requires a name, the file has the mode 0600. Raises InvalidRequest with INVALID_FIELD (a chunk of more than
    256 KiB) or UPLOAD_INCOMPLETE, DocumentRejected with DOCUMENT_TOO_LARGE or DOCUMENT_EMPTY, and StorageFull.
    """
    if size is not None and size > MAX_DOCUMENT_BYTES:
        raise document_error(Rejected.as_too_large(MAX_DOCUMENT_BYTES), metadata.source_key)
    digest = hashlib.sha256()
    received = 0
    with (
        spooling(),
        tempfile.SpooledTemporaryFile(
            max_size=IN_MEMORY_BYTES, dir=None if spool_dir is None else str(spool_dir)
        ) as spool,
    ):
        async for chunk in chunks:
            if len(chunk) > _CHUNK_BYTES:
                limit = f"a chunk may have at most {_CHUNK_BYTES} bytes; send more, smaller chunks"
                raise InvalidRequest.of_field("chunk", "bytes.max_len", limit)
            received += len(chunk)
            if received > MAX_DOCUMENT_BYTES:
                raise document_error(Rejected.as_too_large(MAX_DOCUMENT_BYTES), metadata.source_key)
            if size is not None and received > size:
                raise incomplete(size, received)
            digest.update(chunk)
            if received > IN_MEMORY_BYTES:
                await asyncio.to_thread(spool.write, chunk)
            else:
                spool.write(chunk)
        if size is not None and received != size:
            raise incomplete(size, received)
        if received == 0:
            raise document_error(Rejected.as_empty(), metadata.source_key)
        spool.seek(0)
        yield Upload(spool, received, digest.digest())


def incomplete(
    size: int, received: int, what: str = "", remedy: str = "Send the document again."
) -> InvalidRequest:
    """Build the error for an upload whose bytes did not all arrive as announced (UPLOAD_INCOMPLETE).

    size: the announced number of bytes. received: the number of bytes that came. what: the problem, without a full stop;
    "" if the two numbers differ. remedy: a whole sentence.
    """
    problem = what or f"{size} bytes were announced, but {received} arrived"
    return InvalidRequest(
        Reason.UPLOAD_INCOMPLETE,
        f"{problem}; nothing was kept. {remedy}",
        {"size_bytes": str(size), "received_bytes": str(received)},
    )
