"""No data leaves the machine: the product runs without a network, and never tries to connect."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from responsa_local.embedded import LocalLayout
from tests import seeds
from tests.instance import Instance, running
from tests.system.conftest import FERRY, Listener

UNREACHED = re.compile(r"^(Ip6OutNoRoutes)\s+(\d+)$", re.MULTILINE)
# This program enables loopback in a separate network namespace, and then executes the real program.
WITHIN = (
    "unshare", "--net", sys.executable, "-c",
    "import fcntl, os, socket, struct, sys\n"
    "with socket.socket() as s: fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x49))\n"
    "os.execvp(sys.argv[1], sys.argv[1:])",
)  # fmt: skip


@pytest.fixture
def alone(folder: Path) -> Iterator[Instance]:
    """An instance in a network namespace that has only loopback."""
    (folder / "docs").mkdir()
    (folder / "docs" / "ferry.md").write_text(FERRY)
    settings = {
        "RESPONSA_DOCS": "none",
        "LANGSMITH_TRACING": "true",
        "LANGCHAIN_TRACING_V2": "true",
        "LANGSMITH_API_KEY": "lsv2_none",
        "HOME": str(folder / "user"),
        "XDG_CACHE_HOME": "",
    }
    (folder / "user").mkdir()
    instance = Instance(folder / "home", 8080, settings, WITHIN)
    layout = LocalLayout.of(instance.home).prepare()
    seeds.plant(layout)
    # The start makes the file of the embedding model itself.
    shutil.rmtree(layout.data / "models")
    with running(instance):
        yield instance


def inside(instance: Instance, *command: str) -> str:
    """Run a command in the instance's network."""
    entered = ["nsenter", f"--net=/proc/{instance.process.pid}/ns/net", *command]
    done = subprocess.run(
        entered, env=instance.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def attempts(instance: Instance) -> list[int]:
    """The number of times a process in the instance's network tried to reach an address without a route, over IPv4 and IPv6."""
    heads, values = (
        line.split()
        for line in inside(instance, "cat", "/proc/net/snmp").splitlines()
        if line.startswith("Ip: ")
    )
    version_6 = inside(instance, "cat", "/proc/net/snmp6")
    found = UNREACHED.search(version_6)
    return [int(values[heads.index("OutNoRoutes")]), int(found[2]) if found else 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network")
def test_without_a_network(alone: Instance) -> None:
    assert "new" in inside(alone, *alone.command("ingest", str(alone.home.parent / "docs")))
    assert "six in the morning" in inside(
        alone, *alone.command("ask", "When does the ferry to Skye leave from Mallaig?")
    )
    assert "ferry" in inside(alone, *alone.command("search", "ferry"))
    assert attempts(alone) == [0, 0]
    # Libraries that send data to their makers store an identity in the user's home.
    assert [*(alone.home.parent / "user").rglob("*")] == []
    # This attempt shows that the count works.
    probe = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect_ex(('192.0.2.1', 53))"
    )
    inside(alone, sys.executable, "-c", probe)
    assert attempts(alone)[0] > 0


def test_somebody_elses_tracer_is_not_called(second: Instance, collector: Listener) -> None:
    assert (
        "six in the morning"
        in second.run(
            "ask", "--collection", "responsa-docs", "When does the ferry to Skye leave from Mallaig?"
        ).stdout
    )
    server = second.processes()["server"]
    assert not [name for name in server.environ() if name.startswith("RESPONSA_API_KEY")]
    assert collector.calls == 0
