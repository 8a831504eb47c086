"""Two people from their registration to the end of an account, on a real instance behind Envoy. One script, with a driver for each transport.

Another transport is one more subclass of `Person`, and one more line in `DRIVERS`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import pytest

from responsa.chat.v1 import turn_pb2
from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from responsa_client.errors import NotFound, Unauthenticated
from tests.callers import PASSWORD, Credential, Tenant
from tests.instance import Instance
from tests.wire.smtp import MailServer

TEXT: Final = "# Skye\n\nSkye lies in the Inner Hebrides. The Cuillin on Skye rises to 992 metres.\n"
FIRST: Final = "Where does Skye lie?"
QUESTION: Final = "How high does the Cuillin rise?"


@dataclass(frozen=True)
class Reply:
    """A turn that has ended. text: that of the answer; "" without an answer."""

    turn: str
    conversation: str
    text: str


class Person(ABC):
    """A person who uses the instance over one transport."""

    def __init__(self, instance: Instance, stack: ExitStack) -> None:
        self.instance = instance
        self.stack = stack

    @abstractmethod
    def register(self, email: str, invitation: str) -> None: ...

    @abstractmethod
    def confirm(self, code: str) -> None: ...

    @abstractmethod
    def signs_in(self, tenant: str, email: str) -> bool:
        """Sign in with the password of the tests. Returns whether the server allows it."""

    @abstractmethod
    def name(self) -> str:
        """The person's name, `users/{uuid}`; "" if the person is not signed in."""

    @abstractmethod
    def upload(self, collection: str, key: str, text: str) -> str:
        """Create a collection with one document, and wait until searches find it. Returns the document's name."""

    @abstractmethod
    def ask(self, question: str, conversation: str = "") -> Reply:
        """Ask about all documents that the person may read."""

    @abstractmethod
    def conversation(self, name: str) -> Sequence[str]:
        """The texts of a conversation's messages, oldest first."""

    @abstractmethod
    def earlier(self, turn: str) -> Reply:
        """Open an earlier turn again."""

    @abstractmethod
    def share(self, collection: str, users: Sequence[str]) -> None:
        """Share a collection with these users, `users/{uuid}`, and nobody else."""

    @abstractmethod
    def finds(self, words: str) -> set[str]:
        """Search all documents that the person may read. Returns the names of the documents with hits."""

    @abstractmethod
    def opens(self, document: str) -> bool:
        """Open a document. Returns whether it exists for the person."""

    @abstractmethod
    def delete_account(self) -> None: ...


class OverGrpc(Person):
    """The Python client, over gRPC."""

    def __init__(self, instance: Instance, stack: ExitStack) -> None:
        super().__init__(instance, stack)
        self._token = ""
        self._public = stack.enter_context(Responsa(instance.url))
        self._client = self._public

    def register(self, email: str, invitation: str) -> None:
        self._public.register(email, PASSWORD, invitation=invitation)

    def confirm(self, code: str) -> None:
        self._public.confirm_email(code)

    def signs_in(self, tenant: str, email: str) -> bool:
        try:
            self._token = self._public.login(email, PASSWORD, tenant).tokens.access_token
        except Unauthenticated:
            return False
        self._client = self.stack.enter_context(Responsa(self.instance.url, lambda: self._token))
        return True

    def name(self) -> str:
        try:
            return self._client.me().name
        except Unauthenticated:
            return ""

    def upload(self, collection: str, key: str, text: str) -> str:
        self._client.create_collection(collection)
        operation = self._client.upload(text.encode(), collection=collection, source_key=key)
        return self._client.wait(operation).document.name

    def ask(self, question: str, conversation: str = "") -> Reply:
        return self._reply(self._client.answer(question, conversation or None))

    def conversation(self, name: str) -> Sequence[str]:
        return [one.text for one in self._client.messages(name)]

    def earlier(self, turn: str) -> Reply:
        return self._reply(self._client.get_turn(turn))

    def share(self, collection: str, users: Sequence[str]) -> None:
        readers = [reader_pb2.Reader(user=one) for one in users]
        self._client.update_collection(collection, readers=readers)

    def finds(self, words: str) -> set[str]:
        return {hit.passage.document for hit in self._client.search(words)}

    def opens(self, document: str) -> bool:
        try:
            return self._client.get_document(document).name == document
        except NotFound:
            return False

    def delete_account(self) -> None:
        assert self._client.delete_me().HasField("complete_time")

    @staticmethod
    def _reply(turn: turn_pb2.Turn) -> Reply:
        return Reply(turn.name, turn.conversation, turn.terminal_event.answer.text)


class OverRest(Person):
    """A plain HTTP client: the original paths, and /v1 for what they do not have."""

    def __init__(self, instance: Instance, stack: ExitStack) -> None:
        super().__init__(instance, stack)
        self._http = stack.enter_context(httpx2.Client(base_url=instance.url, timeout=60))

    def register(self, email: str, invitation: str) -> None:
        body = {"email": email, "password": PASSWORD, "invitation": invitation}
        assert self._http.post("/auth/register", json=body).status_code == 201

    def confirm(self, code: str) -> None:
        self._v1("POST", "auth:confirmEmail", {"code": code})

    def signs_in(self, tenant: str, email: str) -> bool:
        body = {"email": email, "password": PASSWORD, "tenant": tenant}
        reply = self._http.post("/auth/login", json=body)
        if reply.status_code == 401:
            return False
        self._http.headers["authorization"] = f"Bearer {reply.json()['access_token']}"
        return True

    def name(self) -> str:
        reply = self._http.get("/users/me")
        return "" if reply.status_code == 401 else f"users/{reply.json()['id']}"

    def upload(self, collection: str, key: str, text: str) -> str:
        self._v1("POST", "collections", {"collectionId": collection})
        metadata = {"collection": f"collections/{collection}", "sourceKey": key}
        operation = self._v1("POST", "documents", {"metadata": metadata, "text": text})
        # One JSON object per line, until the operation has ended.
        states = self._http.get(f"/v1/{operation['name']}:watch").text.splitlines()
        return str(json.loads(states[-1])["operation"]["response"]["document"]["name"])

    def ask(self, question: str, conversation: str = "") -> Reply:
        return self._reply(self._v1("POST", "turns:answer", {"text": question, "conversation": conversation}))

    def conversation(self, name: str) -> Sequence[str]:
        return [one["text"] for one in self._v1("GET", f"{name}/messages")["messages"]]

    def earlier(self, turn: str) -> Reply:
        return self._reply(self._v1("GET", turn))

    def share(self, collection: str, users: Sequence[str]) -> None:
        readers = [{"user": one} for one in users]
        self._v1("PATCH", f"collections/{collection}?updateMask=readers", {"readers": readers})

    def finds(self, words: str) -> set[str]:
        hits = self._v1("POST", "passages:search", {"terms": [words]}).get("hits", ())
        return {hit["passage"]["document"] for hit in hits}

    def opens(self, document: str) -> bool:
        reply = self._http.get(f"/v1/{document}")
        assert reply.status_code in (200, 404)
        return reply.status_code == 200

    def delete_account(self) -> None:
        assert self._http.delete("/users/me").status_code == 204

    def _v1(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        reply = self._http.request(method, f"/v1/{path}", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    @staticmethod
    def _reply(turn: Any) -> Reply:
        ended = turn["terminalEvent"].get("answer", {})
        return Reply(turn["name"], turn["conversation"], ended.get("text", ""))


DRIVERS: Final[Sequence[type[Person]]] = (OverGrpc, OverRest)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda one: one.__name__)
def test_two_people_share_and_part(
    instance: Instance, tenant: Tenant, mail_server: MailServer, stack: ExitStack, driver: type[Person]
) -> None:
    owner, other = driver(instance, stack), driver(instance, stack)
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as administrator:
        for person, local in ((owner, "owner"), (other, "other")):
            email = f"{local}@{tenant.name}.example"
            person.register(email, administrator.create_invitation().code)
            assert not person.signs_in(tenant.name, email), "the address is not confirmed yet"
            (mail,) = mail_server.to(email)
            person.confirm(mail.code)
            assert person.signs_in(tenant.name, email)

    document = owner.upload("islands", "skye.md", TEXT)
    first = owner.ask(FIRST)
    assert "Inner Hebrides" in first.text
    second = owner.ask("How high does the Cuillin on it rise?", first.conversation)
    assert second.conversation == first.conversation
    assert "992" in second.text
    texts = owner.conversation(first.conversation)
    assert [texts[0], texts[1], texts[3]] == [FIRST, first.text, second.text]

    def refused() -> None:
        """The document does not exist for the other."""
        assert not other.ask(QUESTION).text
        assert not other.finds("Cuillin")
        assert not other.opens(document)

    refused()
    owner.share("islands", [other.name()])
    answer = other.ask(QUESTION)
    assert "992" in answer.text
    assert other.finds("Cuillin") == {document}
    assert other.opens(document)
    assert other.earlier(answer.turn) == answer

    owner.share("islands", [])
    refused()
    assert not other.earlier(answer.turn).text
    assert answer.text not in other.conversation(answer.conversation)
    assert owner.earlier(first.turn) == first
    assert owner.finds("Cuillin") == {document}

    owner.delete_account()
    assert not owner.name()
    assert not owner.signs_in(tenant.name, f"owner@{tenant.name}.example")
    refused()
    assert not other.earlier(answer.turn).text, "an answer from an erased document is withdrawn"
    assert other.name()
