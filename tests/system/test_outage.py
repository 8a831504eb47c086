"""One instance with one trouble after the other: what is broken at its start, PostgreSQL is away, its disk is full, and
its server stands still. The operator and the callers read what it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import httpx2
import pytest

from responsa_client import Responsa, ResponsaError
from responsa_server.system.machine import NO_ROOM, free_space
from tests.disks import small_disk
from tests.instance import ROOT, Instance, eventually, instance_in

DEFAULT = ROOT / "server" / "responsa_server" / "agents" / "shipped" / "default"
LARGE = b"# Rivers\n\n" + b"The Elbe is 1094 kilometres long.\n" * 40_000
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


@pytest.fixture(scope="module")
def troubled(folder: Path) -> Iterator[Instance]:
    """An instance whose data folder has a small disk, with a broken agent and a model that nobody can reach."""
    # Only root may mount a disk.
    with small_disk(folder, "400m") if os.geteuid() == 0 else nullcontext():
        (folder / "tmp").mkdir()
        (folder / "sitecustomize.py").write_text(STANDS_STILL)
        agent = Path(shutil.copytree(DEFAULT, folder / "agents" / "mine")) / "agent.toml"
        steps = (
            agent.read_text(encoding="utf-8").replace("standard = true\n", "").replace('"ranker"', '"grader"')
        )
        agent.write_text(steps, encoding="utf-8")
        settings = {
            "RESPONSA_DOCS": "none",
            "RESPONSA_AGENTS__FOLDER": str(folder / "agents"),
            "RESPONSA_MODELS__SERVERS__LAB__URL": "http://127.0.0.1:9/v1",
            "RESPONSA_MODELS__DEFAULT": '["lab:m"]',
            "RESPONSA_TESTING__AGENT": "true",
            "RESPONSA_TURNS__LEASE_SECONDS": "2",
            "RESPONSA_WATCHDOG_SECONDS": str(LIMIT),
            "PYTHONPATH": str(folder),
            "TMPDIR": str(folder / "tmp"),
        }
        with instance_in(folder, **settings) as instance:
            yield instance


def test_what_is_broken_is_named_at_the_start(troubled: Instance) -> None:
    said = troubled.said()
    status = troubled.run("call", "AdminService.GetSystemStatus").stdout
    for words in (
        r"The agent mine is left out: mine/agent\.toml: nodes\.rank\.kind: "
        r"there is no kind of node “grader”\. Did you mean “ranker”\?",
        r"The model lab:m does not answer: its server cannot be reached\. Check its address, and that it runs\.",
    ):
        assert re.search(rf"^Warning: {words}$", said, re.MULTILINE)
        assert re.search(words, status)


def test_a_database_that_is_away_is_named(troubled: Instance) -> None:
    # The server keeps for a moment who asks.
    troubled.run("call", "AdminService.GetSystemStatus")
    processes = troubled.processes()
    # A supervisor that runs would start PostgreSQL again.
    processes["supervisor"].suspend()
    try:
        family = [processes["postgres"], *processes["postgres"].children(recursive=True)]
        for process in family:
            process.kill()
        refused = troubled.run("documents", "list", "--timeout", "2", check=False)
        assert refused.returncode == 1
        assert re.match(
            r"responsa: The database cannot be reached at the moment\. Waiting until ", refused.stderr
        )
        doctor = troubled.run("doctor", check=False)
        assert doctor.returncode == 1
        assert (
            "WRONG postgresql: is down in the running instance — `responsa up` starts it again"
            in doctor.stdout
        )
        status = troubled.run("call", "AdminService.GetSystemStatus")
        assert "The database cannot be reached at the moment" in status.stdout
        made = troubled.run("admin", "create-tenant", "branch", "--timeout", "5", check=False)
        assert made.returncode == 1
        # On a busy machine, the command says it before it has heard why.
        (waits, ended) = made.stderr.splitlines()
        assert re.match(
            r"responsa: The database (is unavailable|has not answered yet).*\. Waiting until \d\d:\d\d:",
            waits,
        )
        assert ended.endswith("`responsa doctor` names the part that is down.")
    finally:
        processes["supervisor"].resume()
    troubled.run("collections", "list")  # it waits until PostgreSQL is back


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_named_to_the_caller_and_in_the_status(troubled: Instance) -> None:
    """Large uploads are refused as what they are, and the status and the doctor say so."""
    filler = troubled.home.parent / "filler"
    with filler.open("wb") as file, Responsa(troubled.url, troubled.key) as client:
        # The server may write in between, for which 1 MiB is left.
        os.posix_fallocate(file.fileno(), 0, free_space(troubled.home) - (1 << 20))
        assert free_space(troubled.home) < NO_ROOM
        with pytest.raises(ResponsaError) as raised:
            client.upload(LARGE, source_key="large.md")
        assert (raised.value.reason, raised.value.metadata) == ("STORAGE_FULL", {"part": "disk"})
        # A form waits on the disk as a whole, before its parameters are known.
        answer = httpx2.post(
            f"{troubled.url}/v1/uploads",
            files={"file": ("form.md", LARGE)},
            headers={"authorization": f"Bearer {troubled.key}"},
        )
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (429, "STORAGE_FULL")
        full = f"full: the disk of {troubled.home}; free at least 200 MB there"
        # A server looks at its disks once a second.
        eventually(lambda: full in [part.detail for part in client.get_system_status().parts], full)
        doctor = troubled.run("doctor", check=False)
        assert doctor.returncode == 1
        assert f"WRONG disk: The disk that holds {troubled.home}" in doctor.stdout
        os.truncate(filler, 0)
        client.upload(LARGE, source_key="large.md")


def test_a_server_whose_loop_stands_still_is_replaced_and_its_turn_goes_on(troubled: Instance) -> None:
    """It says where its event loop stands still, and ends itself. A server that is only stopped does not."""
    server = troubled.processes()["server"]
    stopped = time.monotonic()
    os.kill(server.pid, signal.SIGSTOP)
    eventually(lambda: time.monotonic() > stopped + 2 * LIMIT, "a long stop")
    os.kill(server.pid, signal.SIGCONT)
    with (
        Responsa(troubled.url, troubled.key) as client,
        client.ask(SLOW, agent="testing", include_deltas=True) as stream,
    ):
        kinds = [next(stream).WhichOneof("event")]
        while kinds[-1] != "delta":
            kinds.append(next(stream).WhichOneof("event"))
        assert troubled.processes()["server"] == server
        os.kill(server.pid, signal.SIGUSR1)
        kinds += [event.WhichOneof("event") for event in stream]
        assert "attempt_restarted" in kinds
        assert stream.terminal is not None
        assert stream.text == stream.terminal.answer.text
    assert "The server exited unexpectedly (exit 70); starting it again." in troubled.said()
    lines = troubled.log("server").splitlines()
    (entry,) = [json.loads(line) for line in lines if '"event": "loop_stood_still"' in line]
    assert entry["level"] == "critical"
    assert entry["seconds"] >= LIMIT
    assert entry["how"] == "hang"
    assert entry["task"] == "idler (stand_still)"
    loop, *threads = entry["stacks"]
    assert re.search(r"/sitecustomize\.py:4 stand_still$", entry["stacks"][loop][-1])
    assert loop.startswith("MainThread ")
    assert any(name.startswith("log ") for name in threads)
    # The same for people, and last a sentence.
    told = lines[lines.index(next(line for line in lines if '"event": "loop_stood_still"' in line)) + 1 :]
    assert f"  {entry['stacks'][loop][-1]}" in told
    assert any(
        re.match(r"The event loop stood still for \d+ s \(hang\) in idler \(stand_still\), so", one)
        for one in told
    )
