"""The life of one parsing process: lock up, read, parse, write, end. Runs in a fork of the zygote, nowhere else."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from responsa_server.ingest.formats.table import Parser
from responsa_server.ingest.parse_errors import DocumentMalformed, DocumentParserLimit, DocumentRejected
from responsa_server.ingest.sandbox import kernel, landlock, seccomp
from responsa_server.ingest.sandbox.capabilities import SandboxCapabilities
from responsa_server.ingest.sandbox.limits import apply_rlimits
from responsa_server.ingest.sandbox.protocol import (
    EXIT_OUT_OF_MEMORY,
    EXIT_UNCONFINED,
    ParseJob,
    pack_rejection,
    pack_result,
)
from responsa_server.ingest.sniff import sniff
from responsa_server.text.canonical import DocumentType

_READ_BYTES = 1024 * 1024
# Not nobody (65534): started by root, PostgreSQL may run as that one, and its files are to be closed to a parser too.
_STRANGER = 65533
_INPUT, _OUTPUT = 3, 4
# What the sandbox answers: seccomp EPERM, Landlock EACCES, RLIMIT_NPROC EAGAIN, RLIMIT_FSIZE EFBIG.
_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.EAGAIN, errno.EFBIG, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds every parsing process of one zygote."""

    capabilities: SandboxCapabilities
    readable: Sequence[Path]
    zygote_pid: int


def run(
    job: ParseJob, source: int, target: int, parsers: Mapping[DocumentType, Parser], confinement: Confinement
) -> NoReturn:
    """Parse descriptor `source` and write the result frame to descriptor `target`; never returns to the zygote's code."""
    try:
        try:
            _lock_up(job, source, target, confinement)
        except BaseException:  # whatever went wrong, an unconfined process must not touch the document
            os._exit(EXIT_UNCONFINED)
        try:
            _write(_result(job, parsers))
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)
    finally:
        # Not sys.exit: nothing that the zygote set up may run here.
        os._exit(0)


def _lock_up(job: ParseJob, source: int, target: int, confinement: Confinement) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # Python's default, so that a write over the limit is an error to report and not a death.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.setsid()
    _keep_only(source, target)
    apply_rlimits(job.memory_bytes, job.cpu_seconds)
    if os.geteuid() == 0 and not confinement.capabilities.landlock_abi:
        # Without Landlock, file modes are all that protects root's files.
        os.setgroups([])
        os.setresgid(_STRANGER, _STRANGER, _STRANGER)
        os.setresuid(_STRANGER, _STRANGER, _STRANGER)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    # After any change of user, which clears it.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != confinement.zygote_pid:
        os._exit(EXIT_UNCONFINED)
    if confinement.capabilities.landlock_abi:
        landlock.restrict(confinement.capabilities.landlock_abi, confinement.readable)
    if confinement.capabilities.seccomp:
        seccomp.restrict(os.getpid())


def _keep_only(source: int, target: int) -> None:
    """Leave open: /dev/null as 0 to 2, the document as 3, the result pipe as 4."""
    high_source = os.dup2(source, 64)
    high_target = os.dup2(target, 65)
    os.dup2(high_source, _INPUT)
    os.dup2(high_target, _OUTPUT)
    os.closerange(_OUTPUT + 1, max(1024, high_target + 1))


def _result(job: ParseJob, parsers: Mapping[DocumentType, Parser]) -> bytes:
    out_of_memory = pack_rejection(_memory())
    try:
        document = sniff(_read(), job.name, job.content_type)
        parser = parsers.get(document.document_type)
        if parser is None:
            raise DocumentMalformed(
                f"There is no parser for {document.document_type}.", "Upload another type."
            )
        frame = pack_result(parser(document))
        if len(frame) > job.result_bytes:
            raise DocumentParserLimit(
                "The document expands to more text than is taken in.",
                "Split the document into smaller files.",
            )
        return frame
    except DocumentRejected as rejected:
        return pack_rejection(rejected)
    except MemoryError:
        return out_of_memory
    except RecursionError:
        return pack_rejection(
            DocumentParserLimit(
                "The document is nested too deep to be parsed.", "Flatten it and upload it again."
            )
        )
    except OSError as error:
        if error.errno in _REFUSALS:
            return pack_rejection(
                DocumentParserLimit(
                    "Parsing this document wanted access that parsers do not have, and was stopped.",
                    "Upload the document in another format if you trust it.",
                )
            )
        return pack_rejection(_failed())
    except (
        Exception
    ):  # any failure of a parser library on hostile bytes is the document's, and says nothing of ours
        return pack_rejection(_failed())


def _failed() -> DocumentMalformed:
    return DocumentMalformed(
        "The parser failed on this document.", "Check the file, or save it anew and upload it again."
    )


def _memory() -> DocumentParserLimit:
    return DocumentParserLimit(
        "Parsing this document takes more memory than is allowed.", "Split the document into smaller files."
    )


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
