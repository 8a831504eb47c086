"""A restored instance beside the original: nothing happens twice outside, until `responsa activate` lets it go on; and
an instance whose passwords were lost."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from tests.instance import PATIENCE, START_PATIENCE, Instance, eventually, free_port, running
from tests.system.test_journey import answer, ingest
from tests.transports import Json, Ways


class Outside:
    """A system that the testing agent's tools act on. calls: how often it was called, by the key of the call. A call
    ends when `open` is set."""

    def __init__(self) -> None:
        self.calls = Counter[str]()
        self.open = threading.Event()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                outside.calls[self.headers["idempotency-key"]] += 1
                outside.open.wait(START_PATIENCE)
                self.send_response(200)
                self.send_header("content-length", "4")
                self.end_headers()
                self.wfile.write(b"done")

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    system = Outside()
    yield system
    system.close()


@pytest.fixture(scope="module")
def old(folder: Path, outside: Outside) -> Iterator[Instance]:
    """The original. It has a document about a well."""
    with running(Instance(folder / "old", free_port(), settings(outside))) as original:
        with Ways(original.target) as ways:
            headers = {"authorization": f"Bearer {original.key}"}
            ingest(ways, headers, "well", "The well in the yard is twelve feet deep.")
        yield original


def settings(outside: Outside) -> dict[str, str]:
    return {
        "RESPONSA_DOCS": "none",
        "RESPONSA_TESTING__AGENT": "true",
        "RESPONSA_TESTING__TOOL_URL": outside.url,
        "RESPONSA_DRAIN_SECONDS": "0",
    }


def health(instance: Instance) -> Json:
    report: Json = httpx2.get(f"{instance.url}/health", timeout=PATIENCE, trust_env=False).json()
    return report


def state(ways: Ways, headers: dict[str, str], turn: str) -> str:
    return str(ways.call("ChatService/GetTurn", {"name": turn}, headers).message["state"])


def test_a_restored_instance_does_nothing_outside_until_it_is_activated(
    old: Instance, outside: Outside, folder: Path
) -> None:
    """The turn of the backup waits for its tool, whose calls may be repeated. The original goes on."""
    with ExitStack() as stack:
        headers = {"authorization": f"Bearer {old.key}"}
        ways = stack.enter_context(Ways(old.target))
        pool = stack.enter_context(ThreadPoolExecutor())
        stack.callback(outside.open.set)
        script = {"text": "tokens=3 tool=idempotent", "agent": "agents/testing"}
        # The turn goes on without its reader.
        pool.submit(ways.call, "ChatService/Ask", script, headers)
        eventually(lambda: bool(outside.calls), "the call of the tool")
        [(key, _)] = outside.calls.items()
        turn = f"turns/{key.partition('/')[0]}"
        (archive,) = old.run("backup", str(folder / "b"), "--dump").stdout.split()

        connections = folder / "connections"
        connections.mkdir()
        site = f'kind = "web"\ntenants = ["*"]\nsites = ["{outside.url}"]\nallow_private = ["127.0.0.1"]\n'
        (connections / "site.toml").write_text(site)
        place = {"RESPONSA_SOURCES__FOLDER": str(connections)}
        new = Instance(folder / "new", free_port(), settings(outside) | place)
        assert "responsa activate" in new.run("restore", archive).stdout
        stack.enter_context(running(new))
        assert "is paused" in new.said()
        assert (health(new)["paused"], health(new)["parts"]["restore"]) == (True, "degraded")
        assert health(old)["paused"] is False
        assert "1 turn and 0 jobs wait" in new.run("doctor", check=False).stdout
        here = stack.enter_context(Ways(new.target))

        # It answers, and calls no tool with effects.
        cited = answer(here, headers, "How deep is the well in the yard?")["terminalEvent"]["answer"]
        assert cited["citations"]
        frames = here.call(
            "ChatService/Ask", {"text": "tokens=3 tool=once", "agent": "agents/testing"}, headers
        ).messages
        events = [event for frame in frames for event in frame["events"]]
        assert [event["toolResult"]["fault"] for event in events if "toolResult" in event] == [
            "TOOL_FAULT_PAUSED"
        ]
        assert "answer" in events[-1]
        # It reads no website for a preview.
        mapping = f'connection = "site"\ncollection = "default"\npages.sitemaps = ["{outside.url}/map.xml"]'
        refused = here.call("AdminService/PreviewSource", {"mapping": mapping}, headers).problem
        assert refused is not None
        info = next(detail for detail in refused["details"] if "reason" in detail)
        assert (info["reason"], info["metadata"].get("fault")) == ("SOURCE_UNREADABLE", "PAUSED")
        # What callers bring is accepted, and waits.
        request = {"metadata": {"sourceKey": "barn"}, "text": "The barn has two doors."}
        name = here.call("KnowledgeService/CreateDocument", request, headers).message["name"]
        waits = here.call("Operations/WaitOperation", {"name": name, "timeout": "0.5s"}, headers).message
        assert waits["metadata"]["paused"]
        assert "done" not in waits
        assert state(here, headers, turn) == "TURN_STATE_RUNNING"
        assert outside.calls == {key: 1}

        said = new.run("activate", "--yes").stdout
        assert "1 turn of the backup will continue" in said
        assert "1 job will run" in said
        eventually(lambda: outside.calls == {key: 2}, lambda: f"the repeated call: {outside.calls}")
        outside.open.set()
        for door in (ways, here):
            eventually(lambda one=door: state(one, headers, turn) == "TURN_STATE_ANSWERED", "an answer")
        waited = here.call("Operations/WaitOperation", {"name": name, "timeout": "60s"}, headers).message
        assert "paused" not in waited["metadata"]
        assert "error" not in waited
        assert waited["done"]
        eventually(lambda: health(new)["paused"] is False, "the end of the pause in the health")
        assert health(new)["parts"]["restore"] == "ok"
        assert "is not paused" in new.run("activate").stdout


def test_lost_passwords_lose_nothing(old: Instance, folder: Path) -> None:
    headers = {"authorization": f"Bearer {old.key}"}
    assert old.interrupt() == 0
    for name in ("secrets.json", "token-secret"):
        (old.home / name).unlink()
    for command in ("up", "doctor", "backup"):
        refused = old.run(command, *([str(folder / "b")] if command == "backup" else []), check=False)
        assert refused.returncode == 1
        assert "responsa up --repair" in refused.stdout + refused.stderr
        assert "purge" not in refused.stdout + refused.stderr

    old.start("--repair").until_ready()
    with Ways(old.target) as ways:
        cited = answer(ways, headers, "How deep is the well in the yard?")["terminalEvent"]["answer"]
        assert cited["citations"]
    session = httpx2.post(
        f"{old.url}/v1/sessions",
        json={"code": old.page().partition("#code=")[2]},
        timeout=PATIENCE,
        trust_env=False,
    )
    assert session.status_code < 300
    assert json.loads((old.home / "secrets.json").read_text()).keys() > {"redis"}
    assert old.interrupt() == 0
    # The next start needs no repair.
    assert f"ok    passwords: {old.home}" in old.run("doctor", check=False).stdout
