"""Parses untrusted documents for asyncio callers. Concurrency is bounded, and each document has its own confined process.

The server owns the file descriptors; the zygote owns the processes. Whatever a parsing process does, the caller gets
a document or a typed error, and the process has ended before another document takes its slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO

import structlog
from structlog.typing import FilteringBoundLogger

import responsa_formats
from responsa_formats.containers import MIB
from responsa_formats.rejections import ParserUnavailable, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.confinement import SandboxCapabilities
from responsa_formats.sandbox.parsed_file import ParsedFile, unpack_drawn
from responsa_formats.sandbox.protocol import (
    EXIT_FAILED,
    EXIT_OUT_OF_MEMORY,
    EXIT_REFUSED,
    EXIT_UNCONFINED,
    MAX_PACKET,
    OCR,
    ComputeJob,
    DrawJob,
    Failure,
    Job,
    JobEnded,
    KillJob,
    ParseJob,
    ZygoteFailed,
    pack_message,
    take_failure,
    unpack_message,
)
from responsa_formats.text.canonical import ParsedDocument
from responsa_formats.text.drawn import DrawnPage

DEFAULT_FORMATS = "responsa_formats.parsers.table:FORMATS"

_ATTEMPTS = 3
# How many modules and formats a job may lack, one after another.
_MAX_LACKS = 20
_PIPE_BYTES = 1 * MIB
_IN_THREAD_BYTES = 256 * 1024
# A larger result goes to a file.
_IN_MEMORY_BYTES = 1 * MIB
_MAX_DECLARED_CHARS = 1000
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


class ParserPool:
    """Parses up to `concurrency` documents at a time; further callers wait. Also draws pages, and computes for other
    packages. Use a pool in one event loop only."""

    def __init__(
        self,
        *,
        concurrency: int,
        limits: ParseLimits,
        allow_unconfined: bool = True,
        formats: str = DEFAULT_FORMATS,
        import_paths: Sequence[Path] = (),
        spool_dir: Path | None = None,
        ocr: bool = False,
        spooling: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        on_late_import: Callable[[str], object] = lambda _: None,
        on_failure: Callable[[Failure], object] = lambda _: None,
    ) -> None:
        """allow_unconfined: whether to parse documents on a kernel that lacks Landlock or seccomp. spool_dir: the
        folder for large results, or None for the system's temporary folder. ocr: whether to read scanned pages of PDF
        files; `responsa setup --ocr` installs what that needs.

        formats: the "module:attribute" of a table like `parsers.table.FORMATS`. import_paths: the folders in which to find that module.

        spooling: the block in which large results are written, which may replace the error of a full disk.
        on_late_import: gets each module that a process had to wait for. on_failure: gets each failure of a parser.
        """
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._limits = limits
        self._allow_unconfined = allow_unconfined
        self._formats = formats
        self._import_paths = tuple(import_paths)
        self._ocr = ocr
        self._spooling = spooling
        self._on_late_import = on_late_import
        self._on_failure = on_failure
        self._spool_dir = None if spool_dir is None else str(spool_dir)
        self._log: FilteringBoundLogger = structlog.get_logger("ingest")
        self._slots = asyncio.Semaphore(concurrency)
        self._computing = asyncio.Semaphore(concurrency)
        self._starting = asyncio.Lock()
        self._zygote: _ZygoteClient | None = None
        self._closed = False

    async def start(self) -> None:
        """Start the zygote, so that it is warm for the first document. Raises ParserUnavailable when it cannot start.

        If the kernel's confinement is incomplete, this method says so in the log and succeeds; without `allow_unconfined`, every `parse`
        raises ParserUnavailable.
        """
        zygote = await self._running()
        if (refusal := self._refusal(zygote)) is not None:
            self._log.error(refusal)
        elif not zygote.capabilities.complete:
            self._log.warning(zygote.capabilities.sentence)

    async def parse(
        self,
        source: bytes,
        declared_name: str = "",
        declared_type: str = "",
        limits: ParseLimits | None = None,
        *,
        known_format: str = "",
    ) -> ParsedDocument:
        """Parse a document that is in memory, into memory. Otherwise like `read`."""
        parsed = await self.read(
            _pieces(source), declared_name, declared_type, limits, known_format=known_format
        )
        with contextlib.closing(parsed):
            return await asyncio.to_thread(parsed.document)

    async def read(
        self,
        source: AsyncIterator[bytes],
        declared_name: str = "",
        declared_type: str = "",
        limits: ParseLimits | None = None,
        *,
        known_format: str = "",
    ) -> ParsedFile:
        """Parse a document that arrives in pieces, into a file that the caller closes.

        declared_name: the file name or path that the sender gave, or ''. declared_type: the media type that the sender gave, or ''.
        known_format: the name of the format if it was already decided; if '', the parsing process decides the format.
        Raises Rejected if the document is at fault, ParserUnavailable if a later attempt may succeed, and the
        errors of `source`. If the call is cancelled, it kills the parsing process before it ends.
        """
        bounds = limits or self._limits
        async with self._slots:
            descriptor = await _memory_file(source, bounds.input_bytes)
            frame = self._frame()
            try:
                name, media_type = _shorten(declared_name), _shorten(declared_type)
                job = ParseJob(name=name, content_type=media_type, format=known_format)
                await self._attempt(frame, descriptor, bounds, job)
            except BaseException:
                frame.close()
                raise
        try:
            length = frame.tell()
            if length <= _IN_THREAD_BYTES:
                return ParsedFile(frame, length)
            return await asyncio.to_thread(ParsedFile, frame, length)
        except BaseException:
            frame.close()
            raise

    async def compute(
        self, computation: str, source: bytes, limits: ParseLimits
    ) -> tuple[bytes, Rejected | None]:
        """Run a computation on bytes. Up to `concurrency` computations run at a time, in addition to the documents that are parsed.

        computation: the "module:attribute" of a `Computation`. Returns what it has written, and why its process did not
        end by itself; None if it did. Nothing that it has written can be trusted. Raises ParserUnavailable if a later
        attempt may succeed, and handles a cancellation like `read`.
        """
        async with self._computing:
            descriptor = await _memory_file(_pieces(source), limits.input_bytes)
            failure = None
            with self._frame() as frame:
                try:
                    await self._attempt(frame, descriptor, limits, ComputeJob(format=computation))
                except Rejected as rejected:
                    failure = rejected
                return await asyncio.to_thread(_whole, frame), failure

    async def draw(
        self, source: AsyncIterator[bytes], known_format: str, page: int, width: int, limits: ParseLimits
    ) -> DrawnPage:
        """Draw a page of a document that arrives in pieces. It does not wait for documents that are parsed; the caller
        bounds the number of drawings.

        known_format: the name of the document's format, which must have a drawer. page: the page's number, from 1.
        width: the wanted width in pixels. The result has no pixels if the document has no such page. Raises the errors
        of `read`, and handles a cancellation in the same way.
        """
        descriptor = await _memory_file(source, limits.input_bytes)
        with self._frame() as frame:
            job = DrawJob(format=known_format, page=page, width=width)
            await self._attempt(frame, descriptor, limits, job)
            return await asyncio.to_thread(lambda: unpack_drawn(_whole(frame)))

    def _frame(self) -> IO[bytes]:
        """A file for what a process writes, which the caller closes."""
        return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=self._spool_dir)

    async def _attempt(self, frame: IO[bytes], descriptor: int, limits: ParseLimits, job: Job) -> None:
        """Run a job until it ends by itself or by a limit. frame: gets what the process writes, also if this raises,
        and is at its end then. descriptor: the document; it is closed at the end. job: gets its number and limits here.
        """
        losses: list[str] = []
        lacks, until = 0, 0.0
        job = replace(
            job,
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            result_bytes=limits.result_bytes,
        )
        try:
            while len(losses) < _ATTEMPTS:
                zygote = await self._running()
                if (refusal := self._refusal(zygote)) is not None:
                    raise ParserUnavailable(refusal)
                frame.seek(0)
                frame.truncate()
                until = until or asyncio.get_running_loop().time() + limits.wall_seconds
                job = replace(job, job=zygote.next_job())
                try:
                    with self._spooling():
                        return await self._run(frame, zygote, descriptor, job, limits, until)
                except _MissingImport as error:
                    lacks += 1
                    job = replace(job, late_import=str(error), final=lacks == _MAX_LACKS)
                except _ZygoteLost as error:
                    # Parsing processes cannot stop their zygote, so something else stopped it. No result
                    # of the attempt was stored, so run the job again.
                    losses.append(str(error))
        finally:
            os.close(descriptor)
        raise ParserUnavailable(f"The document parser was stopped several times. {losses[-1]}")

    async def close(self) -> None:
        """Stop every parsing process and the zygote. Running calls raise ParserUnavailable. A second call does nothing."""
        self._closed = True
        async with self._starting:
            zygote, self._zygote = self._zygote, None
            if zygote is not None:
                await zygote.close()

    def _refusal(self, zygote: _ZygoteClient) -> str | None:
        """The reason why no document is parsed on this kernel; None if documents are parsed."""
        support = zygote.capabilities
        if support.complete or self._allow_unconfined:
            return None
        return f"{support.sentence} Documents are parsed only with Landlock and seccomp; see the setting ingestion.allow_unconfined."

    async def _running(self) -> _ZygoteClient:
        async with self._starting:
            if self._closed:
                raise ParserUnavailable("The document parser is shut down.")
            if self._zygote is None or self._zygote.lost:
                if self._zygote is not None:
                    await self._zygote.close()
                self._zygote = None
                self._zygote = await _ZygoteClient.start(self._formats, self._import_paths, self._ocr)
            return self._zygote

    async def _run(
        self,
        frame: IO[bytes],
        zygote: _ZygoteClient,
        source: int,
        job: Job,
        limits: ParseLimits,
        until: float,
    ) -> None:
        """Run a job in its process, until a time of the event loop."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            try:
                # The child may block when it writes, but the event loop must not block when it reads.
                os.set_blocking(writing, True)
                # If the user's quota of pipe memory is used up, the pipe keeps its default size, which only causes more wake-ups.
                with contextlib.suppress(OSError):
                    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
                ended = zygote.submit(job, source, writing)
            finally:
                os.close(writing)
            try:
                async with asyncio.timeout_at(until):
                    await _read_all(reading, limits.result_bytes, frame)
                    end = await asyncio.shield(ended)
            except TimeoutError:
                raise Rejected.as_over_limit(
                    f"Parsing this document takes longer than {_in_seconds(limits.wall_seconds)}."
                ) from None
            finally:
                # This also runs on cancellation, so that no process outlives its call.
                await zygote.finish(job.job, ended)
        finally:
            os.close(reading)
        if end.imported:
            self._log.warning("late_import", module=end.imported)
            self._on_late_import(end.imported)
        code = os.waitstatus_to_exitcode(end.status)
        failure = take_failure(frame) if code in (EXIT_FAILED, EXIT_REFUSED) else None
        if failure and failure.missing and not job.final:
            raise _MissingImport(failure.missing)
        if code < 0 and -code not in (signal.SIGXCPU, signal.SIGKILL):  # those are limits
            failure = Failure(job.format, signal.strsignal(-code) or f"signal {-code}")
        if failure:
            origin = {"module": failure.module, "line": failure.line}
            self._log.warning("parser_failed", format=failure.format, error=failure.error, **origin)
            self._on_failure(failure)
        if (error := _error(code, limits)) is not None:
            raise error


def _in_seconds(number: float) -> str:
    return f"{number:.10g} second{'' if number == 1 else 's'}"


def _shorten(text: str) -> str:
    """The last part of a long name, which includes the suffix. Lone surrogates are replaced, because a packet cannot carry them."""
    return text[-_MAX_DECLARED_CHARS:].encode("utf-8", "replace").decode()


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIPE_BYTES):
        yield data[start : start + _PIPE_BYTES]


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


async def _memory_file(pieces: AsyncIterator[bytes], limit: int) -> int:
    """A sealed file in memory (memfd_create(2)) that holds the pieces and cannot be changed. Raises Rejected if
    there are more than `limit` bytes."""
    descriptor = os.memfd_create("document", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        size = 0
        async for piece in pieces:
            size += len(piece)
            if size > limit:
                raise Rejected.as_too_large(limit)
            if len(piece) <= _IN_THREAD_BYTES:
                _write(descriptor, piece)
            else:
                await asyncio.to_thread(_write, descriptor, piece)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def _read_all(descriptor: int, limit: int, into: IO[bytes]) -> None:
    """Read into a file until no process has the pipe open for writing. Raises Rejected (PARSER_LIMIT)
    if there are more than `limit` bytes."""
    received = 0
    while part := await _readable(descriptor):
        received += len(part)
        if received > limit:
            raise Rejected.as_too_much_text()
        if received <= _IN_MEMORY_BYTES:
            into.write(part)
        else:
            await asyncio.to_thread(into.write, part)


async def _readable(descriptor: int) -> bytes:
    """The next bytes of a pipe; at its end, none."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    while True:
        try:
            return os.read(descriptor, _PIPE_BYTES)
        except BlockingIOError:
            ready.clear()
            loop.add_reader(descriptor, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(descriptor)


def _error(code: int, limits: ParseLimits) -> Rejected | ParserUnavailable | None:
    """The error for an exit code; None if the process ended by itself and wrote a frame."""
    if code == 0:
        return None
    if code == EXIT_UNCONFINED:
        return ParserUnavailable("A parsing process could not be confined, so it did not read the document.")
    if code == -signal.SIGXCPU:
        return Rejected.as_over_limit(
            f"Parsing this document takes more than {_in_seconds(limits.cpu_seconds)} of processor time."
        )
    if code in (EXIT_OUT_OF_MEMORY, -signal.SIGKILL):
        # The server did not send this signal. The process exceeded the hard limit of processor time, or the kernel
        # killed it because the machine ran out of memory.
        return Rejected.as_over_limit("Parsing this document takes more time or memory than is allowed.")
    if code in (EXIT_REFUSED, -signal.SIGSYS):
        return Rejected.as_access_denied()
    if code == EXIT_FAILED:
        return Rejected.as_malformed("The parser failed on this document.")
    return Rejected.as_malformed("The parser crashed on this document.")


class _ZygoteLost(Exception):
    pass


class _MissingImport(Exception):
    """A process lacks a module or a format, which the message names."""


class _ZygoteClient:
    """The server's connection to one zygote process. Create it with `start`. It cannot be used once `lost` is true."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.lost = False
        self.capabilities: SandboxCapabilities
        self._process = process
        self._control = control
        self._jobs = itertools.count(1)
        self._running: dict[int, asyncio.Future[JobEnded]] = {}
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[SandboxCapabilities] = self._loop.create_future()
        self._loop.add_reader(control.fileno(), self._receive)

    @classmethod
    async def start(cls, table: str, import_paths: Sequence[Path], ocr: bool) -> _ZygoteClient:
        """Spawn a zygote with a table of formats, given as "module:attribute", and wait until the zygote is ready.
        Raises ParserUnavailable."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            process = _spawn(table, theirs, import_paths, ocr)
        except OSError as error:
            ours.close()
            raise ParserUnavailable(f"The document parser cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()
        client = cls(process, ours)
        try:
            async with asyncio.timeout(_START_SECONDS):
                client.capabilities = await client._ready
        except TimeoutError:
            await client.close()
            raise ParserUnavailable(
                f"The document parser was not ready within {_in_seconds(_START_SECONDS)}."
            ) from None
        except _ZygoteLost as error:
            await client.close()
            raise ParserUnavailable(f"The document parser cannot be started: {error}") from error
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def pid(self) -> int:
        return self._process.pid

    def next_job(self) -> int:
        return next(self._jobs)

    def submit(self, job: Job, source: int, target: int) -> asyncio.Future[JobEnded]:
        """Fork a process for `job` that reads `source` and writes `target`. The caller must close both descriptors.

        The future returns how the process ended once it is reaped, or raises _ZygoteLost.
        """
        if self.lost:
            raise _ZygoteLost("The process that starts the parsers has exited.")
        ended: asyncio.Future[JobEnded] = self._loop.create_future()
        self._running[job.job] = ended
        try:
            socket.send_fds(self._control, [pack_message(job)], [source, target])
        except OSError as error:
            self._running.pop(job.job, None)
            self._lose(str(error))
            raise _ZygoteLost(str(error)) from error
        return ended

    async def finish(self, job: int, ended: asyncio.Future[JobEnded]) -> None:
        """Return once the process of `job` has ended. Kill it if necessary."""
        if not ended.done():
            try:
                self._control.send(pack_message(KillJob(job)))
            except OSError as error:
                self._lose(str(error))
        # wait() never raises the future's exception, and cancelling the waiter does not cancel the future.
        await asyncio.wait([ended])
        self._running.pop(job, None)
        if not ended.cancelled():
            ended.exception()

    async def close(self) -> None:
        """End the zygote, and with it every process that it forked. Returns once the zygote is reaped."""
        self._lose("The process that starts the parsers was shut down.")
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # This also ends the zygote's children, because the kernel kills them when the zygote ends.
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _receive(self) -> None:
        while not self.lost:
            try:
                packet = self._control.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(str(error))
                return
            if not packet:
                self._lose("It ended.")
                return
            match unpack_message(packet):
                case SandboxCapabilities() as support:
                    if not self._ready.done():
                        self._ready.set_result(support)
                case ZygoteFailed(message):
                    self._lose(message)
                case JobEnded() as end:
                    ended = self._running.get(end.job)
                    if ended is not None and not ended.done():
                        ended.set_result(end)
                case Job() | KillJob():
                    self._lose("It sent a message that only the server sends.")

    def _lose(self, message: str) -> None:
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for future in (self._ready, *self._running.values()):
            if not future.done():
                future.set_exception(_ZygoteLost(message))
                # If nothing waits for a future, asyncio would log its exception as never retrieved.
                future.exception()
        self._running.clear()


def _spawn(
    table: str, control: socket.socket, import_paths: Sequence[Path], ocr: bool
) -> subprocess.Popen[bytes]:
    """Start the zygote's interpreter within a few milliseconds. No shell runs, and no Python code runs between fork and
    exec. Raises OSError."""
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "responsa_formats.sandbox.zygote",
            str(control.fileno()),
            table,
            *([OCR] if ocr else []),
        ],
        pass_fds=(control.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # The server's environment may hold passwords and keys, so pass none of it on.
        env=_environment(import_paths),
        # Ctrl-C would reach the server's whole process group. The zygote must stop only when its socket closes.
        start_new_session=True,
    )


def _environment(import_paths: Sequence[Path]) -> dict[str, str]:
    package_root = Path(responsa_formats.__file__ or "").resolve().parent.parent
    paths = [package_root, *(path.resolve() for path in import_paths)]
    return {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        # onnxruntime would report to its maker, and no library may start threads, because the processes are forked.
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
