"""`python -m bench.memory_ingest`: how much memory the server needs to read a large text, beyond what it needs when idle.

A real instance gets the text over the wire. The figure is the resident memory of the server's process, at its peak
minus idle, from the first byte of the upload until a number of passages are stored; the sandbox is apart. Then the
operation is cancelled, because the rest of its passages need the same memory and hours.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from bench.processes import leave_in_order
from responsa.knowledge.v1 import document_pb2
from responsa_client import Responsa
from responsa_client.results import ingest_progress
from tests.instance import instance_in

AIM_MB: Final = 250
_MIB: Final = 1024 * 1024
_SAMPLE_SECONDS: Final = 0.02
_WORDS: Final = (
    "river",
    "bank",
    "lighthouse",
    "keeper",
    "tide",
    "table",
    "harbour",
    "office",
    "stone",
    "bridge",
    "market",
)


def text_of(size: int, seed: int = 1) -> bytes:
    """A plain text of exactly `size` bytes, in paragraphs of sentences."""
    chance = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        sentences = (
            " ".join(chance.choices(_WORDS, k=chance.randint(6, 18))).capitalize() + "."
            for _ in range(chance.randint(2, 9))
        )
        parts.append(f"{len(parts)}. {' '.join(sentences)}")
        length += len(parts[-1]) + 2
    return "\n\n".join(parts).encode()[:size]


class Peak:
    """The largest resident memory of a process during a block, in bytes."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self._stopped = threading.Event()
        self.bytes = 0

    @contextmanager
    def measured(self) -> Generator[None]:
        """Measure during the block."""
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self.process.memory_info().rss)


def measure(size: int, passages: int) -> tuple[float, float, float, float]:
    """Read a text of `size` bytes until `passages` are stored. Returns the idle and the peak memory in MB (10⁶ bytes),
    and the seconds until the text was accepted and until it was cut.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rsp-") as folder,
        instance_in(Path(folder), RESPONSA_DOCS="none") as instance,
        Responsa(instance.target, instance.key) as client,
    ):
        # The first document loads what is loaded only once.
        client.wait(client.upload(text_of(_MIB // 16), source_key="first.txt"))
        server = instance.processes()["server"]
        idle = server.memory_info().rss
        peak = Peak(server)
        with peak.measured():
            began = time.monotonic()
            operation = client.upload(text_of(size), source_key="large.txt")
            accepted, cut = time.monotonic() - began, 0.0
            for state in client.watch_operation(operation):
                if state.operation.done:
                    raise SystemExit(f"the operation ended: {state.operation}")
                progress = ingest_progress(state.operation)
                assert progress is not None
                if not cut and progress.stage == document_pb2.INGEST_STAGE_EMBEDDING:
                    cut = time.monotonic() - began
                if progress.passages_done >= passages:
                    break
        client.cancel_operation(operation.name)
        return idle / 1e6, peak.bytes / 1e6, accepted, cut


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 if the figure misses its aim."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory_ingest", description=__doc__)
    parser.add_argument("--mib", type=int, default=64, help="the size of the text")
    parser.add_argument("--passages", type=int, default=32, help="the number of stored passages to wait for")
    options = parser.parse_args(arguments)
    leave_in_order()
    idle, peak, accepted, cut = measure(options.mib * _MIB, options.passages)
    print(
        f"{options.mib} MiB of text: idle {idle:.0f} MB, peak {peak:.0f} MB, over idle "
        f"{peak - idle:.0f} MB (aim {AIM_MB}); accepted after {accepted:.1f} s, cut after "
        f"{cut:.1f} s"
    )
    return 0 if peak - idle <= AIM_MB else 1


if __name__ == "__main__":
    sys.exit(main())
