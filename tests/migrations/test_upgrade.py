"""Today's code uses a whole database that a server of commit 8e1076a left when it was killed, and to which the 63 migrations up to commit
c6fb5430 were applied. The dump of it was recorded once. The recording is never repeated.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from google.longrunning.operations_pb2 import GetOperationRequest
from google.longrunning.operations_pb2_grpc import OperationsStub

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa.chat.v1.citation_pb2 import CitationVerdict
from responsa.chat.v1.turn_pb2 import FallbackKind, ToolOutcome, Turn, TurnEvent
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa.knowledge.v1.document_pb2 import DocumentState
from responsa.knowledge.v1.knowledge_service_pb2_grpc import KnowledgeServiceStub
from responsa_lab.testing.script import golden_text, parse
from responsa_server.embedded import EmbeddedPostgres, Layout
from responsa_server.stores.postgres.migrate import load, migrate
from tests import seeds
from tests.conftest import DatabaseUrls, urls_of
from tests.instance import eventually, plain_environment
from tests.migrations.schema import schema
from tests.tied import tied

HERE = Path(__file__).parent / "at_c6fb5430"
MANIFEST: dict[str, Any] = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
TURNS: dict[str, Any] = MANIFEST["turns"]
ENDED = ("answered", "refused", "failed", "cancelled")
OPEN = ("unknown_tool", "running", "pending", "queued")
# Simulate that the server was down only briefly: reset the times that have expired since the recording.
AGED = """
    UPDATE responsa.turn SET lease_until = now() - interval '1 s', begin_time = now() WHERE state = 'running';
    UPDATE responsa.session SET expire_time = now() + interval '1 h';
"""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """Today's server on the restored database. applied: the migrations that ran. log: the file with the server's output."""

    applied: Sequence[str]
    url: str
    channel: Any  # the calls block, but the stubs' types are those of asynchronous calls
    log: Path

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {MANIFEST['key']}")]

    @property
    def chat(self) -> Any:
        return ChatServiceStub(self.channel)

    def events(self, turn: str) -> Sequence[TurnEvent]:
        """All events of a turn up to its end."""
        request = chat.ResumeTurnRequest(turn=turn, include_deltas=True)
        frames = self.chat.ResumeTurn(request, metadata=self.metadata, timeout=120)
        return [event for frame in frames for event in frame.events]


@pytest.fixture(scope="module")
def upgraded(
    postgres: EmbeddedPostgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgraded]:
    name = "of_c6fb5430"
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0".encode())
        try:
            urls = urls_of(postgres, name)
            urls.ask(gzip.decompress((HERE / "dump.sql.gz").read_bytes()))
            applied = asyncio.run(migrate(urls.owner))
            urls.ask(AGED)
            # Postpone the jobs. The dump is older than ten minutes, so the versions that no answer cites would be pruned at once.
            urls.ask(
                "SET search_path = procrastinate; UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 day'"
                " WHERE scheduled_at IS NOT NULL"
            )
            folder = tmp_path_factory.mktemp("up")
            seeds.plant_model(Layout.of(folder / "home").prepare())
            environment = plain_environment(
                RESPONSA_HOME=str(folder / "home"),
                RESPONSA_DOCS="none",
                RESPONSA_TESTING__AGENT="true",
                RESPONSA_TURNS__SWEEP_SECONDS="0.2",
                RESPONSA_TURNS__RETENTION_DAYS="3650",
                RESPONSA_RETRIEVAL__EMBEDDING_THREADS="1",
                DATABASE_URL=urls.owner,
                DATABASE_APP_URL=urls.app,
                DATABASE_LOG_URL=urls.log,
                REDIS_URL=redis_url,
            )
            with served(folder, environment) as (channel, log):
                yield Upgraded(applied, urls.superuser, channel, log)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def served(folder: Path, environment: dict[str, str]) -> Generator[tuple[Any, Path]]:
    path, log = folder / "g.sock", folder / "serve.log"
    command = tied(sys.executable, "-m", "responsa_server", "serve", "--listen", f"unix:{path}")
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:

        def serves() -> bool:
            assert server.poll() is None, log.read_text()
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(path)) == 0

        eventually(serves, lambda: f"a server; {log.read_text()}")
        with grpc.insecure_channel(f"unix:{path}") as channel:
            yield channel, log
    finally:
        server.terminate()
        server.wait(60)


def request_of(name: str) -> chat.AskRequest:
    return chat.AskRequest.FromString(base64.b64decode(TURNS[name]["request"]))


def test_the_recording_holds_a_turn_in_every_state() -> None:
    assert MANIFEST["states"] == [
        "answered",
        "cancelled",
        "failed",
        "pending",
        "queued",
        "refused",
        "running",
    ]
    assert set(TURNS) == {*ENDED, *OPEN}


def test_what_was_missing_is_applied(upgraded: Upgraded) -> None:
    assert list(upgraded.applied) == [one.name for one in load()[8:]]


def test_the_schema_is_that_of_a_new_database(upgraded: Upgraded, database_urls: DatabaseUrls) -> None:
    assert schema(upgraded.url) == schema(database_urls.superuser)


@pytest.mark.parametrize("state", ENDED)
def test_a_turn_that_had_ended_is_read_with_the_same_bytes(upgraded: Upgraded, state: str) -> None:
    recorded = TURNS[state]
    found = [event.SerializeToString(deterministic=True) for event in upgraded.events(recorded["turn"])]
    assert found == [base64.b64decode(event) for event in recorded["events"]]
    got = upgraded.chat.GetTurn(chat.GetTurnRequest(name=recorded["turn"]), metadata=upgraded.metadata)
    stub: Any = AuthServiceStub(upgraded.channel)
    before = Turn.FromString(base64.b64decode(recorded["got"]))
    # When the database was recorded, turns had no owner field. All other fields are the same.
    assert not before.owner
    before.owner = stub.GetMe(GetMeRequest(), metadata=upgraded.metadata).name
    assert got == before


def test_an_answer_of_quotes_resumes_and_verifies(upgraded: Upgraded) -> None:
    """Such an answer of a later release also names a fallback, suggestions and documents of other collections."""
    turn = TURNS["answered"]["turn"]
    recorded = base64.b64decode(TURNS["answered"]["events"][-1])
    event = TurnEvent.FromString(recorded)
    answer = event.answer
    (citation,) = answer.citations
    assert answer.model == "extractive"
    answer.fallbacks.add(kind=FallbackKind.FALLBACK_KIND_EXTRACTIVE, source="model", cause="no_model")
    answer.suggestions.add(
        passage=citation.passage,
        document_version=citation.document_version,
        quote="The ferry to Skye leaves from Mallaig.",
        text="The ferry leaves from Mallaig.",
        score=0.5,
    )
    answer.also_found.add(
        collection="collections/isles", title="Isles", document_version=citation.document_version
    )
    later = event.SerializeToString(deterministic=True)
    with psycopg.connect(upgraded.url, autocommit=True) as connection:
        named = {"turn": turn.removeprefix("turns/")}
        rows = connection.execute(
            "SELECT seq, frame FROM responsa.turn_event WHERE turn_id = %(turn)s ORDER BY seq DESC LIMIT 1",
            named,
        ).fetchone()
        assert rows is not None
        frame = chat.AskResponse.FromString(rows[1])
        frame.events[-1].CopyFrom(event)

        def store(terminal: bytes, stored: bytes) -> None:
            connection.execute(
                "WITH ended AS (UPDATE responsa.turn SET terminal = %(terminal)s WHERE id = %(turn)s)"
                " UPDATE responsa.turn_event SET frame = %(frame)s WHERE turn_id = %(turn)s AND seq = %(seq)s",
                {**named, "terminal": terminal, "frame": stored, "seq": rows[0]},
            )

        store(later, frame.SerializeToString(deterministic=True))
        try:
            assert upgraded.events(turn)[-1].SerializeToString(deterministic=True) == later
            got = upgraded.chat.GetTurn(chat.GetTurnRequest(name=turn), metadata=upgraded.metadata)
            assert got.terminal_event.SerializeToString(deterministic=True) == later
        finally:
            store(recorded, rows[1])
    verified = upgraded.chat.VerifyCitations(
        chat.VerifyCitationsRequest(name=turn), metadata=upgraded.metadata
    )
    assert [(check.citation, check.verdict) for check in verified.checks] == [
        (citation, CitationVerdict.CITATION_VERDICT_VALID)
    ]


@pytest.mark.parametrize("client", ["of 8e1076a", "of today"])
@pytest.mark.parametrize("name", [*ENDED, *OPEN])
def test_the_same_request_sent_again_attaches(upgraded: Upgraded, name: str, client: str) -> None:
    """Today's client sends the question in the same fields as the old client, but the options of the stream in other fields."""
    recorded, request = TURNS[name], request_of(name)
    if client == "of today":
        request.include_deltas, request.cancel_on_disconnect = True, True
    else:
        # Remove options.include_deltas and options.cancel_on_disconnect, which today's messages no longer contain.
        request.MergeFromString(bytes.fromhex("220408012001"))
        assert request.SerializeToString() != request_of(name).SerializeToString()
    stream = upgraded.chat.Ask(request, metadata=upgraded.metadata, timeout=120)
    frames = [frame for frame in stream if frame.turn]
    assert {frame.turn for frame in frames} == {recorded["turn"]}
    terminal = [event for frame in frames for event in frame.events][-1]
    if name in ENDED:
        assert terminal == TurnEvent.FromString(base64.b64decode(recorded["events"][-1]))
    else:
        assert terminal.HasField("answer")


@pytest.mark.parametrize("name", OPEN)
def test_a_turn_that_was_open_ends_as_its_script_says(upgraded: Upgraded, name: str) -> None:
    """Running turns are taken over, because their leases have expired. Waiting turns begin."""
    recorded = TURNS[name]
    events = upgraded.events(recorded["turn"])
    assert events[-1].answer.text == golden_text(parse(recorded["script"])), upgraded.log.read_text()[-2000:]
    restarted = [event for event in events if event.HasField("attempt_restarted")]
    assert len(restarted) == (1 if name in ("unknown_tool", "running") else 0)
    calls = [event for event in events if event.HasField("tool_call")]
    results = [event.tool_result.outcome for event in events if event.HasField("tool_result")]
    expected = {
        "unknown_tool": [ToolOutcome.TOOL_OUTCOME_UNKNOWN],
        "running": [ToolOutcome.TOOL_OUTCOME_OK],
    }.get(name, [])
    assert (len(calls), results) == (len(expected), expected)


def test_a_turn_with_a_checkpoint_goes_on_behind_its_tool(upgraded: Upgraded) -> None:
    """The server of 8e1076a called the tool and wrote the events before the takeover. The tool's result appears once."""
    events = upgraded.events(TURNS["running"]["turn"])
    (place,) = [at for at, event in enumerate(events) if event.HasField("attempt_restarted")]
    assert any(event.HasField("tool_result") for event in events[:place])
    assert events[place].attempt_restarted.discard_from_seq > 1


def test_documents_are_there_in_both_versions_and_the_queued_one_is_taken_in(upgraded: Upgraded) -> None:
    stub: Any = KnowledgeServiceStub(upgraded.channel)
    operations: Any = OperationsStub(upgraded.channel)
    wanted = GetOperationRequest(name=MANIFEST["operation"])
    eventually(
        lambda: operations.GetOperation(wanted, metadata=upgraded.metadata).done,
        lambda: f"a document that was taken in; {upgraded.log.read_text()[-2000:]}",
    )
    request = knowledge.ListDocumentsRequest(parent="collections/isles")
    listed: dict[str, Any] = {}

    def read_again() -> bool:
        found = stub.ListDocuments(request, metadata=upgraded.metadata).documents
        listed.update({document.source_key: document for document in found})
        # A newer parser reads the one again that the earlier release has read.
        ready = DocumentState.DOCUMENT_STATE_READY
        return {key: (one.version, one.state) for key, one in listed.items()} == {
            "ferry.md": (3, ready),
            "lighthouse.md": (1, ready),
        }

    eventually(read_again, lambda: f"documents, read by newer parsers: {listed}")
    texts: list[str] = []
    for name in (f"{listed['ferry.md'].name}/versions/1", listed["ferry.md"].name):
        asked = knowledge.GetDocumentContentRequest(name=name)
        texts.append("".join(one.text for one in stub.GetDocumentContent(asked, metadata=upgraded.metadata)))
    assert texts == [
        "The ferry to Skye leaves from Mallaig at six in the morning.",
        "The ferry to Skye leaves from Mallaig at seven in the morning since May.",
    ]


def test_a_collection_that_existed_stays_readable_by_the_tenant(upgraded: Upgraded) -> None:
    stub: Any = KnowledgeServiceStub(upgraded.channel)
    wanted = knowledge.GetCollectionRequest(name="collections/isles")
    found = stub.GetCollection(wanted, metadata=upgraded.metadata)
    assert (found.name, [reader.everyone for reader in found.readers]) == ("collections/isles", [True])


def test_a_session_and_a_key_are_good(upgraded: Upgraded) -> None:
    stub: Any = AuthServiceStub(upgraded.channel)
    me = stub.GetMe(GetMeRequest(), metadata=upgraded.metadata)
    assert me.display_name == "Morag"
    cookie = [("cookie", MANIFEST["cookie"]), ("sec-fetch-site", "same-origin")]
    assert stub.GetMe(GetMeRequest(), metadata=cookie) == me


def test_versions_of_agents_stay_and_their_turns_name_them(upgraded: Upgraded) -> None:
    with psycopg.connect(upgraded.url) as connection:
        rows = connection.execute(
            "SELECT agent_id || '/' || version FROM responsa.agent_version ORDER BY 1"
        ).fetchall()
    assert set(MANIFEST["agent_versions"]) <= {row[0] for row in rows}
    assert {"helper/1", "helper/2"} <= set(MANIFEST["agent_versions"])
