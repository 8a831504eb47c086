"""Several processes answer behind one Envoy: `responsa up` starts and restarts them, and others join by hand. No call
and no event is lost."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import httpx2
import psutil
import pytest

from responsa.admin.v1.system_status_pb2 import Health
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_client import Responsa
from responsa_local.embedded import LocalLayout
from responsa_local.envoy.replicas import Replicas
from responsa_server.app.envoy_hosts import HostState, host_states
from responsa_server.telemetry.instruments import TABLE
from tests.instance import PATIENCE, START_PATIENCE, Instance, eventually, instance_in
from tests.system.conftest import FERRY
from tests.tied import tied
from tests.transports import stub_of

QUESTION = "When does the ferry to Skye leave from Mallaig?"
SLOW = "tokens=20 pace_ms=120"
QUICK = "tokens=2 pace_ms=1"
STREAMS = 3


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[Instance]:
    """An instance with two servers, and a process that ingests documents."""
    (folder / "docs").mkdir()
    (folder / "docs" / "ferry.md").write_text(FERRY)
    settings = {
        "RESPONSA_DOCS": str(folder),
        "RESPONSA_SERVERS": "2",
        "RESPONSA_INGESTION__OWN_PROCESS": "true",
        "RESPONSA_TESTING__AGENT": "true",
        "RESPONSA_TURNS__LEASE_SECONDS": "2",
        "RESPONSA_DRAIN_SECONDS": "1",
        "RESPONSA_TELEMETRY__METRICS": "true",
    }
    with instance_in(folder, **settings) as one:
        yield one


def servers(instance: Instance) -> dict[str, psutil.Process]:
    """The processes that `up` runs for this instance, by the names of the sockets for HTTP."""
    found = dict[str, psutil.Process]()
    for process in instance.processes()["supervisor"].children():
        with suppress(psutil.NoSuchProcess):  # it ended, and is perhaps not yet reaped
            if "serve" in (line := process.cmdline()):
                found[Path(line[-1]).stem] = process
    return found


def measured(text: str) -> dict[str, float]:
    """The samples of an exposition, by name and labels."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def listed(instance: Instance) -> list[str]:
    """The names of all servers that Envoy knows."""
    return [one.name for one in Replicas(LocalLayout.of(instance.home).replicas).all()]


def until_serving(instance: Instance, count: int) -> None:
    """Wait until Envoy sends calls to this many servers."""
    socket = LocalLayout.of(instance.home).envoy_admin_socket

    def serving() -> int:
        return sum(one.cluster == "server" and one.state is HostState.SERVING for one in host_states(socket))

    eventually(lambda: serving() == count, lambda: f"{count} servers; {host_states(socket)}")


def stream(instance: Instance, question: str = SLOW) -> list[int]:
    """Ask with the client, which follows the answer from server to server. Returns the seq of all events, and checks
    that an answer is the last."""
    with Responsa(instance.url, instance.key) as client:
        events = list(client.ask(question, agent="testing", include_deltas=True))
    assert events[-1].WhichOneof("event") == "answer"
    return [event.seq for event in events]


@contextmanager
def streaming(instance: Instance) -> Generator[list[list[int]]]:
    """During the block, ask one question after the other in several threads. Afterwards, every stream was whole."""
    over, streams = threading.Event(), list[list[int]]()

    def ask() -> None:
        streams.append(stream(instance))
        while not over.is_set():
            streams.append(stream(instance))

    with ThreadPoolExecutor(STREAMS) as pool:
        tasks = [pool.submit(ask) for _ in range(STREAMS)]
        try:
            yield streams
        finally:
            over.set()
        for task in tasks:
            task.result()
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in streams)


@contextmanager
def calling(instance: Instance) -> Generator[Sequence[object]]:
    """During the block, make calls that nobody repeats. The list has the result of each."""
    over, results = threading.Event(), list[object]()

    def call() -> None:
        options = [("grpc.enable_retries", 0)]
        with grpc.insecure_channel(instance.target, options) as channel:
            stub = stub_of(channel, "ChatService")
            metadata = [("authorization", f"Bearer {instance.key}")]
            while not over.wait(0.1):
                try:
                    stub.ListAgents(chat.ListAgentsRequest(), metadata=metadata, timeout=60)
                    results.append("")
                except grpc.RpcError as error:
                    results.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield results
    finally:
        over.set()
        thread.join()


def test_each_process_does_its_part(pair: Instance) -> None:
    said = pair.said()
    assert said.index("Loading Responsa's own documents") < said.index("Responsa is ready")
    assert {name: process.cmdline()[6] for name, process in servers(pair).items()} == {
        "gateway": "answers",
        "gateway-2": "answers",
        "jobs": "jobs",
    }

    def both_answer() -> bool:
        return bool(stream(pair, QUICK)) and all(
            "ChatService/Ask" in pair.log(log) for log in ("server", "server-2")
        )

    eventually(both_answer, "an answer of each server")
    with Responsa(pair.url, pair.key) as client:
        assert "six in the morning" in client.answer(QUESTION).terminal_event.answer.text
        parts = client.get_system_status().parts
    assert {one.part: one.health for one in parts}["jobs"] == Health.HEALTH_OK, parts


def test_restart_replaces_all_without_a_failed_call(pair: Instance) -> None:
    before = servers(pair)
    with calling(pair) as results, streaming(pair) as streams:
        done = subprocess.run(
            pair.command("restart"),
            env=pair.environment,
            timeout=START_PATIENCE,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert done.stdout.splitlines() == [
        "Server 1 was replaced.",
        "Server 2 was replaced.",
        "The process that ingests documents was replaced.",
    ]
    assert [result for result in results if result] == []
    print(f"{len(results)} calls and {len(streams)} streams during the restart")
    assert {*servers(pair)} == {"gateway-1b", "gateway-2b", "jobsb"}
    assert not any(process.is_running() for process in before.values())
    assert listed(pair) == ["up-1b", "up-2b"]


@pytest.mark.soak
def test_another_one_joins_by_hand_and_leaves(pair: Instance) -> None:
    address = f"unix:{LocalLayout.of(pair.home).run}/rpc-2.sock"
    arguments = ("serve", "--role", "rpc", "--listen", address)
    log = pair.home.parent / "rpc-2.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            tied(*pair.command(*arguments)), env=pair.environment, stdout=said, stderr=said
        )
    try:
        pair.run("replicas", "add", "rpc-2", address)
        until_serving(pair, 3)
        lines = pair.run("replicas", "list", "--json").stdout.splitlines()
        states = {one["name"]: one["state"] for one in map(json.loads, lines)}
        assert states == dict.fromkeys(listed(pair), "serving")
        assert [*states] == ["up-1b", "up-2b", "rpc-2"]
        taken = pair.run(*arguments, check=False)
        assert taken.returncode == 1
        assert taken.stderr.startswith("responsa: Another process listens on unix:/")
        assert "--listen" in taken.stderr
        with streaming(pair):
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        assert '"draining"' in log.read_text(encoding="utf-8")
        pair.run("replicas", "remove", "rpc-2")
        assert listed(pair) == ["up-1b", "up-2b"]
    finally:
        process.kill()
        process.wait()


def test_prometheus_finds_each_server_and_what_it_did(pair: Instance) -> None:
    until_serving(pair, 2)
    targets = {
        one["labels"]["server"]: one["targets"][0]
        for file in LocalLayout.of(pair.home).metrics.glob("*.json")
        for one in json.loads(file.read_text())
    }
    assert {name.removesuffix("b") for name in targets} == {"up-1", "up-2", "up-jobs"}
    with Responsa(pair.url, pair.key) as client:
        for _ in range(2):
            assert [*client.ask(QUICK, agent="testing")]
    user = pair.run("admin", "create-user", "default", "Asker").stdout.strip()
    manager = pair.run("admin", "create-user", "default", "Manager", "--role", "admin").stdout.strip()
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as http:
        assert http.get(f"{pair.url}/metrics").status_code == 401
        for name in (user, manager):
            key = pair.run("admin", "create-key", "default", name).stdout.strip()
            refused = http.get(f"{pair.url}/metrics", headers={"authorization": f"Bearer {key}"})
            assert (refused.status_code, "responsa_" in refused.text) == (403, False)
        headers = {"authorization": f"Bearer {pair.key}"}

        def total(start: str) -> float:
            samples = measured(http.get(f"{pair.url}/metrics", headers=headers).raise_for_status().text)
            return sum(value for name, value in samples.items() if name.startswith(start))

        eventually(lambda: total('responsa_turns_total{server="up-') >= 2, "both turns")
        assert total("responsa_calls_total") >= 2
        assert total("responsa_server_up") == len(targets)
        each = {name: http.get(f"http://{address}/metrics").text for name, address in targets.items()}
        for name, address in targets.items():
            # A name that leads here may be a stranger's.
            refused = http.get(
                f"http://{address}/metrics", headers={"host": f"evil.example:{address.rpartition(':')[2]}"}
            )
            assert (refused.status_code, "responsa_" in refused.text) == (403, False), name
    for name, text in each.items():
        assert measured(text)["process_resident_memory_bytes"] > 0, name
    together = "".join(each.values())
    known = {one.exposed: one for one in TABLE}
    shown = {line.split()[2] for line in together.splitlines() if line.startswith("# TYPE responsa_")}
    assert shown <= set(known)
    # What a turn measures, and what every server always shows.
    for metric in (
        "turns",
        "calls",
        "turn_first_event",
        "commit_turns",
        "pool_connections",
        "part_health",
        "loop_lag",
    ):
        assert any(name.startswith(f"responsa_{metric}") for name in shown), metric
    # No label has an id, and all are those of the table.
    for labels in re.findall(r"^(responsa_\w+)\{([^}]*)\}", together, re.MULTILINE):
        base = re.sub(r"_(bucket|sum|count)$", "", labels[0])
        names = {pair.partition("=")[0] for pair in re.findall(r'\w+="[^"]*"', labels[1])} - {"le"}
        assert names == set(known[base if base in known else labels[0]].labels), labels
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", labels[1])
