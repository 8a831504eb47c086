"""Whoever sends the key of a widget, by whichever door and to whichever agent, reads nothing about persons, and nothing
that is not shared with the key's user by name."""

from __future__ import annotations

import shlex

import httpx2
import pytest
from uuid_utils.compat import uuid7

from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from responsa_server.domain.people import Role
from tests.callers import Credential, Registry, Tenant
from tests.docs.reader import block_with, fits, settings_in
from tests.instance import ROOT, SITE, WIDGET, Instance

SALARY = "91234"
SECRET = "# Salaries\n\nThe salary of Vera Holt is 91234 euros a year."
OPENING = "# Opening hours\n\nThe museum of ships opens at ten in the morning."
AGENTS = ("", "agents/default", "agents/knowledge", "agents/chat", "agents/personal")
DOORS = (
    ("POST", "/v1/chat/completions", {"model": "default", "messages": [{"role": "user", "content": "Why?"}]}),
    ("POST", "/v1/responses", {"model": "default", "input": "Why?"}),
    (
        "POST",
        "/a2a/default",
        {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": str(uuid7())}},
    ),
    ("POST", "/chat/question", {"question": "Why?"}),
    ("POST", "/v1/turns:answer", {"text": "Why?"}),
    ("POST", "/v1/texts:generate", {"messages": [{"role": "ROLE_USER", "text": "Why?"}]}),
    ("POST", "/v1/passages:search", {"terms": ["salary"]}),
    ("POST", "/v1/documents", {"document": {}}),
    ("POST", "/v1/apiKeys", {}),
    ("GET", "/v1/collections", None),
    ("PUT", "/v1/uploads?collection=collections/museum&source_key=a.md", {}),
    ("GET", f"/v1/documents/{uuid7()}/original", None),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}),
    ("GET", "/v1/conversations", None),
    ("GET", "/v1/users/me", None),
)


class WidgetUser:
    """The user of a widget, and its keys."""

    def __init__(self, instance: Instance, registry: Registry, tenant: Tenant) -> None:
        self._instance = instance
        self._registry = registry
        self._tenant = tenant
        self.user, self.ordinary = registry.key_of(tenant.name, "site", Role.SERVICE)

    def administrator(self) -> Responsa:
        return Responsa(self._instance.url, self._tenant.key(Credential.ADMIN))

    def widget(self, agent: str = "") -> str:
        """A key for a widget that the setting of the instance names."""
        with self.administrator() as administrator:
            made = administrator.create_service_api_key(self.user, "site", widget=True, agent=agent)
        self.name_widget(made.api_key.name.removeprefix("apiKeys/"))
        return made.secret

    def name_widget(self, key_id: str) -> None:
        """Give a key the id that the setting of the instance names, which the key before loses."""
        with self._registry.database() as connection:
            connection.execute("UPDATE responsa.api_key SET id = %s WHERE id = %s", (uuid7(), WIDGET))
            connection.execute("UPDATE responsa.api_key SET id = %s WHERE id = %s", (WIDGET, key_id))

    def ask(self, key: str, text: str, agent: str = "") -> str:
        """All events of an answer, as the widget's script asks for them."""
        body = {"text": text, "requestId": str(uuid7()), **({"agent": agent} if agent else {})}
        return self.send(key, "POST", "/v1/turns:ask", body).text

    def send(self, key: str, method: str, path: str, body: object) -> httpx2.Response:
        headers = {
            "authorization": f"Bearer {key}",
            "origin": SITE,
            "accept": "text/event-stream, application/json",
        }
        return httpx2.request(method, self._instance.url + path, headers=headers, json=body, timeout=60)


@pytest.fixture
def widget_user(instance: Instance, registry: Registry, tenant: Tenant) -> WidgetUser:
    """The administrator shares a collection with this user by name, and another one, which has a document about a user, with everyone."""
    made = WidgetUser(instance, registry, tenant)
    vera, _ = registry.key_of(tenant.name, "vera", Role.USER)
    everyone, named = reader_pb2.Reader(everyone=True), reader_pb2.Reader(user=made.user)
    with made.administrator() as administrator:
        administrator.create_collection("staff", readers=[everyone])
        administrator.create_collection("museum", readers=[named])
        for text, key, collection, subject in (
            (SECRET, "vera.md", "staff", vera),
            (SECRET, "vera.md", "museum", vera),
            (SECRET.replace("Vera", "Adam"), "adam.md", "staff", ""),
            (OPENING, "hours.md", "museum", ""),
        ):
            operation = administrator.create_document(
                text, source_key=key, collection=collection, subject=subject
            )
            administrator.wait(operation)
    return made


def test_no_agent_shows_a_widget_a_document_about_a_person(widget_user: WidgetUser) -> None:
    question = "What is the salary of Vera Holt?"
    assert SALARY in widget_user.ask(widget_user.ordinary, question)
    for agent in AGENTS:
        key = widget_user.widget(agent)
        for asked in (question, "What is the salary of Adam Holt?", "Which persons and salaries are there?"):
            assert SALARY not in widget_user.ask(key, asked), (agent, asked)
    key = widget_user.widget()
    assert "opens at ten" in widget_user.ask(key, "When does the museum of ships open?")
    refused = widget_user.ask(key, question, "agents/knowledge")
    assert ("ROLE_REQUIRED" in refused, SALARY in refused) == (True, False)


def test_the_command_of_the_docs_makes_a_key_and_the_line_for_the_operator(
    widget_user: WidgetUser, instance: Instance, tenant: Tenant
) -> None:
    page = ROOT / "docs" / "widget.md"
    _, *words = shlex.split(block_with(page, "admin create-key"))
    shown = settings_in(block_with(page, "responsa up"))["RESPONSA_WIDGET_KEYS"]
    places = {"default": tenant.name, words[3]: widget_user.user}
    made = instance.run(*(places.get(word, word) for word in words))
    assert fits(f"RESPONSA_WIDGET_KEYS=apiKeys/…={SITE}", made.stderr)
    assert shown == f"apiKeys/{WIDGET}={SITE}"
    assert shown in instance.environment["RESPONSA_WIDGET_KEYS"].split(",")
    widget_user.name_widget(made.stderr.split("apiKeys/")[1].partition("=")[0])
    assert "opens at ten" in widget_user.ask(made.stdout.strip(), "When does the museum of ships open?")


def test_a_widget_has_no_other_door(widget_user: WidgetUser) -> None:
    key = widget_user.widget()
    for method, path, body in DOORS:
        reply = widget_user.send(key, method, path, body)
        assert "ROLE_REQUIRED" in reply.text, (method, path, reply.status_code, reply.text)
