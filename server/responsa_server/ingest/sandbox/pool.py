"""Parse untrusted documents from asyncio: bounded concurrency, one locked-up process a document.

The server keeps the file descriptors; the zygote keeps the processes. Whatever a parsing process does, the caller gets
a document or a typed error, and the process is gone before its slot is free again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import stat
from collections.abc import Sequence
from pathlib import Path

from responsa_server.ingest.parse_errors import (
    DocumentMalformed,
    DocumentParserLimit,
    DocumentRejected,
    DocumentTooLarge,
    ParserUnavailable,
)
from responsa_server.ingest.sandbox.limits import MIB, ParseLimits
from responsa_server.ingest.sandbox.protocol import (
    EXIT_OUT_OF_MEMORY,
    EXIT_UNCONFINED,
    ParseJob,
    unpack_result,
)
from responsa_server.ingest.sandbox.zygote_client import ZygoteClient, ZygoteLost
from responsa_server.text.canonical import ParsedDocument

DEFAULT_PARSERS = "responsa_server.ingest.formats.table:PARSERS"

_ATTEMPTS = 3
_PIPE_BYTES = 1 * MIB
_IN_THREAD_BYTES = 256 * 1024
_MAX_DECLARED_CHARS = 1000
_SPLIT = "Split the document into smaller files."


class ParserPool:
    """Up to `concurrency` documents at a time; more callers wait their turn. Belongs to one event loop."""

    def __init__(
        self,
        *,
        concurrency: int = 2,
        limits: ParseLimits | None = None,
        parser_table: str = DEFAULT_PARSERS,
        import_paths: Sequence[Path] = (),
    ) -> None:
        """`parser_table` is "module:attribute" of a mapping like `parsers.table.PARSERS`, found on `import_paths`."""
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._limits = limits or ParseLimits()
        self._table = parser_table
        self._import_paths = tuple(import_paths)
        self._slots = asyncio.Semaphore(concurrency)
        self._starting = asyncio.Lock()
        self._zygote: ZygoteClient | None = None
        self._closed = False

    async def start(self) -> None:
        """Start the zygote, so that the first document finds it warm. Raises ParserUnavailable."""
        await self._running()

    async def parse(
        self,
        source: bytes | Path,
        declared_name: str = "",
        declared_type: str = "",
        limits: ParseLimits | None = None,
    ) -> ParsedDocument:
        """Parse a document given as bytes or as a path to a regular file.

        `declared_name` is a file name or path, `declared_type` a content type; '' when not told. Raises
        DocumentRejected for what is the document's fault, ParserUnavailable when a later try may succeed, and OSError
        when the path cannot be read. Cancelling kills the parsing process first.
        """
        bounds = limits or self._limits
        async with self._slots:
            descriptor = await _open(source, bounds.input_bytes)
            try:
                for _ in range(_ATTEMPTS):
                    zygote = await self._running()
                    try:
                        return await self._parse(zygote, descriptor, declared_name, declared_type, bounds)
                    except ZygoteLost:
                        # Parsing processes cannot reach their zygote: it was stopped from outside. Nothing was
                        # kept of the attempt, so the document is parsed again.
                        continue
            finally:
                os.close(descriptor)
        raise ParserUnavailable("The document parser was stopped again and again.")

    async def close(self) -> None:
        """Stop every parsing process and the zygote. Calls in flight raise ParserUnavailable. May be called twice."""
        self._closed = True
        async with self._starting:
            zygote, self._zygote = self._zygote, None
            if zygote is not None:
                await zygote.close()

    async def _running(self) -> ZygoteClient:
        async with self._starting:
            if self._closed:
                raise ParserUnavailable("The document parser is shut down.")
            if self._zygote is None or self._zygote.lost:
                if self._zygote is not None:
                    await self._zygote.close()
                self._zygote = None
                self._zygote = await ZygoteClient.start(self._table, self._import_paths)
            return self._zygote

    async def _parse(
        self, zygote: ZygoteClient, source: int, name: str, content_type: str, limits: ParseLimits
    ) -> ParsedDocument:
        job = ParseJob(
            job=zygote.next_job(),
            name=_declared(name),
            content_type=_declared(content_type),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            result_bytes=limits.result_bytes,
        )
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            try:
                # The child writes with patience, the loop reads without.
                os.set_blocking(writing, True)
                _enlarge(writing)
                ended = zygote.submit(job, source, writing)
            finally:
                os.close(writing)
            try:
                async with asyncio.timeout(limits.wall_seconds):
                    frame = await _read_all(reading, limits.result_bytes)
                    status = await asyncio.shield(ended)
            except TimeoutError:
                raise DocumentParserLimit(
                    f"Parsing this document takes longer than {limits.wall_seconds:g} seconds.", _SPLIT
                ) from None
            finally:
                # Also when cancelled: no process outlives the call that asked for it.
                await zygote.finish(job.job, ended)
        finally:
            os.close(reading)
        failure = _failure(status, limits)
        if failure is not None:
            raise failure
        if len(frame) <= _IN_THREAD_BYTES:
            return unpack_result(frame)
        return await asyncio.to_thread(unpack_result, frame)


def _declared(text: str) -> str:
    """The end of a name, where the suffix is; without lone surrogates, which no packet can carry."""
    return text[-_MAX_DECLARED_CHARS:].encode("utf-8", "replace").decode()


async def _open(source: bytes | Path, input_bytes: int) -> int:
    """A descriptor that reads the document, owned by the caller. Raises DocumentTooLarge, OSError."""
    if isinstance(source, bytes):
        if len(source) > input_bytes:
            raise _too_large(len(source), input_bytes)
        if len(source) <= _IN_THREAD_BYTES:
            return _memory_file(source)
        return await asyncio.to_thread(_memory_file, source)
    return await asyncio.to_thread(_open_file, source, input_bytes)


def _open_file(path: Path, input_bytes: int) -> int:
    # Non-blocking, or opening a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if status.st_size > input_bytes:
            raise _too_large(status.st_size, input_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _memory_file(data: bytes) -> int:
    """A file without a name that holds `data` and cannot be changed any more; memfd_create(2)."""
    descriptor = os.memfd_create("document", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _enlarge(pipe: int) -> None:
    # When the user's share of pipe memory is used up, the default size works too, with more wake-ups.
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


async def _read_all(descriptor: int, limit: int) -> bytes:
    """Everything until the last writer is gone. Raises DocumentParserLimit beyond `limit` bytes."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    done: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        try:
            part = os.read(descriptor, _PIPE_BYTES)
        except BlockingIOError:
            return
        received.extend(part)
        if not done.done() and (not part or len(received) > limit):
            done.set_result(None)

    loop.add_reader(descriptor, readable)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
    if len(received) > limit:
        raise DocumentParserLimit("The document expands to more text than is taken in.", _SPLIT)
    return bytes(received)


def _too_large(size: int, limit: int) -> DocumentTooLarge:
    return DocumentTooLarge(
        f"The document has {size:,} bytes; {limit:,} are the most that is taken in.", _SPLIT
    )


def _failure(status: int, limits: ParseLimits) -> DocumentRejected | ParserUnavailable | None:
    """What a wait status says; None for a process that ended by itself and has left a frame to look at."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code == EXIT_UNCONFINED:
        return ParserUnavailable(
            "A parsing process could not be locked up, so the document was not looked at."
        )
    if code == -signal.SIGXCPU:
        return DocumentParserLimit(
            f"Parsing this document takes more than {limits.cpu_seconds} seconds of processor time.", _SPLIT
        )
    if code in (EXIT_OUT_OF_MEMORY, -signal.SIGKILL):
        # Nobody here sent it: the hard processor limit, or the kernel short of memory.
        return DocumentParserLimit("Parsing this document takes more time or memory than is allowed.", _SPLIT)
    if code == -signal.SIGSYS:
        return DocumentParserLimit(
            "Parsing this document wanted access that parsers do not have, and was stopped.",
            "Upload the document in another format if you trust it.",
        )
    return DocumentMalformed(
        "The parser broke down on this document.", "Check the file, or save it anew and upload it again."
    )
