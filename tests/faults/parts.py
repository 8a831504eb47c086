"""Runs a campaign's PostgreSQL, Redis and Envoy in a separate process: `python -m tests.faults.parts HOME PORT DURABLE`.

A campaign's process uses gRPC, and such a process must not fork. Therefore this process starts the parts. Each line `{"part", "do"}` on
stdin is a command. `do` is start, stop or kill; kill ends all processes of the part at once. The response to each command is a line
`{"pid", "error"}`. All parts end together with this process, which ends when its stdin closes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from responsa_local.embedded import (
    EmbeddedEnvoy,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    LocalLayout,
    ManagedProcess,
)


def kill(part: ManagedProcess) -> None:
    """Send SIGKILL to all processes of a part, then remove the files that they left."""
    assert part.pid is not None, f"{part.name} does not run"
    first = psutil.Process(part.pid)
    for one in [first, *first.children(recursive=True)]:
        os.kill(one.pid, signal.SIGKILL)
    part.stop()


def keep(home: Path, port: int) -> None:
    """Carry out commands until stdin ends."""
    layout = LocalLayout.of(home)
    parts: Mapping[str, ManagedProcess] = {
        "postgres": EmbeddedPostgres(layout, settings=[("fsync", "off")]),
        "redis": EmbeddedRedis(layout),
        "envoy": EmbeddedEnvoy(layout, layout.envoy_config, listen=("127.0.0.1", port)),
    }
    actions = {"start": ManagedProcess.start, "stop": ManagedProcess.stop, "kill": kill}
    try:
        for line in sys.stdin:
            order = json.loads(line)
            part = parts[order["part"]]
            error = ""
            try:
                actions[order["do"]](part)
            except EmbeddedError as failure:
                error = str(failure)
            print(json.dumps({"pid": part.pid, "error": error}), flush=True)
    finally:
        for part in reversed(parts.values()):
            part.stop()


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]))
