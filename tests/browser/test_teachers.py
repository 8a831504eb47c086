"""Administering teachers on the page, also with the keyboard alone, on a small screen, and in light and dark colours."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.person import Person, Tab
from tests.browser.rules import NARROW, flaws_in_all_colours
from tests.browser.texts import BAKERY, RYE_BREAD

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def open_teachers(person: Person) -> Tab:
    tab = await person.sign_in()
    await tab.page.goto(f"{person.url}/#/teachers")
    await expect(tab.page.get_by_role("heading", name="Teachers")).to_be_focused()
    return tab


async def test_what_somebody_else_changed_meanwhile_is_shown_before_it_is_replaced(person: Person) -> None:
    made = person.client.create_teacher("Ms Ashdown", "You teach calmly.")
    tab = await open_teachers(person)
    dialog = tab.page.get_by_role("dialog")
    await tab.page.get_by_role("button", name="Edit Ms Ashdown").click()
    person.client.update_teacher(made.name, persona="You teach briskly.")
    await dialog.get_by_label("Name").fill("Ms Ash")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("your changes are not saved yet")
    await expect(dialog.get_by_role("alert")).to_be_in_viewport()
    await expect(dialog.locator("blockquote")).to_contain_text("You teach briskly.")
    assert person.client.teacher(made.name).display_name == "Ms Ashdown"
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    now = person.client.teacher(made.name)
    assert (now.display_name, now.persona) == ("Ms Ash", "You teach calmly.")

    delete = tab.page.get_by_role("button", name="Delete Ms Ash", exact=True)
    await expect(delete).to_be_visible()
    person.client.update_teacher(made.name, display_name="Ms Oak")
    await delete.click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(tab.alert).to_contain_text("nothing was done")
    await expect(tab.page.get_by_role("button", name="Delete Ms Oak")).to_be_visible()

    await tab.page.get_by_role("button", name="Edit Ms Oak").click()
    person.client.delete_teacher(made.name)
    await dialog.get_by_label("Name").fill("Ms Elm")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("has already deleted this")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(tab.page.get_by_text("No teachers yet")).to_be_visible()


async def test_agents_and_teachers_keep_the_accessibility_rules(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    made = person.client.create_teacher("Ms Ashdown", "You teach calmly.")
    tab = await person.sign_in(**NARROW)
    found: dict[str, list[str]] = {}

    async def look(state: str) -> None:
        found[state] = await flaws_in_all_colours(tab.page)
        wide = await tab.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"the page is wider than the screen: {state}"

    await tab.choose("Helper")
    await expect(tab.page.get_by_label("Words")).to_be_visible()
    await look("form")
    await tab.send(RYE_BREAD)
    await expect(tab.page.get_by_label("Words")).to_have_attribute("aria-invalid", "true")
    await look("missing")
    await tab.page.get_by_label("Words").fill("40")
    await tab.question.press("Enter")
    await expect(tab.fallbacks).to_be_visible()
    await tab.page.locator(".steps summary").click()
    await look("outcome")
    await tab.page.goto(f"{person.url}/#/teachers")
    edit = tab.page.get_by_role("button", name="Edit Ms Ashdown")
    await edit.wait_for()
    await look("teachers")
    await edit.click()
    person.client.update_teacher(made.name, persona="You teach briskly.")
    await tab.page.get_by_label("Name").fill("Ms Ash")
    await tab.page.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Somebody else")
    await look("conflict")
    assert {state: ones for state, ones in found.items() if ones} == {}
