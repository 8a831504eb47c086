"""The page speaks the browser's language, or the one that its user chose."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.person import Person

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_german_by_the_browser_and_english_by_choice(person: Person) -> None:
    context = await person.profile(locale="de-DE")
    page = (await person.open(context, person.url)).page
    await expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    page = (await person.open(context, person.link())).page
    await expect(page.get_by_text("Responsa antwortet aus Ihren Dokumenten")).to_be_visible()
    await page.get_by_label("Ihre Frage").fill("?")
    await page.get_by_role("button", name="Fragen").click()
    await expect(page.get_by_text("Nichts Naheliegendes gefunden", exact=True)).to_be_visible()
    await expect(page.locator(".refusal")).to_contain_text("Nennen Sie den Gegenstand vollständig")
    await expect(page.locator(".refusal")).not_to_contain_text("searched")
    await page.get_by_role("link", name="Dokumente", exact=True).click()
    await expect(page.get_by_role("button", name="Neue Sammlung")).to_be_visible()
    await page.get_by_text("Welche Dateien?").click()
    await expect(page.get_by_text("reiner Text,")).to_be_visible()
    await page.goto(f"{person.url}/#/administration/overview")
    await expect(page.get_by_role("group", name="Zeit")).to_be_visible()
    await page.get_by_role("navigation", name="Konto").get_by_role("button").first.click()
    await page.get_by_label("Sprache").select_option("English")
    await expect(page.get_by_role("group", name="Time")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
