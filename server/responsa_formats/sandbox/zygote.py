"""Forks the parsing processes, and contains the code that they run: `python -m responsa_formats.sandbox.zygote`.

The server starts the zygote as a clean interpreter. The server does not fork itself, because its threads and
connections must not be copied. It forks one process per document, reaps the process and reports how it ended. The
zygote never reads a document; a parsing process confines itself before it reads its document, and can import nothing
then. So the zygote loads the parser of a format once, before it forks a process for it. If a process finds a format
that is not loaded, in its document or inside of it, or if a library imports a module late, the process names it and
ends; the server sends the job again, and the zygote loads what was named first. Arguments: the descriptor number of the
zygote's end of the control socket, the table of formats as "module:attribute", and OCR if scanned pages are read.
"""

from __future__ import annotations

import contextlib
import encodings
import errno
import fcntl
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules, resolve_name
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from responsa_formats.parsers.sniff import load_codecs, sniff
from responsa_formats.parsers.table import PDF, PLAIN_TEXT, Format, Formats
from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.computation import Computation
from responsa_formats.sandbox.confinement import SandboxCapabilities, capabilities, confine
from responsa_formats.sandbox.protocol import (
    EXIT_FAILED,
    EXIT_OUT_OF_MEMORY,
    EXIT_REFUSED,
    EXIT_UNCONFINED,
    MAX_PACKET,
    OCR,
    ComputeJob,
    ControlMessage,
    DrawJob,
    Failure,
    Job,
    JobEnded,
    KillJob,
    ParseJob,
    ZygoteFailed,
    pack_drawn,
    pack_failure,
    pack_message,
    pack_rejection,
    pack_result,
    unpack_message,
)

if TYPE_CHECKING:
    from responsa_formats.parsers.ocr import PageReader
    from responsa_formats.parsers.table import Drawer, Parser

_READ_BYTES = 16 * 1024 * 1024
_WRITE_BYTES = 1024 * 1024
_INPUT, _OUTPUT = 3, 4
_SAMPLE_WIDTH = 100
_YOUNG_OBJECTS = 20_000
# The errors that the sandbox causes: EPERM and ENOSYS from seccomp, EACCES from Landlock, EAGAIN from RLIMIT_NPROC,
# EFBIG from RLIMIT_FSIZE.
_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.EAGAIN, errno.EFBIG, errno.ENOSYS})

# What libraries import late on the way of a sound document, by tests/security/test_first_documents.py.
_LAZY = ("heapq",)
# What does something when it is imported, or is huge and no library.
_NO_LIBRARIES = frozenset(
    {"__main__", "antigravity", "idlelib", "test", "this", "turtledemo", "responsa_etl", "responsa_server"}
)
_MAX_ABSENT = 1000


@dataclass(frozen=True, slots=True)
class Confinement:
    """The confinement of every parsing process of one zygote. readable: the folders that its interpreter may read."""

    capabilities: SandboxCapabilities
    readable: Sequence[Path]
    zygote_pid: int


class _LateImport(BaseException):
    """A confined process lacks a module or a format. Parsers handle only an `Exception`."""


@dataclass(slots=True)
class _LateImports:
    """The first finder of a confined process: it finds nothing, and notes what the process lacks first.

    absent: the modules that the zygote cannot import or must not. final: as in the process's job.
    """

    absent: set[str] = field(default_factory=set[str])
    final: bool = False
    missing: str = ""
    codecs: Collection[str] = frozenset(module.name for module in iter_modules(encodings.__path__))

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        package, _, last = name.rpartition(".")
        # A document may name any encoding.
        if self.final or name in self.absent or (package == "encodings" and last not in self.codecs):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        self.end_for(name)

    def end_for(self, name: str) -> NoReturn:
        """End the process for want of a module or a format."""
        self.missing = self.missing or name
        raise _LateImport

    def load(self, name: str) -> bool:
        """Import a module that a process has named, in the zygote. False if it has been imported, cannot be, or must not be."""
        if name in sys.modules:
            return False
        if _is_library(name):
            with contextlib.suppress(Exception):  # whatever a module does when it is imported
                import_module(name)
                collect_rarely()
                return True
        if len(self.absent) >= _MAX_ABSENT:
            self.absent.clear()
        self.absent.add(name)
        return False


def _is_library(name: str) -> bool:
    """Whether a module belongs to the interpreter, to our parsers, or to a distribution of which they have loaded something."""
    top = name.partition(".")[0]
    return top not in _NO_LIBRARIES and (top in sys.stdlib_module_names or top in sys.modules)


@dataclass(slots=True)
class _Zygote:
    control: socket.socket
    formats: Formats
    confinement: Confinement
    reader: PageReader | None
    """What reads scanned pages; None if OCR is turned off."""
    parsers: dict[str, Parser] = field(default_factory=dict[str, "Parser"])
    """The loaded parsers by format name."""
    drawers: dict[str, Drawer] = field(default_factory=dict[str, "Drawer"])
    """The loaded functions that draw pages, by format name. Not every format has one."""
    jobs: dict[int, tuple[int, str]] = field(default_factory=dict[int, tuple[int, str]])
    """By job number, the id of the process, and what was imported for it."""
    computations: dict[str, Computation] = field(default_factory=dict[str, Computation])
    """Those that a job has needed so far, by their names."""
    imports: _LateImports = field(default_factory=_LateImports)
    format: str = ""
    """In a process, of its document, once it is known, or its computation."""

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
            case Job():
                source, target = descriptors
                self.fork(message, source, target)
                os.close(source)
                os.close(target)
            case KillJob():
                if message.job in self.jobs:
                    # The process is not reaped yet, so its id still belongs to this job.
                    os.kill(self.jobs[message.job][0], signal.SIGKILL)
            case _:
                return False
        return True

    def fork(self, job: Job, source: int, target: int) -> None:
        imported = ""
        if isinstance(job, ComputeJob):
            self.load_computation(job.format)
        for name in (job.format, job.late_import):
            if (row := self.formats.with_name(name)) is not None:
                self.load(row)
            elif name and name == job.late_import and self.imports.load(name):
                imported = name
        try:
            pid = os.fork()
        except OSError:
            # As a wait status. The server treats both as its own failure, not the document's.
            self.send(JobEnded(job.job, EXIT_UNCONFINED << 8))
            return
        if pid == 0:
            _run(job, source, target, self)
        self.jobs[job.job] = pid, imported

    def load(self, row: Format) -> None:
        """Load a format, and parse and draw its sample, because confined processes cannot import what parsers load
        lazily. Raises Rejected if the sample is rejected."""
        if row.name in self.parsers:
            return
        parser = row.load()
        parser(sniff(row.sample, "", row.media_type, formats=self.formats))
        if row.drawer:
            self.drawers[row.name] = row.load_drawer()
            pack_drawn(self.drawers[row.name](row.sample, 1, _SAMPLE_WIDTH))
        self.parsers[row.name] = parser
        collect_rarely()

    def require_parser(self, row: Format) -> Parser:
        """The parser of a format, for a confined process."""
        return self.parsers.get(row.name) or self.imports.end_for(row.name)

    def load_computation(self, name: str) -> None:
        """Load a computation, and run it once on its sample. Most zygotes never need one."""
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
            for job in [job for job, (process, _) in self.jobs.items() if process == pid]:
                self.send(JobEnded(job, status, self.jobs.pop(job)[1]))

    def send(self, message: ControlMessage) -> None:
        self.control.send(pack_message(message))

    def stop(self) -> None:
        for pid, _ in self.jobs.values():
            os.kill(pid, signal.SIGKILL)
        for pid, _ in self.jobs.values():
            os.waitpid(pid, 0)


def _run(job: Job, source: int, target: int, zygote: _Zygote) -> NoReturn:
    """Confine this process, do the job with the document in descriptor `source`, write the result frame to descriptor
    `target`, and exit."""
    try:
        try:
            _confine(job, source, target, zygote.confinement)
        except BaseException:  # whatever the failure, an unconfined process must not read the document
            os._exit(EXIT_UNCONFINED)
        imports = zygote.imports
        imports.final = job.final
        sys.meta_path.insert(0, imports)
        zygote.format = job.format
        try:
            if isinstance(job, ComputeJob):
                zygote.computations[job.format].run(_read(), _write)
                frame = b""
            else:
                frame = _result(job, zygote)
            if imports.missing:  # the library did without the module
                raise _LateImport
            _write(frame)
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)
        except BaseException as error:  # a panic of Rust, too
            _write(pack_failure(_describe(error, zygote)))
            os._exit(EXIT_REFUSED if getattr(error, "errno", None) in _REFUSALS else EXIT_FAILED)
    finally:
        # Do not use sys.exit: it would run the zygote's exit handlers.
        os._exit(0)


def _describe(error: BaseException, zygote: _Zygote) -> Failure:
    """What may be said of an error: the type, and the place in the code that raised it."""
    module, line, traceback = "", 0, error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in ("__main__", "importlib"):
            module, line = name, traceback.tb_lineno
        traceback = traceback.tb_next
    return Failure(zygote.format, type(error).__name__, module, line, zygote.imports.missing)


def _confine(job: Job, source: int, target: int, bounds: Confinement) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # Ignore SIGXFSZ, as Python does by default. Then a write over the limit raises an error that can be reported.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.setsid()  # its own process group: what is sent to the group reaches no other process
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
    # Above 3 and 4, so that neither dup2 closes the other descriptor.
    high_source, high_target = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in (source, target))
    os.dup2(high_source, _INPUT)
    os.dup2(high_target, _OUTPUT)
    os.closerange(_OUTPUT + 1, max(1024, high_target + 1))


def _result(job: Job, zygote: _Zygote) -> bytes:
    # Packed now, because later there may be no memory for it.
    out_of_memory = pack_rejection(
        Rejected.as_over_limit("Parsing this document takes more memory than is allowed.")
    )
    try:
        frame = (
            pack_drawn(zygote.drawers[job.format](_read(), job.page, job.width))
            if isinstance(job, DrawJob)
            else _parse_document(job, zygote)
        )
        if len(frame) > job.result_bytes:
            raise Rejected.as_too_much_text()
        return frame
    except Rejected as rejected:
        return pack_rejection(rejected)
    except MemoryError:
        return out_of_memory
    except RecursionError:
        return pack_rejection(
            Rejected.as_over_limit(
                "The document is nested too deeply to be parsed.", "Flatten it and upload it again."
            )
        )


def _parse_document(job: Job, zygote: _Zygote) -> bytes:
    assert isinstance(job, ParseJob)
    original = sniff(_read(), job.name, job.content_type, formats=zygote.formats, known=job.format)
    original.reader, original.parser = zygote.reader, zygote.require_parser
    zygote.format = original.format
    row = zygote.formats.with_name(original.format)
    assert row is not None, "a job and sniff() must name a format of the table"
    document = zygote.require_parser(row)(original)
    return pack_result(document, original.left_out, original.guessed_charset, original.ocr_pages)


def _read() -> bytes:
    size = os.fstat(_INPUT).st_size
    parts: list[bytes] = []
    offset = 0
    while offset < size:
        part = os.pread(_INPUT, min(_READ_BYTES, size - offset), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _write(frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(_OUTPUT, view[:_WRITE_BYTES]) :]


def _warm_up() -> None:
    """Load what deciding a format and decoding load lazily. `_Zygote.load` does the same for a format."""
    for module in _LAZY:
        import_module(module)
    load_codecs()
    sniff(PLAIN_TEXT.sample)
    # A program with a document's name is rejected, which loads the code of rejections, too.
    with contextlib.suppress(Rejected):
        sniff(b"\x7fELF\x02\x01\x01\x00" + bytes(64), "a.md")


def collect_rarely() -> None:
    """Exempt all existing objects from garbage collection, and collect others less often.

    The modules loaded so far are never freed, and a child's collection that visited them would only copy their memory
    pages. A document becomes very many objects, of which hardly any are in reference cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes to the wake-up descriptor only for signals that have a handler."""


def _reader() -> PageReader:
    from responsa_formats.parsers.ocr import PageReader

    reader = PageReader()
    # So wide that the letters of the sample are recognised.
    reader.read(PDF.load_drawer()(PDF.sample, 1, _SAMPLE_WIDTH * 4))
    return reader


def _main(control_number: int, table: str, ocr: bool) -> int:
    # Ignore Ctrl-C in a terminal, because the server handles Ctrl-C. A zygote ends when its control socket closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    try:
        formats: Formats = resolve_name(table)
        _warm_up()
        reader = _reader() if ocr else None
        sandbox = capabilities()
        readable = [path for path in map(Path, sys.path) if path.is_absolute() and path.is_dir()]
        zygote = _Zygote(control, formats, Confinement(sandbox, readable, os.getpid()), reader)
    except Exception as error:  # the server reports it to the operator
        return _fail(control, error)
    wakeup, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    collect_rarely()
    zygote.send(sandbox)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            zygote.serve(wakeup)
    except Exception as error:  # a parser that cannot be loaded
        return _fail(control, error)
    finally:
        zygote.stop()
    return 0


def _fail(control: socket.socket, error: Exception) -> int:
    control.send(pack_message(ZygoteFailed(f"{type(error).__name__}: {error}"[:1000])))
    return 1


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3:] == [OCR]))
