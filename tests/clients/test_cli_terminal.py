"""What only shows in a terminal, and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2

from responsa.chat.v1 import chat_service_pb2
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import CHAT, OPERATIONS, Context, Scripted, frame, whole_turn, without_deltas


class Terminal:
    """A process whose stderr is a terminal, and what has been written on it."""

    def __init__(self, responsa: CommandLine, *arguments: str) -> None:
        self._screen, terminal = os.openpty()
        os.set_blocking(self._screen, False)
        self._process = (
            subprocess.Popen(  # the loop watches the screen; the process is waited for in a thread
                [sys.executable, "-m", "responsa_server.cli", *arguments],
                env={**responsa.environment(), "TERM": "xterm", "COLUMNS": "100"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=terminal,
                # A shell's background job has SIGINT ignored, and its children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        )
        os.close(terminal)
        self.text = ""
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._screen, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the other side has closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._screen)
        self.text += data.decode(errors="replace")
        self._came.set()

    async def shows(self, text: str) -> None:
        """Wait until the text was on the screen."""
        while text not in self.text:
            self._came.clear()
            await self._came.wait()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    async def end(self) -> tuple[int, str]:
        """The exit code and stdout."""
        out, _ = await asyncio.to_thread(self._process.communicate)
        asyncio.get_running_loop().remove_reader(self._screen)
        os.close(self._screen)
        return self._process.returncode, out.decode()


async def test_statuses_live_on_the_terminal_and_the_answer_on_stdout(
    server: Scripted, responsa: CommandLine
) -> None:
    seen = asyncio.Event()
    events = without_deltas(whole_turn())

    async def script(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 2, events)
        await seen.wait()
        yield frame(2, 6, events)

    server.on(f"{CHAT}/Ask", script)
    terminal = Terminal(responsa, "ask", "Who?")
    await terminal.shows("Searching knowledge base...")
    seen.set()
    code, out = await terminal.end()
    assert code == 0
    assert out.startswith("Émile wrote it. [1]")
    assert "Searching" not in out


async def test_ingestion_shows_its_progress(
    server: Scripted, responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    seen = asyncio.Event()
    kept = library.serve_wait

    async def slow(request: Any, context: Context) -> operations_pb2.Operation:
        if len(server.requests[f"{OPERATIONS}/WaitOperation"]) > 1:
            await seen.wait()
        return await kept(request, context)

    server.on(f"{OPERATIONS}/WaitOperation", slow)
    (tmp_path / "a.md").write_text("A")
    (tmp_path / "b.md").write_text("B")
    terminal = Terminal(responsa, "ingest", str(tmp_path))
    await terminal.shows("1/2")
    seen.set()
    assert await terminal.end() == (0, "2 documents: 2 new, 0 changed, 0 unchanged, 0 failed\n")


async def test_ctrl_c_ends_it_with_one_line(
    server: Scripted, responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    async def endless(_: Any, __: Context) -> operations_pb2.Operation:
        begun.set()
        await asyncio.Event().wait()
        return operations_pb2.Operation()

    async def silent(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 1, whole_turn())
        begun.set()
        await asyncio.Event().wait()

    server.on(f"{OPERATIONS}/WaitOperation", endless)
    server.on(f"{CHAT}/Ask", silent)
    (tmp_path / "a.md").write_text("A")
    for arguments in (("ingest", str(tmp_path)), ("ask", "Who?")):
        begun.clear()
        terminal = Terminal(responsa, *arguments)
        await begun.wait()
        terminal.interrupt()
        code, out = await terminal.end()
        assert (code, out) == (130, "")
        assert "responsa: Stopped." in terminal.text
        assert "Traceback" not in terminal.text
