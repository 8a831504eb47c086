"""Watches the event loop of a server. Measures its lag, and ends a process whose loop stands still, so that the program
that runs it starts another one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import structlog

from responsa_server.app.process import LAST_LINES_SECONDS, LOG
from responsa_server.system.stillness import Stillness, read_main_thread
from responsa_server.telemetry import instruments

EXIT_STOOD_STILL: Final = 70
"""The exit code of a process whose event loop stood still (EX_SOFTWARE of sysexits.h)."""
_BEAT_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 0.5
_LAST_WORDS_SECONDS: Final = 2 * LAST_LINES_SECONDS


class _Watch:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._beats = 0
        self._due = 0.0
        self._next: asyncio.TimerHandle | None = None
        self._over = threading.Event()

    def start(self, seconds: float) -> None:
        self._due = time.monotonic()
        self._beat()
        if seconds:
            threading.Thread(target=self._run, args=(seconds,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        if self._next is not None:
            self._next.cancel()

    def _beat(self) -> None:
        now = time.monotonic()
        instruments.LOOP_LAG.add(max(0.0, now - self._due))
        self._beats += 1
        self._due = now + _BEAT_SECONDS
        self._next = self._loop.call_later(_BEAT_SECONDS, self._beat)

    def _run(self, limit: float) -> None:
        stillness = Stillness(time.monotonic(), read_main_thread(os.getpid()), _LOOK_SECONDS)
        while not self._over.wait(_LOOK_SECONDS):
            seconds, how = stillness.after(self._beats, time.monotonic(), read_main_thread(os.getpid()))
            if seconds >= limit:
                # Whatever the loop's thread holds, such as a lock of the log, the process ends.
                teller = threading.Thread(
                    target=self._tell, args=(seconds, how), name="last words", daemon=True
                )
                teller.start()
                teller.join(_LAST_WORDS_SECONDS)
                os._exit(EXIT_STOOD_STILL)

    def _tell(self, seconds: float, how: str) -> None:
        task, stacks = _describe(asyncio.current_task(self._loop)), _stacks()
        log = structlog.get_logger("server")
        log.critical(
            "loop_stood_still",
            how=how,
            seconds=seconds,
            task=task,
            exit_code=EXIT_STOOD_STILL,
            stacks=stacks,
        )
        for name, frames in reversed(stacks.items()):
            LOG.put("\n".join((f"{name}:", *(f"  {frame}" for frame in frames))))
        # `up` and process managers show the last line.
        LOG.put(
            f"The event loop stood still for {seconds:.0f} s ({how}){f' in {task}' if task else ''}, so the server ended itself; "
            "the lines above say where each thread was."
        )
        LOG.flush(LAST_LINES_SECONDS)


def _describe(task: asyncio.Task[Any] | None) -> str:
    """The name and the coroutine of a task; "" if there is none."""
    if task is None:
        return ""
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')})"


def _stacks() -> dict[str, Sequence[str]]:
    """Where each thread is, by its name, the thread of the loop first; of each, the innermost frame last. Reads no
    file, because a disk that hangs may be the cause, and no variable, because variables hold questions and secrets."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    # The function is documented and only named like a private one.
    frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    main = threading.main_thread().ident
    return {
        f"{names.get(ident, 'thread')} {ident}": _lines(frames[ident])
        for ident in sorted(frames, key=lambda ident: ident != main)
        if ident != threading.get_ident()
    }


def _lines(frame: FrameType | None) -> Sequence[str]:
    lines = list[str]()
    while frame is not None:
        code = frame.f_code
        lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return lines[::-1]


@contextmanager
def watch(seconds: float) -> Generator[None]:
    """Measure the lag of the running loop during the block. If the loop stands still for this many seconds (0: however
    long), as `Stillness` counts them, log where each thread is, and end this process with EXIT_STOOD_STILL. Call on the
    main thread.

    A call of compiled code that keeps Python's lock also stops the watch; the process manager has to notice that.
    """
    watch = _Watch(asyncio.get_running_loop())
    watch.start(seconds)
    try:
        yield
    finally:
        watch.stop()
