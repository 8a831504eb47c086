"""Signing in by a link that works once, and signing out."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.person import Person
from tests.browser.texts import BAKERY, RYE_BREAD
from tests.instance import Instance

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Counts the listeners of clicks on the whole page.
COUNT_LISTENERS = """
globalThis.listeners = new Set();
const { addEventListener, removeEventListener } = document;
document.addEventListener = function (type, listener, ...rest) {
  if (type === "click") globalThis.listeners.add(listener);
  addEventListener.call(this, type, listener, ...rest);
};
document.removeEventListener = function (type, listener, ...rest) {
  globalThis.listeners.delete(listener);
  removeEventListener.call(this, type, listener, ...rest);
};
"""


async def test_a_link_signs_in_once_and_its_code_is_gone_from_the_address_and_the_history(
    person: Person,
) -> None:
    link = person.link()
    code = link.partition("code=")[2]
    context = await person.profile()
    tab = await person.open(context, link)
    await tab.question.wait_for()
    assert code not in tab.page.url
    await tab.open_documents()
    await tab.page.go_back()
    await tab.question.wait_for()
    assert code not in tab.page.url
    assert await tab.page.evaluate("history.length") <= 3

    stranger = await person.open(await person.profile(), link)
    await expect(stranger.page.get_by_role("alert")).to_have_text(
        "This link has already been used or has expired. Sign in below, or ask for a new link."
    )
    await expect(stranger.page.get_by_role("heading", name="Responsa")).to_be_focused()
    await expect(stranger.page.get_by_text("responsa open")).to_be_visible()
    assert code not in stranger.page.url

    again = await person.open(context, link)
    await again.question.wait_for()


async def test_secrets_reach_neither_the_page_nor_addresses_nor_what_it_stores_nor_logs(
    person: Person, instance: Instance
) -> None:
    person.add(BAKERY, "bakery.md")
    link = person.link()
    code = link.partition("code=")[2]
    context = await person.profile()
    tab = await person.open(context, link)
    await tab.ask(RYE_BREAD)
    await tab.chips.first.click()
    await expect(tab.mark).to_be_visible()

    (cookie,) = await context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    session = cookie.get("value")
    assert session
    held = await tab.page.evaluate(
        """async () => JSON.stringify([document.documentElement.outerHTML, document.cookie, location.href, { ...localStorage },
            { ...sessionStorage }, (await indexedDB.databases()).map((one) => one.name), await caches.keys()])"""
    )
    headers = [await request.all_headers() for request in person.requests]
    seen = " ".join([held, *(request.url for request in person.requests)])
    logs = "".join(instance.log(name) for name in ("server", "envoy", "postgres", "redis"))
    for secret in (instance.key, session, code):
        assert secret not in seen
        assert secret not in logs
    assert not any("authorization" in header for header in headers)
    assert RYE_BREAD not in logs
    assert all(request.url.startswith(person.url) for request in person.requests)


async def test_signing_out_ends_the_session_in_every_tab(person: Person) -> None:
    context = await person.profile()
    await context.add_init_script(COUNT_LISTENERS)
    first = await person.sign_in(context)
    before = await first.page.evaluate("listeners.size")
    await first.page.locator(".scope summary").click()
    other = await person.open(context, person.url)
    await other.question.wait_for()
    stolen = await context.cookies()
    # A sign-out that fails says so.
    await first.page.route("**/v1/sessions", lambda route: route.abort("connectionrefused"))
    await first.sign_out()
    await expect(first.page.get_by_role("alert").filter(has_text="still signed in")).to_be_visible()
    await first.page.unroute_all()
    await first.sign_out()
    await expect(first.page.get_by_role("alert")).to_have_text("You are signed out.")
    await expect(other.page.get_by_role("alert")).to_have_text("You signed out in another tab.")
    assert await context.cookies() == []
    assert await first.page.evaluate("sessionStorage.length") == 0
    # The session left no listener behind.
    await first.page.goto(person.link())
    await first.question.wait_for()
    assert await first.page.evaluate("listeners.size") == before == 0
    await context.clear_cookies()
    await context.add_cookies(
        [{"name": str(c.get("name")), "value": str(c.get("value")), "url": person.url} for c in stolen]
    )
    await first.page.reload()
    await expect(first.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(first.page.get_by_role("alert")).to_have_count(0)


async def test_a_question_outlives_the_end_of_the_session_and_what_was_not_asked_is_gone_after_signing_out(
    person: Person,
) -> None:
    person.add(BAKERY, "bakery.md")
    context = await person.profile()
    tab = await person.sign_in(context)
    # Wait for the page's first requests. Otherwise these requests, and not the question, would find that the session has ended.
    await tab.page.wait_for_load_state("networkidle")
    await context.clear_cookies()
    await tab.send(RYE_BREAD)
    await expect(tab.page.get_by_role("alert")).to_have_text("Your session has ended.")
    await tab.page.goto(person.link())
    await expect(tab.answers).to_contain_text("nineteen hours")
    assert len(list(person.client.turns())) == 1
    await tab.question.fill(RYE_BREAD)
    await tab.page.wait_for_load_state("networkidle")
    await context.clear_cookies()
    # The page may find out by itself, and then has no link.
    await tab.page.evaluate("location.hash = '#/documents'")
    await expect(tab.page.get_by_role("alert")).to_have_text("Your session has ended.")
    await tab.page.goto(person.link())
    await expect(tab.question).to_have_value(RYE_BREAD)
    await tab.page.reload()
    await expect(tab.question).to_have_value(RYE_BREAD)
    await tab.sign_out()
    await expect(tab.page.get_by_role("alert")).to_have_text("You are signed out.")
    await tab.page.goto(person.link())
    await expect(tab.question).to_have_value("")


async def test_a_server_that_cannot_be_reached_can_be_tried_again(person: Person) -> None:
    context = await person.profile()
    await person.sign_in(context)
    tab = await person.open(context, person.url)
    await tab.question.wait_for()
    await tab.page.route("**/responsa.auth.v1.AuthService/*", lambda route: route.abort("connectionrefused"))
    await tab.page.reload()
    await expect(tab.page.get_by_role("alert")).to_have_text("Responsa cannot be reached.")
    await tab.page.unroute_all()
    await tab.page.get_by_role("button", name="Try again").click()
    await tab.question.wait_for()
