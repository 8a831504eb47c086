"""Lost connections and reloads: the answer continues, and no question is asked twice."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Route, expect

from responsa.chat.v1 import chat_service_pb2
from tests.browser.person import ASK, RESUME, Person, frames, until
from tests.browser.texts import BAKERY, LIGHTHOUSE, RYE_BREAD, WHO_BUILT
from tests.callers import Registry
from tests.instance import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_reload_before_the_first_frame_goes_on_too(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()

    async def accept_and_break(route: Route) -> None:
        await route.fetch()  # the server accepted the question, but the page never receives the response
        await route.abort("connectionreset")

    await tab.page.route(f"**{ASK}", lambda route: route.abort("connectionreset"))
    await tab.page.route(f"**{ASK}", accept_and_break, times=1)
    await tab.question.fill(RYE_BREAD)
    await tab.question.press("Enter")
    await expect(tab.page.locator(".steps")).to_contain_text("The connection was lost; reconnecting")
    await expect(tab.page).to_have_url(re.compile("#/$"))
    await tab.page.unroute_all()
    await tab.page.reload()
    await expect(tab.answers).to_contain_text("nineteen hours")
    await expect(tab.questions).to_have_count(1)
    assert len(list(person.client.turns())) == 1


async def test_a_connection_cut_in_mid_stream_goes_on_without_doubling(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    calls: list[tuple[str, bytes]] = []
    cuts = [1, 1]

    async def cut(route: Route) -> None:
        calls.append((route.request.url, route.request.post_data_buffer or b""))
        if not cuts:
            await route.continue_()
            return
        response = await route.fetch()
        got = frames(await response.body())
        await route.fulfill(response=response, body=b"".join(got[: cuts.pop(0)]))

    for path in (ASK, RESUME):
        await tab.page.route(f"**{path}", cut)
    await tab.watch_live()
    await tab.ask(WHO_BUILT)
    assert [url.rpartition("/")[2] for url, _ in calls] == ["Ask", "ResumeTurn", "ResumeTurn"]
    (turn,) = person.client.turns()
    after = [chat_service_pb2.ResumeTurnRequest.FromString(frames(body)[0][5:]) for _, body in calls[1:]]
    assert {one.turn for one in after} == {turn.name}
    assert 0 < after[0].after_seq < after[1].after_seq
    assert (await tab.said()).count("Searching knowledge base...") == 1
    text = await tab.texts.text_content() or ""
    assert text.count("Axel Hampus Dalström") == 1
    await expect(tab.questions).to_have_count(1)


async def test_an_answer_that_ended_during_the_reload_is_shown_once(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()

    async def only_the_beginning(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, body=frames(await response.body())[0])

    await tab.page.route(f"**{ASK}", only_the_beginning)
    await tab.question.fill(RYE_BREAD)
    await tab.question.press("Enter")
    await expect(tab.page).to_have_url(re.compile("#/conversations/"))
    eventually(lambda: [turn.state for turn in person.client.turns()] == [3], "an answered turn")
    await tab.page.unroute_all()
    await tab.page.reload()
    await expect(tab.answers).to_contain_text("nineteen hours")

    async def settled() -> bool:
        return await tab.waiting() == []

    await until(settled, "nothing is waited for")
    await expect(tab.questions).to_have_count(1)
    await expect(tab.page.locator("li.assistant")).to_have_count(1)
    assert len(list(person.client.turns())) == 1


async def test_an_answer_goes_on_while_another_conversation_is_shown(
    person: Person, registry: Registry
) -> None:
    person.add(BAKERY, "bakery.md")
    other = person.client.create_conversation(title="Other").name
    tab = await person.sign_in()
    with registry.holding("collection_stat"):
        await tab.question.fill(RYE_BREAD)
        await tab.question.press("Enter")
        await expect(tab.page).to_have_url(re.compile("#/conversations/"))
        here = tab.page.url
        await tab.page.goto(f"{person.url}/#/{other}")
        await expect(tab.page.get_by_role("heading", name="Other")).to_be_visible()
        await expect(tab.questions).to_have_count(0)
        assert tab.page.url.endswith(other)
        await tab.page.go_back()
        await expect(tab.page).to_have_url(here)
        await expect(tab.page.locator(".steps")).to_contain_text("Searching knowledge base...")
    await expect(tab.answers).to_contain_text("nineteen hours")
    await expect(tab.questions).to_have_count(1)
    assert len(list(person.client.turns())) == 1
