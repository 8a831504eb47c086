"""Runs a campaign's PostgreSQL, Redis and Envoy in a separate process: `python -m tests.faults.parts HOME PORT DURABLE`.

A campaign's process uses gRPC, and such a process must not fork. Orders come as lines `{"part", "do"}` on
stdin: start, stop, kill (of all its processes at once).
Each is answered by a line `{"pid", "error"}`. All parts end with this process, and it ends when its stdin closes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from responsa_server.embedded import (
    EmbeddedEnvoy,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    Layout,
    Part,
)


def kill(part: Part) -> None:
    """kill -9 of all its processes, then remove their leftover files."""
    assert part.pid is not None, f"{part.name} does not run"
    first = psutil.Process(part.pid)
    for one in [first, *first.children(recursive=True)]:
        os.kill(one.pid, signal.SIGKILL)
    part.stop()


def keep(home: Path, port: int, *, durable: bool) -> None:
    """Serve orders until stdin ends."""
    layout = Layout.of(home)
    parts: Mapping[str, Part] = {
        "postgres": EmbeddedPostgres(layout, settings=[] if durable else [("fsync", "off")]),
        "redis": EmbeddedRedis(layout),
        "envoy": EmbeddedEnvoy(layout, layout.envoy_config, listen=("127.0.0.1", port)),
    }
    actions = {"start": Part.start, "stop": Part.stop, "kill": kill}
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
    keep(Path(sys.argv[1]), int(sys.argv[2]), durable=sys.argv[3] == "durable")
