"""The examples of front ends on the AI SDK and assistant-ui, as their registry has them, in a real browser."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from responsa.chat.v1.turn_pb2 import TURN_STATE_ANSWERED, TURN_STATE_CANCELLED
from responsa_client import Responsa
from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.person import PATIENCE
from tests.clients.drivers import build
from tests.instance import ROOT, Instance, eventually, free_port
from tests.real import programs
from tests.real.conftest import ferry_instance

pytestmark = pytest.mark.soak
QUESTION: Final = "When does the ferry to Skye leave Mallaig?"
SLOW: Final = "tokens=150 pace_ms=40"
EXAMPLES: Final = ROOT / "clients" / "typescript" / "examples"
URL: Final = "http://127.0.0.1:8080"
OPTIONS: Final = "{ page: URL }"
COMPILED: Final = (
    "--jsx react-jsx --module esnext --moduleResolution bundler --target es2022 --strict --noUncheckedIndexedAccess "
    "--exactOptionalPropertyTypes --skipLibCheck --noEmit --types react"
)


@dataclass
class FrontEnds:
    """A server of pages, each an example that asks the agent `default`, and with `-testing` the agent `testing`."""

    url: str
    instance: Instance
    context: BrowserContext

    def opened(self, example: str) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self.url}/{example}.html")
        return page


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask").click()


@pytest.fixture(scope="module")
def front_ends(folder: Path) -> Iterator[FrontEnds]:
    (pages := folder / "pages").mkdir()
    expect.set_options(timeout=PATIENCE)
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{free_port()}"
        settings = {"RESPONSA_ALLOWED_ORIGINS": url, "RESPONSA_TESTING__AGENT": "true"}
        instance = stack.enter_context(ferry_instance(folder, **settings))
        bundle(pages, instance.url)
        handler = partial(SimpleHTTPRequestHandler, directory=pages)
        server = ThreadingHTTPServer(("127.0.0.1", int(url.rpartition(":")[2])), handler)
        stack.callback(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        stack.callback(browser.close)
        context = browser.new_context()
        context.add_init_script(f"sessionStorage.setItem('key', '{instance.key}')")
        yield FrontEnds(url, instance, context)


def bundle(pages: Path, url: str) -> None:
    """Compile the examples with the types of their packages, and make pages of them."""
    build("typescript")
    (pages / "node_modules").symlink_to(programs.front_ends())
    tools, written = ROOT / "node_modules" / ".bin", list[str]()
    for example in sorted(EXAMPLES.glob("*.tsx")):
        text = example.read_text()
        assert text.count("\n") <= 60
        assert (text.count(URL), text.count(OPTIONS)) == (1, 1)
        asking = OPTIONS.replace(" }", ', question: { agent: "agents/testing" } }')
        for name, options in ((example.stem, OPTIONS), (f"{example.stem}-testing", asking)):
            (pages / f"{name}.tsx").write_text(text.replace(URL, url).replace(OPTIONS, options))
            (pages / f"{name}.html").write_text(
                f'<!doctype html><meta charset="utf-8"><body><script type="module" src="{name}.js"></script>'
            )
            written.append(f"{name}.tsx")
    responsa = f"@responsa/client={ROOT}/clients/typescript/dist/index.js"
    (pages / "tsconfig.json").write_text(
        f'{{"compilerOptions": {{"paths": {{"@responsa/client": ["{ROOT}/clients/typescript/dist/index.d.ts"]}}}}}}'
    )
    options = ["--project", "tsconfig.json", *COMPILED.split()]
    for command in (
        [tools / "tsc", *options],
        [
            tools / "esbuild",
            *written,
            "--bundle",
            "--format=esm",
            "--jsx=automatic",
            "--outdir=.",
            f"--alias:{responsa}",
        ],
    ):
        done = subprocess.run(command, cwd=pages, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=["ai-sdk", "assistant-ui"])
def example(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_answer_has_its_sources_also_after_a_reload(front_ends: FrontEnds, example: str) -> None:
    page = front_ends.opened(example)
    ask(page, QUESTION)
    for _ in range(2):
        expect(page.locator(".assistant")).to_contain_text("six in the morning")
        expect(page.locator(".user")).to_have_count(1)
        source = page.locator(f'.assistant a[href^="{front_ends.instance.url}/#/documents/"]')
        expect(source.first).to_be_visible()
        page.reload()
    page.close()


def test_an_answer_survives_a_cut_and_a_reload(front_ends: FrontEnds, example: str) -> None:
    page = front_ends.opened(f"{example}-testing")
    ask(page, f"{SLOW} note={example}")
    answer = page.locator(".assistant")
    expect(page.locator(".assistant em")).to_be_visible()
    expect(answer).to_contain_text(" ")
    grown(page, 100)
    front_ends.context.set_offline(True)
    front_ends.context.set_offline(False)
    grown(page, 200)
    page.reload()
    grown(page, 300)
    with Responsa(front_ends.instance.url, front_ends.instance.key) as responsa:
        (turn,) = [turn for turn in responsa.turns() if turn.text.endswith(f"note={example}")]
        eventually(lambda: responsa.get_turn(turn.name).state == TURN_STATE_ANSWERED, "the turn ends")
        text = responsa.get_turn(turn.name).terminal_event.answer.text
    expect(page.locator(".assistant p").first).to_have_text(text)
    expect(page.locator(".user")).to_have_count(1)
    expect(page.locator(".assistant")).to_have_count(1)
    page.close()


def test_stop_cancels_the_turn(front_ends: FrontEnds, example: str) -> None:
    page = front_ends.opened(f"{example}-testing")
    ask(page, f"tokens=900 pace_ms=40 note=stop-{example}")
    grown(page, 50)
    page.get_by_role("button", name="Stop").click()
    with Responsa(front_ends.instance.url, front_ends.instance.key) as responsa:
        (turn,) = [turn for turn in responsa.turns() if turn.text.endswith(f"note=stop-{example}")]
        eventually(
            lambda: responsa.get_turn(turn.name).state == TURN_STATE_CANCELLED, "the turn is cancelled"
        )
    page.close()


def grown(page: Page, most: int) -> None:
    """Wait until the answer has some characters."""
    page.wait_for_function(
        "most => (document.querySelector('.assistant')?.innerText.length ?? 0) > most", arg=most
    )
