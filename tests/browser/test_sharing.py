"""Sharing of collections on the page, and what readers are offered."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from responsa.knowledge.v1 import reader_pb2
from tests.browser.accounts import account, button, enter
from tests.browser.person import Person, Tab
from tests.browser.rules import flaws
from tests.browser.texts import BAKERY, LIGHTHOUSE, RYE_BREAD

pytestmark = pytest.mark.asyncio(loop_scope="session")
READ_ONLY = "only its owner and administrators can add, change and delete documents"


def access(tab: Tab) -> Locator:
    """The sentence about the people who read the collection."""
    return tab.page.locator("#access")


async def choose(tab: Tab, collection: str) -> None:
    """Choose a collection by a part of its text in the list."""
    await tab.choose_collection(collection)


async def test_a_collection_is_shared_with_a_person_and_taken_back(person: Person) -> None:
    ada, bob = account(person.client, "Ada"), account(person.client, "Bob")
    person.client.create_group("Sales")
    tab = await enter(person, ada, place="#/documents")
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await expect(access(tab)).to_have_text("Only you can read these documents.")
    await expect(button(tab, "Share")).to_be_hidden()
    await tab.upload(("bakery.md", BAKERY.encode()))
    # The tray of uploads becomes a count in the top bar, and covers nothing.
    await expect(page.locator("header .uploads-count")).to_have_text("1 file: 1 added.")
    await expect(page.locator(".uploads")).to_be_hidden()
    await button(tab, "Share").press("Enter")
    field = dialog.get_by_label("Add a person")
    await expect(field).to_be_focused()
    for text in ("", "Bob"):
        await field.fill(text)
        await field.press("Enter")
        needed = dialog.locator(".problem", has_text="Enter an e-mail address or a user id.")
        await expect(needed).to_be_visible()
    await field.fill("nobody@example.org")
    await field.press("Enter")
    await expect(dialog.locator(".problem:not(:empty)")).to_contain_text("The person")
    await expect(field).to_be_focused()
    await field.fill(bob.user.email)
    await field.press("Enter")
    await expect(dialog.get_by_role("status")).to_have_text(
        f"You and {bob.user.display_name} can read these documents."
    )
    await expect(field).to_have_value("")
    await expect(field).to_be_focused()
    assert await flaws(page) == []
    await button(tab, "Done").click()
    await expect(button(tab, "Share")).to_be_focused()
    await expect(access(tab)).to_have_text(f"You and {bob.user.display_name} can read these documents.")
    await expect(tab.collection).to_have_text("My documents1 document · shared")

    reader = await enter(person, bob, place="#/documents")
    # Bob has no collection `default` yet, and this name must not show him Ada's documents as his own.
    await expect(access(reader)).to_have_text("Only you can read these documents.")
    await expect(reader.page.get_by_text("No documents yet.")).to_be_visible()
    await choose(reader, "shared with you")
    await expect(access(reader)).to_contain_text(READ_ONLY)
    document = reader.page.get_by_role("button", name="Brunmåla bakery", exact=True)
    await expect(document).to_be_visible()
    for absent in ("Share", "Edit collection", "Delete collection", "Delete Brunmåla bakery"):
        await expect(button(reader, absent)).to_be_hidden()
    await expect(reader.page.locator(".drop")).to_be_hidden()
    await document.click()
    await reader.page.get_by_role("tab", name="Details").click()
    await expect(
        reader.page.locator("dl div", has=reader.page.locator("dt", has_text="Owner")).locator("dd")
    ).to_have_text(ada.user.display_name)
    await expect(reader.source.get_by_text("Only the document’s owner")).to_be_visible()
    await expect(reader.source.get_by_role("button", name="Edit the details")).to_have_count(0)
    await reader.page.get_by_role("tab", name="Versions").click()
    await expect(reader.source.get_by_role("button", name="Show version 1")).to_be_visible()
    await expect(button(reader, "Read the file again")).to_be_hidden()
    assert await flaws(reader.page) == []
    await button(reader, "Ask this collection").click()
    await reader.ask(RYE_BREAD)
    await expect(reader.answers).to_contain_text("nineteen hours")

    await button(tab, "Share").click()
    await button(tab, "Done").click()
    await expect(button(tab, "Share")).to_be_focused()
    await button(tab, "Share").click()
    await dialog.get_by_role("button", name="Remove").click()
    await expect(dialog.get_by_role("status")).to_have_text("Only you can read these documents.")
    await expect(field).to_be_focused()
    await dialog.get_by_label("Everyone in your organisation").check()
    await expect(dialog.get_by_role("status")).to_have_text(
        "Everyone in your organisation can read these documents."
    )
    await dialog.get_by_label("Everyone in your organisation").uncheck()
    await expect(dialog.get_by_role("status")).to_have_text("Only you can read these documents.")
    await dialog.get_by_label("Sales").check()
    await expect(dialog.get_by_role("status")).to_have_text("You and Sales can read these documents.")
    await dialog.get_by_label("Sales").uncheck()
    await expect(dialog.get_by_role("status")).to_have_text("Only you can read these documents.")
    await page.keyboard.press("Escape")
    await reader.open_documents()
    await expect(reader.page.get_by_role("list", name="Collections")).not_to_contain_text("shared")


async def test_what_a_member_read_before_the_removal_from_a_group_is_withdrawn_from_the_open_page(
    person: Person,
) -> None:
    bob = account(person.client, "Bob")
    group = person.client.create_group("Bakers")
    person.client.add_group_members(group.name, [bob.user.name])
    person.client.create_collection("ovens", "Ovens")
    person.client.update_collection("ovens", readers=[reader_pb2.Reader(group=group.name)])
    person.add(BAKERY, "bakery.md", collection="ovens")
    reader = await enter(person, bob)
    await reader.ask(RYE_BREAD)
    await expect(reader.answers).to_contain_text("nineteen hours")
    await reader.chips.first.click()
    await expect(reader.source).to_be_visible()

    person.client.remove_group_members(group.name, [bob.user.name])
    # Bob looks at the page again; otherwise, it takes half a minute.
    await reader.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(reader.page.locator("li.assistant")).not_to_contain_text("nineteen hours")
    await expect(reader.page.locator("li.assistant .refusal")).to_be_visible()
    await expect(reader.source).to_be_hidden()
    assert await flaws(reader.page) == []


async def test_an_administrator_manages_a_collection_without_reading_it_and_chooses_people_by_name(
    person: Person,
) -> None:
    ada, bob = account(person.client, "Ada"), account(person.client, "Bob")
    owner = await enter(person, ada, place="#/documents")
    await owner.upload(("lighthouse.md", LIGHTHOUSE.encode()))
    await expect(owner.upload_of("lighthouse.md")).to_contain_text("searchable")

    tab = await person.sign_in()
    await tab.open_documents()
    await choose(tab, "another person’s")
    await expect(access(tab)).to_contain_text("This collection belongs to Ada. Only its owner can read it")
    # The server counts what the caller reads, so neither the list nor the question before the deletion calls the collection empty.
    await expect(tab.page.get_by_text("You cannot see the documents of this collection.")).to_be_visible()
    await expect(tab.collection).to_have_text("From Adaanother person’s")
    await expect(button(tab, "Ask this collection")).to_be_hidden()
    dialog = tab.page.get_by_role("dialog")
    await button(tab, "Edit collection").click()
    await expect(dialog.get_by_label("Name")).to_be_visible()
    await expect(dialog.get_by_label("Suggested questions")).to_have_count(0)  # so that saving keeps them
    await button(tab, "Cancel").click()
    await button(tab, "Delete collection").click()
    await expect(dialog).to_contain_text(
        "may hold documents that you cannot see. All of them will be deleted"
    )
    await button(tab, "Cancel").click()
    await button(tab, "Share").click()
    field = dialog.get_by_label("Add a person")
    await field.fill("bo")
    await expect(dialog.locator("datalist option")).to_have_text(["Bob"])
    await expect(dialog.locator("datalist option")).to_have_attribute("value", bob.user.email)
    await field.fill(bob.user.email.upper())
    await field.press("Enter")
    await expect(dialog.get_by_role("button", name="Remove Bob")).to_be_visible()
    await dialog.locator("summary", has_text="By role").click()
    await dialog.get_by_label("All administrators").check()
    await expect(dialog.get_by_role("status")).to_contain_text(
        "All administrators and Bob can read these documents."
    )
    await button(tab, "Done").click()
    await expect(
        tab.page.get_by_role("button", name="The lighthouse of Korsholm", exact=True)
    ).to_be_visible()
