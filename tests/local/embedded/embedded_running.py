"""Starts `embedded_instance.py` as a user would start `responsa up`, and examines the files and processes that it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import psutil

import responsa_server
from tests.instance import free_port, left_of, pause

SCRIPT = Path(__file__).with_name("embedded_instance.py")
PATIENCE = 120.0
"""The number of seconds that a condition may take on a busy machine before its test fails."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < PATIENCE, f"it never came to pass: {what}"
        time.sleep(pause(waited))


class Running:
    """An instance in a separate process. Its output goes to files next to the home."""

    def __init__(self, home: Path, *flags: str, port: int | None = None, within: Sequence[str] = ()) -> None:
        self.home = home
        self.port = port or free_port()
        self._out = home.with_name(f"{home.name}.{time.monotonic_ns()}.out")
        self._err = self._out.with_suffix(".err")
        server = Path(next(iter(responsa_server.__path__))).parent
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*within, sys.executable, str(SCRIPT), str(home), str(self.port), *flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONPATH": f"{server}:{os.environ.get('PYTHONPATH', '')}"},
                start_new_session=True,
            )
        self._seen: set[psutil.Process] = set()

    def said(self) -> str:
        return self._err.read_text()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._out.read_text().splitlines()]

    def until_said(self, text: str) -> None:
        eventually(lambda: text in self.said(), f"{text!r} in {self.said()!r}")

    def until_ready(self) -> Running:
        def ready() -> bool:
            assert self.process.poll() is None, f"it ended: {self.said()}"
            return any("pids" in line for line in self.lines())

        eventually(ready, f"readiness; it said {self.said()!r}")
        self.processes()
        return self

    @property
    def supervisor(self) -> psutil.Process:
        return next(iter(psutil.Process(self.process.pid).children()))

    def processes(self) -> list[psutil.Process]:
        """The process that the user started, and all its descendants. The result is stored, because `left` needs it."""
        try:
            guard = psutil.Process(self.process.pid)
            found = [guard, *guard.children(recursive=True)]
        except psutil.NoSuchProcess:
            found = []
        self._seen.update(found)
        return found

    def pid_of(self, name: str) -> int:
        for line in self.lines():
            if "pids" in line:
                return cast("dict[str, int]", line["pids"])[name]
        raise LookupError(name)

    def part(self, name: str) -> psutil.Process:
        """The process that is the part now, also after a restart."""
        program = {"PostgreSQL": "postgres", "Redis": "valkey-server", "Envoy": "envoy"}.get(name, "python")
        return next(child for child in self.supervisor.children() if child.name().startswith(program))

    def left(self) -> list[str]:
        """The processes that still run, and that belong to this home or were seen earlier."""
        return left_of(self.home, self._seen)

    def kill(self, pid: int) -> None:
        self.processes()
        os.kill(pid, signal.SIGKILL)

    def interrupt(self) -> None:
        self.processes()
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """Send SIGINT to the whole process group, as Ctrl-C in a terminal does."""
        self.processes()
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE)

    def until_nothing_left(self) -> None:
        eventually(lambda: not self.left(), f"an end of {self.left()}; it said {self.said()!r}")

    def get(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
            return str(answer.read().decode())

    def answers(self) -> bool:
        try:
            return self.get() == "ok"
        except OSError:
            return False


Start = Callable[..., Running]
"""The type of the fixture `start`: a function that takes flags and a port, and returns a Running."""
