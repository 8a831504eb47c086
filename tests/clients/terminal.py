"""Runs the command line on a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from tests.clients.command_line import CommandLine
from tests.instance import PATIENCE

_LISTENING = (
    "import os, runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "out = os.dup(1); sys.argv.pop(1) == 'all' and os.login_tty(os.dup(0)); os.dup2(out, 1); os.close(out); "
    "runpy.run_module('responsa_server', run_name='__main__', alter_sys=True)"
)
"""This program resets SIGINT, because a background job of a shell ignores SIGINT and the job's children inherit this setting.
With "all", the terminal becomes the process's controlling terminal, so that typed Ctrl-C interrupts the process.
"""


class Terminal:
    """A process whose stderr is a terminal, and the text on that terminal. If `whole`, stdin and stdout are the same
    terminal, or stdin alone if `piped`. Otherwise, the process reads `stdin`.
    """

    def __init__(
        self,
        responsa: CommandLine,
        *arguments: str,
        whole: bool = False,
        piped: bool = False,
        stdin: bytes = b"",
        **more: str,
    ) -> None:
        self._screen, terminal = os.openpty()
        os.set_blocking(self._screen, False)
        self._process = subprocess.Popen(  # the loop watches the screen; a thread waits for the process
            [sys.executable, "-c", _LISTENING, "all" if whole else "one", *arguments],
            env={**responsa.environment(), "TERM": "xterm", "COLUMNS": "100", **more},
            stdin=terminal if whole else subprocess.PIPE,
            stdout=terminal if whole and not piped else subprocess.PIPE,
            stderr=terminal,
        )
        os.close(terminal)
        if self._process.stdin is not None:
            self._process.stdin.write(stdin)
            self._process.stdin.close()
        self.text = ""
        self._seen = 0
        self._closed = False
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._screen, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the process has closed its side
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._screen)
            self._closed = True
        self.text += data.decode(errors="replace")
        self._came.set()

    async def shows(self, text: str) -> None:
        """Wait until the text has appeared on the screen."""
        while text not in self.text:
            await self._more()

    async def then(self, text: str) -> None:
        """Wait until the text has appeared behind the text of the previous call."""
        while (found := self.text.find(text, self._seen)) < 0:
            await self._more()
        self._seen = found + len(text)

    async def _more(self) -> None:
        assert not self._closed, f"it ended ({self._process.wait()}) and has shown {self.text!r}"
        self._came.clear()
        try:
            await asyncio.wait_for(self._came.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
            self._process.wait()
            raise AssertionError(
                f"it has shown {self.text[: self._seen]!r}, then {self.text[self._seen :]!r}"
            ) from None

    def types(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    async def end(self) -> tuple[int, str]:
        """The exit code, and stdout if it is not the terminal."""
        stdout = self._process.stdout
        out = b"" if stdout is None else await asyncio.to_thread(stdout.read)
        await asyncio.to_thread(self._process.wait)
        while not self._closed:
            self._came.clear()
            await self._came.wait()
        os.close(self._screen)
        if stdout is not None:
            stdout.close()
        return self._process.returncode, out.decode()
