"""A document next to the list or an answer: its drawn pages, its text, its versions and its details."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Locator, expect

from responsa_client import Responsa
from tests.browser.person import Person, Tab
from tests.browser.rules import flaws
from tests.browser.texts import LAST_KEEPER, LIGHTHOUSE

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEEPERS = "<h2>Keepers</h2><p>The last keeper of the Korsholm lighthouse was Märta Öhman, who stayed until 1962.</p>"


async def printed(browser: Browser, html: str) -> bytes:
    """A PDF that Chromium prints."""
    page = await browser.new_page()
    try:
        await page.set_content(html)
        return await page.pdf()
    finally:
        await page.close()


def add_pdf(client: Responsa, data: bytes) -> None:
    client.wait(client.upload(data, source_key="lights.pdf"))


def shown_tab(tab: Tab, name: str) -> Locator:
    return tab.source.get_by_role("tab", name=name, selected=True)


async def test_the_citation_of_a_pdf_opens_its_drawn_page_and_the_browser_never_gets_the_pdf(
    person: Person, browser: Browser
) -> None:
    rest = "<div style='break-after: page'><p>The lights of the coast burn at night.</p></div>"
    add_pdf(person.client, await printed(browser, f"<title>Lights</title>{rest}{KEEPERS}"))
    tab = await person.sign_in()
    await tab.ask(LAST_KEEPER)
    await tab.chips.first.click()
    page = tab.source.get_by_role("img")
    box = tab.source.locator(".cited-box")
    await expect(page).to_have_accessible_name(
        "Page 2 of 2 of Lights. The cited part is marked; the tab “Text” has its words."
    )
    await expect(shown_tab(tab, "Pages")).to_be_visible()
    await expect(box).to_be_in_viewport()
    inked = """(mark) => {
        const sheet = mark.closest(".sheet-of-paper").querySelector("canvas");
        const [page, box] = [sheet, mark].map((one) => one.getBoundingClientRect());
        const scale = sheet.width / page.width;
        const place = [box.x - page.x, box.y - page.y, box.width, box.height].map((one) => one * scale);
        const data = sheet.getContext("2d").getImageData(...place).data;
        return data.some((value, index) => index % 4 === 0 && value < 100);
    }"""
    assert await box.evaluate(inked), "the box is not on the drawn words"
    assert await flaws(tab.page) == []
    await tab.source.get_by_role("button", name="Previous page").click()
    await expect(page).to_have_accessible_name("Page 1 of 2 of Lights")
    await expect(box).to_be_hidden()
    await expect(tab.source.get_by_role("button", name="Next page")).to_be_focused()
    await tab.source.get_by_label("Page", exact=True).fill("2")
    await tab.page.keyboard.press("Enter")
    await expect(box).to_be_visible()
    await shown_tab(tab, "Pages").focus()
    await tab.page.keyboard.press("ArrowRight")
    await expect(shown_tab(tab, "Text")).to_be_focused()
    await expect(tab.mark).to_contain_text("Märta Öhman")
    (document,) = person.client.documents("default")
    await tab.page.goto(f"{person.url}/#/{document.name}?page=2")
    await expect(page).to_have_accessible_name("Page 2 of 2 of Lights")
    responses = [await request.response() for request in person.requests]
    assert "application/pdf" not in [
        await response.header_value("content-type") for response in responses if response
    ]


async def test_versions_are_shown_and_restored_and_details_are_changed(person: Person) -> None:
    name = person.add(LIGHTHOUSE, "lighthouse.md")
    person.add(LIGHTHOUSE.replace("17 nautical miles", "18 nautical miles"), "lighthouse.md")
    tab = await person.sign_in(color_scheme="dark", viewport={"width": 360, "height": 740})
    # The address of a document opens it next to the list of its collection.
    await tab.page.goto(f"{person.url}/#/{name}?tab=versions")
    versions = tab.source.get_by_role("list", name="Versions of the document").get_by_role("listitem")
    await expect(versions).to_have_count(2)
    assert await flaws(tab.page) == []
    await tab.source.get_by_role("button", name="Show version 1").click()
    await expect(tab.source).to_contain_text("This is version 1. Searches use version 2.")
    await expect(tab.source.locator(".document-text")).to_contain_text("17 nautical miles")
    await expect(tab.page).to_have_url(f"{person.url}/#/{name}/versions/1?tab=text")
    await tab.source.get_by_role("tab", name="Versions").click()
    await tab.source.get_by_role("button", name="Restore version 1").click()
    await tab.page.get_by_role("button", name="Restore", exact=True).click()
    await expect(versions).to_have_count(3)
    await expect(tab.source).to_contain_text("Version 1 is restored.")
    await expect(tab.source.get_by_role("button", name="Read the file again")).to_be_focused()
    await tab.source.get_by_role("button", name="Read the file again").click()
    await expect(tab.source).to_contain_text("Its text is the same")

    await tab.source.get_by_role("tab", name="Details").click()
    async with tab.page.expect_download() as download:
        await tab.source.get_by_role("link", name="Download the original file").click()
    assert (await (await download.value).path()).read_text(encoding="utf-8") == LIGHTHOUSE
    await tab.source.get_by_role("button", name="Edit the details").click()
    dialog = tab.page.get_by_role("dialog", name="Edit the document")
    await dialog.get_by_label("Title").fill("The light of Korsholm")
    await dialog.get_by_label("Labels").fill("team: coast\nno value")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_label("Labels")).to_be_focused()
    await dialog.get_by_label("Labels").fill("team: coast")
    await dialog.get_by_label("Subject").fill("keeper-7")
    await dialog.get_by_label("Metadata").fill('metres: 34\nlights: ["white", "red"]')
    person.client.update_document(name, labels={"team": "harbour"})
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Somebody else changed this in the meantime")
    await expect(dialog).to_contain_text("team: harbour")
    await dialog.get_by_role("button", name="Save").click()
    await expect(tab.source.get_by_role("heading", name="The light of Korsholm")).to_be_visible()
    await expect(tab.source.locator("dl")).to_contain_text("team: coast")
    await expect(tab.source.locator("dl")).to_contain_text("searchable")
    await expect(tab.source.locator("dl")).to_contain_text("keeper-7")
    await expect(tab.source.get_by_role("button", name="Edit the details")).to_be_focused()
    changed = person.client.get_document(name)
    assert (changed.title, dict(changed.labels)) == ("The light of Korsholm", {"team": "coast"})
    assert changed.subject == "keeper-7"
    assert changed.metadata["metres"] == 34

    await tab.source.get_by_role("tab", name="Passages").click()
    await tab.source.get_by_label("Find in this document").fill("keeper")
    await tab.page.keyboard.press("Enter")
    await tab.source.get_by_role("button", name="Show the passage").first.click()
    await expect(tab.marks.last).to_contain_text("keeper")
    await tab.source.get_by_role("tab", name="Details").click()
    # Written as a line, this name would be read as another one. It stays, because only the title is changed.
    person.client.update_document(name, metadata={"metres": 34, "seen:by": "Ada"})
    await tab.page.reload()
    await expect(tab.source.locator("dl")).to_contain_text("metres: 34")
    assert await flaws(tab.page) == []
    await tab.source.get_by_role("button", name="Edit the details").click()
    await dialog.get_by_label("Title").fill("The lights of Korsholm")
    await dialog.get_by_role("button", name="Save").click()
    await expect(tab.source.get_by_role("heading", name="The lights of Korsholm")).to_be_visible()
    metadata = person.client.get_document(name).metadata
    assert (metadata["metres"], metadata["seen:by"]) == (34, "Ada")

    await tab.source.get_by_role("button", name="Close the document").click()
    await tab.page.get_by_role("link", name="Search").click()
    await tab.page.get_by_label("Search for").fill(LAST_KEEPER)
    await tab.page.get_by_text("Search only some documents").click()
    condition = tab.page.get_by_label("Filter", exact=True)
    await condition.fill("labels.team =")
    await condition.press("Enter")
    await expect(tab.alert).to_contain_text("expected a value at character 14")
    await condition.fill("labels.team = coast")
    await condition.press("Enter")
    await expect(tab.page.get_by_role("list", name="Passages")).to_contain_text("of Korsholm")
