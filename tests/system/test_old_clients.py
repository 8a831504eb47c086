"""One small client of each system that Responsa replaces, as a program of that time was written: plain HTTP or a plain
WebSocket, with the fields, the pages and the habits of that system."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any, Final

import httpx2
import pytest
from websockets.sync.client import ClientConnection, connect

from responsa.knowledge.v1.reader_pb2 import Reader
from responsa_client import Responsa
from responsa_etl.samples import SAMPLE_DATABASES, SampleDatabase
from tests.callers import PASSWORD, Credential, Tenant
from tests.instance import Instance, eventually

TIDES: Final = "# Tides\n\nThe tide gauge at Marness was set up in 1912."
ASKED: Final = "When was the tide gauge at Marness set up?"
MESSAGES: Final = 10


@pytest.fixture
def administrator(instance: Instance, tenant: Tenant) -> Iterator[Responsa]:
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as client:
        yield client


class Platform:
    """P: registers, signs in, uploads files, searches, asks, and reads its lists page by page. It sends fields of its
    own with everything."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self.token = ""
        self.headers = dict[str, str]()

    def post(self, path: str, **fields: Any) -> Any:
        reply = self._http.post(path, json={**fields, "client_version": "1.4"}, headers=self.headers)
        assert reply.is_success, reply.text
        return reply.json()

    def get(self, path: str, **query: Any) -> Any:
        reply = self._http.get(path, params={**query, "_": 1}, headers=self.headers)
        assert reply.is_success, reply.text
        return reply.json()

    def refused(self, path: str, **fields: Any) -> httpx2.Response:
        reply = self._http.post(path, json=fields, headers=self.headers)
        assert reply.status_code == 400, reply.text
        return reply

    def wrong(self, path: str, **fields: Any) -> list[str]:
        """The fields that an error names."""
        return [one["field"] for one in self.refused(path, **fields).json()["errors"]]

    def sign_up(self, email: str, tenant: str, invitation: str) -> None:
        self.post("/auth/register", email=email, password=PASSWORD, name="New", invitation=invitation)
        found = self.post("/auth/login", email=email, password=PASSWORD, tenant=tenant, remember_me=True)
        self.token = found["access_token"]
        self.headers["authorization"] = f"Bearer {self.token}"

    def send(self, name: str, content: bytes, **fields: str) -> httpx2.Response:
        """A form as a page of P makes it: the file comes first."""
        files = [("file", (name, content)), *((field, (None, text)) for field, text in fields.items())]
        return self._http.post("/kb/documents", files=files, headers=self.headers)


def test_the_platform(
    instance: Instance, http: httpx2.Client, tenant: Tenant, administrator: Responsa
) -> None:
    client, email = Platform(http), f"new@{tenant.name}.example"
    client.sign_up(email, tenant.name, administrator.create_invitation(email=email).code)
    assert client.get("/users/me")["email"] == email
    # Nobody has uploaded anything.
    assert client.get("/kb/documents", skip=0, limit=10) == {
        "documents": [],
        "total": 0,
        "next_page_token": None,
    }
    assert client.post("/kb/search", query="tides", top_k=3, collection="default") == {"results": []}
    assert http.get("/kb/documents?collection=tides", headers=client.headers).status_code == 404

    sent = client.send("tides.md", TIDES.encode(), title="Tides", metadata='{"level": 7}', folder="9")
    assert sent.status_code == 202, sent.text
    first = sent.json()["id"]
    second = client.send("gauges.txt", b"A gauge is a float in a well.").json()["id"]
    third = client.post("/kb/documents", title="Ebb", content="The ebb follows the flood.", tags=["x"])["id"]
    for one in (first, second, third):
        eventually(lambda one=one: client.get(f"/kb/documents/{one}")["state"] == "ready", one)
    found = client.get(f"/kb/documents/{first}")
    assert (found["title"], found["source_key"], found["metadata"]) == ("Tides", "tides.md", {"level": 7})
    assert (found["collection"], found["error"]) == ("default", None)
    # The same file again is the same document.
    assert client.send("tides.md", TIDES.encode(), title="Tides", collection="default").json()["id"] == first

    whole = client.get("/kb/documents", size=100)["documents"]
    assert {one["id"] for one in whole} == {first, second, third}
    assert [
        *client.get("/kb/documents", page=1, size=2)["documents"],
        *client.get("/kb/documents", page=2, size=2)["documents"],
    ] == whole
    assert client.get("/kb/documents", skip=1, limit=1)["documents"] == whole[1:2]
    for beyond in ({"skip": 3}, {"page": 2}, {"page": 50, "size": 200}):
        assert client.get("/kb/documents", **beyond) == {
            "documents": [],
            "total": 3,
            "next_page_token": None,
        }
    (hit,) = client.post("/kb/search", query="tide gauge at Marness", top_k=1, model="x")["results"]
    assert (hit["document_id"], hit["text"]) == (first, TIDES)
    assert client.wrong("/kb/search", query="", limit="1") == ["limit"]
    assert client.wrong("/kb/documents", content="x") == ["source_key"]

    answer = client.post("/agent/query", query=ASKED, conversation_id=None, model="x", stream=False)
    assert "1912" in answer["answer"]
    talk = answer["conversation_id"]
    asked = http.get(f"/v1/turns/{answer['id']}", headers=client.headers).json()
    assert asked["agentVersion"].startswith("agents/knowledge/")
    # A client that remembers its chat itself, and names the agent as the original did.
    chat = [{"role": "human", "content": "Good evening."}, {"role": "assistant", "content": "Good evening!"}]
    remembered = {"query": ASKED, "agent_id": "default", "chat_history": chat, "conversation_id": talk}
    assert "1912" in client.post("/agents/process", **remembered)["answer"]
    assert client.wrong("/agents/process", query=ASKED, chat_history=[{"role": "tool"}]) == ["chat_history"]
    again = client.post("/agents/process", input=ASKED, conversation_id=talk, agent="default")
    assert again["sources"] == answer["sources"]
    assert client.post("/feedback", turn_id=answer["id"], rating=5)["score"] == 5
    (listed,) = client.get("/agent/conversations", page=1, size=20)["conversations"]
    whole = client.get(f"/agent/conversations/{talk}")
    assert {**listed, "messages": whole["messages"], "total": 6, "next_page_token": None} == whole
    assert [one["role"] for one in whole["messages"]] == ["user", "assistant"] * 3
    assert client.get(f"/agent/conversations/{talk}", skip=1, limit=2)["messages"] == whole["messages"][1:3]
    shown = whole["messages"][1]
    assert (shown["content"], shown["sources"], shown["feedback"]["score"]) == (answer["answer"], answer["sources"], 5)  # fmt: skip
    assert (
        "an answer and not of a question"
        in client.refused("/feedback", message_id=whole["messages"][0]["id"], rating="up").text
    )
    with chatting(instance, client.token, "/agents/process") as chat:
        chat.send(content=ASKED, conversation_id=talk)
        assert "1912" in chat.end()["content"]
    other = tenant.headers(Credential.ADMIN)
    assert http.get(f"/agent/conversations/{talk}", headers=other).json()["code"] == "RESOURCE_NOT_FOUND"
    for period in ("day", "week", "month"):
        assert client.get("/analytics/usage", period=period)["usage"]
    for gone in (f"/agent/conversations/{talk}", f"/kb/documents/{first}"):
        assert http.delete(gone, headers=client.headers).status_code == 204
        assert http.get(gone, headers=client.headers).json()["code"] == "RESOURCE_NOT_FOUND"


def test_forms_that_the_platform_does_not_send(http: httpx2.Client, tenant: Tenant) -> None:
    client = Platform(http)

    def refused(reply: httpx2.Response) -> tuple[int, str, list[str]]:
        found = reply.json()
        return reply.status_code, found["code"], [one["field"] for one in found.get("errors", [])]

    assert refused(client.send("a.md", b"a" * 2_000_000)) == (401, "CREDENTIAL_MISSING", [])
    client.headers = tenant.headers(Credential.USER)
    empty = http.post("/kb/documents", files=[("title", (None, "A"))], headers=client.headers)
    assert refused(empty) == (400, "INVALID_FIELD", ["file"])
    two = http.post(
        "/kb/documents", files=[("a", ("a.md", b"a")), ("b", ("b.md", b"b"))], headers=client.headers
    )
    assert refused(two)[:2] == (400, "MALFORMED_MESSAGE")
    cut = {**client.headers, "content-type": "multipart/form-data; boundary=b"}
    for body in (b"", b"--b\r\nno: name\r\n\r\nx\r\n--b--\r\n", b"--c\r\n"):
        assert http.post("/kb/documents", content=body, headers=cut).status_code == 400
    for charset in ("undefined", "raw_unicode_escape", "punycode", "no-such"):
        part = b'--b\r\ncontent-disposition: form-data; name="f"; filename="\\ud800.md"\r\n\r\nx\r\n--b--\r\n'
        kind = {**cut, "content-type": f"{cut['content-type']}; charset={charset}"}
        assert refused(http.post("/kb/documents", content=part, headers=kind))[:2] == (
            400,
            "MALFORMED_MESSAGE",
        )
    assert refused(client.send("a.md", b"a", metadata="[1]"))[2] == ["metadata"]
    assert refused(client.send("a.md", b"a", title="x" * 2_000))[2] == ["title"]
    unknown = refused(client.send("a.exe", b"MZ\0\1"))
    assert unknown == (400, "DOCUMENT_TYPE_UNSUPPORTED", ["file"])
    # The size is not announced.
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.md"\r\n\r\n'
    pieces = chain((head,), repeat(b"a" * 1_048_576, 67))
    assert refused(http.post("/kb/documents", content=pieces, headers=cut))[1:] == ("DOCUMENT_TOO_LARGE", ["file"])  # fmt: skip


def test_the_assistant(http: httpx2.Client, tenant: Tenant, administrator: Responsa) -> None:
    """A: its backend tells of a test, and its page shows the profile, asks, and reads the history."""
    mine, staff = tenant.headers(Credential.USER), tenant.headers(Credential.ADMIN)
    me = http.get("/users/me", headers=mine).json()["id"]
    assert http.get(f"/users/{me}/documents", params={"limit": 5}, headers=mine).json()["documents"] == []
    administrator.create_collection("records", readers=[Reader(everyone=True)])
    text = "# Skills\n\nThe member reads nautical maps well."
    administrator.wait(
        administrator.create_document(
            text, source_key="skills.md", collection="records", subject=f"users/{me}"
        )
    )
    done = {"test_id": "t-1", "scores": {"logic": 7}}
    assert http.post(f"/users/{me}/test-completed", json=done, headers=staff).json() == {"jobs": []}
    (document,) = http.get(f"/users/{me}/documents", headers=staff).json()["documents"]
    answers = [
        http.post(
            "/chat/question",
            json={"question": question, "user_id": me, "conversation_id": None},
            headers=mine,
        ).json()
        for question in ("Who reads nautical maps well?", "Which maps does the member read well?")
    ]
    assert answers[0]["sources"][0]["document_id"] == document["id"]
    for page, answer in ((1, answers[1]), (2, answers[0])):
        shown = http.get("/chat/history", params={"page": page, "size": 1}, headers=mine).json()["history"]
        assert shown == [answer]


@pytest.fixture
def aptitude(instance: Instance, tenant: Tenant) -> Iterator[SampleDatabase]:
    """The sample database, to which this tenant may connect."""
    sample, folder = SAMPLE_DATABASES["aptitude"], instance.home / "connections"
    folder.mkdir()
    sample.write(folder / f"{sample.name}.db")
    declared = f'kind = "sqlite"\nfile = "{sample.name}.db"\ntenants = ["{tenant.name}"]\n'
    (folder / f"{sample.name}.toml").write_text(declared, encoding="utf-8")
    yield sample
    shutil.rmtree(folder)


def test_a_completed_test_becomes_documents_that_answer_its_person(
    http: httpx2.Client, tenant: Tenant, administrator: Responsa, aptitude: SampleDatabase
) -> None:
    """A: from the row of a test to the answer about it, by the original paths."""
    mine, staff = tenant.headers(Credential.USER), tenant.headers(Credential.ADMIN)
    user = http.get("/users/me", headers=mine).json()["id"]
    administrator.create_collection("aptitude", readers=[Reader(everyone=True)])
    administrator.create_source("aptitude", aptitude.mapping("aptitude"))
    question = {"question": "What is my score in spatial reasoning?"}
    assert "133" not in http.post("/chat/question", json=question, headers=mine).json()["answer"]
    administrator.update_user(f"users/{user}", subject="mira.holt@example.org")
    done = http.post(f"/users/{user}/test-completed", json={"test_id": "t-1"}, headers=staff)
    (job,) = done.json()["jobs"]
    path = f"/jobs/{job['id']}"
    eventually(lambda: http.get(path, headers=staff).json()["state"] == "done", path)
    assert http.get("/users/me/documents", headers=mine).json()["document_count"] == 3
    answer = http.post("/chat/question", json=question, headers=mine).json()
    assert "133" in answer["answer"]
    own = {one["id"] for one in http.get("/users/me/documents", headers=mine).json()["documents"]}
    assert {source["document_id"] for source in answer["sources"]} <= own
    # The administrator is another person, who reads nobody's record by asking.
    assert "133" not in http.post("/chat/question", json=question, headers=staff).json()["answer"]


def test_the_code_assistant(http: httpx2.Client, tenant: Tenant, administrator: Responsa) -> None:
    """C: its editor reads the lines of a stream by hand."""
    administrator.create_collection("cairo")
    text = "# Snapshots\n\nA snapshot is an immutable view of a value at a certain point in time."
    administrator.wait(
        administrator.create_document(text, source_key="cairo_book/snapshots.md", collection="cairo")
    )
    body = {
        "model": "cairo-coder",
        "messages": [
            {"role": "system", "content": "You are a Cairo mentor."},
            {"role": "user", "content": "What is a snapshot?"},
        ],
        "stream": True,
        "history": [],
    }
    headers = tenant.headers(Credential.ADMIN)
    for slash, more in (("", {}), ("/", {"x-mcp-mode": "true"})):
        answer = ""
        path = f"/v1/agents/cairo/chat/completions{slash}"
        with http.stream("POST", path, json=body, headers={**headers, **more}) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
        for line in lines[:-1]:
            for choice in json.loads(line)["choices"]:
                answer += choice["delta"].get("content") or ""
        assert lines[-1] == "[DONE]"
        assert "immutable view" in answer


class Chat:
    """T and W: a chat over a WebSocket, one object a message."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def send(self, **message: Any) -> None:
        self._socket.send(json.dumps(message))

    def end(self) -> Any:
        """The next frame that ends a turn, the error of a message, or a pong."""
        while (frame := json.loads(self._socket.recv(30)))["type"] not in ("message", "error", "pong"):
            assert frame["type"] in ("status", "delta"), frame
        return frame


@contextmanager
def chatting(instance: Instance, token: str, path: str = "/ws/chat") -> Generator[Chat]:
    """A chat with the token in the address."""
    with connect(f"{instance.url.replace('http', 'ws', 1)}{path}?token={token}") as socket:
        yield Chat(socket)


def test_the_tutor(instance: Instance, tenant: Tenant, administrator: Responsa) -> None:
    teacher = administrator.create_teacher("Ada", persona="Patient.").name.partition("/")[2]
    with chatting(instance, tenant.key()) as chat:
        talk = "new"
        for _ in range(2):
            chat.send(conversation_id=talk, content="Hello, good morning!", teacher_id=teacher)
            answer = chat.end()
            assert (answer["role"], answer["metadata"]["source_chunks"]) == ("assistant", [])
            assert talk in ("new", answer["metadata"]["conversation_id"])
            talk = answer["metadata"]["conversation_id"]
        for wrong, code in (("zzz", "INVALID_INPUT"), (str(uuid.UUID(int=7)), "NOT_FOUND")):
            chat.send(content="Why?", teacher_id=wrong)
            assert chat.end()["code"] == code
        chat.send(type="ping")
        assert chat.end() == {"type": "pong"}


def test_eleven_messages_at_once(instance: Instance, tenant: Tenant, administrator: Responsa) -> None:
    """W: somebody who clicks fast gets ten answers, and the limit in place of the eleventh."""
    key = tenant.key()
    with Responsa(instance.url, key) as client:
        administrator.update_user_limits(client.me().name, {"messages_per_minute": MESSAGES})
    with chatting(instance, key) as chat:
        request_ids = [str(uuid.uuid4()) for _ in range(MESSAGES + 1)]
        for request_id in request_ids:
            chat.send(conversation_id="new", content="Hello!", request_id=request_id)
        ends = [chat.end() for _ in request_ids]
        answers = [end for end in ends if end["type"] == "message"]
        assert [end["metadata"]["intent"] for end in answers] == ["chitchat"] * MESSAGES
        (refused,) = (end for end in ends if end["type"] == "error")
        assert (refused["code"], refused["request_id"]) == ("RATE_LIMIT", request_ids[-1])
        assert "messages_per_minute" in json.dumps(refused["status"])
        chat.send(type="ping")
        assert chat.end() == {"type": "pong"}
