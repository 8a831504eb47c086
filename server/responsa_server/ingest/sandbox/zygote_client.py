"""The server's end of one zygote: start it, hand it jobs, hear how they end, see that it is gone."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import responsa_server
from responsa_server.ingest.parse_errors import ParserUnavailable
from responsa_server.ingest.sandbox.protocol import (
    MAX_PACKET,
    Failed,
    JobEnded,
    KillJob,
    ParseJob,
    Ready,
    pack_message,
    unpack_message,
)

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


class ZygoteLost(Exception):
    """The zygote ended while a job ran; the job's process died with it."""


class ZygoteClient:
    """One zygote process. Made by `start`; unusable once `lost`."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.lost = False
        self._process = process
        self._control = control
        self._jobs = itertools.count(1)
        self._running: dict[int, asyncio.Future[int]] = {}
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Ready] = self._loop.create_future()
        self._loop.add_reader(control.fileno(), self._receive)

    @classmethod
    async def start(cls, table: str, import_paths: Sequence[Path]) -> ZygoteClient:
        """Spawn a zygote with the parser table "module:attribute" and wait until it is warm. Raises ParserUnavailable."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            process = _spawn(table, theirs, import_paths)
        except OSError as error:
            ours.close()
            raise ParserUnavailable(f"The document parser cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()
        client = cls(process, ours)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await client._ready
        except TimeoutError:
            await client.close()
            raise ParserUnavailable(
                f"The document parser was not ready within {_START_SECONDS:g} seconds."
            ) from None
        except ZygoteLost as error:
            await client.close()
            raise ParserUnavailable(f"The document parser cannot be started: {error}") from error
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    def next_job(self) -> int:
        """A number for one more job."""
        return next(self._jobs)

    def submit(self, job: ParseJob, source: int, target: int) -> asyncio.Future[int]:
        """Fork a process for `job` that reads `source` and writes `target`; the caller keeps and closes both.

        The future gives the wait status once the process is reaped, or raises ZygoteLost.
        """
        if self.lost:
            raise ZygoteLost("The zygote is gone.")
        ended: asyncio.Future[int] = self._loop.create_future()
        self._running[job.job] = ended
        try:
            socket.send_fds(self._control, [pack_message(job)], [source, target])
        except OSError as error:
            self._running.pop(job.job, None)
            self._lose(str(error))
            raise ZygoteLost(str(error)) from error
        return ended

    async def finish(self, job: int, ended: asyncio.Future[int]) -> None:
        """Return once the process of `job` is gone, killing it if need be."""
        if not ended.done():
            try:
                self._control.send(pack_message(KillJob(job)))
            except OSError as error:
                self._lose(str(error))
        # Waits without raising, and without giving up the future when the waiter is cancelled.
        await asyncio.wait([ended])
        self._running.pop(job, None)
        if not ended.cancelled():
            ended.exception()

    async def close(self) -> None:
        """End the zygote, and by it every process it forked; returns when it is reaped."""
        self._lose("The zygote was shut down.")
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Its children go with it: the kernel kills them when their parent ends.
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
                case Ready() as ready:
                    if not self._ready.done():
                        self._ready.set_result(ready)
                case Failed(message):
                    self._lose(message)
                case JobEnded(job, status):
                    ended = self._running.get(job)
                    if ended is not None and not ended.done():
                        ended.set_result(status)
                case ParseJob() | KillJob():
                    self._lose("It sent what only the server sends.")

    def _lose(self, message: str) -> None:
        """Stop listening and tell every waiter. The zygote sees its socket end and stops."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for future in (self._ready, *self._running.values()):
            if not future.done():
                future.set_exception(ZygoteLost(message))
                # Not every future has a waiter: mark it as seen.
                future.exception()
        self._running.clear()


def _spawn(table: str, control: socket.socket, import_paths: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Start the interpreter: a few milliseconds, no shell, no code of ours between fork and exec. Raises OSError."""
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "responsa_server.ingest.sandbox.zygote",
            str(control.fileno()),
            table,
        ],
        pass_fds=(control.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # Nothing of the server's environment, which may hold passwords and keys.
        env=_environment(import_paths),
        # Ctrl-C reaches a whole process group: this one is stopped by its socket, in order.
        start_new_session=True,
    )


def _environment(import_paths: Sequence[Path]) -> dict[str, str]:
    package_root = Path(responsa_server.__file__ or "").resolve().parent.parent
    paths = [package_root, *(path.resolve() for path in import_paths)]
    return {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }
