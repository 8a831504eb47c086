"""The widget in a page of another origin."""

from __future__ import annotations

import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import ELSEWHERE
from tests.browser.person import Person
from tests.browser.rules import flaws
from tests.browser.texts import LAST_KEEPER, LIGHTHOUSE

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_page_of_another_origin_asks_and_goes_on_after_a_cut(asker: Person) -> None:
    asker.add(LIGHTHOUSE, "lighthouse.md")
    key = asker.client.create_api_key("site", as_user=True).secret
    html = f"""<!doctype html><html lang="en"><title>A site</title><main><h1>A site</h1>
        <responsa-answers key="{key}" agent="testing" label="Cut"></responsa-answers>
        <responsa-answers key="{key}" agent="reader"></responsa-answers></main>
        <script src="{asker.url}/widget.js" async></script></html>"""

    async def serve(route: Route) -> None:
        policy = f"default-src 'none'; script-src {asker.url}; connect-src {asker.url}"
        headers = {"content-security-policy": policy}
        await route.fulfill(body=html, content_type="text/html", headers=headers)

    async def cut(route: Route) -> None:
        """Pass on the first two frames of the answer."""
        whole = await route.fetch()
        frames = (await whole.text()).split("\n\n")[:2]
        await route.fulfill(response=whole, body="\n\n".join(frames) + "\n\n")

    context = await asker.profile()
    await context.route("**/v1/turns:ask", cut, times=1)
    await context.route(f"{ELSEWHERE}/**", serve)
    page = (await asker.open(context, f"{ELSEWHERE}/")).page
    first = page.get_by_label("Cut")
    await first.fill("tokens=20")
    async with page.expect_request(lambda request: "/events?" in request.url):
        await first.press("Enter")
    await expect(page.get_by_role("list", name="Sources")).to_be_attached()
    box = page.get_by_label("Ask a question")
    await box.fill(LAST_KEEPER)
    await box.press("Enter")
    await page.get_by_role("button", name="Source 1").click()
    await expect(page.locator("details[open] blockquote")).to_be_visible()
    assert await flaws(page) == []
