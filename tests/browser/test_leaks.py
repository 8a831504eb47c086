"""Hours of use leave nothing behind in the tab. `RESPONSA_SOAK_COUNT` is the number of rounds; 240 take about two hours
of a person's time."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from playwright.async_api import CDPSession, expect

from tests.browser.person import Person, Tab
from tests.browser.texts import LAST_KEEPER, LIGHTHOUSE

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.soak]

WARM = 5
"""Rounds in which the views are loaded and the engine fills its caches."""
SLACK: Mapping[str, int] = {"Nodes": 200, "JSEventListeners": 50, "JSHeapUsedSize": 4_000_000}
"""How much more there may be at the end: far less than one node, listener or answer in each round."""


async def test_hours_of_use_leave_nothing_behind(person: Person) -> None:
    rounds = int(os.environ.get("RESPONSA_SOAK_COUNT") or 240)
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    session = await tab.page.context.new_cdp_session(tab.page)
    await session.send("Performance.enable")
    for _ in range(WARM):
        await use(tab)
    before = await held(session)
    for _ in range(rounds):
        await use(tab)
    after = await held(session)
    print({name: (before[name], after[name]) for name in SLACK}, "rounds:", rounds)
    assert [name for name in SLACK if after[name] > before[name] + SLACK[name]] == []


async def use(tab: Tab) -> None:
    """Ask, open a source, visit each view, and delete the conversation."""
    await tab.ask(LAST_KEEPER)
    await tab.page.locator(".excerpts a, .excerpts button").first.click()
    await expect(tab.source.locator(".badge")).to_be_visible()
    conversation = tab.page.url
    for view in ("search", "documents", "teachers", "profile/sessions", "administration/users"):
        await tab.page.evaluate("(view) => void (location.hash = `#/${view}`)", view)
        await tab.page.wait_for_load_state("networkidle")
    await tab.page.goto(conversation)
    await tab.page.get_by_role("button", name="Delete", exact=True).click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(tab.page.get_by_text("What would you like to know?")).to_be_visible()


async def held(session: CDPSession) -> dict[str, int]:
    """What the tab holds after a garbage collection."""
    await session.send("HeapProfiler.collectGarbage")
    found = await session.send("Performance.getMetrics")
    return {one["name"]: int(one["value"]) for one in found["metrics"] if one["name"] in SLACK}
