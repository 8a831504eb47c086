"""Checks the syntax of Cairo code by the program of tools/cairo-check, which runs for each text in its own process, confined by the launcher."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from responsa_server.domain.code import SyntaxFault
from responsa_server.tools.confining import LAUNCHER, user_of

_LOGGER: Final = logging.getLogger(__name__)
_LANGUAGE: Final = "cairo"
_MEMORY_BYTES: Final = 512 << 20
_CPU_SECONDS: Final = 2
_MOST_BYTES: Final = 64 * 1024
# The program reports at most 20 errors.
_MOST_REPORT_BYTES: Final = 256 * 1024


class _Fault(BaseModel):
    line: int
    message: str


class _Report(BaseModel):
    errors: Sequence[_Fault]


class CairoCheck:
    """A `SyntaxChecker` for Cairo. program: the absolute path of the program. seconds: its time limit."""

    def __init__(self, program: Path, seconds: float = 5.0) -> None:
        self._program = program
        self._seconds = seconds

    async def faults(self, language: str, code: str) -> Sequence[SyntaxFault] | None:
        """See `SyntaxChecker.faults`. None for other languages, for more than 64 KiB, and if the program fails, writes more than 256 KiB, or takes more than 2 seconds of CPU time or `seconds`."""
        given = code.encode()
        if language != _LANGUAGE or len(given) > _MOST_BYTES:
            return None
        try:
            report = _Report.model_validate_json(await self._output(given))
        except (OSError, TimeoutError, ValueError) as error:
            _LOGGER.warning("%s did not check the syntax of code: %s", self._program, type(error).__name__)
            return None
        return [SyntaxFault(one.line, one.message) for one in report.errors]

    async def _output(self, given: bytes) -> bytes:
        """The program's report. Raises OSError, TimeoutError, ValueError (too long)."""
        confined = (user_of(_LANGUAGE), _MEMORY_BYTES, os.getpid(), _CPU_SECONDS)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LAUNCHER), *map(str, confined), str(self._program)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._seconds):
                return await _exchanged(process, given)
        finally:
            await _end(process)


async def _exchanged(process: Process, given: bytes) -> bytes:
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    process.stdin.write(given)
    process.stdin.close()
    try:
        await process.stdout.readexactly(_MOST_REPORT_BYTES + 1)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    raise ValueError(f"a report of more than {_MOST_REPORT_BYTES} bytes")


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
