"""A real Open WebUI in front of OpenAI's API of a real instance: over its own API, and in a browser as a person uses it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest
from playwright.sync_api import expect, sync_playwright

from responsa_client import Responsa
from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.person import PATIENCE
from tests.docs.reader import block_with, settings_in
from tests.instance import ROOT, START_PATIENCE, Instance, eventually, free_port
from tests.real import programs
from tests.tied import tied

pytestmark = pytest.mark.soak
QUESTION: Final = "When does the ferry to Skye leave Mallaig?"
ANN: Final = {"name": "Ann", "email": "ann@example.org", "password": "a password at Open WebUI"}


@dataclass
class OpenWebui:
    url: str
    token: str
    """Ann's, who is its administrator."""

    def caller(self) -> httpx2.Client:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=PATIENCE / 1000)


@contextmanager
def open_webui_for(backend: Instance, folder: Path) -> Iterator[OpenWebui]:
    """Open WebUI on loopback, set up as docs/openai.md says."""
    port, log = free_port(), folder / "open-webui.log"
    shown = block_with(ROOT / "docs" / "openai.md", "open-webui serve")
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if name.isupper() and not name.startswith("PYTHON")
        },
        **settings_in(shown.replace("http://HOST", backend.url).replace("rsp_…", backend.key)),
        # Without these, it loads models from a hub and asks for its own newest version.
        "OFFLINE_MODE": "true",
        "RAG_EMBEDDING_ENGINE": "openai",
        "DATA_DIR": str(folder / "data"),
        "WEBUI_SECRET_KEY": secrets.token_hex(),
    }
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            tied(str(programs.open_webui()), "serve", "--host", "127.0.0.1", "--port", str(port)),
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return httpx2.get(f"{url}/health").is_success
        except httpx2.TransportError:
            return False

    try:
        eventually(ready, lambda: log.read_text()[-3000:], START_PATIENCE)
        signed_up = httpx2.post(f"{url}/api/v1/auths/signup", json=ANN, timeout=PATIENCE / 1000)
        assert signed_up.is_success, signed_up.text
        yield OpenWebui(url, signed_up.json()["token"])
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def open_webui(backend: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebui]:
    with open_webui_for(backend, tmp_path_factory.mktemp("open-webui")) as found:
        yield found


def test_it_lists_the_agents(open_webui: OpenWebui, backend: Instance) -> None:
    with open_webui.caller() as caller:
        listed = {model["id"] for model in caller.get("/api/models").json()["data"]}
    with Responsa(backend.url, backend.key) as responsa:
        agents = [agent.name.removeprefix("agents/") for agent in responsa.agents() if agent.listed]
    assert {f"{agent}{kind}" for agent in agents for kind in ("", ":chores")} <= listed


def test_it_streams_an_answer_with_its_citations(open_webui: OpenWebui, backend: Instance) -> None:
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    with open_webui.caller() as caller, caller.stream("POST", "/api/chat/completions", json=body) as reply:
        assert reply.status_code == 200, reply.read()
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    deltas = [choice["delta"] for line in lines for choice in json.loads(line).get("choices", ())]
    text = "".join(delta.get("content") or "" for delta in deltas)
    answer, _, sources = text.partition("\n\nSources:\n\n")
    assert "six in the morning. [1]" in answer
    assert f"]({backend.url}/#/documents/" in sources
    citations = [note["url_citation"] for delta in deltas for note in delta.get("annotations") or ()]
    assert {one["quote"] for one in citations} == {
        "The ferry to Skye leaves from Mallaig at six in the morning."
    }


def test_a_person_chats_in_the_browser(open_webui: OpenWebui, backend: Instance, tmp_path: Path) -> None:
    """The chat of two questions is one conversation of two turns: requests for titles, tags and follow-ups are known."""
    with Responsa(backend.url, backend.key) as responsa:
        before = len([*responsa.turns()])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.add_init_script(f"localStorage.token = {json.dumps(open_webui.token)}")
        page.goto(open_webui.url)
        for number in (1, 2):
            box = page.locator("#chat-input")
            box.wait_for()
            page.keyboard.press("Escape")  # what is new
            box.click()
            page.keyboard.type(QUESTION)
            page.keyboard.press("Enter")
            sources = page.locator(f'a[href^="{backend.url}/#/documents/"]')
            expect(sources).to_have_count(number, timeout=PATIENCE)
        browser.close()
    with Responsa(backend.url, backend.key) as responsa:
        conversation = next(iter(responsa.conversations()))
        assert len([*responsa.messages(conversation.name)]) == 4
        assert len([*responsa.turns()]) == before + 2
