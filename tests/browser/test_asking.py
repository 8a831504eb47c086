"""Asking, and opening the sources of an answer."""

from __future__ import annotations

import base64
import re

import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from playwright.async_api import expect

from tests.browser.accounts import account, enter
from tests.browser.person import ASK, Person
from tests.browser.rules import flaws_in_all_colours
from tests.browser.texts import BAKERY, LAST_KEEPER, LIGHTHOUSE, RYE_BREAD, WHO_BUILT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_question_shows_its_steps_and_passages_that_open_in_their_document(
    person: Person,
) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.watch_live()
    await tab.ask(LAST_KEEPER)

    said = await tab.said()
    assert "Searching knowledge base..." in said
    assert said[-1].startswith("No language model is configured.")
    steps = tab.answers.locator(".steps")
    await expect(steps.locator("summary")).to_have_text(re.compile(r"Searched in .* m?s"))
    assert "Searching knowledge base..." in (await steps.locator("li").all_text_contents())[0]

    (turn,) = person.client.turns()
    excerpts = turn.terminal_event.answer.excerpts
    assert excerpts
    for _ in range(2):
        await expect(tab.answers).to_contain_text("No language model is configured.")
        cards = tab.answers.locator(".passages > .excerpts > li")
        await expect(cards).to_have_count(len(excerpts))
        for index, excerpt in enumerate(excerpts):
            assert not excerpt.HasField("marked_range")
            assert await cards.nth(index).locator("mark").count() == 0
            assert "lighthouse" in await cards.nth(index).locator("b.word").all_text_contents()
            await expect(tab.chips.nth(index)).to_contain_text("The lighthouse of Korsholm")
            await tab.chips.nth(index).click()
            await expect(tab.mark).to_contain_text("lighthouse")
            await expect(tab.source.locator(".badge")).to_contain_text("still says this")
            await expect(tab.chips.nth(index)).to_have_attribute("aria-current", "true")
        shown = await tab.source.locator(".document-text").text_content() or ""
        assert "".join(shown.split()) == "".join(LIGHTHOUSE.replace("#", "").split()), (
            "the document is rendered"
        )
        await tab.page.keyboard.press("Escape")
        await expect(tab.source).to_be_hidden()
        await tab.page.reload()


async def test_further_passages_are_folded_below_the_others_and_name_their_collection(
    person: Person,
) -> None:
    person.client.create_collection("sea", display_name="The sea")
    for number, where in enumerate(("Pharos", "an island", "the coast", "a rock", "a reef", "a cape")):
        text = f"# Lighthouse {number}\n\nThe lighthouse of Alexandria number {number} stood on {where} off Egypt."
        person.add(text, f"{number}.md", collection="sea")
    rows = [f"| Isle {number} | pier {number} | every {number + 102} hours |" for number in range(40)]
    person.add(
        "\n".join(["# Ferries", "", "| isle | pier | how often |", "|---|---|---|", *rows]), "ferries.md"
    )
    tab = await person.sign_in()
    await tab.ask("Where did the lighthouse of Alexandria stand?")
    (turn,) = person.client.turns()
    more = turn.terminal_event.answer.more_excerpts
    assert more
    for _ in range(2):
        further = tab.answers.locator(".further")
        await expect(tab.answers.locator(".excerpt").first).to_contain_text("The sea")
        await expect(further.locator("li")).to_have_count(0)
        await further.locator("summary").click()
        await expect(further.locator("li")).to_have_count(len(more))
        title = further.locator("button.open").first
        await title.click()
        await expect(tab.mark).to_contain_text("The lighthouse of Alexandria number")
        await expect(tab.source.locator(".badge")).to_be_hidden()
        await tab.page.keyboard.press("Escape")
        await expect(title).to_be_focused()
        await tab.page.reload()
    person.client.delete_document(more[0].document_version.partition("/versions/")[0])
    await tab.answers.locator(".further summary").click()
    await expect(tab.answers.locator(".further li").first).to_contain_text("has been deleted since")

    # Nothing scrolls in a card: it has the rows round the cell that the question names, and unfolds the others.
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(tab.answers).to_have_count(0)
    await tab.ask("How often does the ferry go to Isle 27?")
    card = tab.answers.locator(".excerpt").first
    overflow = await card.locator(".prose").evaluate("(one) => getComputedStyle(one).overflowY")
    assert overflow == "visible"
    await expect(card.locator("tbody tr")).to_have_count(7)
    await expect(card.locator("mark")).to_have_text("every 129 hours")
    await card.get_by_role("button", name="Show more").click()
    assert await card.locator("tbody tr").count() > 7
    await card.get_by_role("button", name="Show less").click()
    await expect(card.locator("mark")).to_have_text("every 129 hours")
    await tab.chips.first.click()
    await expect(tab.mark).to_have_text("every 129 hours")
    await expect(tab.source.locator(".badge")).to_contain_text("still says this")


async def test_an_answer_is_exported_asked_again_and_asked_of_another_agent(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.ask(LAST_KEEPER)
    await expect(tab.answers.locator(".passages > div > strong")).to_have_text("Closest passages")
    async with tab.page.expect_download() as download:
        await tab.do_more(tab.answers.first, "Export as Markdown")
    exported = (await (await download.value).path()).read_text(encoding="utf-8")
    assert exported.startswith(f"# {LAST_KEEPER}\n\n")
    assert "Märta Öhman" in exported
    await tab.page.get_by_role("button", name="Edit the question").click()
    await expect(tab.question).to_have_value(LAST_KEEPER)
    await tab.question.fill("a draft")
    await tab.do_more(tab.answers.first, "Ask again")
    await tab.answers.nth(1).wait_for()
    await tab.do_more(tab.answers.first, "Ask Echo instead")
    await expect(tab.answers.nth(2)).to_contain_text(LAST_KEEPER)
    await expect(tab.questions).to_have_count(3)
    await expect(tab.question).to_have_value("a draft")

    # A limit of questions is waited for.
    async def limit(seconds: int) -> None:
        info = error_details_pb2.ErrorInfo(reason="RATE_LIMIT", domain="responsa")
        status = status_pb2.Status(code=8, message="Too many questions.")
        status.details.add().Pack(info)
        status.details.add().Pack(
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))
        )
        details = base64.b64encode(status.SerializeToString()).decode()
        headers = {"grpc-status": "8", "grpc-status-details-bin": details}
        await tab.page.route(
            f"**{ASK}",
            lambda route: route.fulfill(
                headers={**headers, "content-type": "application/grpc-web+proto"}, body=""
            ),
            times=1,
        )

    await limit(1)
    await tab.ask(LAST_KEEPER)
    await limit(50)
    await tab.send(WHO_BUILT)
    await expect(tab.steps.last).to_contain_text("Too many questions; asking again in")
    await tab.stop.click()
    await expect(tab.question).to_have_value(WHO_BUILT)
    await expect(tab.coming).to_have_count(0)


async def test_a_collection_that_is_gone_is_no_longer_asked_and_the_page_says_so_first(
    person: Person,
) -> None:
    for name in ("sea", "air"):
        person.client.create_collection(name, display_name=f"The {name}")
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    scope = tab.page.locator("details.scope")
    await scope.locator("summary").click()
    await tab.page.get_by_label("The sea").check()
    person.client.delete_collection("collections/sea")
    await tab.question.fill(RYE_BREAD)
    await tab.question.press("Enter")
    await expect(tab.alert).to_have_text(
        "The collection “The sea” no longer exists, or you may no longer read it. It is no "
        "longer chosen: your next question searches all collections."
    )
    await expect(scope.locator("summary")).to_have_text("Asking all collections")
    await expect(scope.locator("input:checked")).to_have_count(0)
    await expect(tab.question).to_have_value(RYE_BREAD)
    await tab.question.press("Enter")
    await expect(tab.answers).to_contain_text("nineteen hours")

    # The list, which closes when a question is asked, says so too if it notices first.
    await scope.locator("summary").click()
    await tab.page.get_by_label("The air").check()
    await scope.locator("summary").click()
    person.client.delete_collection("collections/air")
    await scope.locator("summary").click()
    await expect(scope.get_by_role("status")).to_contain_text("The collection “The air” no longer exists")
    await expect(scope.get_by_role("status")).to_contain_text("your next question searches all collections")
    await expect(scope.locator("summary")).to_have_text("Asking all collections")


async def test_conversations_are_listed_opened_renamed_and_deleted(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.ask(WHO_BUILT)
    first = tab.page.url
    assert re.search(r"#/conversations/[0-9a-f-]{36}$", first)
    await expect(tab.page).to_have_title(f"{WHO_BUILT} · Responsa")
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(tab.questions).to_have_count(0)
    await expect(tab.question).to_be_focused()
    await tab.ask(LAST_KEEPER)
    listed = tab.page.get_by_role("navigation", name="Conversations").get_by_role("listitem")
    await expect(listed).to_have_text([LAST_KEEPER, WHO_BUILT])

    await listed.get_by_text(WHO_BUILT).click()
    await expect(tab.page).to_have_url(first)
    await expect(tab.questions).to_have_text(re.compile(re.escape(WHO_BUILT)))
    await tab.page.get_by_role("button", name="Rename").click()
    field = tab.page.get_by_role("dialog").get_by_label("Title")
    await expect(field).to_be_focused()
    await field.fill("Towers & light")
    await field.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Towers & light")).to_be_visible()
    await expect(listed).to_have_text(["Towers & light", LAST_KEEPER])
    await expect(tab.page).to_have_title("Towers & light · Responsa")

    await tab.page.get_by_role("button", name="Delete").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(listed).to_have_count(2)
    await tab.page.get_by_role("button", name="Delete").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(listed).to_have_text([LAST_KEEPER])
    assert [conversation.title for conversation in person.client.conversations()] == [LAST_KEEPER]
    await tab.page.goto(first)
    await expect(tab.alert).to_contain_text("This conversation doesn’t exist")
    await expect(tab.page.locator("main").get_by_role("link", name="New conversation")).to_be_visible()
    assert not await flaws_in_all_colours(tab.page)
    # A question that is asked there begins a new conversation.
    await tab.ask(WHO_BUILT)
    await expect(tab.alert).to_have_count(0)
    await expect(listed).to_have_text([WHO_BUILT, LAST_KEEPER])
    assert tab.page.url not in (first, f"{person.url}/#/")

    # What a search finds is marked, and shown without markup.
    await tab.page.get_by_label("Search conversations").fill("keeper diary")
    await expect(listed).to_have_count(2)
    await expect(listed.first.locator(".note mark")).to_have_text(["Keeper", "keeper", "diary", "keeper"])
    await tab.page.get_by_label("Search conversations").fill("")

    # A new conversation offers what was asked before, and the newest documents.
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(
        tab.page.get_by_role("list", name="Suggested questions").get_by_role("listitem")
    ).to_contain_text([WHO_BUILT, LAST_KEEPER])
    await (
        tab.page.get_by_role("list", name="Recent documents")
        .get_by_role("link", name="The lighthouse of Korsholm")
        .click()
    )
    await expect(tab.source).to_contain_text("Axel Hampus")


async def test_several_conversations_are_pinned_archived_and_deleted_at_once(person: Person) -> None:
    tab = await person.sign_in()
    for question in ("One?", "Two?", "Three?"):
        await tab.ask(question)
        await tab.page.get_by_role("link", name="New conversation").click()
        await expect(tab.questions).to_have_count(0)
    person.client.create_conversation(title="Of a program")
    nav = tab.page.get_by_role("navigation", name="Conversations")
    listed, which = nav.get_by_role("listitem"), nav.get_by_label("Which conversations")

    async def do(act: str, *titles: str) -> None:
        await nav.get_by_role("button", name="Select several").click()
        for title in titles:
            await nav.get_by_label(title).check()
        await nav.get_by_role("button", name=act, exact=True).click()

    await do("Pin", "One?")
    await expect(nav.get_by_role("region", name="Pinned").get_by_role("listitem")).to_have_text(["One?"])
    await expect(listed).to_have_text(["One?", "Three?", "Two?"])
    await do("Archive", "Two?", "One?")
    await expect(listed).to_have_text(["Three?"])
    await which.select_option("All, including API requests")
    await expect(listed).to_have_text(["Of a program", "Three?"])
    await which.select_option("Archived")
    await expect(listed).to_have_text(["Two?", "One?"])
    await do("Delete", "One?", "Two?")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(nav).to_contain_text("No archived conversations.")
    assert [one.title for one in person.client.conversations()] == ["Of a program", "Three?"]


async def test_an_answer_is_shared_by_a_link_until_the_link_is_revoked(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.ask(LAST_KEEPER)
    await tab.page.get_by_role("button", name="Share the answer").click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Create link").click()
    link = await dialog.get_by_label("Link", exact=True).input_value()

    other = await enter(person, account(person.client, "Cy Young"))
    await other.page.goto(link)
    await expect(other.page.get_by_text("passages of documents that you may not read")).to_be_visible()
    await expect(other.questions).to_contain_text(LAST_KEEPER)
    assert "keeper" not in (await other.answers.text_content() or "")
    assert not await flaws_in_all_colours(other.page)
    await dialog.get_by_role("button", name="Revoke the link").click()
    await expect(dialog.get_by_role("button", name="Create link")).to_be_visible()
    await other.page.reload()
    await expect(other.page.get_by_role("heading", name="This link doesn’t work")).to_be_visible()
