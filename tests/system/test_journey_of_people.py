"""Two people from their registration to the end of an account, on a real instance behind Envoy. One script, with a
driver for each transport.

Another transport is one more subclass of `Person`, and one more line in `DRIVERS`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, sync_playwright

from responsa.chat.v1 import feedback_pb2, turn_pb2
from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from responsa_client.errors import NotFound, Unauthenticated
from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.person import PATIENCE
from tests.callers import PASSWORD, Credential, Tenant
from tests.instance import Instance
from tests.wire.smtp import MailServer

TEXT: Final = "# Skye\n\nSkye lies in the Inner Hebrides. The Cuillin on Skye rises to 992 metres.\n"
FIRST: Final = "Where does Skye lie?"
QUESTION: Final = "How high does the Cuillin rise?"


@dataclass(frozen=True)
class Reply:
    """A turn that has ended. turn: what the driver opens it with. text: that of the answer; "" without an answer."""

    turn: str
    conversation: str
    text: str


@dataclass
class Place:
    """Where the people meet. stack: closes what they opened."""

    instance: Instance
    tenant: str
    stack: ExitStack

    @cached_property
    def browser(self) -> Browser:
        """A browser, in which each person has a separate profile."""
        playwright = self.stack.enter_context(sync_playwright())
        started = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        self.stack.callback(started.close)
        return started


class Person(ABC):
    """A person who uses the instance over one transport."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def register(self, email: str, invitation: str) -> None: ...

    @abstractmethod
    def confirm(self, code: str) -> None: ...

    @abstractmethod
    def signs_in(self, email: str) -> bool:
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
    def rate(self, reply: Reply) -> None:
        """Say that an answer helped."""

    @abstractmethod
    def delete_account(self) -> None: ...

    @staticmethod
    def feedback(instance: Instance, key: str) -> Sequence[tuple[str, str]]:
        """What an administrator with this key reads of all feedback: the user, `users/{uuid}`, and whether it is up or down."""
        with Responsa(instance.url, key) as administrator:
            return [(one.user, _RATINGS[one.rating]) for one in administrator.list_feedback()]


_RATINGS: Final = {feedback_pb2.RATING_UP: "up", feedback_pb2.RATING_DOWN: "down"}


class OverGrpc(Person):
    """The Python client, over gRPC."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._token = ""
        self._public = place.stack.enter_context(Responsa(place.instance.url))
        self._client = self._public

    def register(self, email: str, invitation: str) -> None:
        self._public.register(email, PASSWORD, invitation=invitation)

    def confirm(self, code: str) -> None:
        self._public.confirm_email(code, PASSWORD)

    def signs_in(self, email: str) -> bool:
        try:
            self._token = self._public.login(email, PASSWORD, self.place.tenant).tokens.access_token
        except Unauthenticated:
            return False
        self._client = self.place.stack.enter_context(Responsa(self.place.instance.url, lambda: self._token))
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
        return [message.text for message in self._client.messages(name)]

    def earlier(self, turn: str) -> Reply:
        return self._reply(self._client.get_turn(turn))

    def share(self, collection: str, users: Sequence[str]) -> None:
        readers = [reader_pb2.Reader(user=user) for user in users]
        self._client.update_collection(collection, readers=readers)

    def finds(self, words: str) -> set[str]:
        return {hit.passage.document for hit in self._client.search(words)}

    def opens(self, document: str) -> bool:
        try:
            return self._client.get_document(document).name == document
        except NotFound:
            return False

    def rate(self, reply: Reply) -> None:
        self._client.submit_feedback(reply.turn, feedback_pb2.RATING_UP)

    def delete_account(self) -> None:
        assert self._client.delete_me().HasField("complete_time")

    @staticmethod
    def _reply(turn: turn_pb2.Turn) -> Reply:
        return Reply(turn.name, turn.conversation, turn.terminal_event.answer.text)


class OverRest(Person):
    """A plain HTTP client: the original paths, and /v1 for what they do not have."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._http = place.stack.enter_context(httpx2.Client(base_url=place.instance.url, timeout=60))

    def register(self, email: str, invitation: str) -> None:
        body = {"email": email, "password": PASSWORD, "invitation": invitation}
        assert self._http.post("/auth/register", json=body).status_code == 201

    def confirm(self, code: str) -> None:
        self._v1("POST", "auth:confirmEmail", {"code": code, "password": PASSWORD})

    def signs_in(self, email: str) -> bool:
        body = {"email": email, "password": PASSWORD, "tenant": self.place.tenant}
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
        readers = [{"user": user} for user in users]
        self._v1("PATCH", f"collections/{collection}?updateMask=readers", {"readers": readers})

    def finds(self, words: str) -> set[str]:
        hits = self._v1("POST", "passages:search", {"terms": [words]}).get("hits", ())
        return {hit["passage"]["document"] for hit in hits}

    def opens(self, document: str) -> bool:
        reply = self._http.get(f"/v1/{document}")
        assert reply.status_code in (200, 404)
        return reply.status_code == 200

    def rate(self, reply: Reply) -> None:
        body = {"turn_id": reply.turn.removeprefix("turns/"), "rating": "up"}
        assert self._http.post("/feedback", json=body).status_code == 200

    @staticmethod
    def feedback(instance: Instance, key: str) -> Sequence[tuple[str, str]]:
        headers = {"authorization": f"Bearer {key}"}
        found = httpx2.get(f"{instance.url}/feedback", headers=headers).json()["feedback"]
        return [(f"users/{one['user_id']}", one["rating"]) for one in found]

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


class InBrowser(Person):
    """The page in Chromium, each person in a separate profile. Controls are found by their roles and labels."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        context = place.browser.new_context(
            base_url=place.instance.url,
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(PATIENCE)
        self._page = context.new_page()
        self._turns = Counter[str]()

    def register(self, email: str, invitation: str) -> None:
        self._open(f"invitation={invitation}")
        self._page.get_by_label("E-mail address", exact=True).fill(email)
        self._page.get_by_label("New password", exact=True).fill(PASSWORD)
        self._press("Register")
        self._see(self._page.get_by_role("alert").filter(has_text=f"an e-mail to {email} is on its way"))

    def confirm(self, code: str) -> None:
        self._open(f"confirm={code}")
        self._page.get_by_label("Your password", exact=True).fill(PASSWORD)
        self._press("Confirm")
        self._see(self._page.get_by_role("alert").filter(has_text="Your e-mail address is confirmed"))

    def signs_in(self, email: str) -> bool:
        self._open()
        self._page.get_by_label("E-mail address", exact=True).fill(email)
        self._page.get_by_label("Password", exact=True).fill(PASSWORD)
        self._press("Sign in")
        wrong = self._page.get_by_role("alert").filter(has_text="is wrong")
        return self._first(self._page.get_by_label("Your question"), wrong)

    def name(self) -> str:
        self._open("/profile")
        row = self._page.get_by_text("users/", exact=False)
        return row.inner_text() if self._first(row, self._page.get_by_label("Password", exact=True)) else ""

    def upload(self, collection: str, key: str, text: str) -> str:
        self._open("/documents")
        self._press("New collection")
        dialog = self._page.get_by_role("dialog", name="New collection")
        dialog.get_by_role("textbox").fill(collection)
        dialog.get_by_role("textbox").press("Enter")
        self._see(self._page.get_by_label("Collection", exact=True).filter(has_text=collection))
        file: Any = {"name": key, "mimeType": "", "buffer": text.encode()}
        self._page.get_by_label("Add documents").set_input_files(file)
        self._see(self._page.get_by_role("listitem").filter(has_text=key).filter(has_text="searchable"))
        self._page.get_by_role("button", name="Skye", exact=True).click()
        return self._document()

    def ask(self, question: str, conversation: str = "") -> Reply:
        self._open(f"/{conversation}")
        number = self._turns[conversation]
        if conversation:
            self._see(self._answers.nth(number - 1))
        self._page.get_by_label("Your question").fill(question)
        self._page.get_by_label("Your question").press("Enter")
        self._see(self._answers.nth(number))
        self._page.wait_for_url(re.compile("#/conversations/."))
        name = self._page.url.partition("#/")[2]
        self._turns[name] += 1
        return Reply(f"{name} {number}", name, self._text(self._answers.nth(number)))

    def conversation(self, name: str) -> Sequence[str]:
        self._open(f"/{name}")
        self._see(self._answers.nth(self._turns[name] - 1))
        asked = self._page.get_by_role("listitem").filter(has_text="You asked:").all_inner_texts()
        questions = [one.removeprefix("You asked:").strip() for one in asked]
        answers = [self._text(one) for one in self._answers.all()]
        return [one for pair in zip(questions, answers, strict=True) for one in pair]

    def earlier(self, turn: str) -> Reply:
        name, number = turn.split()
        self._open(f"/{name}")
        answer = self._answers.nth(int(number))
        self._see(answer)
        return Reply(turn, name, self._text(answer))

    def share(self, collection: str, users: Sequence[str]) -> None:
        self._open("/documents")
        picker = self._page.get_by_label("Collection", exact=True)
        self._see(picker.filter(has_text=collection))
        picker.select_option(f"collections/{collection}")
        self._press("Share")
        dialog = self._page.get_by_role("dialog")
        self._see(dialog)
        for one in dialog.get_by_role("button", name="Remove").all():
            one.click()
        self._see(dialog.get_by_role("status").filter(has_text="Only you can read these documents."))
        for number, one in enumerate(users, 1):
            dialog.get_by_label("Add a person").fill(one)
            dialog.get_by_role("button", name="Add", exact=True).click()
            self._see(dialog.get_by_role("button", name="Remove").nth(number - 1))
        self._press("Done")

    def finds(self, words: str) -> set[str]:
        self._open("/search")
        self._page.get_by_label("Search for").fill(words)
        self._press("Search")
        hits = self._page.get_by_role("list", name="Passages").get_by_role("listitem")
        found = set[str]()
        if self._first(hits.first, self._page.get_by_text("No passages match this search.").first):
            for one in hits.all():
                one.get_by_role("button").click()
                found.add(self._document())
        return found

    def opens(self, document: str) -> bool:
        self._open(f"/{document}")
        panel = self._page.get_by_role("complementary")
        return self._first(
            panel.get_by_role("tab", name="Details"),
            panel.get_by_role("status").filter(has_text="no longer stored"),
        )

    def rate(self, reply: Reply) -> None:
        self.earlier(reply.turn)
        good = self._page.get_by_role("button", name="Helpful", exact=True).last
        good.click()
        self._see(self._page.get_by_role("button", name="Helpful", exact=True, pressed=True).last)

    def delete_account(self) -> None:
        self._open("/profile")
        self._press("Delete the account")
        dialog = self._page.get_by_role("dialog")
        dialog.get_by_label("I want to delete all of this for good").check()
        dialog.get_by_role("button", name="Delete the account").click()
        self._see(self._page.get_by_role("heading", name="Your account is deleted"))

    @property
    def _answers(self) -> Locator:
        """Replies that are complete."""
        return self._page.locator("li.assistant:not([aria-busy])")

    @staticmethod
    def _text(answer: Locator) -> str:
        return "\n\n".join(answer.locator(".answer-text > p, .excerpt .prose").all_inner_texts())

    def _open(self, fragment: str = "") -> None:
        """Load the page at this address; the page shows nothing from before."""
        self._page.goto("about:blank")
        self._page.goto(f"/?tenant={self.place.tenant}#{fragment}")

    def _press(self, name: str) -> None:
        self._page.get_by_role("button", name=name, exact=True).click()

    def _document(self) -> str:
        """The name of the document that is open, from the link to it."""
        self._page.get_by_role("tab", name="Details").click()
        self._page.get_by_role("button", name="Copy the link to this document").click()
        self._see(self._page.get_by_text("Copied", exact=True))
        link: str = self._page.evaluate("navigator.clipboard.readText()")
        return "/".join(link.partition("#/")[2].split("/")[:2])

    @staticmethod
    def _see(thing: Locator) -> None:
        thing.wait_for()

    @staticmethod
    def _first(good: Locator, bad: Locator) -> bool:
        """Wait for one of two things. Returns whether the first is there."""
        good.or_(bad).first.wait_for()
        return good.is_visible()


DRIVERS: Final = (OverGrpc, OverRest, pytest.param(InBrowser, marks=pytest.mark.soak))


@pytest.fixture
def place(instance: Instance, tenant: Tenant) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(instance, tenant.name, stack)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda one: one.__name__)
def test_two_people_share_and_part(
    place: Place, tenant: Tenant, mail_server: MailServer, driver: type[Person]
) -> None:
    owner, other = driver(place), driver(place)
    with Responsa(place.instance.url, tenant.key(Credential.ADMIN)) as administrator:
        for person, local in ((owner, "owner"), (other, "other")):
            email = f"{local}@{tenant.name}.example"
            person.register(email, administrator.create_invitation().code)
            assert not person.signs_in(email), "the address is not confirmed yet"
            (mail,) = mail_server.to(email)
            person.confirm(mail.code)
            assert person.signs_in(email)

    document = owner.upload("islands", "skye.md", TEXT)
    first = owner.ask(FIRST)
    assert "Inner Hebrides" in first.text
    second = owner.ask("How high does the Cuillin on it rise?", first.conversation)
    assert second.conversation == first.conversation
    assert "992" in second.text
    owner.rate(second)
    assert driver.feedback(place.instance, tenant.key(Credential.ADMIN)) == [(owner.name(), "up")]
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
    assert not owner.signs_in(f"owner@{tenant.name}.example")
    refused()
    assert not other.earlier(answer.turn).text, "an answer from an erased document is withdrawn"
    assert other.name()
