"""Answers and documents in Markdown: shown as such, copied, and opened at the cited sentence; and Markdown that attacks the page."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, expect

from tests.browser.person import Person, Tab, until
from tests.browser.texts import (
    ATTACK,
    BATTERY,
    FERRY_PRICE,
    INSTALL,
    LIGHTHOUSE,
    MARKDOWN,
    SENSOR,
    WHO_BUILT,
    WIDE_COLUMNS,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMAND = "sensorctl install --mode normal /dev/ttyUSB0"

ALONE = """(chip) => {
    const text = chip.closest(".answer-text");
    const middle = ({ top, bottom }) => (top + bottom) / 2;
    const alone = [];
    for (let width = 160; width <= 560; width += 4) {
        text.style.width = `${width}px`;
        const word = [...chip.previousElementSibling.getClientRects()].at(-1);
        if (Math.abs(middle(word) - middle(chip.getBoundingClientRect())) > 10) alone.push(width);
    }
    return alone;
}"""
"""The widths of the answer at which a chip is not on the line of the last word before it."""


def letters(text: str) -> str:
    """The letters and digits of a text, without marks and white space."""
    return "".join(one for one in text if one.isalnum())


def letters_of(markdown: str) -> str:
    """The letters and digits that the page shows of a Markdown text, without the languages of code, the addresses of
    links and the numbers of lists."""
    return letters(re.sub(r"^```\w*$|\]\([^)]*\)|^ *\d+\.", "", markdown, flags=re.MULTILINE))


async def echoing(person: Person) -> Tab:
    """A tab in which the agent answers with the question itself."""
    return await copying(person, "echo")


async def copying(person: Person, agent: str) -> Tab:
    """A tab that asks this agent and may read the clipboard."""
    person.agent = agent
    context = await person.profile()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    return await person.sign_in(context)


async def clipboard(tab: Tab) -> str:
    return await tab.page.evaluate("navigator.clipboard.readText()")


async def test_an_answer_is_shown_as_markdown_and_copied_as_markdown(person: Person) -> None:
    tab = await echoing(person)
    await tab.ask(MARKDOWN)
    answer = tab.answers.locator(".answer-text")
    await expect(answer.get_by_role("heading", name="What changed", level=3)).to_be_visible()
    await expect(answer.get_by_role("columnheader")).to_have_text(["mode", "battery"])
    await expect(answer.get_by_role("cell").first).to_have_text("normal")
    await expect(answer.locator("ol > li")).to_have_text(["the arrow points up", "the lamp blinks twice"])
    # The address stands in no passage.
    await expect(answer).to_contain_text("[the maker](https://maker.example/power)")
    await expect(answer.get_by_role("link", name="the maker")).to_have_count(0)
    assert await answer.get_by_text("שלום").evaluate("(one) => getComputedStyle(one).direction") == "rtl"

    await answer.get_by_role("button", name="Copy the code").first.click()
    await expect(tab.live).to_have_text("Copied.")
    assert await clipboard(tab) == COMMAND
    (turn,) = person.client.turns()
    await tab.page.get_by_role("button", name="Copy the answer").click()
    await expect(tab.page.get_by_role("button", name="Copy the answer")).to_have_text("Copied")
    assert await clipboard(tab) == turn.terminal_event.answer.text
    await expect(answer.get_by_role("button", name="Copy the code").first).to_have_text("")
    shown = await answer.inner_html()
    await tab.page.reload()
    assert await answer.inner_html() == shown


async def test_a_chip_shows_its_quote_and_an_answer_is_copied_with_its_sources(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await copying(person, "reader")
    await tab.ask(WHO_BUILT)
    tip = tab.page.get_by_role("tooltip")
    await tab.chips.first.hover()
    await expect(tip).to_contain_text("built in 1871 by the engineer Axel Hampus Dalström")
    await expect(tip).to_contain_text("The lighthouse of Korsholm")
    await tip.hover()
    await expect(tip).to_be_visible()
    await tab.question.hover()
    await expect(tip).to_have_count(0)
    await tab.page.keyboard.press("Shift+Tab")
    await tab.chips.first.focus()
    await expect(tip).to_be_visible()
    await expect(tab.chips.first).to_have_accessible_description(re.compile("Axel Hampus Dalström"))
    await tab.page.keyboard.press("Escape")
    await expect(tip).to_have_count(0)
    await expect(tab.chips.first).to_be_focused()
    assert await tab.chips.first.evaluate(ALONE) == []

    (turn,) = person.client.turns()
    citations = turn.terminal_event.answer.citations
    assert citations
    await tab.do_more(tab.answers.first, "Copy with sources")
    await expect(tab.live).to_have_text("Copied.")
    copied = await clipboard(tab)
    for number, one in enumerate(citations, 1):
        assert copied.count(f"[^{number}]") == 2
        assert f"[^{number}]: {one.title}, lighthouse.md: “" in copied


async def test_the_cited_bytes_are_marked_in_the_rendered_document(person: Person) -> None:
    person.add(SENSOR, "sensor.md")
    tab = await person.sign_in()
    text = tab.source.locator(".document-text")
    for question in (BATTERY, INSTALL):
        await tab.page.get_by_role("link", name="Ask", exact=True).click()
        await expect(tab.questions).to_have_count(0)
        await tab.ask(question)
        turn = next(iter(person.client.turns()))
        for number, citation in enumerate(turn.terminal_event.answer.citations):
            await tab.chips.nth(number).click()
            await expect(tab.mark).to_be_in_viewport()
            await expect(tab.source.locator(".badge")).to_contain_text("still says this")
            await expect(text.get_by_role("table").locator("td")).to_have_count(4)
            assert letters("".join(await tab.marks.all_text_contents())) == letters_of(citation.quote)
    shown = await text.text_content() or ""
    assert "|" not in shown
    assert "**" not in shown
    assert "title: Sensor manual" in shown, "the front matter is a part of the document"


async def in_sight(tab: Tab, element: Locator) -> bool:
    """Whether an element lies within the window and its scroller, and no open document covers it."""
    return await element.evaluate(
        """(element) => {
            const { top, bottom, left, right } = element.getBoundingClientRect();
            const view = element.closest(".scroll, .document-text").getBoundingClientRect();
            const panel = document.querySelector("section.document").getBoundingClientRect();
            const covered = !element.closest("section.document")
                && right > panel.left && left < panel.right && bottom > panel.top && top < panel.bottom;
            return top >= view.top && bottom <= view.bottom && bottom <= innerHeight && left >= 0 && right <= innerWidth && !covered;
        }"""
    )


async def test_an_open_source_leaves_the_sentence_in_sight_at_any_width(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    person.agent = "reader"
    tab = await person.sign_in()
    for _ in range(4):
        await tab.ask(WHO_BUILT)
    sentence = tab.page.locator(".supported.lit, .chip[aria-current]")

    async def settled() -> bool:
        return all([await in_sight(tab, one) for one in (*await sentence.all(), tab.mark)])

    widths = ((1680, 1000), (1024, 768), (390, 844))
    for width, height in widths:
        await tab.page.set_viewport_size({"width": width, "height": height})
        for chip in (tab.chips.first, tab.chips.last):
            await chip.scroll_into_view_if_needed()
            await chip.click()
            await expect(tab.mark).to_be_in_viewport()
            assert [await in_sight(tab, one) for one in await sentence.all()] == [True, True], (width, height)
            assert await in_sight(tab, tab.mark), (width, height)
            await tab.page.set_viewport_size({"width": height, "height": width})  # a tablet that is turned
            await until(settled, f"the sentence is in sight at {height} x {width}")
            await tab.page.set_viewport_size({"width": width, "height": height})
            await tab.page.keyboard.press("Escape")
            await expect(chip).to_be_focused()
            assert await chip.evaluate(
                "(one) => one.getBoundingClientRect().bottom <= one.closest('.scroll').getBoundingClientRect().bottom"
            ), (width, height)


async def harmless(tab: Tab, shown: Locator, *protocols: str) -> None:
    """Check that the page shows `ATTACK` as text. protocols: of its links."""
    for text in ("<script>globalThis.pwned = true</script>", "[run](javascript:globalThis.pwned=true)"):
        await expect(shown).to_contain_text(text)
    override = shown.locator(".control")
    assert await override.evaluate("(one) => getComputedStyle(one, '::before').content") == '"U+202E"'
    assert await shown.locator("a").evaluate_all("(all) => all.map((one) => one.protocol)") == [*protocols]
    assert (
        await shown.locator(
            "img, script, style, iframe, svg, form, input, [style], [onerror], [onclick]"
        ).count()
        == 0
    )
    assert await shown.locator("blockquote").count() < 30
    await expect(shown).to_contain_text(re.compile(">{8900} deep"))
    await expect(shown).to_contain_text("a|" * 1000)
    await expect(shown.locator("th")).to_have_count(WIDE_COLUMNS)
    assert await tab.page.evaluate("globalThis.pwned") is None
    await scrolls_in_its_box(tab, shown)


async def scrolls_in_its_box(tab: Tab, shown: Locator) -> None:
    """Check that the wide table scrolls in its own box, and that nothing else is wider than its place."""
    assert await shown.locator(".table").evaluate("(one) => one.scrollWidth > one.clientWidth")
    assert await shown.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_markdown_that_attacks_the_page_is_text_in_answers_and_in_documents(person: Person) -> None:
    tab = await echoing(person)
    await tab.ask(ATTACK)
    answer = tab.answers.locator(".answer-text")
    await harmless(tab, answer.first)
    await tab.ask("word" * 4000)
    await expect(answer.nth(1)).to_contain_text("word" * 4000)
    assert await answer.nth(1).evaluate("(one) => one.scrollWidth <= one.clientWidth")
    person.add(f"The ferry to Vexholm costs 12 crowns.\n\n{ATTACK}\n\n{'word' * 6144}", "attack.md")
    await tab.choose("Responsa")
    await tab.ask(FERRY_PRICE)
    await tab.chips.first.click()
    await expect(tab.mark).to_have_text("The ferry to Vexholm costs 12 crowns.")
    text = tab.source.locator(".document-text")
    await harmless(tab, text, "https:")
    await tab.source.get_by_role("button", name="Show the text after").click()
    await expect(text).to_contain_text("word" * 6144)
    await scrolls_in_its_box(tab, text)
    assert all(request.url.startswith(person.url) for request in person.requests)


async def test_a_search_shows_passages_with_their_scores_and_opens_them(person: Person) -> None:
    person.client.create_collection("manuals")
    person.add(SENSOR, "guides/sensor.md", collection="manuals")
    person.add(
        "# Rooms\n\nThe attic has [a sensor](guides/sensor.md) and [a view](lighthouse.md).\n", "rooms.md"
    )
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.page.get_by_role("link", name="Search").click()
    await expect(tab.page.get_by_role("heading", name="Search")).to_be_focused()
    await tab.page.get_by_label("Search for").fill("keeper of the lighthouse")
    await tab.page.get_by_role("button", name="Search").click()
    passages = tab.page.locator(".search .excerpts > li")
    await expect(passages.first).to_contain_text("Märta Öhman")
    await expect(tab.live).to_have_text(re.compile(r"^\d passages?, best first\.$"))
    (best, *_) = person.client.search("keeper of the lighthouse")
    await expect(passages.first.locator("dd")).to_have_text(
        [f"{best.score:.2f}", f"{best.parts.text:.1f}", f"{best.parts.vector:.2f}"]
    )
    await expect(passages.first.locator("dl")).to_be_hidden()
    await tab.page.get_by_text("Scores", exact=True).click()
    await expect(passages.first.locator("dl")).to_be_visible()
    await expect(tab.page.get_by_text("BM25")).to_be_visible()
    await tab.page.get_by_label("By").select_option("Words only")
    await tab.page.get_by_role("button", name="Search").click()
    await expect(passages.first.locator("dt")).to_have_text(["Score", "Words"])
    await passages.first.locator("button.open").click()
    await expect(tab.mark).to_be_in_viewport()
    await expect(tab.mark).to_contain_text("Märta Öhman")
    await tab.page.keyboard.press("Escape")

    # The search is a part of the address.
    await tab.page.get_by_label("Search for").fill(BATTERY)
    await tab.page.get_by_role("button", name="Search").click()
    await expect(passages.first).to_contain_text("Sensor manual")
    await tab.page.reload()
    await expect(tab.page.get_by_label("Search for")).to_have_value(BATTERY)
    await expect(passages.first).to_contain_text("Sensor manual")
    await tab.page.go_back()
    await expect(passages.first).to_contain_text("Märta Öhman")
    await expect(tab.page.get_by_label("Search for")).to_have_value("keeper of the lighthouse")
    await passages.first.get_by_role("button", name="Ask about this").click()
    await expect(tab.question).to_have_value("keeper of the lighthouse")
    await expect(tab.page.locator("details.scope summary")).to_have_text("Asking My documents")
    await tab.question.fill("")
    await tab.page.get_by_role("link", name="Search").click()
    await tab.page.get_by_label("Search for").fill("zzyzx")
    await tab.page.get_by_role("button", name="Search").click()
    await expect(tab.page.locator(".found-head > .note")).to_have_text("No passages match this search.")
    # A link leads to the document with this source key, also in another collection.
    await tab.page.get_by_label("Search for").fill("attic")
    await tab.page.get_by_role("button", name="Search").click()
    await passages.first.locator("button.open").click()
    await tab.source.get_by_role("link", name="a sensor").click()
    await expect(tab.source.locator("#document-title")).to_have_text("Sensor manual")
    await expect(tab.page).to_have_url(re.compile("#/documents/[0-9a-f-]{36}"))
    await expect(tab.collection).to_have_attribute("data-name", "collections/manuals")
    # If several collections have such a document, the link leads to the one in the same collection.
    person.add("# Lighthouse\n\nLighthouse, lighthouse, lighthouse.\n", "lighthouse.md", collection="manuals")
    await tab.page.go_back()
    await passages.first.locator("button.open").click()
    await tab.source.get_by_role("link", name="a view").click()
    await expect(tab.page).to_have_url(re.compile("#/documents/[0-9a-f-]{36}"))
    await expect(tab.collection).to_have_attribute("data-name", "collections/default")
