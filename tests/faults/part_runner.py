"""Controls the parts of a cluster for a campaign. The parts run in a separate process (parts.py)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.forms import ROOT
from tests.instance import PATIENCE


class RunPart:
    """A part that the runner runs: PostgreSQL, Redis or Envoy. The methods block."""

    def __init__(self, runner: PartRunner, name: str) -> None:
        self._keeper = runner
        self._name = name
        self.pid: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the part should be running, after all commands so far."""
        return self.pid is not None

    def start(self) -> None:
        """Start the part and wait until it is ready."""
        self.pid = self._keeper.do(self._name, "start")

    def stop(self) -> None:
        """Stop the part in an orderly way."""
        self.pid = self._keeper.do(self._name, "stop")

    def kill(self) -> None:
        """Send SIGKILL to all processes of the part."""
        self.pid = self._keeper.do(self._name, "kill")


class PartRunner:
    """The process that runs the parts."""

    def __init__(self, home: Path, port: int, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.faults.parts",
                str(home),
                str(port),
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def do(self, part: str, what: str) -> int | None:
        """Send a command. Returns the part's process id; None if the part does not run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"part": part, "do": what}).encode() + b"\n")
            self._process.stdin.flush()
            told: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert not told["error"], told["error"]
        return told["pid"]

    def close(self) -> None:
        """Make the process stop all parts and then end."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            if pipe is self._process.stdin:
                pipe.close()
                self._process.wait(PATIENCE)
            else:
                pipe.close()
