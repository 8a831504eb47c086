"""Responsa's own server as a supervised part."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from responsa_server.embedded.layout import Layout
from responsa_server.embedded.part import Part, StopStep
from responsa_server.embedded.spawn import Command, spawn

CLOSING_SECONDS = 5.0
"""What a server that has drained may take to close its jobs, parsers and connections before it is killed."""


class ServerProcess(Part):
    """Any program of ours: `argv`, its whole environment `env`, and a probe `is_ready` (within a second, False rather
    than an error). SIGINT asks it to drain, for which it gets `drain_seconds` and a little to close what it stands on.
    (SIGTERM would do so as well, after a time for Envoy to notice, which is stopped before it.)"""

    start_timeout = 60.0

    def __init__(
        self,
        layout: Layout,
        argv: Sequence[str],
        env: Mapping[str, str],
        is_ready: Callable[[], bool],
        *,
        name: str = "The server",
        log_name: str = "server.log",
        drain_seconds: float = 5.0,
    ) -> None:
        super().__init__(layout)
        self.stop_steps = (
            StopStep(signal.SIGINT, drain_seconds + CLOSING_SECONDS),
            StopStep(signal.SIGKILL, 0.5),
        )
        self.name = name
        self._argv = tuple(argv)
        self._env = dict(env)
        self._is_ready = is_ready
        self._log_name = log_name

    @property
    def log(self) -> Path:
        """`logs/server.log` unless told otherwise."""
        return self.layout.logs / self._log_name

    def preflight(self) -> None:
        """Nothing to look for: the interpreter runs already."""

    def spawn(self) -> None:
        """See `Part.spawn`."""
        self.process = spawn(Command(argv=self._argv, env=self._env, log=self.log))

    def ready(self) -> bool:
        """It runs, and the probe says so."""
        return self.alive() and self._is_ready()
