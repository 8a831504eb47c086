"""Receives a document's bytes: limits, counts and hashes them, and decides their format."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from responsa_server.domain.errors import DocumentRejected, InvalidRequest, Reason
from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES, DocumentMetadata
from responsa_server.ingest import rejections
from responsa_server.ingest.formats.table import Formats
from responsa_server.ingest.sniff import sniff

MAX_CHUNK_BYTES: Final = 256 * 1024
_IN_MEMORY: Final = 1024 * 1024
# How much of a large document is read to decide its format before the sandbox gets it.
_HEAD_BYTES: Final = 64 * 1024


class Received:
    """A complete upload. sha256: of all its bytes."""

    def __init__(self, spool: IO[bytes], size: int, sha256: bytes) -> None:
        self._spool = spool
        self._size = size
        self.sha256 = sha256

    async def read(self) -> bytes:
        """All bytes, read into memory."""
        self._spool.seek(0)
        return self._spool.read() if self._size <= _IN_MEMORY else await asyncio.to_thread(self._spool.read)


@asynccontextmanager
async def receive(
    metadata: DocumentMetadata, chunks: AsyncIterator[bytes], size: int | None, spool_dir: Path | None
) -> AsyncGenerator[Received, None]:
    """Receive all chunks and keep them until the block ends. size: the announced number of bytes, None if none was announced.

    Bytes beyond 1 MiB go to a file without a name (mode 0600 where the file system requires a name), so that the file
    never outlives the process. Raises InvalidRequest: INVALID_FIELD (a chunk over 256 KiB), UPLOAD_INCOMPLETE; DocumentRejected: DOCUMENT_TOO_LARGE,
    DOCUMENT_EMPTY.
    """
    if size is not None and size > MAX_DOCUMENT_BYTES:
        raise _rejected(rejections.too_large(), metadata)
    digest = hashlib.sha256()
    received = 0
    with tempfile.SpooledTemporaryFile(
        max_size=_IN_MEMORY, dir=None if spool_dir is None else str(spool_dir)
    ) as spool:
        async for chunk in chunks:
            if len(chunk) > MAX_CHUNK_BYTES:
                limit = f"a chunk holds at most {MAX_CHUNK_BYTES} bytes; send more of them"
                raise InvalidRequest.of_field("chunk", "bytes.max_len", limit)
            received += len(chunk)
            if received > MAX_DOCUMENT_BYTES:
                raise _rejected(rejections.too_large(), metadata)
            if size is not None and received > size:
                raise _incomplete(size, received)
            digest.update(chunk)
            if received > _IN_MEMORY:
                await asyncio.to_thread(spool.write, chunk)
            else:
                spool.write(chunk)
        if size is not None and received != size:
            raise _incomplete(size, received)
        if received == 0:
            raise _rejected(rejections.empty(), metadata)
        yield Received(spool, received, digest.digest())


async def decide_format(metadata: DocumentMetadata, content: bytes, formats: Formats) -> str:
    """The media type of the document's format, so that a program with a name in .md is refused at once.

    '' when the beginning of a large document does not decide the format; the sandbox then decides it. Raises DocumentRejected.
    """
    whole = len(content) <= _HEAD_BYTES
    head = content if whole else _head(content)
    try:
        original = await asyncio.to_thread(
            sniff, head, metadata.source_key, metadata.media_type, formats=formats
        )
    except DocumentRejected as error:
        # A beginning may be blank or end within a character, so it cannot prove that the document is empty or malformed.
        if not whole and error.reason in (Reason.DOCUMENT_EMPTY, Reason.DOCUMENT_MALFORMED):
            return ""
        raise rejections.described(error, metadata.source_key, metadata.media_type, formats) from error
    found = formats.named(original.format)
    assert found is not None, "sniffing names a row of its table"
    return found.media_type


def _head(content: bytes) -> bytes:
    """The beginning, cut at a line's end where there is one. An even number of bytes, for UTF-16."""
    end = content.rfind(b"\n", _HEAD_BYTES // 2, _HEAD_BYTES) + 1 or _HEAD_BYTES
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content[:_HEAD_BYTES]
    return content[:end]


def _rejected(error: DocumentRejected, metadata: DocumentMetadata) -> DocumentRejected:
    return replace(error, metadata={"source_key": metadata.source_key, **error.metadata})


def _incomplete(size: int, received: int) -> InvalidRequest:
    return InvalidRequest(
        Reason.UPLOAD_INCOMPLETE,
        f"{size} bytes were announced and {received} came; nothing was kept. Send the document again.",
        {"size_bytes": str(size), "received_bytes": str(received)},
    )
