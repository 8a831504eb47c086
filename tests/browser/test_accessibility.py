"""The rules of WCAG 2.2 AA that a program can check: keyboard only, screen readers, a small screen, light and dark colours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import FileChooser, expect

from tests.browser.person import Person, Tab
from tests.browser.rules import NARROW, broken_words, flaws_in_all_colours
from tests.browser.texts import BAKERY, LAST_KEEPER, LIGHTHOUSE, MARKDOWN, UNANSWERABLE

pytestmark = pytest.mark.asyncio(loop_scope="session")
COUNT_SHIFTS = """() => {
    globalThis.shifts = [];
    new PerformanceObserver((list) => globalThis.shifts.push(...list.getEntries().map((one) => one.value)))
        .observe({ type: "layout-shift", buffered: true });
}"""
RECORD_PLACES = """(box) => {
    globalThis.places = [];
    const look = () => {
        const { top } = box.getBoundingClientRect();
        if (top !== globalThis.places.at(-1)) globalThis.places.push(top);
        requestAnimationFrame(look);
    };
    look();
}"""
ANIMATED = "[...document.querySelectorAll('*')].filter((one) => getComputedStyle(one).animationName !== 'none').length"


async def test_every_state_of_the_page_keeps_the_accessibility_rules(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in(**NARROW)
    flaws_by_state: dict[str, list[str]] = {}

    async def look(state: str) -> None:
        flaws_by_state[state] = await flaws_in_all_colours(tab.page) + await broken_words(tab.page)

    await expect(tab.page.get_by_role("list", name="What you can ask about")).to_contain_text("1 document")
    await look("empty")
    await tab.ask(LAST_KEEPER)
    await tab.ask(UNANSWERABLE)
    await tab.page.locator(".steps summary").first.click()
    await look("answers")
    await tab.page.get_by_text("Asking all collections").click()
    await tab.page.get_by_label("My documents").wait_for()
    await look("scope")
    await tab.page.keyboard.press("Escape")
    await tab.chips.first.click()
    await expect(tab.source.locator(".badge")).to_be_visible()
    await look("source")
    await tab.page.keyboard.press("Escape")
    await tab.page.get_by_role("link", name="Ask", exact=True).click()
    await expect(tab.questions).to_have_count(0)
    await tab.choose("Reader")
    await tab.ask(LAST_KEEPER)
    await tab.chips.first.hover()
    await expect(tab.page.get_by_role("tooltip")).to_be_visible()
    await look("tip")
    await tab.page.get_by_role("link", name="Ask", exact=True).click()
    await expect(tab.questions).to_have_count(0)
    await tab.choose("Echo")
    await tab.ask(f"{MARKDOWN}\n\n{MARKDOWN}")
    # The title, above the headings of the answer, comes after it.
    await expect(tab.page.get_by_role("button", name="Rename")).to_be_visible()
    await look("markdown")
    await tab.page.get_by_role("link", name="Search").click()
    await tab.page.get_by_label("Search for").fill(LAST_KEEPER)
    await tab.page.get_by_role("button", name="Search").click()
    await expect(tab.page.locator(".search .excerpts > li").first).to_be_visible()
    await tab.page.get_by_text("Scores", exact=True).click()
    await look("search")
    await tab.open_documents()
    await tab.upload(("bakery.md", BAKERY.encode()), ("empty.txt", b""))
    await expect(tab.upload_of("bakery.md")).to_contain_text("searchable")
    await expect(tab.upload_of("empty.txt")).to_contain_text("no text")
    await look("documents")
    await tab.page.get_by_role("button", name="New collection").click()
    await look("dialog")
    await tab.page.keyboard.press("Escape")
    # 320 px are also what 200 % zoom leaves of a window of 640 px. Nothing scrolls sideways, in either direction of writing.
    await tab.page.set_viewport_size({"width": 320, "height": 640})
    wide: list[str] = []
    for direction in ("ltr", "rtl"):
        await tab.page.evaluate("(dir) => void (document.documentElement.dir = dir)", direction)
        for view in ("", "search", "documents", "teachers", "profile", "administration/users"):
            await tab.page.evaluate("(view) => void (location.hash = `#/${view}`)", view)
            await tab.page.wait_for_load_state("networkidle")
            if await tab.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(f"{direction} {view}")
            wide += [f"{direction} {view}: {word}" for word in await broken_words(tab.page)]
    assert wide == []
    await tab.sign_out()
    await expect(tab.page.get_by_role("alert")).to_be_visible()
    await look("signed out")
    assert {state: ones for state, ones in flaws_by_state.items() if ones} == {}


async def test_every_state_of_an_answer_keeps_the_accessibility_rules(asker: Person) -> None:
    context = await asker.profile(**NARROW)
    tab = await asker.sign_in(context)
    flaws_by_state: dict[str, list[str]] = {}
    await tab.ask("tokens=5 fail_after=2")
    await tab.ask("tokens=5 tool=once tool_fail=cut")
    await tab.steps.nth(1).click()
    await tab.send("tokens=2000 pace_ms=250")
    await tab.grown(number=2)
    await tab.send("tokens=20")
    await expect(tab.steps.nth(3)).to_have_text("Waiting for 1 earlier question…")
    flaws_by_state["answering"] = await flaws_in_all_colours(tab.page)
    await context.set_offline(True)
    await expect(tab.steps.nth(2)).to_contain_text("You are offline")
    flaws_by_state["offline"] = await flaws_in_all_colours(tab.page)
    await context.set_offline(False)
    await tab.stop.first.click()
    await expect(tab.answers).to_have_count(4)
    flaws_by_state["ended"] = await flaws_in_all_colours(tab.page)
    assert {state: ones for state, ones in flaws_by_state.items() if ones} == {}


async def test_an_answer_is_stopped_by_keyboard_and_the_focus_goes_back_to_the_question(
    asker: Person,
) -> None:
    for number in range(4):
        asker.add(LIGHTHOUSE, f"lighthouse-{number}.md")
    tab = await asker.sign_in(viewport=NARROW["viewport"])
    await tab.watch_live()
    await tab.page.get_by_role("list", name="Recent documents").wait_for()
    await tab.page.evaluate(COUNT_SHIFTS)
    # Since the page began to load. Core Web Vitals rate a sum below 0.1 as "good".
    assert sum(await tab.page.evaluate("globalThis.shifts")) <= 0.01
    await tab.question.evaluate(RECORD_PLACES)
    await tab.page.keyboard.type("tokens=2000 pace_ms=250")
    await tab.page.keyboard.press("Enter")
    await tab.grown()
    # Nothing is animated for those who asked for stillness.
    await expect(tab.page.locator(".steps.busy")).to_be_visible()
    assert await tab.page.evaluate(ANIMATED) == 0
    await press_until(tab, "Stop", "Shift+Tab")
    await tab.page.keyboard.press("Enter")
    await expect(tab.answers).to_have_count(1)
    # With the first question, the box goes from the middle to the end, and stays there.
    middle, end = await tab.page.evaluate("globalThis.places")
    assert middle < end
    await expect(tab.question).to_be_focused()
    said = await tab.said()
    assert said[-2:] == ["Stopping…", "You stopped this answer."]


async def test_nothing_moves_while_a_view_loads(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    context = await person.profile()
    await context.add_init_script(f"({COUNT_SHIFTS})()")
    await person.sign_in(context)
    for view, last in {
        "documents": "The lighthouse of Korsholm",
        "profile": "Delete the account",
        "administration": "No groups yet.",
        "administration/inbox": "Without an answer in the last 30 days",
    }.items():
        page = (await person.open(context, f"{person.url}/#/{view}")).page
        await expect(page.locator("main").get_by_text(last).first).to_be_visible()
        await page.wait_for_load_state("networkidle")
        assert sum(await page.evaluate("globalThis.shifts")) <= 0.01, view
        await page.close()


async def focus_name(tab: Tab) -> str:
    return await tab.page.evaluate(
        "() => { const one = document.activeElement; return one.getAttribute('aria-label') ?? "
        "one.labels?.[0]?.textContent ?? one.textContent; }"
    )


async def press_until(tab: Tab, name: str, key: str = "Tab") -> None:
    """Press a key until the element with this name has the focus; each element on the way must show its focus visibly."""
    for _ in range(40):
        await tab.page.keyboard.press(key)
        here = await focus_name(tab)
        outlined = "getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement === document.body"
        shown = (
            "['files', 'folder', 'question'].includes(document.activeElement.id) || " + outlined
        )  # the focus ring of a file chooser is drawn around its label, and that of the question around its form
        assert await tab.page.evaluate(shown), f"the focus cannot be seen on {here!r}"
        if here.startswith(name):
            return
    pytest.fail(f"{name!r} was not reached by {key}")


async def test_the_whole_journey_by_keyboard_alone(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    keyboard = tab.page.keyboard
    chosen: asyncio.Future[FileChooser] = asyncio.get_running_loop().create_future()
    tab.page.on("filechooser", lambda chooser: chosen.set_result(chooser))
    await expect(tab.question).to_be_focused()
    await keyboard.type(LAST_KEEPER)
    await keyboard.press("Shift+Enter")
    await keyboard.press("Backspace")
    await keyboard.press("Enter")
    await expect(tab.chips.first).to_be_visible()
    await expect(tab.answers).to_have_count(1)
    await expect(tab.question).to_be_focused()

    await press_until(tab, "The lighthouse of Korsholm", "Shift+Tab")
    await keyboard.press("Enter")
    await expect(tab.mark).to_be_focused()
    await press_until(tab, "Close the document", "Shift+Tab")
    await keyboard.press("Enter")
    await expect(tab.chips.first).to_be_focused()
    await keyboard.press("Space")
    await expect(tab.mark).to_be_focused()
    await keyboard.press("Escape")
    await expect(tab.source).to_be_hidden()
    await expect(tab.chips.first).to_be_focused()

    await press_until(tab, "Asking all collections")
    await keyboard.press("Enter")
    await tab.page.get_by_label("My documents").wait_for()
    await press_until(tab, "My documents")
    await keyboard.press("Space")
    await keyboard.press("Escape")
    await expect(tab.page.locator(".scope summary")).to_be_focused()
    await expect(tab.page.locator(".scope summary")).to_have_text("Asking My documents")

    await press_until(tab, "Rename", "Shift+Tab")
    await keyboard.press("Enter")
    await keyboard.type("Keepers")
    await keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Keepers")).to_be_visible()
    await expect(tab.page.get_by_role("button", name="Rename")).to_be_focused()

    await press_until(tab, "Documents", "Shift+Tab")
    await keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Documents", exact=True)).to_be_focused()
    await press_until(tab, "The lighthouse of Korsholm")
    await keyboard.press("Enter")
    await expect(tab.source).to_contain_text("Axel Hampus")
    await keyboard.press("Escape")
    await expect(
        tab.page.get_by_role("button", name="The lighthouse of Korsholm", exact=True)
    ).to_be_focused()
    await press_until(tab, "Add documents", "Shift+Tab")
    await keyboard.press("Enter")
    bakery: Any = {"name": "bakery.md", "mimeType": "text/markdown", "buffer": BAKERY.encode()}
    await (await chosen).set_files(bakery)
    await expect(tab.upload_of("bakery.md")).to_contain_text("searchable")
    await keyboard.press("?")  # the button is a field for files, but not one for text
    await expect(tab.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await keyboard.press("Escape")

    await tab.page.reload()
    await tab.page.get_by_role("heading", name="Documents", exact=True).wait_for()
    await keyboard.press("Tab")
    assert await focus_name(tab) == "Skip to the content"
    await keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Documents", exact=True)).to_be_focused()
    await press_until(tab, "admin", "Shift+Tab")
    await keyboard.press("Enter")
    await press_until(tab, "Profile")
    await keyboard.press("Escape")
    await expect(tab.account).to_be_focused()
    await tab.account.click()
    await tab.page.get_by_role("heading", name="Documents", exact=True).click()
    await expect(tab.page.get_by_role("link", name="Profile")).to_be_hidden()
    await tab.account.focus()
    await keyboard.press("Enter")
    await press_until(tab, "Sign out")
    await keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Responsa")).to_be_focused()


async def test_a_screen_reader_hears_each_step_once_and_then_the_answer(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await expect(tab.live).to_have_attribute("role", "status")
    await expect(tab.live).to_have_text("")
    await tab.watch_live()
    await tab.ask(LAST_KEEPER)
    said = await tab.said()
    assert said[:3] == ["Searching knowledge base...", "Analyzing results...", "Generating response..."]
    assert len(said) == len(set(said)) == 4
    assert "Märta Öhman" in said[3]
    # A screen reader would read partial answers again and again.
    assert (
        await tab.page.locator(
            "ol.messages [aria-live], ol.messages[aria-live], ol.messages[role=log]"
        ).count()
        == 0
    )
    assert await tab.page.locator("html").get_attribute("lang") == "en"
    await expect(tab.chips.first).to_have_accessible_name("The lighthouse of Korsholm › Keepers")


async def test_a_small_screen_reaches_everything(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    await tab.ask(LAST_KEEPER)
    await tab.page.get_by_role("link", name="Ask", exact=True).tap()
    await expect(tab.questions).to_have_count(0)

    drawer = tab.page.get_by_role("button", name="Conversations")
    listed = tab.page.get_by_role("navigation", name="Conversations")
    await expect(listed).to_be_hidden()
    await drawer.tap()
    await expect(drawer).to_have_attribute("aria-expanded", "true")
    await expect(listed).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(listed).to_be_hidden()
    await expect(drawer).to_be_focused()
    await drawer.tap()
    await listed.get_by_text(LAST_KEEPER).tap()
    await expect(listed).to_be_hidden()
    await expect(tab.questions).to_have_count(1)

    await tab.chips.first.tap()
    await expect(tab.mark).to_be_in_viewport()
    # Elements that the open document covers cannot be reached.
    for key in ("Tab", "Shift+Tab"):
        for _ in range(4):
            await tab.page.keyboard.press(key)
            assert await tab.page.evaluate(
                "document.activeElement === document.body || document.querySelector('section.document').contains(document.activeElement)"
            )
    await tab.page.get_by_role("button", name="Close the document").tap()
    await expect(tab.chips.first).to_be_focused()
    await tab.open_documents()
    await expect(
        tab.page.get_by_role("button", name="The lighthouse of Korsholm", exact=True)
    ).to_be_visible()
    for _ in range(2):
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "the page is wider than the screen"
        )
        await tab.page.go_back()
