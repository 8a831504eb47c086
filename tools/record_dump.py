"""Records a database of an older release, for the test that upgrades such a database: `python tools/record_dump.py FOLDER`.

Run this script with the Python interpreter of that release's checkout. The script uses only the interfaces that every release
keeps: `responsa migrate`, `admin` and `serve`, the RPCs, and the embedded parts. It writes FOLDER/dump.sql.gz, which psycopg can
run, and FOLDER/manifest.json with the credentials, the questions and the responses. The data in tests/migrations/at_8e1076a was
recorded with this script at 8e1076a.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx2
import psycopg
from google.protobuf.message import Message

import responsa_server
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa.knowledge.v1.knowledge_service_pb2_grpc import KnowledgeServiceStub
from responsa_server.embedded import EmbeddedPostgres, EmbeddedRedis, Layout
from responsa_server.embedded.postgres import package_root

FERRY = "The ferry to Skye leaves from Mallaig at six in the morning."
FERRY_LATER = "The ferry to Skye leaves from Mallaig at seven in the morning since May."
LIGHTHOUSE = "The lighthouse at Neist Point was lit first in 1909."
PATIENCE = 120.0
# These turns are open when the server is killed. The first turn calls a tool that never answers, so the outcome of the call stays unknown.
OPEN: Mapping[str, str] = {
    "unknown_tool": "tokens=8 pace_ms=1 tool=once tool_ms=600000 seed=1",
    "running": "tokens=60 pace_ms=100 tool=idempotent tool_ms=1 seed=2",
    "pending": "tokens=6 pace_ms=1 seed=3",
}
QUEUED = "tokens=7 pace_ms=1 seed=4"


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Recorder:
    """An instance in a folder. PostgreSQL and Redis run until `close`, and a server runs between `serve` and `kill`."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout.of(folder / "home").prepare()
        self.postgres, self.redis = EmbeddedPostgres(self.layout), EmbeddedRedis(self.layout)
        self.postgres.start()
        self.redis.start()
        self.environment = {
            **os.environ,
            "RESPONSA_HOME": str(self.layout.home),
            "RESPONSA_DOCS": "none",
            "RESPONSA_TESTING__AGENT": "true",
            "RESPONSA_TURNS__MAX_RUNNING": "2",
            "RESPONSA_TURNS__LEASE_SECONDS": "300",
        }
        self.log = folder / "serve.log"
        self.server: subprocess.Popen[bytes] | None = None
        self.metadata: list[tuple[str, str]] = []

    def responsa(self, *arguments: str) -> str:
        """Runs a command and returns its output."""
        command = [sys.executable, "-m", "responsa_server", *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def serve(self, role: str) -> None:
        """Starts a server process and waits until it accepts calls."""
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "responsa_server", "serve", "--role", role],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

        def serves() -> bool:
            assert self.server is not None
            assert self.server.poll() is None, self.log.read_text()
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self.layout.gateway_socket)) == 0

        until(serves, "a server")
        # The calls are blocking, but the stubs have the types of asynchronous calls.
        self.channel: Any = grpc.insecure_channel(f"unix:{self.layout.server_socket}")
        self.chat: Any = ChatServiceStub(self.channel)
        self.knowledge: Any = KnowledgeServiceStub(self.channel)

    def kill(self) -> None:
        """Kills the server."""
        assert self.server is not None
        self.channel.close()
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()

    def close(self) -> None:
        """Stops the parts."""
        self.redis.stop()
        self.postgres.stop()

    def rows(self, query: str) -> list[Any]:
        """The first column of a query's result."""
        with psycopg.connect(self.postgres.dsn("superuser")) as connection:
            return [row[0] for row in connection.execute(query.encode()).fetchall()]

    def document(self, text: str, source_key: str) -> str:
        """Creates a document or its next version. Returns the name of the operation."""
        request = knowledge.CreateDocumentRequest(text=text, request_id=str(uuid.uuid4()))
        request.metadata.collection = "collections/isles"
        request.metadata.source_key = source_key
        request.metadata.title = source_key
        return self.knowledge.CreateDocument(request, metadata=self.metadata).name

    def ask(self, text: str, agent: str = "", **fields: Any) -> tuple[chat.AskRequest, Any, str, str]:
        """Asks a question, and reads until the names of the turn and the conversation arrive. Returns the request, the stream and the names."""
        request = chat.AskRequest(text=text, agent=agent, request_id=str(uuid.uuid4()), **fields)
        stream = self.chat.Ask(request, metadata=self.metadata)
        for frame in stream:
            for event in frame.events:
                if event.HasField("started"):
                    return request, stream, frame.turn, event.started.conversation
        raise AssertionError("a stream without a beginning")

    def ended(self, request: chat.AskRequest, turn: str) -> dict[str, Any]:
        """The manifest's entry for a turn that has ended."""
        resumed = self.chat.ResumeTurn(
            chat.ResumeTurnRequest(turn=turn, include_deltas=True), metadata=self.metadata
        )
        events = [encoded(event) for frame in resumed for event in frame.events]
        got = self.chat.GetTurn(chat.GetTurnRequest(name=turn), metadata=self.metadata)
        return {"turn": turn, "request": encoded(request), "events": events, "got": encoded(got)}


def encoded(message: Message) -> str:
    """The bytes of a message as text."""
    return base64.b64encode(message.SerializeToString(deterministic=True)).decode()


def record(recorder: Recorder) -> dict[str, Any]:
    """Fills the database, and leaves it in the state after a server was killed."""
    recorder.responsa("migrate")
    helper = recorder.layout.home / "agents" / "helper"
    shutil.copytree(next(Path(responsa_server.__file__).parent.rglob("default/agent.toml")).parent, helper)
    tenant = recorder.responsa("admin", "create-tenant", "isles").rpartition("/")[2]
    user = recorder.responsa("admin", "create-user", tenant, "Morag", "--role", "admin")
    key = recorder.responsa("admin", "create-key", tenant, user)
    recorder.metadata = [("authorization", f"Bearer {key}")]
    recorder.serve("all")
    sessions: Any = AuthServiceStub(recorder.channel)
    code = sessions.CreateSessionCode(auth.CreateSessionCodeRequest(), metadata=recorder.metadata)
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(recorder.layout.gateway_socket))) as http:
        begun = http.post("http://127.0.0.1:8080/v1/sessions", json={"code": code.code})
    cookie = begun.headers["set-cookie"].partition(";")[0]
    recorder.knowledge.CreateCollection(
        knowledge.CreateCollectionRequest(collection_id="isles"),
        metadata=recorder.metadata,
    )
    for text in (FERRY, FERRY_LATER):
        recorder.document(text, "ferry.md")
        until(
            lambda: not recorder.rows("SELECT 1 FROM responsa.operation WHERE stage <> 'done'"),
            "a document that is ready",
        )
    turns: dict[str, Any] = {}
    for state, text, agent in (
        ("answered", "When does the ferry to Skye leave from Mallaig?", ""),
        ("refused", "What is the capital of Peru?", ""),
        ("failed", "tokens=20 pace_ms=1 fail_after=3", "agents/testing"),
        ("cancelled", "tokens=2000 pace_ms=100", "agents/testing"),
    ):
        request, stream, turn, _ = recorder.ask(text, agent)
        if state == "cancelled":
            recorder.chat.CancelTurn(chat.CancelTurnRequest(name=turn), metadata=recorder.metadata)
        for _ in stream:
            pass
        turns[state] = recorder.ended(request, turn)
    conversation = ""
    for name, text in OPEN.items():
        request, _, turn, place = recorder.ask(text, "agents/testing")
        conversation = conversation or place
        turns[name] = {"turn": turn, "request": encoded(request), "script": text}
    request, _, turn, _ = recorder.ask(
        QUEUED,
        "agents/testing",
        conversation=conversation,
        options=chat.AskOptions(on_busy=chat.ON_BUSY_QUEUE),
    )
    turns["queued"] = {"turn": turn, "request": encoded(request), "script": QUEUED}
    until(lambda: recorder.rows("SELECT 1 FROM responsa.turn_tool WHERE outcome IS NULL"), "a tool's call")
    running = turns["running"]["turn"].partition("/")[2]
    until(
        lambda: recorder.rows(
            f"SELECT 1 FROM responsa.turn_tool WHERE turn_id = '{running}' AND outcome = 'ok'"
        ),
        "a tool's answer",
    )
    until(lambda: len(recorder.rows("SELECT turn_id FROM responsa.turn_checkpoint")) >= 2, "checkpoints")
    until(
        lambda: recorder.rows(f"SELECT 1 FROM responsa.turn_event WHERE turn_id = '{running}' AND seq > 6"),
        "words of the answer",
    )
    recorder.kill()
    file = helper / "agent.toml"
    file.write_text(
        re.sub(r'^description = ".*"', 'description = "The second version."', file.read_text(), flags=re.M)
    )
    # This server accepts calls but runs no turns, so accepted turns wait.
    recorder.serve("rpc")
    operation = recorder.document(LIGHTHOUSE, "lighthouse.md")
    recorder.kill()
    return {
        "key": key,
        "cookie": cookie,
        "turns": turns,
        "operation": operation,
        "states": recorder.rows("SELECT DISTINCT state FROM responsa.turn ORDER BY 1"),
        "agent_versions": recorder.rows(
            "SELECT DISTINCT agent_id || '/' || version FROM responsa.agent_version ORDER BY 1"
        ),
    }


def dump(recorder: Recorder) -> bytes:
    """The whole database as SQL statements."""
    program = package_root() / "pginstall18" / "bin" / "pg_dump"
    url = recorder.postgres.dsn("superuser")
    done = subprocess.run(
        [str(program), "--inserts", "--rows-per-insert=50", "--no-comments", "--dbname", url],
        check=True,
        capture_output=True,
    )
    # These lines are for psql; no other client understands them.
    return re.sub(rb"^\\(un)?restrict .*\n", b"", done.stdout, flags=re.M)


def main() -> None:
    """Records the database, and writes both files."""
    target = Path(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="rec"))
    recorder = Recorder(folder)
    try:
        manifest = record(recorder)
        text = dump(recorder)
    finally:
        recorder.close()
        shutil.rmtree(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "dump.sql.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
