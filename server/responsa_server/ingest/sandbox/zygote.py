"""Forks the parsing processes, and contains the code that they run: `python -m responsa_server.ingest.sandbox.zygote`.

The server starts the zygote as a clean interpreter. The server does not fork itself, because its threads and connections must not be
copied. The zygote loads the parsers once. It then forks one process per document, reaps the process and reports how it ended. The zygote never
reads a document; a parsing process confines itself before it reads its document. Arguments: the descriptor number of the zygote's end of the
control socket, the table of formats as "module:attribute", and OCR if scanned pages are read.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from responsa_server.confinement import SandboxCapabilities, capabilities, confine
from responsa_server.domain.errors import DocumentRejected
from responsa_server.ingest import rejections
from responsa_server.ingest.formats.table import PDF, Formats
from responsa_server.ingest.sandbox.computation import Computation
from responsa_server.ingest.sandbox.protocol import (
    EXIT_FAILED,
    EXIT_OUT_OF_MEMORY,
    EXIT_UNCONFINED,
    MAX_PACKET,
    OCR,
    ComputeJob,
    ControlMessage,
    DrawJob,
    Failed,
    Job,
    JobEnded,
    KillJob,
    ParseJob,
    pack_drawn,
    pack_message,
    pack_rejection,
    pack_result,
    unpack_message,
)
from responsa_server.ingest.sniff import load_codecs, sniff

if TYPE_CHECKING:
    from responsa_server.ingest.formats.ocr import Reader
    from responsa_server.ingest.formats.table import Drawer, Parser

_READ_BYTES = 1024 * 1024
_INPUT, _OUTPUT = 3, 4
_SAMPLE_WIDTH = 100
_YOUNG_OBJECTS = 20_000
# The errors that the sandbox causes: EPERM and ENOSYS from seccomp, EACCES from Landlock, EAGAIN from RLIMIT_NPROC, EFBIG from RLIMIT_FSIZE.
_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.EAGAIN, errno.EFBIG, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Confinement:
    """The confinement of every parsing process of one zygote. readable: the folders that its interpreter may read."""

    capabilities: SandboxCapabilities
    readable: Sequence[Path]
    zygote_pid: int


@dataclass(slots=True)
class _Zygote:
    control: socket.socket
    formats: Formats
    parsers: Mapping[str, Parser]
    """The parsers by format name."""
    drawers: Mapping[str, Drawer]
    """The functions that draw pages, by format name. Not every format has one."""
    confinement: Confinement
    reader: Reader | None
    """What reads scanned pages; None if OCR is turned off."""
    jobs: dict[int, int] = field(default_factory=dict[int, int])
    """The process ids by job number."""
    computations: dict[str, Computation] = field(default_factory=dict[str, Computation])
    """Those that a job has needed so far, by their names."""

    def serve(self, wakeup: int) -> None:
        """Serve until the server closes its end of the socket."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wakeup in ready:
                os.read(wakeup, 4096)
                self.reap()
            if self.control.fileno() in ready and not self.receive():
                return

    def receive(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self.control, MAX_PACKET, 2)
        if not packet:
            return False
        message = unpack_message(packet)
        match message:
            case ParseJob() | DrawJob() | ComputeJob():
                source, target = descriptors
                try:
                    self.fork(message, source, target)
                finally:
                    os.close(source)
                    os.close(target)
            case KillJob():
                pid = self.jobs.get(message.job)
                if pid is not None:
                    # The process is not reaped yet, so its id still belongs to this job.
                    os.kill(pid, signal.SIGKILL)
            case _:
                return False
        return True

    def fork(self, job: Job, source: int, target: int) -> None:
        if isinstance(job, ComputeJob):
            self.load(job.computation)
        try:
            pid = os.fork()
        except OSError:
            self.send(JobEnded(job.job, EXIT_UNCONFINED << 8))
            return
        if pid == 0:
            _run(job, source, target, self)
        self.jobs[job.job] = pid

    def load(self, name: str) -> None:
        """Load a computation, and run it once on its sample, because confined processes cannot import what it loads lazily. Most zygotes never need one."""
        if name not in self.computations:
            computation: Computation = resolve_name(name)
            computation.run(computation.sample, lambda _: None)
            self.computations[name] = computation
            collect_rarely()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = [job for job, running in self.jobs.items() if running == pid]
            for job in ended:
                del self.jobs[job]
                self.send(JobEnded(job, status))

    def send(self, message: ControlMessage) -> None:
        self.control.send(pack_message(message))

    def stop(self) -> None:
        for pid in self.jobs.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self.jobs.values():
            os.waitpid(pid, 0)


def _run(job: Job, source: int, target: int, zygote: _Zygote) -> NoReturn:
    """Confine this process, do the job with the document in descriptor `source`, write the result frame to descriptor `target`, and exit."""
    try:
        try:
            _confine(job, source, target, zygote.confinement)
        except BaseException:  # whatever the failure, an unconfined process must not read the document
            os._exit(EXIT_UNCONFINED)
        try:
            if isinstance(job, ComputeJob):
                zygote.computations[job.computation].run(_read(), _write)
            else:
                _write(_result(job, zygote))
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)
        except Exception:  # a computation that fails has met bytes that it did not expect
            os._exit(EXIT_FAILED)
    finally:
        # Do not use sys.exit: it would run the zygote's exit handlers.
        os._exit(0)


def _confine(job: Job, source: int, target: int, bounds: Confinement) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # Ignore SIGXFSZ, as Python does by default. Then a write over the limit raises an error that can be reported.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.setsid()
    _keep_only(source, target)
    confine(
        bounds.capabilities,
        bounds.readable,
        memory_bytes=job.memory_bytes,
        cpu_seconds=job.cpu_seconds,
        parent_pid=bounds.zygote_pid,
    )


def _keep_only(source: int, target: int) -> None:
    """Close all descriptors except /dev/null as 0 to 2, the document as 3 and the result pipe as 4."""
    high_source = os.dup2(source, 64)
    high_target = os.dup2(target, 65)
    os.dup2(high_source, _INPUT)
    os.dup2(high_target, _OUTPUT)
    os.closerange(_OUTPUT + 1, max(1024, high_target + 1))


def _result(job: ParseJob | DrawJob, zygote: _Zygote) -> bytes:
    out_of_memory = pack_rejection(
        rejections.parser_limit("Parsing this document takes more memory than is allowed.")
    )
    try:
        frame = _parsed(job, zygote) if isinstance(job, ParseJob) else _drawn(job, zygote)
        if len(frame) > job.result_bytes:
            raise rejections.too_much_text()
        return frame
    except DocumentRejected as rejected:
        return pack_rejection(rejected)
    except MemoryError:
        return out_of_memory
    except RecursionError:
        return pack_rejection(
            rejections.parser_limit(
                "The document is nested too deeply to be parsed.", "Flatten it and upload it again."
            )
        )
    except OSError as error:
        if error.errno in _REFUSALS:
            return pack_rejection(rejections.access_refused())
        return pack_rejection(_failed())
    except Exception:  # any failure of a parser library on hostile bytes is the document's fault
        return pack_rejection(_failed())


def _parsed(job: ParseJob, zygote: _Zygote) -> bytes:
    original = sniff(_read(), job.name, job.content_type, formats=zygote.formats, known=job.format)
    original.reader = zygote.reader
    document = zygote.parsers[original.format](original)
    return pack_result(document, original.left_out, original.guessed_charset, original.ocr_pages)


def _drawn(job: DrawJob, zygote: _Zygote) -> bytes:
    return pack_drawn(zygote.drawers[job.format](_read(), job.page, job.width))


def _failed() -> DocumentRejected:
    return rejections.malformed("The parser failed on this document.")


def _read() -> bytes:
    size = os.fstat(_INPUT).st_size
    parts: list[bytes] = []
    place = 0
    while place < size:
        part = os.pread(_INPUT, min(_READ_BYTES * 16, size - place), place)
        if not part:
            break
        parts.append(part)
        place += len(part)
    return b"".join(parts)


def _write(frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(_OUTPUT, view[:_READ_BYTES]) :]


def _warm_up(formats: Formats, parsers: Mapping[str, Parser], drawers: Mapping[str, Drawer]) -> None:
    """Load the modules that parsing and drawing load lazily: confined processes cannot import them.

    Raises DocumentRejected if a format's sample is rejected.
    """
    load_codecs()
    for row in formats:
        parsers[row.name](sniff(row.sample, "", row.media_type, formats=formats))
        if row.drawer:
            pack_drawn(drawers[row.name](row.sample, 1, _SAMPLE_WIDTH))
    with contextlib.suppress(DocumentRejected):
        sniff(b"\x7fELF\x02\x01\x01\x00" + bytes(64), "a.md")


def collect_rarely() -> None:
    """Exempt all existing objects from garbage collection, and collect others less often.

    The modules loaded so far are never freed, and a child's collection that visited them would only copy their memory pages. A document becomes very many
    objects, of which hardly any are in reference cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _wake(_number: int, _frame: FrameType | None) -> None:
    pass


def _reader() -> Reader:
    from responsa_server.ingest.formats.ocr import Reader

    reader = Reader()
    reader.read(PDF.load_drawer()(PDF.sample, 1, _SAMPLE_WIDTH * 4))
    return reader


def _main(control_number: int, table: str, ocr: bool) -> int:
    # Ignore Ctrl-C in a terminal, because the server handles Ctrl-C. A zygote ends when its control socket closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    try:
        formats: Formats = resolve_name(table)
        parsers = {row.name: row.load() for row in formats}
        drawers = {row.name: row.load_drawer() for row in formats if row.drawer}
        _warm_up(formats, parsers, drawers)
        reader = _reader() if ocr else None
        found = capabilities()
        readable = [path for path in map(Path, sys.path) if path.is_absolute() and path.is_dir()]
        zygote = _Zygote(
            control, formats, parsers, drawers, Confinement(found, readable, os.getpid()), reader
        )
    except Exception as error:  # the server reports it to the operator
        control.send(pack_message(Failed(f"{type(error).__name__}: {error}"[:1000])))
        return 1
    wakeup, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    collect_rarely()
    zygote.send(found)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            zygote.serve(wakeup)
    finally:
        zygote.stop()
    return 0


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3:] == [OCR]))
