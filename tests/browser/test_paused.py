"""The page says that its instance was restored and is paused, until somebody activates it.
tests/system/test_restored.py asserts what the server says."""

from __future__ import annotations

import pytest
from playwright.async_api import Route, expect

from tests.browser.person import Person
from tests.browser.rules import flaws_in_all_colours

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_page_says_that_the_instance_is_paused_while_it_is(person: Person) -> None:
    context = await person.profile()

    async def paused(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "paused": True})

    await context.clock.install()
    await context.route("**/health/ready", paused)
    tab = await person.open(context, person.link())
    banner = tab.page.get_by_role("status").filter(has_text="was restored from a backup")
    await expect(banner).to_be_visible()
    assert await flaws_in_all_colours(tab.page) == []
    await context.unroute("**/health/ready")
    await context.clock.run_for(11_000)
    await expect(banner).to_be_hidden()
