"""The page opens without a connection, and keeps nothing of the API for that."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.person import Person

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEPT = """
async () => {
  const paths = [];
  for (const name of await caches.keys())
    for (const { url } of await (await caches.open(name)).keys()) paths.push(new URL(url).pathname);
  return paths;
}
"""


async def test_the_page_opens_without_a_connection_and_goes_on_when_it_is_back(person: Person) -> None:
    context = await person.profile(service_workers="allow")
    tab = await person.sign_in(context)
    await tab.page.evaluate("async () => void (await navigator.serviceWorker.ready)")
    kept = await tab.page.evaluate(KEPT)
    assert "/" in kept
    assert all(path == "/" or path.startswith("/assets/") for path in kept)
    await context.set_offline(True)
    await tab.page.reload()
    await expect(tab.page.get_by_role("button", name="Try again")).to_be_visible()
    await context.set_offline(False)
    await expect(tab.question).to_be_visible()
