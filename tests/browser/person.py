"""A user who opens tabs in a browser and asks questions. All errors of the page are recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page, Request

from responsa_client import Responsa
from tests.instance import pause

CHAT = "/responsa.chat.v1.ChatService/"
ASK = f"{CHAT}Ask"
RESUME = f"{CHAT}ResumeTurn"
PATIENCE = 120_000
"""The time in milliseconds that a condition may take on a loaded machine before its test fails."""
# The browser's messages about failures that tests cause: refused uploads, lost connections.
EXPECTED = ("Failed to load resource", "Service Worker registration blocked by Playwright")


@dataclass
class Tab:
    """One page and its elements, found as a user finds them: by role and name."""

    page: Page

    @property
    def question(self) -> Locator:
        return self.page.get_by_label("Your question")

    @property
    def answers(self) -> Locator:
        """Replies that are complete."""
        return self.page.locator("li.assistant:not([aria-busy])")

    @property
    def coming(self) -> Locator:
        """Replies that are waiting or in progress."""
        return self.page.locator("li.assistant[aria-busy]")

    @property
    def steps(self) -> Locator:
        """The status line above each reply."""
        return self.page.locator(".steps > summary")

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)

    @property
    def questions(self) -> Locator:
        return self.page.locator("li.user p")

    @property
    def chips(self) -> Locator:
        """What opens the sources of answers: the numbers in texts, and the titles of passages."""
        return self.page.locator("button.chip, .passages > .excerpts button.open")

    @property
    def texts(self) -> Locator:
        """The texts of complete replies, or their passages."""
        return self.answers.locator(".answer-text, .passages > .excerpts")

    @property
    def source(self) -> Locator:
        """The open document."""
        return self.page.locator("section.document")

    @property
    def marks(self) -> Locator:
        """The marked text of the open document. In rendered Markdown, it may be in several elements."""
        return self.source.locator("mark")

    @property
    def mark(self) -> Locator:
        """The first marked text."""
        return self.marks.first

    @property
    def live(self) -> Locator:
        """The announcements to screen readers."""
        return self.page.locator("[aria-live=polite]")

    @property
    def agent(self) -> Locator:
        """The selected agent."""
        return self.page.get_by_label("Agent", exact=True)

    @property
    def outcome(self) -> Locator:
        """The notes below replies."""
        return self.page.locator("li.assistant .outcome")

    @property
    def fallbacks(self) -> Locator:
        """The fallbacks below replies."""
        return self.page.locator("li.assistant .fell-back li")

    @property
    def alert(self) -> Locator:
        """The error that the page shows."""
        return self.page.locator("main [role=alert]:not(:empty)")

    async def show_part(self, group: str, name: str) -> None:
        """Show a part of the administration."""
        await self.page.get_by_role("tab", name=group, exact=True).click()
        await self.page.get_by_role("tab", name=name, exact=True).click()

    async def do_more(self, answer: Locator, name: str) -> None:
        """Choose an entry of the menu below an answer."""
        await answer.get_by_role("button", name="More", exact=True).click()
        await answer.get_by_role("list", name="More").get_by_role("button", name=name).click()

    async def ask(self, text: str) -> None:
        """Ask, and wait for the reply."""
        count = await self.answers.count()
        await self.question.fill(text)
        await self.question.press("Enter")
        await self.answers.nth(count).wait_for()

    async def send(self, text: str) -> None:
        """Ask, and do not wait."""
        await self.question.fill(text)
        await self.question.press("Enter")

    async def choose(self, agent: str) -> None:
        """Choose an agent by its display name."""
        await self.agent.select_option(label=agent)

    async def text(self, number: int = 0) -> str:
        """The current text of the answer with this number, which consists of paragraphs."""
        here = self.page.locator("li.assistant").nth(number).locator(".answer-text > p")
        return "\n\n".join(await here.all_text_contents())

    async def grown(self, number: int = 0, beyond: int = 0) -> str:
        """Wait until an answer has more than this number of characters, and return the answer's text."""
        seen = ""

        async def longer() -> bool:
            nonlocal seen
            seen = await self.text(number)
            return len(seen) > beyond

        await until(longer, f"an answer of more than {beyond} characters")
        return seen

    @property
    def account(self) -> Locator:
        """The button that opens the user's menu."""
        return self.page.get_by_role("navigation", name="Account").locator("button[aria-expanded]")

    async def sign_out(self) -> None:
        """Sign out with the user's menu."""
        await self.account.click()
        await self.page.get_by_role("button", name="Sign out").click()

    @property
    def collection(self) -> Locator:
        """The chosen collection, in the list of the collections."""
        return self.page.locator(".shelves [aria-current]")

    async def choose_collection(self, text: str) -> None:
        """Choose a collection by a part of its text in the list."""
        await self.page.get_by_role("list", name="Collections").get_by_role("button", name=text).click()

    async def open_documents(self) -> None:
        await self.page.get_by_role("link", name="Documents", exact=True).click()
        await self.page.get_by_role("heading", name="Documents", exact=True).wait_for()

    async def upload(self, *files: tuple[str, bytes]) -> None:
        """Choose files as in the browser's own dialog."""
        chosen: Any = [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
        await self.page.get_by_label("Add documents").set_input_files(chosen)

    def upload_of(self, name: str) -> Locator:
        return self.page.locator(".uploads li", has_text=name)

    async def sent(self, name: str) -> None:
        """Wait until the server has all bytes of a file and is processing the file."""
        bar = self.upload_of(name).get_by_role("progressbar")

        async def beyond() -> bool:
            return bool(await bar.evaluate("(bar) => bar.value > 0.3"))

        await until(beyond, f"progress of {name}")

    async def waiting(self) -> list[object]:
        """The questions that this tab stores while it waits for their answers."""
        return await self.page.evaluate("JSON.parse(sessionStorage.getItem('responsa.pending') ?? '[]')")

    async def watch_live(self) -> None:
        """From now on, record everything that the live region says."""
        await self.live.evaluate(
            """(region) => {
                globalThis.said = [];
                new MutationObserver(() => globalThis.said.push(region.textContent))
                    .observe(region, { childList: true, characterData: true, subtree: true });
            }"""
        )

    async def said(self) -> list[str]:
        return await self.page.evaluate("globalThis.said")


@dataclass
class Person:
    """A user. `troubles` collects the errors of the page's scripts and the breaches of its content security policy."""

    url: str
    browser: Browser
    client: Responsa
    agent: str = ""
    """The agent in the page's address."""
    troubles: list[str] = field(default_factory=list[str])
    requests: list[Request] = field(default_factory=list[Request])
    under_way: set[Request] = field(default_factory=set[Request])
    _contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])

    def link(self) -> str:
        """A new link that signs in once, as `responsa open` prints it."""
        query = f"?agent={self.agent}" if self.agent else ""
        return f"{self.url}/{query}#code={self.client.create_session_code().code}"

    async def profile(self, **options: Any) -> BrowserContext:
        """A new browser profile without cookies or stored data. It asks pages not to animate, because drawing
        animations takes most of a browser's time."""
        options.setdefault("reduced_motion", "reduce")
        options.setdefault("service_workers", "block")  # each profile would load all files of the page
        made = await self.browser.new_context(**options)
        made.set_default_timeout(PATIENCE)
        self._contexts.append(made)
        return made

    async def sign_in(self, context: BrowserContext | None = None, **options: Any) -> Tab:
        """A tab in which the user has signed in with a link. The tab is ready for a question."""
        tab = await self.open(context or await self.profile(**options), self.link())
        await tab.question.wait_for()
        return tab

    async def open(self, context: BrowserContext, url: str) -> Tab:
        """A tab with this address."""
        page = await context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", self._broke)
        page.on("request", self._requested)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)
        await page.goto(url)
        return Tab(page)

    def add(self, text: str, source_key: str, title: str = "", collection: str = "default") -> str:
        """Upload a document; returns its name once it is searchable."""
        operation = self.client.create_document(
            text, source_key=source_key, title=title, collection=collection
        )
        return self.client.wait(operation).document.name

    def streams(self) -> int:
        """The number of open streams of turns."""
        return sum(one.url.endswith((ASK, RESUME)) for one in self.under_way)

    async def leave(self) -> None:
        for context in self._contexts:
            await context.close()

    def _requested(self, request: Request) -> None:
        self.requests.append(request)
        self.under_way.add(request)

    def _ended(self, request: Request) -> None:
        self.under_way.discard(request)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.troubles.append(message.text)

    def _broke(self, error: Error) -> None:
        self.troubles.append(str(error))


async def until(condition: Callable[[], Awaitable[bool]], what: str | Callable[[], str]) -> None:
    """Wait for a condition that the browser does not report with an event."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE / 1000):
            while not await condition():  # noqa: ASYNC110  the condition lies in the browser
                await asyncio.sleep(pause(time.monotonic() - began))
    except TimeoutError:
        said = what if isinstance(what, str) else what()
        raise AssertionError(f"this did not happen in time: {said}") from None


def frames(body: bytes) -> Sequence[bytes]:
    """A gRPC-Web response cut into its messages and trailers, each with its head (five bytes: flags, length)."""
    found: list[bytes] = []
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        found.append(body[:end])
        body = body[end:]
    return found
