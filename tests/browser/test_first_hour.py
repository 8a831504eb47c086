"""An administrator's first hour, and a colleague's first screen."""

from __future__ import annotations

import json
import re
import shlex

import httpx2
import pytest
from playwright.async_api import expect

from responsa.admin.v1 import model_settings_pb2
from responsa.knowledge.v1 import reader_pb2
from tests.browser.accounts import OTHER_PASSWORD, account, button, enter
from tests.browser.person import Person
from tests.browser.rules import NARROW, broken_words, flaws_in_all_colours
from tests.browser.texts import BAKERY, UNANSWERABLE
from tests.instance import Instance
from tests.wire.keyed import KeyedServer
from tests.wire.speaking import KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")
PARTS = {
    "people": "Users",
    "users": "Users",
    "sessions": "Sessions",
    "agents": "Agents",
    "inbox": "Inbox",
    "sources": "Sources",
    "collections": "Collections",
    "overview": "Status",
    "keys": "API keys",
    "audit": "Audit log",
}
"""The parts of the administration, by their addresses."""


async def test_the_administration_begins_with_the_first_steps(person: Person) -> None:
    tab = await person.sign_in(**NARROW)
    page = tab.page
    await page.goto(f"{person.url}/#/administration")
    steps = page.get_by_role("region", name="First steps").get_by_role("listitem")
    await expect(steps).to_contain_text(
        ["Only this computer can open this page.", "no documents of your own", "Nobody else is here yet."]
    )
    assert await flaws_in_all_colours(page) + await broken_words(page) == []
    await steps.first.get_by_role("button", name="How to change this").click()
    await expect(page.get_by_role("dialog")).to_contain_text("responsa up --lan")
    await page.get_by_role("button", name="Done").click()
    await steps.first.get_by_role("button", name="Skip").click()
    await expect(steps.first.get_by_role("button")).to_have_count(0)
    person.add(BAKERY, "bakery.md")
    await steps.last.get_by_role("link", name="Invite").click()
    await page.get_by_role("dialog").get_by_label("E-mail addresses").fill("gus@example.org")
    await page.get_by_role("dialog").get_by_role("button", name="Create invitation").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Only this computer can open these links.")
    await page.get_by_role("dialog").get_by_role("button", name="Done").click()
    # All is done or skipped, so the steps are gone.
    await page.get_by_role("link", name="Ask", exact=True).click()
    await page.goto(f"{person.url}/#/administration")
    await expect(page.get_by_role("tab", name="Users")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_role("region", name="First steps")).to_be_hidden()
    for address, name in PARTS.items():
        await page.goto(f"{person.url}/#/administration/{address}")
        await expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute(
            "aria-selected", "true"
        )


async def test_people_are_invited_into_groups(person: Person) -> None:
    sales = person.client.create_group("Sales").name
    tab = await person.sign_in()
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(f"{person.url}/#/administration/people")
    await button(tab, "Invite").click()
    people = [f"p{number}@example.org" for number in range(10)]
    await dialog.get_by_label("E-mail addresses").fill("\n".join(people))
    await dialog.get_by_label("Sales").check()
    await dialog.get_by_role("button", name="Create invitation").click()
    await expect(dialog.get_by_text("Copy it now.")).to_be_in_viewport(ratio=1)
    await expect(dialog.get_by_role("button", name="Done")).to_be_in_viewport(ratio=1)
    await dialog.get_by_role("button", name="Copy all").click()
    await expect(tab.live).to_have_text("Copied.")
    copied = [
        line.split("\t") for line in (await page.evaluate("navigator.clipboard.readText()")).split("\n")
    ]
    assert [email for email, _ in copied] == people
    mail = dialog.get_by_role("link", name="E-mail the link to p3@example.org")
    await expect(mail).to_have_attribute("href", re.compile("^mailto:p3%40example.org.*invitation%3Drsi_"))
    await dialog.get_by_role("button", name="Done").click()
    invited = page.get_by_role("list", name="Open invitations").get_by_role("listitem")
    await expect(invited.first).to_contain_text("Sales")

    guest = await person.open(await person.profile(), copied[0][1])
    await guest.page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
    await button(guest, "Register").click()
    await guest.account.wait_for()
    assert [one.email for one in person.client.group_members(sales)] == ["p0@example.org"]
    # Whoever is invited can become a member to be, too.
    person.client.create_invitation("later@example.org")
    await button(tab, "Members of Sales").click()
    await dialog.get_by_label("Add a person").fill("later@example.org")
    await dialog.get_by_role("button", name="Add").click()
    await expect(dialog.get_by_role("listitem").filter(has_text="later@example.org")).to_contain_text(
        "invited"
    )
    # The buttons of a dialog stay in sight, however long it is.
    await page.set_viewport_size({"width": 390, "height": 400})
    await expect(dialog.get_by_role("button", name="Done")).to_be_in_viewport(ratio=1)


async def test_a_colleague_is_shown_questions_that_the_documents_answer(person: Person) -> None:
    shared = person.client.create_collection(
        "bread",
        suggested_questions=["How long does rye bread ferment?", UNANSWERABLE],
        readers=[reader_pb2.Reader(everyone=True)],
    )
    person.add(BAKERY, "bakery.md", collection=shared.name.removeprefix("collections/"))
    tab = await enter(person, account(person.client, "Ada"))
    questions = tab.page.get_by_role("list", name="Suggested questions")
    await expect(questions).to_contain_text("How long does rye bread ferment?")
    await expect(questions).not_to_contain_text(UNANSWERABLE)
    greeting, box = tab.page.locator(".greeting"), tab.question
    above, below = await greeting.bounding_box(), await box.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] < below["y"] < 600
    # They go with the right to read.
    person.client.update_collection(shared.name, readers=[])
    await tab.page.reload()
    await expect(tab.page.get_by_text("There are no documents")).to_be_visible()
    await expect(questions).to_have_count(0)


async def test_the_line_for_a_program_works_as_it_stands(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await page.goto(f"{person.url}/#/administration/agents")
    await page.get_by_role("button", name="Use from a program: Responsa").click()
    await expect(dialog).to_contain_text("agents/default")
    await dialog.get_by_role("button", name="Make a key").click()
    await expect(dialog).to_contain_text("The line works as it stands.")
    _, _, url, *options = shlex.split(await dialog.locator("pre").inner_text())
    headers = dict(
        option.split(": ", 1)
        for flag, option in zip(options[::2], options[1::2], strict=True)
        if flag == "-H"
    )
    answered = httpx2.post(url, headers=headers, content=options[-1], timeout=60)
    assert answered.status_code == 200, answered.text
    assert json.loads(answered.text)["name"].startswith("turns/")


async def test_the_forms_rare_fields_are_folded_until_a_price_is_needed(
    owner: Person, instance: Instance
) -> None:
    def limit(micros: int) -> None:
        url = f"{instance.url}/v1/insightSettings?updateMask=costUsdMicrosPerMonth"
        headers = {"authorization": f"Bearer {instance.key}"}
        httpx2.patch(url, headers=headers, json={"costUsdMicrosPerMonth": str(micros)}).raise_for_status()

    tab = await owner.sign_in()
    page = tab.page
    await page.goto(f"{owner.url}/#/administration/model")
    await page.get_by_label("Provider").select_option(label="OpenAI-compatible server")
    read = page.get_by_label("Price of a million tokens that it reads")
    written = page.get_by_label("Price of a million tokens that it writes")
    await expect(read).to_be_hidden()
    limit(20_000_000)
    try:
        await page.get_by_label("Address").fill("https://8.8.8.8/v1")
        await page.get_by_role("textbox", name="Model", exact=True).fill("m-1")
        await button(tab, "Save").click()
        await expect(page.locator("form")).to_contain_text(
            "The price of the model compatible:m-1 is not known"
        )
        await expect(read).to_be_focused()
        await read.fill("cheap")
        await button(tab, "Save").click()
        await expect(page.locator("form")).to_contain_text("Enter an amount, for example 2.50.")
        await read.fill("0.5")
        await button(tab, "Save").click()
        await expect(written).to_be_focused()
        await written.fill("1.5")
        async with KeyedServer() as url:
            await page.get_by_label("Address").fill(url)
            await page.get_by_label("Key", exact=True).fill(KEY)
            await button(tab, "Save").click()
            await expect(page.get_by_text("m-1 writes the answers.")).to_be_visible()
            first = await owner.open(page.context, f"{owner.url}/#/administration")
            steps = first.page.get_by_role("region", name="First steps")
            await expect(steps.get_by_text("m-1 writes the answers.", exact=True)).to_be_visible()
        await expect(read).to_have_value("0.50 USD")
        await expect(written).to_have_value("1.50 USD")
        # What another owner has changed is read while the form stays open.
        owner.client.set_default_model(model_settings_pb2.DefaultModel())
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(page.get_by_text("No model is in use.")).to_be_visible()
        await expect(read).to_have_value("0.50 USD")
    finally:
        limit(0)
        owner.client.set_default_model(model_settings_pb2.DefaultModel())
