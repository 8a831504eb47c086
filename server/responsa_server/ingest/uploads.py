"""Receiving a document's bytes: bounded, counted, hashed, and first looked at."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from responsa_server.domain.errors import DocumentRejected, InvalidRequest, Reason
from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES, DocumentMetadata
from responsa_server.ingest import parse_errors
from responsa_server.ingest.sniff import sniff
from responsa_server.text.canonical import DocumentType

MAX_CHUNK_BYTES: Final = 256 * 1024
_IN_MEMORY: Final = 1024 * 1024
# As much of a large document as is looked at before the sandbox sees it.
_HEAD_BYTES: Final = 64 * 1024
_ACCEPTED: Final = ",".join(one.content_type for one in DocumentType)


class Received:
    """All the bytes that came, on their way; sha256 is of all of them."""

    def __init__(self, spool: IO[bytes], size: int, sha256: bytes) -> None:
        self._spool = spool
        self._size = size
        self.sha256 = sha256

    async def read(self) -> bytes:
        """All of them, into memory."""
        self._spool.seek(0)
        return self._spool.read() if self._size <= _IN_MEMORY else await asyncio.to_thread(self._spool.read)


@asynccontextmanager
async def receive(
    metadata: DocumentMetadata, chunks: AsyncIterator[bytes], size: int | None, spool_dir: Path | None
) -> AsyncGenerator[Received, None]:
    """Take all chunks and keep them until the block ends. size: how many bytes were announced, None when that was not told.

    What is beyond 1 MiB goes to a file that has no name (mode 0600 where the file system must give it one), so that no end of the process
    leaves it behind. Raises InvalidRequest: INVALID_FIELD (a chunk over 256 KiB), UPLOAD_INCOMPLETE; DocumentRejected: DOCUMENT_TOO_LARGE,
    DOCUMENT_EMPTY.
    """
    if size is not None and size > MAX_DOCUMENT_BYTES:
        raise _too_large(metadata)
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
                raise _too_large(metadata)
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
            raise DocumentRejected(
                Reason.DOCUMENT_EMPTY,
                "The document holds no text. Upload a file with visible text in it.",
                {"source_key": metadata.source_key},
            )
        yield Received(spool, received, digest.digest())


async def look(metadata: DocumentMetadata, content: bytes) -> str:
    """The media type, as far as a first look tells ('' when it does not): so that a program named .md is refused at once.

    Raises DocumentRejected.
    """
    whole = len(content) <= _HEAD_BYTES
    head = content if whole else _head(content)
    try:
        decoded = await asyncio.to_thread(sniff, head, metadata.source_key, metadata.media_type)
    except parse_errors.DocumentRejected as error:
        # A head may be blank or end within a character: only what it is not can be told from it.
        if not whole and error.reason in (
            parse_errors.RejectReason.DOCUMENT_EMPTY,
            parse_errors.RejectReason.DOCUMENT_MALFORMED,
        ):
            return ""
        raise rejected(error, metadata.source_key, metadata.media_type) from error
    return decoded.document_type.content_type


def rejected(error: parse_errors.DocumentRejected, source_key: str, declared_type: str) -> DocumentRejected:
    """A parser's refusal as callers see it."""
    reason = Reason(error.reason.value)
    metadata = {"source_key": source_key}
    match reason:
        case Reason.DOCUMENT_TYPE_UNSUPPORTED | Reason.DOCUMENT_TYPE_MISMATCH:
            guessed = mimetypes.guess_type(source_key, strict=False)[0]
            media_type = declared_type or guessed or "application/octet-stream"
            metadata |= {"media_type": media_type, "accepted": _ACCEPTED}
        case Reason.DOCUMENT_TOO_LARGE:
            metadata |= {"limit_bytes": str(MAX_DOCUMENT_BYTES)}
        case _:
            pass
    return DocumentRejected(reason, f"{error.message} {error.remedy}".strip(), metadata)


def _head(content: bytes) -> bytes:
    """The beginning, cut at a line's end where there is one; an even number of bytes for the sake of UTF-16."""
    end = content.rfind(b"\n", _HEAD_BYTES // 2, _HEAD_BYTES) + 1 or _HEAD_BYTES
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content[:_HEAD_BYTES]
    return content[:end]


def _too_large(metadata: DocumentMetadata) -> DocumentRejected:
    mebibytes = MAX_DOCUMENT_BYTES // 1024 // 1024
    return DocumentRejected(
        Reason.DOCUMENT_TOO_LARGE,
        f"The document has more than {mebibytes} MiB. Split it, and upload its parts.",
        {"source_key": metadata.source_key, "limit_bytes": str(MAX_DOCUMENT_BYTES)},
    )


def _incomplete(size: int, received: int) -> InvalidRequest:
    return InvalidRequest(
        Reason.UPLOAD_INCOMPLETE,
        f"{size} bytes were announced and {received} came; nothing was kept. Send the document again.",
        {"size_bytes": str(size), "received_bytes": str(received)},
    )
