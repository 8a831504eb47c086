"""Choosing an agent and its parameters, and seeing the agent, model, fallbacks and cost of an answer."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from google.protobuf.json_format import MessageToDict
from playwright.async_api import expect

from responsa_lab.testing.loopback import LoopbackServer
from tests.browser.person import Person, until
from tests.browser.rules import flaws
from tests.browser.texts import (
    BAKERY,
    LAST_KEEPER,
    LIGHTHOUSE,
    RYE_BREAD,
    WHO_BUILT,
)
from tests.instance import Instance
from tests.wire.searching import Page, SearchService

pytestmark = pytest.mark.asyncio(loop_scope="session")


def questions_sent(person: Person) -> list[tuple[str, dict[str, object]]]:
    """The agent and the parameters of each turn on the server, the newest turn first."""
    return [
        (turn.agent_version.split("/versions/")[0], MessageToDict(turn.parameters))
        for turn in person.client.turns()
    ]


async def test_the_tutor_is_asked_as_a_teacher_and_its_conversation_goes_on_in_another_tab(
    person: Person,
) -> None:
    person.client.create_collection("tutor")
    person.add(LIGHTHOUSE, "lighthouse.md", collection="tutor")
    teacher = person.client.create_teacher("Ms Ashdown", "You teach calmly.").name
    tab = await person.sign_in()
    await expect(tab.agent.get_by_role("option", name="Helper")).to_have_count(1)
    await expect(tab.agent.get_by_role("option", name="Tutor")).to_have_count(0)  # it is not listed
    await expect(tab.page.get_by_role("link", name="Teachers")).to_have_count(0)
    await tab.page.goto(f"{person.url}/?agent=tutor")
    await expect(tab.page.get_by_role("link", name="Teachers")).to_be_visible()
    teachers = tab.page.get_by_label("Teacher", exact=True)
    await expect(teachers.get_by_role("option")).to_have_text(["Choose…", "Ms Ashdown"])
    await expect(tab.page.get_by_label("Level")).to_have_value("1")  # the default: intermediate
    await expect(tab.page.get_by_text("Asking tutor")).to_be_visible()

    # Without a teacher, the page shows an error and does not send the question.
    await tab.send(WHO_BUILT)
    await expect(teachers).to_be_focused()
    await expect(teachers).to_have_attribute("aria-invalid", "true")
    await expect(teachers).to_have_accessible_description(re.compile(r"\w"))
    assert questions_sent(person) == []

    await teachers.select_option(label="Ms Ashdown")
    await expect(teachers).not_to_have_attribute("aria-invalid", "true")
    await tab.page.get_by_label("Level").select_option(label="beginner")
    await tab.question.press("Enter")
    await expect(tab.answers).to_contain_text("Axel Hampus Dalström")
    await expect(tab.chips.first).to_be_visible()
    await expect(tab.answers).to_contain_text("No language model is configured.")
    parameters = {"teacher_id": teacher.removeprefix("teachers/"), "level": "beginner"}
    assert questions_sent(person) == [("agents/tutor", parameters)]

    await tab.page.reload()
    await expect(tab.answers).to_contain_text("No language model is configured.")
    await expect(teachers.locator("option:checked")).to_have_text("Ms Ashdown")

    # This tab's choice does not affect another tab, where the conversation goes on with its own agent and parameters.
    other = await person.open(tab.page.context, person.url)
    await expect(other.agent.locator("option:checked")).to_have_text("Responsa")
    await other.page.get_by_role("navigation", name="Conversations").get_by_role("link").nth(1).click()
    await expect(other.agent.locator("option:checked")).to_have_text("Tutor")
    await expect(other.page.get_by_label("Level").locator("option:checked")).to_have_text("beginner")
    await other.ask(LAST_KEEPER)
    assert questions_sent(person) == [("agents/tutor", parameters)] * 2
    # A new conversation keeps the tab's choice.
    await other.page.get_by_role("link", name="New conversation").click()
    await expect(other.agent.locator("option:checked")).to_have_text("Responsa")
    await expect(other.page.get_by_label("Level")).to_have_count(0)


async def test_parameters_are_a_form_made_from_the_schema(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    await tab.choose("Helper")
    words, topic = tab.page.get_by_label("Words"), tab.page.get_by_label("Topic")
    await expect(words).to_have_accessible_description("How long it may be.")
    await expect(tab.page.get_by_label("Tone").get_by_role("option")).to_have_text(["Dry as dust", "Warm"])
    await words.fill("12.5")
    await tab.send(RYE_BREAD)
    await expect(words).to_be_focused()
    await expect(words).to_have_attribute("aria-invalid", "true")
    await words.fill("40")
    await topic.fill("far too long")
    await tab.question.press("Enter")
    await expect(topic).to_be_focused()
    await expect(topic).to_have_accessible_description("Enter at most 8 characters; this has 12.")
    assert questions_sent(person) == []

    await topic.fill("bread")
    await tab.page.get_by_label("Brief").check()
    await tab.page.get_by_label("Tone").select_option(label="Warm")
    await tab.page.reload()
    await expect(words).to_have_value("40")
    await expect(topic).to_have_value("bread")
    await expect(tab.page.get_by_label("Brief")).to_be_checked()
    await tab.ask(RYE_BREAD)
    assert questions_sent(person) == [
        ("agents/helper", {"words": 40.0, "tone": "warm", "brief": True, "topic": "bread"})
    ]


async def test_a_call_of_a_tool_is_shown_with_its_sources_and_what_it_found_is_cited(person: Person) -> None:
    text = "# Battery\n\nThe battery of Wren lasts about 18 months."
    client = person.client
    client.wait(client.create_document(text, source_key="wren.md", uri="https://example.org/wren"))
    tab = await person.sign_in()
    await tab.choose("Fetcher")
    await expect(tab.page.locator(".below")).to_contain_text("This agent can use the documents.")
    await expect(tab.page.locator(".below")).to_contain_text("The agent works without web_search")
    await tab.ask('call knowledge_search {"query": "How long does the battery of Wren last?"}')
    await tab.steps.click()
    call = tab.page.locator(".steps .tool-call", has_text="Tool the documents")
    await expect(call.locator("summary")).to_have_text(re.compile(r"done in .*, 1 source$"))
    link = call.get_by_role("list", name="Sources of the documents").get_by_role("link")
    await expect(link).to_have_attribute("href", "https://example.org/wren")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    result = call.get_by_role("region", name="Result")
    await expect(result).to_be_hidden()
    await call.locator("summary").click()
    await expect(result).to_contain_text("The battery of Wren lasts about 18 months.")
    await tab.chips.click()
    await expect(tab.mark).to_have_text("The battery of Wren lasts about 18 months.")
    await expect(tab.source.locator(".badge")).to_contain_text("still says this")


@asynccontextmanager
async def searched(person: Person, instance: Instance, pages: Sequence[Page]) -> AsyncGenerator[None]:
    """Declare the tool `web_search` with a service that finds these pages."""
    server = LoopbackServer(SearchService("searxng", "", pages).handle)
    await server.start()
    declaration = instance.home / "tools" / "web_search.toml"
    declaration.parent.mkdir(exist_ok=True)
    declaration.write_text(
        f'kind = "web_search"\nprovider = "searxng"\nurl = "{server.url}"\nallow_private = ["127.0.0.1"]\n'
    )

    async def listed() -> bool:
        return any(tool.name == "tools/web_search" for tool in person.client.tools())

    async def gone() -> bool:
        return not await listed()

    try:
        await until(listed, "the tool in the list")
        yield
    finally:
        declaration.unlink()
        await until(gone, "a list without the tool")
        await server.close()


async def test_a_source_from_the_web_opens_as_the_text_that_the_tool_returned(
    person: Person, instance: Instance
) -> None:
    uri = "https://example.org/keepers?year=1911"
    snippet = "Tove Lind kept the light of Korsholm until 1911. Her brother had built the tower."
    page = {"uri": uri, "title": "Keepers of the light", "snippet": snippet, "date": ""}
    async with searched(person, instance, [page]):
        tab = await person.sign_in()
        await tab.choose("Fetcher")
        await expect(tab.page.locator(".below")).to_contain_text("can use the documents and the web search.")
        await tab.ask('call web_search {"query": "Who kept the light of Korsholm?"}')
        cited = tab.answers.get_by_role("list", name="Sources", exact=True).get_by_role("listitem")
        await expect(cited).to_contain_text("fetched by the web search, ")
        await expect(cited.get_by_role("link")).to_have_attribute("href", uri)
        await tab.chips.first.click()
        await expect(tab.source.locator(".badge")).to_contain_text("The tool returned this text.")
        await expect(tab.source.get_by_role("heading")).to_have_text("Keepers of the light")
        await expect(tab.source.get_by_role("tabpanel")).to_have_text(snippet)
        await expect(tab.mark).to_be_focused()
        await expect(tab.source.get_by_role("link", name=uri)).to_have_attribute("href", uri)
        await expect(tab.source.get_by_role("tab")).to_have_count(0)
        assert await flaws(tab.page) == []
