"""Choosing an agent and its parameters, and seeing the agent, model, fallbacks and cost of an answer."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from google.protobuf.json_format import MessageToDict
from playwright.async_api import expect

from responsa.chat.v1 import turn_pb2
from responsa_lab.testing.loopback import LoopbackServer
from tests.browser.person import Person, Tab, until
from tests.browser.rules import flaws
from tests.browser.texts import (
    BAKERY,
    HOSTILE_TITLE,
    LAST_KEEPER,
    LIGHTHOUSE,
    RYE_BREAD,
    UNANSWERABLE,
    WHO_BUILT,
)
from tests.instance import Instance
from tests.wire.searching import Page, SearchService

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOOKING = "Please book me a seat on the night train to Vienna."


def asked(person: Person) -> list[tuple[str, dict[str, object]]]:
    """The agent and the parameters of each turn on the server, the newest turn first."""
    return [
        (one.agent_version.split("/versions/")[0], MessageToDict(one.parameters))
        for one in person.client.turns()
    ]


async def at_the_tutor(person: Person) -> tuple[Tab, str]:
    """A tab in which the tutor is chosen, and the name of a teacher. The tenant has this teacher and documents for the tutor."""
    person.client.create_collection("tutor")
    person.add(LIGHTHOUSE, "lighthouse.md", collection="tutor")
    teacher = person.client.create_teacher("Ms Ashdown", "You teach calmly.").name
    tab = await person.sign_in()
    await tab.choose("Tutor")
    return tab, teacher


async def test_the_tutor_is_asked_as_a_teacher_and_answers_with_citations(person: Person) -> None:
    tab, teacher = await at_the_tutor(person)
    teachers = tab.page.get_by_label("Teacher", exact=True)
    await expect(teachers.get_by_role("option")).to_have_text(["Choose…", "Ms Ashdown"])
    await expect(tab.page.get_by_label("Level")).to_have_value("1")  # the default: intermediate
    await expect(tab.page.get_by_text("Asking tutor")).to_be_visible()

    # Without a teacher, the page shows an error and does not send the question.
    await tab.send(WHO_BUILT)
    await expect(teachers).to_be_focused()
    await expect(teachers).to_have_attribute("aria-invalid", "true")
    await expect(teachers).to_have_accessible_description(re.compile(r"\w"))
    assert asked(person) == []

    await teachers.select_option(label="Ms Ashdown")
    await expect(teachers).not_to_have_attribute("aria-invalid", "true")
    await tab.page.get_by_label("Level").select_option(label="beginner")
    await tab.question.press("Enter")
    await expect(tab.answers).to_contain_text("Axel Hampus Dalström")
    await expect(tab.chips.first).to_be_visible()
    await expect(tab.answers).to_contain_text("No language model is configured.")
    parameters = {"teacher_id": teacher.removeprefix("teachers/"), "level": "beginner"}
    assert asked(person) == [("agents/tutor", parameters)]

    await tab.page.reload()
    await expect(tab.answers).to_contain_text("No language model is configured.")
    await expect(teachers.locator("option:checked")).to_have_text("Ms Ashdown")


async def test_a_conversation_goes_on_with_the_agent_and_parameters_it_was_asked_with(person: Person) -> None:
    first, _ = await at_the_tutor(person)
    await first.page.get_by_label("Teacher", exact=True).select_option(label="Ms Ashdown")
    await first.page.get_by_label("Level").select_option(label="advanced")
    await first.ask(WHO_BUILT)

    # This tab's choice does not affect another tab.
    tab = await person.open(first.page.context, person.url)
    await expect(tab.agent.locator("option:checked")).to_have_text("Responsa")
    await tab.page.get_by_role("navigation", name="Conversations").get_by_role("link").nth(1).click()
    await expect(tab.agent.locator("option:checked")).to_have_text("Tutor")
    await expect(tab.page.get_by_label("Level").locator("option:checked")).to_have_text("advanced")
    await tab.ask(LAST_KEEPER)
    turns = asked(person)
    assert len(turns) == 2
    assert turns[0] == turns[1]

    # A new conversation keeps this tab's choice.
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(tab.agent.locator("option:checked")).to_have_text("Responsa")
    await expect(tab.page.get_by_label("Level")).to_have_count(0)


async def test_an_agent_is_named_by_the_address(person: Person) -> None:
    person.agent = "chat"
    tab = await person.sign_in()
    await expect(tab.agent.locator("option:checked")).to_have_text("Chat")
    await tab.ask("Hello, how are you today?")
    assert asked(person) == [("agents/chat", {})]
    await expect(tab.fallbacks).to_have_text(re.compile("^No model wrote this"))


async def test_an_agent_that_is_not_there_is_said_so(person: Person) -> None:
    person.agent = "nobody"
    tab = await person.sign_in()
    await expect(tab.agent.locator("option:checked")).to_have_text("nobody (not listed)")
    await tab.send(WHO_BUILT)
    await expect(tab.alert).to_contain_text("There is no agent “nobody”")
    await expect(tab.question).to_have_value(WHO_BUILT)
    await tab.choose("Responsa")
    person.add(LIGHTHOUSE, "lighthouse.md")
    await tab.question.press("Enter")
    await expect(tab.answers).to_contain_text("Axel Hampus Dalström")


async def test_a_teacher_that_is_gone_is_told_at_its_field(person: Person) -> None:
    tab, teacher = await at_the_tutor(person)
    person.client.create_teacher("Mr Okonjo", "You teach briskly.")
    await tab.page.reload()
    teachers = tab.page.get_by_label("Teacher", exact=True)
    await teachers.select_option(label="Ms Ashdown")
    person.client.delete_teacher(teacher)
    await tab.watch_live()
    await tab.send(WHO_BUILT)
    await expect(teachers).to_be_focused()
    await expect(teachers).to_have_accessible_description(re.compile("not found|no such", re.IGNORECASE))
    await expect(teachers.get_by_role("option")).to_have_text(["Choose…", "Mr Okonjo"])
    await expect(tab.question).to_have_value(WHO_BUILT)
    assert asked(person) == []
    assert any("eacher" in one for one in await tab.said())

    await teachers.select_option(label="Mr Okonjo")
    await tab.question.press("Enter")
    await expect(tab.answers).to_contain_text("Axel Hampus Dalström")


async def test_parameters_are_a_form_made_from_the_schema(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    await tab.choose("Helper")
    words, topic = tab.page.get_by_label("Words"), tab.page.get_by_label("Topic")
    await expect(words).to_have_accessible_description("How long it may be.")
    await expect(tab.page.get_by_label("Tone").get_by_role("option")).to_have_text(["Dry as dust", "Warm"])
    for wrong in ("", "5", "12.5", "501"):
        await words.fill(wrong)
        await tab.send(RYE_BREAD)
        await expect(words).to_be_focused()
        await expect(words).to_have_attribute("aria-invalid", "true")
    await words.fill("40")
    await topic.fill("far too long")
    await tab.question.press("Enter")
    await expect(topic).to_be_focused()
    await expect(topic).to_have_accessible_description("Enter at most 8 characters; this has 12.")
    assert asked(person) == []

    await topic.fill("bread")
    await tab.page.get_by_label("Brief").check()
    await tab.page.get_by_label("Tone").select_option(label="Warm")
    await tab.page.reload()
    await expect(words).to_have_value("40")
    await expect(topic).to_have_value("bread")
    await expect(tab.page.get_by_label("Brief")).to_be_checked()
    await tab.ask(RYE_BREAD)
    assert asked(person) == [
        ("agents/helper", {"words": 40.0, "tone": "warm", "brief": True, "topic": "bread"})
    ]


async def test_questions_to_try_are_put_into_the_field_and_not_asked(person: Person) -> None:
    tab = await person.sign_in()
    await tab.choose("Helper")
    await tab.page.get_by_role("button", name="How long does the rye bread rest?").click()
    await expect(tab.question).to_have_value("How long does the rye bread rest?")
    await expect(tab.question).to_be_focused()
    assert asked(person) == []


async def test_what_fell_back_and_what_it_cost_is_told_below_the_answer(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    await tab.choose("Helper")
    await tab.page.get_by_label("Words").fill("40")
    await tab.watch_live()
    await tab.ask(RYE_BREAD)
    (turn,) = person.client.turns()
    micros = turn.usage.cost_usd_micros
    assert micros >= 100
    price = f"{micros / 1e6:.4f}".rstrip("0")
    await expect(tab.answers).to_contain_text("nineteen hours")
    await expect(tab.chips.first).to_be_visible()
    fallback = "scripted:broken-429 was not available; scripted:priced was used instead"
    await expect(tab.fallbacks).to_have_text(re.compile(f"^{re.escape(fallback)}"))
    await expect(tab.outcome).to_contain_text(f"Answered by Helper with scripted:priced; {price} USD.")
    assert fallback in (await tab.said())[-1]
    steps = await tab.answers.locator(".steps li").all_text_contents()
    assert any("calling scripted:priced" in one for one in steps)
    assert any(f"{price} USD" in one for one in steps)

    told = await tab.outcome.text_content()
    await tab.page.reload()
    await expect(tab.outcome).to_have_text(told or "no note")


@pytest.mark.parametrize(
    ("agent", "question", "reason", "heading"),
    [
        ("Responsa", UNANSWERABLE, turn_pb2.REFUSAL_REASON_NO_SUPPORT, "No answer"),
        ("Chat", BOOKING, turn_pb2.REFUSAL_REASON_OUT_OF_SCOPE, "Not a question for this agent"),
        ("Poor", RYE_BREAD, turn_pb2.REFUSAL_REASON_BUDGET, "Over the limit"),
        ("Unwilling", RYE_BREAD, turn_pb2.REFUSAL_REASON_UNSAFE, "The model will not answer this"),
    ],
    ids=["no support", "out of scope", "budget", "unsafe"],
)
async def test_refusals_are_told_apart(
    person: Person, agent: str, question: str, reason: turn_pb2.RefusalReason, heading: str
) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    await tab.choose(agent)
    await tab.ask(question)
    (turn,) = person.client.turns()
    assert turn.terminal_event.refused.reason == reason
    refusal = tab.answers.locator(".refusal")
    await expect(refusal.locator("strong")).to_have_text(heading)
    await expect(refusal).to_contain_text(turn.terminal_event.refused.message)
    await expect(tab.live).to_have_text(re.compile(f"^{heading}. "))
    await tab.page.reload()
    await expect(refusal.locator("strong")).to_have_text(heading)


async def test_a_quota_refuses_an_answer_and_then_the_question(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    await tab.choose("Poor")
    me = person.client.me().name
    person.client.update_user_quota(me, {"tokens_per_day": len(RYE_BREAD.encode())})
    await tab.ask(RYE_BREAD)
    (turn,) = person.client.turns()
    assert turn.terminal_event.refused.reason == turn_pb2.REFUSAL_REASON_QUOTA
    refusal = tab.answers.locator(".refusal")
    await expect(refusal.locator("strong")).to_have_text("Over your quota")
    await expect(refusal).to_contain_text(turn.terminal_event.refused.message)

    # Now nothing is recorded. The page shows the server's message.
    person.client.update_user_quota(me, {"tokens_per_day": 0})
    await tab.send(RYE_BREAD)
    await expect(tab.page.get_by_text("Your quota of 0 tokens a day is too small")).to_be_visible()
    assert len(list(person.client.turns())) == 1


async def test_a_teachers_name_is_text_whatever_it_holds(person: Person) -> None:
    person.client.create_teacher(HOSTILE_TITLE, HOSTILE_TITLE)
    tab = await person.sign_in()
    await tab.choose("Tutor")
    options = tab.page.get_by_label("Teacher", exact=True).get_by_role("option")
    await expect(options.nth(1)).to_have_text(HOSTILE_TITLE)
    await tab.page.get_by_role("link", name="Teachers").click()
    await expect(tab.page.locator(".teachers .name")).to_have_text(HOSTILE_TITLE)
    await tab.page.get_by_role("button", name="Delete").click()
    await expect(tab.page.get_by_role("dialog")).to_contain_text(HOSTILE_TITLE)
    assert await tab.page.evaluate("globalThis.pwned") is None


async def test_a_call_of_a_tool_is_shown_with_its_sources_and_what_it_found_is_cited(person: Person) -> None:
    text = "# Battery\n\nThe battery of Wren lasts about 18 months."
    client = person.client
    client.wait(client.create_document(text, source_key="wren.md", uri="https://example.org/wren"))
    tab = await person.sign_in()
    await tab.choose("Fetcher")
    await expect(tab.page.locator(".empty")).to_contain_text("This agent can use the documents.")
    await expect(tab.page.locator(".empty")).to_contain_text("The agent works without web_search")
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
    await expect(tab.source.locator(".badge")).to_contain_text("Verified")


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
        return any(one.name == "tools/web_search" for one in person.client.tools())

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
        await expect(tab.page.locator(".empty")).to_contain_text("can use the documents and the web search.")
        await tab.ask('call web_search {"query": "Who kept the light of Korsholm?"}')
        cited = tab.answers.get_by_role("list", name="Sources", exact=True).get_by_role("listitem")
        await expect(cited).to_contain_text("fetched by the web search, ")
        await expect(cited.get_by_role("link")).to_have_attribute("href", uri)
        await tab.chips.first.click()
        await expect(tab.source.locator(".badge")).to_contain_text("Verified: the tool returned this text.")
        await expect(tab.source.get_by_role("heading")).to_have_text("Keepers of the light")
        await expect(tab.source.get_by_role("tabpanel")).to_have_text(snippet)
        await expect(tab.mark).to_be_focused()
        await expect(tab.source.get_by_role("link", name=uri)).to_have_attribute("href", uri)
        await expect(tab.source.get_by_role("tab")).to_have_count(0)
        assert await flaws(tab.page) == []
