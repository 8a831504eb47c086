"""The process of the embedded model: `python -m responsa_local.embedded.llama_child WEIGHTS SOCKET THREADS WINDOW
CONCURRENT`. It runs until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import xllamacpp

from responsa_formats.sandbox.confinement import UnixUser, become

CACHE_MIB = 128
"""The size, in MiB, of the cache for prompt prefixes that the model has already read."""
# This level logs errors and warnings.
_VERBOSITY = 2


def main(arguments: list[str]) -> None:
    """Load the weights, and answer requests."""
    weights, path, threads, window, concurrent = arguments
    # This thread waits for the signals. The library's threads inherit the signal mask, so they do not receive the signals.
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    os.umask(0o077)
    parameters = _parameters(Path(weights), Path(path), int(threads), int(window), int(concurrent))
    server = xllamacpp.Server(parameters)
    if os.geteuid() == 0:
        # Only now, because another user may be unable to read the packages. The kernel takes the capabilities of all threads.
        become(UnixUser.LANGUAGE_MODEL, UnixUser.LANGUAGE_MODEL)
    signal.sigwait(stops)
    del server
    # Exit without waiting for answers that are still being written.
    os._exit(0)


def _parameters(
    weights: Path, path: Path, threads: int, window: int, concurrent: int
) -> xllamacpp.CommonParams:
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(weights)
    wanted.hostnames = [str(path)]
    # The concurrent answers share n_ctx, so n_ctx is the sum of their windows.
    wanted.n_parallel, wanted.n_ctx = concurrent, window * concurrent
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
    wanted.n_threads_http = max(4, concurrent + 2)
    wanted.use_jinja = True
    wanted.offline = True
    wanted.cache_ram_mib = CACHE_MIB
    wanted.ui = wanted.endpoint_slots = wanted.endpoint_props = False
    wanted.verbosity = _VERBOSITY
    return wanted


if __name__ == "__main__":
    main(sys.argv[1:])
