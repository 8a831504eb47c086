"""The page /docs describes REST, and calls it with the key that its reader types."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.person import Person
from tests.callers import Credential, Registry

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_call_has_the_typed_key_and_never_the_cookie(person: Person, registry: Registry) -> None:
    """The person is signed in, and types the key of a user of another tenant. `troubles` collects breaches of the page's policy."""
    stranger = registry.new_tenant()
    page = (await person.sign_in()).page
    before = len(person.requests)
    await page.goto(f"{person.url}/docs#/AuthService/AuthService.GetMe")
    answer = page.locator(".live-responses-table .response .response-col_description")
    await page.get_by_role("button", name="Execute").click()
    await expect(answer).to_contain_text("CREDENTIAL_MISSING")
    await page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    await dialog.get_by_label("auth-bearer-value").fill(stranger.key(Credential.USER))
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Execute").click()
    await expect(answer).to_contain_text(f"tenants/{stranger.name}")
    sent = person.requests[before:]
    assert all(one.url.startswith(person.url) for one in sent)
    calls = [await one.all_headers() for one in sent if one.url.endswith("/v1/users/me")]
    assert [one.get("authorization", "")[:11] for one in calls] == ["", "Bearer rsp_"]
    assert not any("cookie" in one for one in calls)
