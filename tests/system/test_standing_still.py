"""A server whose event loop stands still says where, ends itself, and is replaced; one that is only stopped is not."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from responsa_client import Responsa
from tests.instance import Instance, eventually, instance_in

LIMIT = 2.0
SLOW = "tokens=80 pace_ms=50"
# On SIGUSR1, a task of the server's event loop waits without an end.
STANDS_STILL = """import asyncio, signal, sys, time
async def stand_still():
    while True:
        time.sleep(1)
if "serve" in sys.orig_argv:
    signal.signal(signal.SIGUSR1, lambda *_: asyncio.get_running_loop().create_task(stand_still(), name="idler"))
"""


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[Instance]:
    (tmp_path / "sitecustomize.py").write_text(STANDS_STILL)
    settings = {
        "RESPONSA_DOCS": "none",
        "RESPONSA_TESTING__AGENT": "true",
        "RESPONSA_TURNS__LEASE_SECONDS": "2",
        "RESPONSA_WATCHDOG_SECONDS": str(LIMIT),
        "PYTHONPATH": str(tmp_path),
    }
    with instance_in(tmp_path, **settings) as one:
        yield one


def test_a_server_whose_loop_stands_still_is_replaced_and_its_turn_goes_on(blocked: Instance) -> None:
    server = blocked.processes()["server"]
    stopped = time.monotonic()
    os.kill(server.pid, signal.SIGSTOP)
    eventually(lambda: time.monotonic() > stopped + 2 * LIMIT, "a long stop")
    os.kill(server.pid, signal.SIGCONT)
    with (
        Responsa(blocked.url, blocked.key) as client,
        client.ask(SLOW, agent="testing", include_deltas=True) as stream,
    ):
        kinds = [next(stream).WhichOneof("event")]
        while kinds[-1] != "delta":
            kinds.append(next(stream).WhichOneof("event"))
        assert blocked.processes()["server"] == server
        os.kill(server.pid, signal.SIGUSR1)
        kinds += [event.WhichOneof("event") for event in stream]
        assert "attempt_restarted" in kinds
        assert stream.terminal is not None
        assert stream.text == stream.terminal.answer.text
    assert "The server ended unexpectedly (exit 70); starting it again." in blocked.said()
    lines = blocked.log("server").splitlines()
    (entry,) = [json.loads(line) for line in lines if '"event": "loop_stood_still"' in line]
    assert entry["level"] == "critical"
    assert entry["seconds"] >= LIMIT
    assert entry["task"] == "idler (stand_still)"
    loop, *threads = entry["stacks"]
    assert re.search(r"/sitecustomize\.py:4 stand_still$", entry["stacks"][loop][-1])
    assert loop.startswith("MainThread ")
    assert any(name.startswith("log ") for name in threads)
    # The same for people, and last a sentence.
    told = lines[lines.index(next(line for line in lines if '"event": "loop_stood_still"' in line)) + 1 :]
    assert f"  {entry['stacks'][loop][-1]}" in told
    assert any(
        re.match(r"The event loop stood still for \d+ s in idler \(stand_still\), so", one) for one in told
    )
