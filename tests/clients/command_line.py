"""Runs the command line as a user does: in its own process and environment."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.scripted import KEY, Scripted
from tests.forked import responsa


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class CommandLine:
    """Runs `responsa` against the server, in a separate folder."""

    server: Scripted
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a command; the value "" removes a variable."""
        passed = {name: value for name, value in os.environ.items() if not name.startswith("RESPONSA_")}
        passed |= {"RESPONSA_HOME": str(self.folder / "home"), "RESPONSA_PORT": str(self.server.port)}
        passed |= {"RESPONSA_API_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)}
        passed |= {"XDG_STATE_HOME": str(self.folder / "state"), **more}
        return {name: value for name, value in passed.items() if value}

    async def __call__(
        self,
        *arguments: str | bytes | Path,
        stdin: bytes = b"",
        cwd: Path | None = None,
        module: str = "",
        **environment: str,
    ) -> Done:
        """module: run this one instead of the command line."""
        # A fork has its modules already, so what a command imports is seen in a new process.
        new = "PYTHONPROFILEIMPORTTIME" in environment
        process = await asyncio.create_subprocess_exec(
            *((sys.executable, "-m", module or "responsa_server") if new or module else responsa()),
            *arguments,
            env=self.environment(**environment),
            cwd=cwd or self.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin)
        return Done(process.returncode or 0, out.decode(), err.decode())
