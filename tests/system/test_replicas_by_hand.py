"""Replicas in addition to `responsa up` are started, killed and replaced in the way that docs/operations.md describes.

tests/docs starts five replicas with that page's commands. Here, one of each role is enough.
"""

# The health service's stub is untyped.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from responsa_server.embedded import HostState, Layout, host_states
from responsa_server.envoy.replicas import Replicas
from tests.instance import Instance, eventually
from tests.tied import tied

SLOW = "tokens=120 pace_ms=40"
STREAMS = 3


class Replica:
    """A `responsa serve` of this instance."""

    def __init__(self, instance: Instance, name: str, folder: Path, *arguments: str) -> None:
        self.name = name
        self._said = folder / f"{name}.log"
        with self._said.open("wb") as log:
            self.process = subprocess.Popen(
                tied(sys.executable, "-m", "responsa_server", "serve", *arguments),
                env=instance.environment,
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def until_ready(self) -> Replica:
        def ready() -> bool:
            assert self.process.poll() is None, self.said()
            return '"ready"' in self.said()

        eventually(ready, self.said)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


class Fleet:
    """A replica that takes calls and one that runs turns. Envoy knows only the first."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.instance = instance
        self.folder = folder
        self.running: dict[str, Replica] = {}

    def start(self, name: str) -> Replica:
        role = name.partition("-")[0]
        places = ("--listen", self.address(name), "--http-listen", self.address(f"{name}-http"))
        found = Replica(self.instance, name, self.folder, "--role", role, *(places if role == "rpc" else ()))
        self.running[name] = found
        return found

    def address(self, name: str) -> str:
        return f"unix:{self.folder / name}.sock"

    def states(self) -> dict[str, str]:
        """The state of each replica in `responsa replicas list`."""
        lines = self.instance.run("replicas", "list", "--json").stdout.splitlines()
        return {one["name"]: one["state"] for one in map(json.loads, lines)}

    def until(self, **states: str) -> None:
        wanted = {name.replace("_", "-"): state for name, state in states.items()}
        # Check Envoy first, because this is fast. The command takes a second to start, so run it only when Envoy
        # agrees.
        eventually(
            lambda: (
                {name: state == "serving" for name, state in wanted.items()}.items()
                <= self._serving().items()
                and wanted.items() <= self.states().items()
            ),
            lambda: f"{wanted}, not {self.states()}",
        )

    def _serving(self) -> dict[str, bool]:
        layout = Layout.of(self.instance.home)
        serving = {
            host_state.address
            for host_state in host_states(layout.envoy_admin_socket)
            if host_state.state is HostState.SERVING
        }
        return {one.name: str(one.grpc) in serving for one in Replicas(layout.replicas).all()}

    def asks(self) -> list[str]:
        """Asks slow questions, all at the same time, with one command for each question. Returns the output of each command."""

        def ask(number: int) -> str:
            return self.instance.run("ask", "--json", "--agent", "testing", f"{SLOW} seed={number}").stdout

        with ThreadPoolExecutor(STREAMS) as pool:
            return list(pool.map(ask, range(STREAMS)))


def whole(printed: str) -> bool:
    """Whether each event appears once and in order, with an answer at the end."""
    events = [json.loads(line) for line in printed.splitlines()]
    return [int(event["seq"]) for event in events] == list(range(1, len(events) + 1)) and "answer" in events[
        -1
    ]


@pytest.fixture(scope="module")
def fleet(second: Instance) -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="rsf-"))
    found = Fleet(second, folder)
    try:
        for one in [found.start("rpc-2"), found.start("worker-3")]:
            one.until_ready()
        http = ("--http", found.address("rpc-2-http"))
        second.run("replicas", "add", "rpc-2", found.address("rpc-2"), *http)
        found.until(up="serving", rpc_2="serving")
        yield found
    finally:
        for name in found.states():
            if name != "up":
                second.run("replicas", "remove", name)
        for one in found.running.values():
            one.kill()
        shutil.rmtree(folder)


def test_no_two_share_an_address_and_wrong_ones_are_told(fleet: Fleet) -> None:
    taken = fleet.instance.run("serve", "--role", "rpc", "--listen", fleet.address("rpc-2"), check=False)
    assert taken.returncode == 1
    assert taken.stderr.startswith("responsa: Another process listens on unix:/")
    assert "--listen" in taken.stderr
    own = fleet.instance.run("serve", check=False)
    assert (own.returncode, "Another process listens" in own.stderr) == (1, True)
    for arguments, code, told in (
        (("add", "rpc-2", "10.0.0.5:9001"), 1, "there is already a replica rpc-2"),
        (("add", "other", fleet.address("rpc-2")), 1, "address of the replica rpc-2"),
        (("add", "other", "replica.example:9001"), 2, "not an IP address"),
        (("add", "up", "10.0.0.5:9001"), 2, "name of the server that `responsa up` runs"),
        (("remove", "other"), 1, "there is no replica other"),
    ):
        done = fleet.instance.run("replicas", *arguments, check=False)
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert fleet.instance.run("serve", "--listen", "nowhere", check=False).returncode == 1


def test_a_worker_tells_its_health_where_it_is_asked_to(fleet: Fleet) -> None:
    address = fleet.address("worker-6")
    worker = Replica(
        fleet.instance, "worker-6", fleet.folder, "--role", "worker", "--listen", address
    ).until_ready()
    fleet.running["worker-6"] = worker
    with grpc.insecure_channel(address, [("grpc.default_authority", "localhost")]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        told = health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert told.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as raised:
            health.Check(health_pb2.HealthCheckRequest(service="responsa.chat.v1.ChatService"), timeout=30)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND  # pyright: ignore
    assert worker.stop(signal.SIGTERM) == 0, worker.said()


def test_each_is_killed_or_stopped_and_replaced(fleet: Fleet) -> None:
    with ThreadPoolExecutor(1) as pool:
        # The replicas are killed while all answers are running. The answers continue while the replicas are replaced.
        asked = pool.submit(fleet.asks)
        fleet.running["rpc-2"].kill()
        fleet.until(rpc_2="not serving")
        fleet.running["worker-3"].kill()
        assert all(map(whole, asked.result()))
    for one in [fleet.start("rpc-2"), fleet.start("worker-3")]:
        one.until_ready()
    fleet.until(rpc_2="serving")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(fleet.asks)
        for name in ("worker-3", "rpc-2"):
            assert fleet.running[name].stop(signal.SIGTERM) == 0, fleet.running[name].said()
        assert all(map(whole, asked.result()))
