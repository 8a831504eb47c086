"""One process is killed with SIGKILL during an answer. Whichever process it is, no committed event is lost, and the answer arrives."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import turn_pb2
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from tests.instance import Instance, eventually
from tests.transports import stub_of

QUESTION = "When does the ferry to Skye leave from Mallaig?"
# Other tests load documents, and beside these, Responsa's are searched only if they are chosen.
DOCS = "collections/responsa-docs"
Event = turn_pb2.TurnEvent


class Asking:
    """A question whose turn waits because no passage can be read, and the events of the turn so far."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.request = chat.AskRequest(text=QUESTION, request_id=str(uuid7()))
        self.request.include_deltas = True
        self.request.options.scope.collections.append(DOCS)
        self.seen: list[Event] = []
        self.sent_away = False
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = psycopg.connect(
            EmbeddedPostgres(LocalLayout.of(instance.home)).dsn("superuser")
        )
        self._connection.execute("lock table responsa.passage in access exclusive mode")
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        eventually(lambda: any(event.HasField("status") for event in self.seen), "the first status")

    def _read(self) -> None:
        with grpc.insecure_channel(self.instance.target) as channel, contextlib.suppress(grpc.RpcError):
            stub = stub_of(channel, "ChatService")
            for frame in stub.Ask(self.request, metadata=self.metadata, timeout=60):
                # Events without a seq are only for this reader, and are not part of the log.
                self.seen.extend(event for event in frame.events if event.seq)
                self.sent_away |= any(event.HasField("reconnect") for event in frame.events)

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        return [("authorization", f"Bearer {self.instance.key}")]

    def let_go(self) -> None:
        """Make passages readable again, and wait for the end of the stream."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # The server at the other end may have been killed.
            with contextlib.suppress(psycopg.Error):
                connection.close()
        self._thread.join()

    def until_ended(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join()

    def again(self) -> list[Event]:
        """All events of the turn, from a request with the same request_id."""
        with grpc.insecure_channel(self.instance.target) as channel:
            stub = stub_of(channel, "ChatService")
            frames = list(stub.Ask(self.request, metadata=self.metadata, timeout=60))
        return [event for frame in frames for event in frame.events]


@pytest.fixture
def asking(second: Instance) -> Iterator[Asking]:
    found = Asking(second)
    try:
        yield found
    finally:
        found.let_go()


def answers(instance: Instance) -> bool:
    """Whether a new question gets an answer. The command line would take longer to start than the server takes to answer."""
    with grpc.insecure_channel(instance.target) as channel:
        metadata = [("authorization", f"Bearer {instance.key}")]
        request = chat.AnswerRequest(text=QUESTION)
        request.options.scope.collections.append(DOCS)
        try:
            turn = stub_of(channel, "ChatService").Answer(request, metadata=metadata, timeout=60)
        except grpc.RpcError:
            return False
    return "six in the morning" in turn.terminal_event.answer.text


def kill(instance: Instance, role: str) -> None:
    os.kill(instance.processes()[role].pid, signal.SIGKILL)


def nothing_was_lost(asking: Asking) -> Event:
    """Compare the current stream of the turn with the earlier events. Returns the terminal event."""
    now = asking.again()
    assert now[: len(asking.seen)] == asking.seen
    assert [event.seq for event in now] == list(range(1, len(now) + 1))
    return now[-1]


@pytest.mark.parametrize("role", ["redis", "envoy", "postgres"])  # for the server, see test_killed_server.py
def test_a_part_is_killed(second: Instance, asking: Asking, role: str) -> None:
    before = second.processes()[role]
    kill(second, role)
    if role in ("redis", "envoy"):
        asking.let_go()
    eventually(lambda: second.processes().get(role, before) != before, f"another {role}; {second.said()}")
    asking.let_go()
    eventually(lambda: answers(second), lambda: f"an answer; {second.said()}")
    terminal = nothing_was_lost(asking)
    # The turn continues where it was. A turn fails only if it was querying the database at the moment of the kill. In that
    # case, its error allows a retry.
    lost_its_query = role == "postgres" and terminal.failed.retriable
    assert "six in the morning" in terminal.answer.text or lost_its_query, terminal
    assert role in second.said().lower()
    assert second.process.poll() is None


@pytest.mark.soak  # it takes a minute; tests/local/embedded shows it with a stand-in
def test_a_silent_server_is_replaced_while_it_loads_the_documents_of_up(second: Instance) -> None:
    assert second.interrupt() == 0
    docs = Path(second.settings["RESPONSA_DOCS"]) / "docs"
    (docs / "goose.md").write_text("# A goose\n\nThe goose of Kyle is called Morag.\n")
    loaded = second.home / "data" / "docs.sha256"
    before = loaded.read_text()
    second.start()
    eventually(lambda: "Loading Responsa's own documents" in second.said(), "the loading")
    second.processes()["server"].send_signal(signal.SIGSTOP)
    eventually(lambda: loaded.read_text() != before, lambda: f"the documents; {second.said()}")
    said = second.said()
    assert said.index(
        "The server was neither on a core nor waiting for one for 15 s without an answer (hang)."
    ) < said.index("The server runs again.")
    assert "Morag" in second.run("search", "the goose of Kyle").stdout


@pytest.mark.soak
def test_who_watches_is_killed(second: Instance, asking: Asking) -> None:
    """tests/local/embedded also kills the supervisor, and the guard with it."""
    second.processes()
    kill(second, "guard")
    second.until_nothing_left()
    asking.let_go()
    second.process.wait(60)
    second.start().until_ready()
    assert answers(second)
    terminal = nothing_was_lost(asking)
    assert "six in the morning" in terminal.answer.text or terminal.failed.retriable, terminal
    # Responsa's documents were not read again.
    assert "Loading" not in second.said()
