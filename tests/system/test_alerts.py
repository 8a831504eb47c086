"""Real faults make the alerts fire, and their end ends them: `make soak CAMPAIGN=alerts`.

One real Prometheus evaluates the shipped rules over one instance. All their times are divided by SHORTENED, and the
ages of QUICKER replace those that nobody waits for. Two
alerts are left out, because their windows of days would end nothing within an hour: ResponsaCostDay and ResponsaBudgetBurnsSlowly;
and three that count what contract tests count: ResponsaSourcesFail, ResponsaMailsFail and ResponsaDeliveriesFail.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from responsa_client import Responsa
from tests.instance import Instance, eventually, instance_in
from tests.prometheus import RULES, Prometheus, watching
from tests.wire.embeddings import vector_of
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Scene

SHORTENED = 60
QUICKER = {"> 900": "> 15", "/ 3600) > 26": "/ 3600) > 0.01"}
"""A job that waits for 15 s, and a backup of 36 s, are too old."""
MINUTES = 300.0
"""How many seconds an alert may take on a busy machine."""
UNITS = {"m": 60, "h": 3600, "d": 86400}
RUNNING = 8
"""How many turns a server runs at the same time. There are two servers."""
SLOW = 20.0
"""After how many seconds a slow model answers. A model that takes 30 s is not called any more."""
EXPENSIVE = 600_000
"""The tokens of an answer that costs six dollars."""

pytestmark = pytest.mark.soak


def shortened(rules: str) -> str:
    """The rules with shorter times; ranges stay long enough for some samples."""

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match[2]) * UNITS[match[3]] // SHORTENED
        return f"{match[1]}{max(seconds, 15 if match[1] == '[' else 3)}s"

    for slow, quick in QUICKER.items():
        rules = rules.replace(slow, quick)
    return re.sub(r"(\[|for: |interval: |offset )(\d+)([mhd])", shorter, rules)


class Vendor:
    """A vendor of language and embedding models with OpenAI's protocol. status: of its answers. delay: the seconds
    before an answer. tokens: how many it bills for one. It answers while `open` is set."""

    def __init__(self) -> None:
        self.status, self.delay, self.tokens = 200, 0.0, 3
        self.open = threading.Event()
        self.open.set()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                vendor.open.wait()
                threading.Event().wait(vendor.delay)
                with suppress(OSError):
                    self.send_response(vendor.status)
                    form = "text/event-stream" if "messages" in body else "application/json"
                    self.send_header("content-type", form)
                    self.end_headers()
                    self.wfile.write(vendor.answer(body))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, body: Mapping[str, Any]) -> bytes:
        """The answer to a request."""
        if self.status != 200:
            return json.dumps(OpenAi().complaint(self.status).body).encode()
        if "input" not in body:
            return b"".join(OpenAi().events(Scene(["It is so."], usage=(7, 0, 0, self.tokens))))
        rows = [
            {"index": place, "embedding": vector_of(text, 384)} for place, text in enumerate(body["input"])
        ]
        return json.dumps({"data": rows, "model": body["model"], "usage": {"prompt_tokens": 1}}).encode()

    def close(self) -> None:
        """End the server."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Harness:
    """The instance, whose data folder is a small disk of its own. user: the key of a user who may ask once a minute."""

    instance: Instance
    vendor: Vendor
    prometheus: Prometheus
    user: str

    def servers(self) -> Sequence[psutil.Process]:
        """The processes that answer."""
        return [one for one in self.instance.processes()["supervisor"].children() if "serve" in one.cmdline()]


AGENT = """name = "Asking"
description = "Asks a model."
start = "write"
model = { chain = ["openai:gpt-4o"], max_output_tokens = 200 }
history = { messages = 0 }

[nodes]
write = { kind = "prompt", prompt = "reply" }
"""
PROMPT = '+++\nvariables = { question = "what was asked" }\n+++\nAnswer.\n=== user\n{{ question }}\n'


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    folder, vendor = Path(tempfile.mkdtemp(prefix="rso-")), Vendor()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "alerts", folder], check=True)
    rules, agent = folder / "rules", folder / "agents" / "asking"
    try:
        rules.mkdir()
        for path in RULES.glob("*.yml"):
            (rules / path.name).write_text(shortened(path.read_text(encoding="utf-8")), encoding="utf-8")
        (agent / "prompts").mkdir(parents=True)
        (agent / "agent.toml").write_text(AGENT, encoding="utf-8")
        (agent / "prompts" / "reply.md").write_text(PROMPT, encoding="utf-8")
        settings = {
            "RESPONSA_SERVERS": "2",
            "RESPONSA_TELEMETRY__METRICS": "true",
            "RESPONSA_DOCS": "none",
            "RESPONSA_AGENTS__FOLDER": str(agent.parent),
            "RESPONSA_LIMITS__USER__MESSAGES_PER_MINUTE": "1",
            "RESPONSA_TURNS__MAX_RUNNING": str(RUNNING),
            "RESPONSA_TURNS__LEASE_SECONDS": "2",
            # The campaign stops servers from outside, so no turn is the cause.
            "RESPONSA_TURNS__MAX_LOSSES": "100",
            "RESPONSA_TURNS__ALONE_AFTER_LOSSES": "100",
            "RESPONSA_MODELS__RETRIES": "0",
            "RESPONSA_MODELS__PATIENCE_SECONDS": "600",
            "RESPONSA_MODELS__VENDORS__OPENAI__URL": vendor.url,
            "RESPONSA_MODELS__VENDORS__OPENAI__API_KEY": KEY,
            "RESPONSA_MODELS__SERVERS__LAB__URL": vendor.url,
            "RESPONSA_MODELS__EMBEDDINGS": '{"lab:counting": {"max_tokens": 8192, "dimensions": 384}}',
            "RESPONSA_RETRIEVAL__EMBEDDING": "lab:counting",
        }
        with instance_in(folder, **settings) as one, watching(one, rules) as prometheus:
            user = one.run("admin", "create-user", "default", "Asker").stdout.strip()
            key = one.run("admin", "create-key", "default", user).stdout.strip()
            yield Harness(one, vendor, prometheus, key)
    finally:
        vendor.close()
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def call(harness: Harness, path: str, key: str = "", body: object = None) -> None:
    """Make a call of the REST API, whatever becomes of it, without waiting for ever."""
    request = Request(
        f"{harness.instance.url}/v1/{path}",
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Bearer {key or harness.instance.key}", "content-type": "application/json"},
    )
    with suppress(OSError):
        urlopen(request, timeout=20 if body is None else MINUTES).read()


def ask(harness: Harness, key: str = "") -> None:
    """Ask a question and wait for the answer."""
    call(harness, "turns:answer", key, {"text": "Is it so?", "agent": "agents/asking"})


@contextmanager
def repeated(work: Callable[[], None], threads: int) -> Generator[None]:
    """During the block, do this again and again in so many threads."""
    over = threading.Event()

    def go() -> None:
        while not over.wait(0.2):
            work()

    running = [threading.Thread(target=go) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


@contextmanager
def hanging(harness: Harness, part: str) -> Generator[None]:
    """A part with all its processes hangs."""
    process = harness.instance.processes()[part]
    family = [process, *process.children(recursive=True)]
    for each in family:
        each.suspend()
    try:
        with repeated(lambda: call(harness, "conversations"), 4):
            yield
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.resume()


@contextmanager
def load(harness: Harness, streams: int = 8, key: str = "", **vendor: object) -> Generator[None]:
    """Questions are asked all the time, and the vendor has these attributes."""
    before = {name: getattr(harness.vendor, name) for name in vendor}
    vars(harness.vendor).update(vendor)
    with repeated(lambda: ask(harness, key), streams):
        try:
            yield
        finally:
            vars(harness.vendor).update(before)


@contextmanager
def silent(harness: Harness) -> Generator[None]:
    """The vendor accepts requests and answers none."""
    harness.vendor.open.clear()
    try:
        yield
    finally:
        harness.vendor.open.set()


@contextmanager
def stalling(harness: Harness) -> Generator[None]:
    """One server after the other stops for longer than a lease, but not so long that the supervisor replaces it."""
    servers = itertools.cycle(harness.servers())

    def stall() -> None:
        server = next(servers)
        server.suspend()
        threading.Event().wait(6)
        server.resume()

    with load(harness, RUNNING, delay=SLOW), repeated(stall, 1):
        yield


@contextmanager
def filled(harness: Harness) -> Generator[None]:
    """The disk is full but for a twentieth."""
    filler, disk = harness.instance.home / "filler", shutil.disk_usage(harness.instance.home)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.free - disk.total // 20)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def stuck(harness: Harness) -> Generator[None]:
    """The embedding model is silent, and more documents wait than the servers read at the same time."""
    with silent(harness), Responsa(harness.instance.url, harness.instance.key) as client:
        for number in range(60):
            client.upload(f"Boat {number} has a crew.".encode(), source_key=f"{number}.txt")
        yield


@contextmanager
def unsaved(harness: Harness) -> Generator[None]:
    """Nobody makes another backup until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        yield
        harness.instance.run("backup", folder)


FAULTS: Mapping[str, tuple[Callable[[Harness], AbstractContextManager[None]], set[str]]] = {
    "Redis hangs": (partial(hanging, part="redis"), {"ResponsaPartDegraded"}),
    "a server hangs": (partial(hanging, part="server"), {"ResponsaDown"}),
    "PostgreSQL hangs": (partial(hanging, part="postgres"), {"ResponsaErrors", "ResponsaPartDown"}),
    "the model answers 500": (partial(load, status=500), {"ResponsaBudgetBurnsFast"}),
    "the model is slow": (partial(load, delay=7.0), {"ResponsaSlowAnswers"}),
    "the model is expensive": (partial(load, streams=1, tokens=EXPENSIVE), {"ResponsaCostHour"}),
    "a user asks too often": (lambda harness: load(harness, key=harness.user), {"ResponsaRefusals"}),
    "more is asked than is answered": (
        partial(load, streams=7 * RUNNING, delay=SLOW),
        {"ResponsaQueue"},
    ),
    "servers stop for seconds": (stalling, {"ResponsaLeasesLost"}),
    "the embedding model hangs": (stuck, {"ResponsaIngestionStuck"}),
    "the disk fills": (filled, {"ResponsaDisk"}),
    "nobody makes a backup": (unsaved, {"ResponsaBackupOld"}),
}
"""Each fault, and the alerts that must tell of it."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_until_it_ends(harness: Harness, fault: str, tmp_path: Path) -> None:
    cause, alerts = FAULTS[fault]
    firing = harness.prometheus.firing
    # The age of the backup is no other fault.
    harness.instance.run("backup", str(tmp_path))
    eventually(lambda: bool(harness.prometheus.query("responsa_part_health")), "the metrics")
    eventually(lambda: not alerts & firing(), f"{alerts} are quiet at first", MINUTES)
    began = time.monotonic()
    with cause(harness):
        eventually(lambda: alerts <= firing(), lambda: f"{alerts}; {firing()} fire", MINUTES)
        told, others = time.monotonic() - began, firing() - alerts
    ended = time.monotonic()
    eventually(lambda: not alerts & firing(), f"the end of {alerts}", MINUTES)
    print(
        f"\n{fault}: {', '.join(sorted(alerts))} after {told:.0f} s, gone {time.monotonic() - ended:.0f} s after its end; "
        f"{', '.join(sorted(others)) or 'nothing'} beside it"
    )
