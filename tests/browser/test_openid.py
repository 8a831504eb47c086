"""Sign-in with OpenID Connect, and the links of mails, on a whole instance, behind Envoy, in a real browser. The
provider is another site (127.0.0.1) than the page (localhost)."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, expect

from responsa_client import Responsa
from tests.browser.accounts import OTHER_PASSWORD, account, button, fill
from tests.browser.conftest import at_browser
from tests.browser.person import Tab
from tests.browser.rules import flaws
from tests.browser.test_accounts import once_sign_in_required
from tests.callers import PASSWORD
from tests.instance import Instance, instance_in
from tests.wire.openid import CLIENT, SECRET, Key, Provider
from tests.wire.smtp import MailServer, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
BEGIN = """async (body) => {
    const headers = {"content-type": "application/json"};
    const reply = await fetch("/v1/oidc/corp:start", {method: "POST", headers, body: JSON.stringify(body)});
    location.assign((await reply.json()).authorizationUri);
}"""


@dataclass
class Harness:
    instance: Instance
    provider: Provider
    mails: MailServer

    @property
    def url(self) -> str:
        return f"http://localhost:{self.instance.port}"


@pytest.fixture(scope="module")
def harness(folder: Path) -> Iterator[Harness]:
    """An instance with a provider and a mail server, where anyone may register."""
    loop, provider = asyncio.new_event_loop(), Provider(Key("k1"))
    thread = threading.Thread(target=loop.run_forever, name="provider")
    thread.start()
    asyncio.run_coroutine_threadsafe(provider.server.start(), loop).result(30)
    secrets = folder / "secrets"
    secrets.mkdir()
    corp = "RESPONSA_OIDC__PROVIDERS__CORP__"
    (secrets / f"{corp}CLIENT_SECRET").write_text(SECRET)
    settings = {
        f"{corp}ISSUER": provider.issuer,
        f"{corp}CLIENT_ID": CLIENT,
        f"{corp}DISPLAY_NAME": "Acme's login",
        f"{corp}ALLOWED_DOMAINS": "example.org",
        f"{corp}COMMAND_LINE": "true",
        "RESPONSA_SECRETS_DIR": str(secrets),
        "RESPONSA_DOCS": "none",
        "RESPONSA_MODELS__SCRIPTED": "true",
        "RESPONSA_ACCOUNTS__REGISTRATION": "open",
        "RESPONSA_MAIL__HOST": "127.0.0.1",
        "RESPONSA_MAIL__TLS": "none",
        "RESPONSA_MAIL__SENDER": "responsa@example.org",
    }
    try:
        with (
            serving() as mails,
            instance_in(folder, **settings, RESPONSA_MAIL__PORT=str(mails.port)) as instance,
        ):
            yield Harness(instance, provider, mails)
    finally:
        asyncio.run_coroutine_threadsafe(provider.server.close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    # The page's worker would fetch the page itself, and hide the cookies of the navigation.
    context = await browser.new_context(service_workers="block")
    yield await context.new_page()
    await context.close()


def person(name: str) -> dict[str, Any]:
    return {"sub": name, "name": name.title(), "email": f"{name}@example.org", "email_verified": True}


async def me(page: Page) -> dict[str, Any]:
    return await page.evaluate("async () => (await fetch('/v1/users/me')).json()")


async def test_a_person_who_signs_in_with_a_provider_allows_a_program(harness: Harness, page: Page) -> None:
    harness.provider.person = person("abe")
    with Responsa(harness.instance.url, harness.instance.key) as responsa:
        made = responsa.create_program("Ferryman", [f"{harness.url}/docs"])
    authorization = {
        "client_id": made.name.removeprefix("programs/"),
        "redirect_uri": f"{harness.url}/docs",
        "response_type": "code",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "state": "s" * 300,
    }
    await page.goto(f"{harness.url}/oauth/authorize?{urlencode(authorization)}")
    await page.get_by_role("button", name="Sign in with Acme's login").click()
    await expect(page.get_by_role("heading", name="Ferryman")).to_be_visible()
    await expect(page.get_by_text("abe@example.org")).to_be_visible()
    await page.get_by_role("button", name="Do not allow").click()
    await page.wait_for_url("**/docs?*")
    reply = parse_qs(urlsplit(page.url).query)
    assert (reply["error"], reply["state"], reply["iss"]) == (["access_denied"], ["s" * 300], [harness.url])


async def test_a_person_signs_in_and_out(harness: Harness, page: Page) -> None:
    harness.provider.person = person("ann")
    arrivals: list[Request] = []
    page.on("request", lambda one: arrivals.append(one) if one.is_navigation_request() else None)
    await page.goto(harness.url)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.evaluate(BEGIN, {"returnTo": "/"})
    await page.get_by_label("Your question").wait_for()
    assert (await me(page))["email"] == "ann@example.org"
    # The last navigation began on the callback's page, so that it carries the Strict cookie; the callback itself carried only the Lax one.
    callback, last = arrivals[-2], arrivals[-1]
    assert "/v1/oidc/corp/callback?code=" in callback.url
    assert last.url == f"{harness.url}/"
    assert f"responsa_session_{harness.instance.port}=" in (await last.all_headers())["cookie"]
    came = (await callback.all_headers())["cookie"]
    assert f"responsa_oidc_{harness.instance.port}=" in came
    assert "responsa_session" not in came
    cookies = {cookie.get("name", ""): cookie for cookie in await page.context.cookies()}
    assert set(cookies) == {f"responsa_session_{harness.instance.port}"}
    session = cookies[f"responsa_session_{harness.instance.port}"]
    assert (session.get("sameSite"), session.get("httpOnly")) == ("Strict", True)
    # Neither the address, nor the history, nor a log keeps the code.
    code = callback.url.partition("code=")[2].partition("&")[0]
    for name in ("server", "envoy", "postgres"):
        text = harness.instance.log(name)
        assert code not in text
        assert SECRET not in text
    assert "code=" not in page.url
    await page.go_back()
    assert "code=" not in page.url
    await page.goto(harness.url)
    assert await page.evaluate("async () => (await fetch('/v1/sessions', {method: 'DELETE'})).status") == 200
    assert (await me(page))["details"][0]["reason"] == "CREDENTIAL_MISSING"


async def test_a_user_links_a_provider_in_the_profile_and_signs_in_with_it(
    harness: Harness, page: Page
) -> None:
    harness.provider.person = {"sub": "fay"}  # neither an invitation nor an address admits this person
    with Responsa(harness.instance.url, harness.instance.key) as admin:
        fay = account(admin, "Fay")
    await page.goto(f"{harness.url}/#/profile/password")
    await fill(Tab(page), fay)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.get_by_role("button", name="Link to Acme's login").click()
    await expect(page.get_by_text("Your account is linked to Acme's login.")).to_be_visible()
    assert (await me(page))["name"] == fay.user.name
    linked = page.get_by_role("list", name="Other ways to sign in").get_by_role("listitem")
    await expect(linked).to_contain_text("fay · linked")
    assert await flaws(page) == []
    await Tab(page).sign_out()
    await page.get_by_role("button", name="Sign in with Acme's login").click()
    await page.get_by_label("Your question").wait_for()
    assert (await me(page))["name"] == fay.user.name
    await page.goto(f"{harness.url}/#/profile/password")
    await page.get_by_role("button", name="Unlink Acme's login").click()
    await page.get_by_role("dialog").get_by_role("button", name="Unlink").click()
    await expect(linked).to_have_text("Your account is not linked to a provider.")


async def test_a_command_signs_in_with_the_provider(harness: Harness, tmp_path: Path) -> None:
    harness.provider.person = person("cleo")
    passed = {name: value for name, value in os.environ.items() if not name.startswith("RESPONSA_")}
    environment = {
        **passed,
        "RESPONSA_HOME": str(tmp_path),
        "RESPONSA_PORT": str(harness.instance.port),
        "XDG_STATE_HOME": str(tmp_path),
    }
    responsa = (sys.executable, "-m", "responsa_server")
    process = await asyncio.create_subprocess_exec(
        *responsa, "login", "--provider", "corp", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    address = (await process.stdout.readline()).decode().strip()
    back = parse_qs(urlsplit(address).query)["redirect_uri"][0]
    async with httpx2.AsyncClient(follow_redirects=True) as http:
        # The reply of another provider, to which this one may have sent the browser.
        other = await http.get(f"{back.removesuffix('corp')}other?code=a&state=b")
        assert (other.status_code, process.returncode) == (404, None)
        assert "Go back to the terminal" in (await http.get(address)).text
    out, _ = await process.communicate()
    assert (process.returncode, b"Signed in as cleo@example.org" in out) == (0, True)
    known = await asyncio.create_subprocess_exec(
        *responsa, "call", "AuthService.GetMe", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await known.communicate()
    assert b"cleo@example.org" in out


def _link(mails: MailServer, email: str, kind: str) -> str:
    """The link of this kind in the mails to an address. Waits for the mail."""
    for number in range(1, 10):
        for mail in mails.to(email, number):
            if (found := re.search(rf"^http\S+#/?{kind}=\S+$", mail.text, re.MULTILINE)) is not None:
                return found.group()
    raise AssertionError(f"no mail to {email} has a link to {kind}")


async def test_links_of_mails_confirm_a_registration_reset_a_password_and_change_the_address(
    harness: Harness, browser: Browser
) -> None:
    instance, mails = harness.instance, harness.mails
    with Responsa(instance.url, api_key=instance.key) as client:
        async for person in at_browser(instance, browser, client):
            tab = await person.open(await person.profile(), person.url)
            page, alert = tab.page, tab.page.get_by_role("alert").first
            await button(tab, "Register").click()
            await page.get_by_label("E-mail address").fill("dora@example.org")
            await page.get_by_label("New password", exact=True).fill(PASSWORD)
            await page.get_by_role("button", name="Register", exact=True).click()
            await expect(alert).to_contain_text("an e-mail to dora@example.org is on its way")
            await expect(page.get_by_label("E-mail address")).to_have_value("dora@example.org")
            # A sign-in before the confirmation would count as an attempt with a wrong password.
            assert not any(request.url.endswith("/v1/sessions") for request in person.requests)
            link = await asyncio.to_thread(_link, mails, "dora@example.org", "confirm")
            for expected in ("Your e-mail address is confirmed. You can now sign in with it.", ""):
                await page.evaluate("(link) => { location.href = link }", link)
                await expect(page.get_by_label("Code from the e-mail")).to_have_value(link.partition("=")[2])
                assert "confirm" not in page.url
                password = page.get_by_label("Your password", exact=True)
                if expected:
                    await button(tab, "Confirm").click()
                    await expect(password).to_be_focused()
                    await password.fill(OTHER_PASSWORD)
                    await button(tab, "Confirm").click()
                    await expect(
                        page.locator(".problem", has_text="not the password of the registration")
                    ).to_be_visible()
                await password.fill(PASSWORD)
                await button(tab, "Confirm").click()
                if expected:
                    await expect(alert).to_have_text(expected)
                else:
                    await expect(
                        page.locator(".problem", has_text="If you used it yourself, sign in")
                    ).to_be_visible()

            await button(tab, "Forgot your password?").click()
            await page.get_by_label("E-mail address").fill("dora@example.org")
            await button(tab, "Send e-mail").click()
            await expect(alert).to_contain_text("If an account has this e-mail address")
            await expect(page.get_by_label("Reset code")).to_be_focused()
            link = await asyncio.to_thread(_link, mails, "dora@example.org", "reset")
            await page.evaluate("(link) => { location.href = link }", link)
            await expect(page.get_by_label("Reset code")).to_have_value(link.partition("=")[2])
            await page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
            await button(tab, "Set the password").click()
            await expect(alert).to_contain_text("Your new password is set")
            await page.get_by_label("E-mail address").fill("dora@example.org")
            await page.get_by_label("Password", exact=True).fill(OTHER_PASSWORD)
            await button(tab, "Sign in").click()
            await tab.account.click()
            await page.get_by_role("link", name="Profile").click()

            await page.get_by_label("New e-mail address").fill("dora@example.net")
            await page.route("**/UpdateMe", once_sign_in_required())
            await button(tab, "Change the address").click()
            again = page.get_by_role("dialog", name="Sign in again")
            await again.get_by_label("Password", exact=True).fill(OTHER_PASSWORD)
            await again.get_by_role("button", name="Sign in", exact=True).click()
            await expect(page.get_by_text("An e-mail to dora@example.net is on its way.")).to_be_visible()
            link = await asyncio.to_thread(_link, mails, "dora@example.net", "confirm")
            await page.evaluate("(link) => { location.href = link }", link)
            await page.get_by_label("Your password", exact=True).fill(OTHER_PASSWORD)
            await button(tab, "Confirm").click()
            await expect(alert).to_contain_text("The e-mail address of your account is now dora@example.net.")
            await button(tab, "Continue").click()
            await expect(tab.account).to_be_visible()
            assert client.lookup_user("dora@example.net").email == "dora@example.net"
