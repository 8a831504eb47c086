"""Markup in documents, titles and questions is text; the page's security policy holds."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.person import Person, until
from tests.browser.texts import FERRY_PRICE, HOSTILE, HOSTILE_TITLE

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_markup_in_documents_titles_and_questions_is_shown_as_text(person: Person) -> None:
    person.add(HOSTILE, "<b>ferry</b>.md", title=HOSTILE_TITLE)
    person.client.create_collection("odd", display_name="<i onmouseover=alert(1)>odd</i>")
    person.client.create_teacher(HOSTILE_TITLE, HOSTILE_TITLE)
    html = (
        "<!doctype html><title>Ferries</title><p>Pay to \u202egro.live "
        "now.<script>globalThis.pwned = true</script></p><img src=x onerror='globalThis.pwned = "
        "true'>"
    )
    page = person.client.wait(person.client.upload(html.encode(), source_key="ferries.html")).document.name
    tab = await person.sign_in()
    await tab.ask(f'{FERRY_PRICE} <img src=x onerror="globalThis.pwned = true">')
    await expect(tab.answers).to_contain_text("<script>globalThis.pwned = true</script>")
    await expect(tab.page).to_have_title(re.compile("<img src=x"))
    await tab.chips.first.click()
    await expect(tab.source.get_by_role("heading", level=2)).to_have_text(HOSTILE_TITLE)
    await expect(tab.mark).to_contain_text("12 crowns")
    shown = await tab.source.locator(".document-text").text_content() or ""
    assert "".join(shown.split()) == "".join(
        HOSTILE.replace("# Notes", "Notes").replace("&amp;", "&").split()
    )
    await tab.page.keyboard.press("Escape")
    await tab.page.get_by_text("Asking all collections").click()
    await tab.page.get_by_label("<i onmouseover").check()
    await expect(tab.page.locator(".scope summary")).to_contain_text("<i onmouseover=alert(1)>odd</i>")
    await tab.open_documents()
    await expect(tab.page.get_by_role("button", name=HOSTILE_TITLE, exact=True)).to_be_visible()
    await tab.page.get_by_role("button", name=re.compile("^Delete <script>")).click()
    await expect(tab.page.get_by_role("dialog")).to_contain_text(HOSTILE_TITLE)
    await tab.page.keyboard.press("Escape")
    await tab.page.goto(f"{person.url}/#/{page}")
    await expect(tab.source.locator(".control")).to_have_attribute("data-name", "U+202E")
    assert "pwned" not in (await tab.source.locator(".document-text").text_content() or "")
    await tab.source.get_by_role("button", name="Close the document").click()
    await tab.page.goto(f"{person.url}/?agent=tutor")
    options = tab.page.get_by_label("Teacher", exact=True).get_by_role("option")
    await expect(options.nth(1)).to_have_text(HOSTILE_TITLE)
    await tab.page.get_by_role("link", name="Teachers").click()
    await expect(tab.page.get_by_role("list", name="Teachers").locator(".name")).to_have_text(HOSTILE_TITLE)

    assert await tab.page.evaluate("globalThis.pwned") is None
    made = await tab.page.evaluate(
        "document.querySelectorAll('#app img, #app script, #app b, #app i, #app [onmouseover], #app [onerror]').length"
    )
    assert made == 0
    assert all(request.url.startswith(person.url) for request in person.requests)


REORDERED = """() => {
    const raw = (text) => /[\\u202a-\\u202e\\u2066\\u2067]/.test(text);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [document.title].filter(raw);
    while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode;
        if (raw(data) && !parentElement.closest("script, textarea")) found.push(`${parentElement.outerHTML}`);
    }
    for (const one of document.querySelectorAll("[aria-label], [title]")) {
        found.push(...[one.ariaLabel, one.title].filter((text) => text && raw(text)));
    }
    return found;
}"""
NAME = "Report of \u202egpj.exe"
VIEWS = (
    "search",
    "teachers",
    "profile",
    "profile/keys",
    "administration/users",
    "administration/keys",
    "administration/sessions",
    "administration/audit",
)


async def test_names_that_turn_letters_around_reorder_nothing_on_any_view(person: Person) -> None:
    client = person.client
    client.update_me(NAME)
    client.create_api_key(NAME)
    client.create_teacher(NAME, "Explains ferries.")
    collection = client.create_collection("odd", display_name=NAME).name
    document = person.add(f"# Ferries\n\n{HOSTILE}", f"{NAME}/{NAME}.md", title=NAME, collection=collection)
    tab = await person.sign_in()
    shown, failed = tab.page.get_by_text("Report of \ufffdgpj.exe").first, dict[str, list[str]]()

    async def look(view: str) -> None:
        await shown.wait_for(state="attached")
        failed[view] = await tab.page.evaluate(REORDERED)

    await tab.ask(f"{FERRY_PRICE} {NAME}")
    await tab.chips.first.click()
    await expect(tab.mark).to_contain_text("12 crowns")
    await look("the conversation and its source")
    for part in ("text", "passages", "versions", "details"):
        await tab.page.goto(f"{person.url}/#/{document}?tab={part}")
        await tab.source.get_by_role("tab", selected=True, name=part.capitalize()).wait_for()
        await look(f"the document: {part}")
    await tab.open_documents()
    await tab.page.locator(f'.shelves [data-name="{collection}"]').click()
    await tab.page.get_by_role("button", name=re.compile("^Delete Report")).click()
    await look("the documents, and a dialog")
    await tab.page.keyboard.press("Escape")
    for view in VIEWS:
        await tab.page.goto(f"{person.url}/#/{view}")
        await look(view)
    assert {view: found for view, found in failed.items() if found} == {}


async def test_the_security_policy_stops_what_would_slip_through(person: Person) -> None:
    """This shows that an empty list of breaches in the other tests is meaningful."""
    tab = await person.sign_in()
    refused = await tab.page.evaluate(
        """() => {
            const planted = document.createElement("div");
            document.body.append(planted);
            const image = document.createElement("img");
            planted.append(image);
            image.src = "https://elsewhere.invalid/x.png";
            planted.setAttribute("style", "color: red");
            const errors = [];
            for (const plant of [
                () => (planted.innerHTML = "<img src='x' onerror='globalThis.pwned = true'>"),
                () => (document.createElement("script").textContent = "globalThis.pwned = true"),
                () => trustedTypes.createPolicy("any", { createHTML: (text) => text }),
            ]) {
                try { plant(); } catch (error) { errors.push(error.name); }
            }
            return errors;
        }"""
    )
    assert refused == ["TypeError"] * 3

    async def loaded() -> bool:
        return bool(await tab.page.locator("img").evaluate("(image) => image.complete"))

    await until(loaded, "the image is complete")
    assert await tab.page.evaluate("globalThis.pwned") is None
    for breach in ("style-src", "img-src", "TrustedHTML", "TrustedScript"):
        assert any(breach in trouble for trouble in person.troubles), breach
    person.troubles.clear()
