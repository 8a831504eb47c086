"""The process that parsing processes are forked from: `python -m responsa_server.ingest.sandbox.zygote`.

Started with a clean interpreter, never forked from the server, whose threads and connections must not be copied. It
loads the parsers once, then forks one process a document, reaps it and tells how it ended. It never reads a document.
Arguments: the number of its end of the control socket, and the parser table as "module:attribute".
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from responsa_server.ingest.formats.table import PARSERS, Parser, load_parser, load_table
from responsa_server.ingest.parse_errors import DocumentRejected
from responsa_server.ingest.sandbox import child, kernel
from responsa_server.ingest.sandbox.capabilities import capabilities
from responsa_server.ingest.sandbox.protocol import (
    EXIT_UNCONFINED,
    MAX_PACKET,
    ControlMessage,
    Failed,
    JobEnded,
    KillJob,
    ParseJob,
    Ready,
    pack_message,
    unpack_message,
)
from responsa_server.ingest.sniff import sniff
from responsa_server.text.canonical import DocumentType

_WARM_UP: tuple[tuple[bytes, str], ...] = (
    (b"# Title\n\nText with *emphasis*.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", "a.md"),
    (b"<html lang='en'><title>Title</title><p>Text &amp; <b>more</b>.</p></html>", "a.html"),
    ("Übung macht den Meister, sagte die alte Frau.\n".encode("cp1252") * 8, "a.txt"),
)


@dataclass(slots=True)
class _Zygote:
    control: socket.socket
    parsers: Mapping[DocumentType, Parser]
    confinement: child.Confinement
    jobs: dict[int, int] = field(default_factory=dict[int, int])
    """Process ids by job."""

    def serve(self, wakeup: int) -> None:
        """Until the server closes its end."""
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
        """Handle one packet; False at the end of the conversation."""
        packet, descriptors, _, _ = socket.recv_fds(self.control, MAX_PACKET, 2)
        if not packet:
            return False
        message = unpack_message(packet)
        match message:
            case ParseJob():
                source, target = descriptors
                try:
                    self.fork(message, source, target)
                finally:
                    os.close(source)
                    os.close(target)
            case KillJob():
                pid = self.jobs.get(message.job)
                if pid is not None:
                    # Not reaped yet, so the number is still this job's.
                    os.kill(pid, signal.SIGKILL)
            case _:
                return False
        return True

    def fork(self, job: ParseJob, source: int, target: int) -> None:
        try:
            pid = os.fork()
        except OSError:
            self.tell(JobEnded(job.job, EXIT_UNCONFINED << 8))
            return
        if pid == 0:
            child.run(job, source, target, self.parsers, self.confinement)
        self.jobs[job.job] = pid

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
                self.tell(JobEnded(job, status))
            self.sweep()

    def sweep(self) -> None:
        """Kill what a dead parsing process left behind; as its subreaper we inherit it. Only where seccomp is missing."""
        if self.confinement.capabilities.seccomp:
            return
        try:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
            orphans = {int(pid) for pid in children.split()} - set(self.jobs.values())
        except FileNotFoundError:
            return
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)

    def tell(self, message: ControlMessage) -> None:
        self.control.send(pack_message(message))

    def stop(self) -> None:
        for pid in self.jobs.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self.jobs.values():
            os.waitpid(pid, 0)


def _warm_up() -> None:
    """Load what parsing loads lazily, so that each process finds it in memory."""
    for data, name in _WARM_UP:
        document = sniff(data, name)
        load_parser(PARSERS[document.document_type])(document)
    with contextlib.suppress(DocumentRejected):
        sniff(b"\x7fELF\x02\x01\x01\x00" + bytes(64), "a.md")


def _wake(_number: int, _frame: FrameType | None) -> None:
    """SIGCHLD is heard through the wakeup descriptor."""


def _main(control_number: int, table: str) -> int:
    # Ctrl-C in a terminal is the server's to handle; a zygote ends when its control socket does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    try:
        parsers = load_table(table)
        _warm_up()
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        found = capabilities()
        readable = [path for path in map(Path, sys.path) if path.is_absolute() and path.is_dir()]
        zygote = _Zygote(control, parsers, child.Confinement(found, readable, os.getpid()))
    except Exception as error:  # told to the server, which says it to the operator
        control.send(pack_message(Failed(f"{type(error).__name__}: {error}"[:1000])))
        return 1
    wakeup, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    # What is loaded by now is never freed: a collection in a child would only copy its pages.
    gc.collect()
    gc.freeze()
    zygote.tell(Ready(found.landlock_abi, found.seccomp))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            zygote.serve(wakeup)
    finally:
        zygote.stop()
    return 0


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2]))
