"""A file with a question: it is dropped onto the question box, asked in its conversation, and kept if the user wants."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.person import Person, Tab, until
from tests.browser.rules import flaws_in_all_colours
from tests.browser.texts import LIGHTHOUSE
from tests.callers import Registry

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = [
    f"<h1>Harbour {number}</h1><p>The crane of harbour {number} lifts {number * 7 + 3} tonnes. "
    + "Ships wait for the tide and for the pilot, who comes in a small boat. " * 20
    + "</p>"
    for number in range(1, 11)
]
QUESTION = "How much does the crane lift at harbour 7?"
DROP = """(box, [name, data]) => {
    const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    for (const kind of ["dragover", "drop"]) box.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
}"""


async def printed(browser: Browser) -> bytes:
    page = await browser.new_page()
    try:
        await page.set_content(
            "".join(f"<section style='break-after: page'>{one}</section>" for one in PAGES)
        )
        return await page.pdf()
    finally:
        await page.close()


async def drop(tab: Tab, name: str, data: bytes) -> None:
    await tab.page.locator("form.ask").evaluate(DROP, [name, base64.b64encode(data).decode()])


async def test_a_file_that_is_dropped_onto_the_box_answers_in_its_conversation_alone(
    person: Person, browser: Browser, registry: Registry
) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    person.add("# Harbour 7\n\nThe crane at harbour 7 lifts nothing in winter.", "winter.md")
    tab = await person.sign_in()
    printout = await printed(browser)
    with registry.holding("passage"):
        await drop(tab, "harbours.pdf", printout)
        # The question is sent at once, and waits for the file.
        await tab.send(QUESTION)
        await expect(tab.page.locator(".steps summary")).to_contain_text("Reading harbours.pdf…")
    await tab.answers.first.wait_for()
    clip = tab.page.locator(".clips li")
    await expect(clip).to_contain_text("harbours.pdf")
    await expect(clip).to_contain_text("ready")
    assert all("Harbour 1 › " in title for title in await tab.chips.all_text_contents()), "other documents"
    await tab.chips.first.click()
    await expect(tab.source.get_by_role("img")).to_have_accessible_name(re.compile("^Page 7 of"))
    await expect(tab.source.locator(".cited-box").first).to_be_in_viewport()
    await tab.page.keyboard.press("Escape")
    assert await flaws_in_all_colours(tab.page) == []

    # The file stays what is asked, here and after a visit elsewhere, until the cross is pressed; the question names the conversation.
    scope = tab.page.locator(".scope summary")
    await expect(scope).to_have_text("Asking files of this conversation")
    await tab.page.reload()
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(scope).to_have_text("Asking all collections")
    await tab.page.get_by_role("link", name=QUESTION).click()
    await expect(scope).to_have_text("Asking files of this conversation")
    await tab.page.locator(".scoped").get_by_role("button", name="Search all collections").click()
    await tab.page.reload()
    await expect(scope).to_have_text("Asking all collections")
    await clip.get_by_role("button", name="Keep in My documents").click()
    await expect(clip).to_contain_text("In My documents")

    async def is_kept() -> bool:
        return "harbours.pdf" in [one.source_key for one in person.client.documents("collections/default")]

    await until(is_kept, "the file is among the user's documents")
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(clip).to_have_count(0)


async def test_a_scan_says_at_once_that_it_has_no_text(person: Person, browser: Browser) -> None:
    page = await browser.new_page()
    await page.set_content("<svg width=300 height=300><circle r=90 cx=150 cy=150 /></svg>")
    tab = await person.sign_in()
    await drop(tab, "scan.pdf", await page.pdf())
    await page.close()
    await expect(tab.page.locator(".clips .problem")).to_contain_text("OCR")
    await tab.page.get_by_role("button", name="Remove “scan.pdf”").click()
    await expect(tab.page.locator(".clips li")).to_have_count(0)
