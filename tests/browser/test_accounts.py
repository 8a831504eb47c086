"""Signing in with a password, registering, resetting a password, and the profile."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx2
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from playwright.async_api import BrowserContext, Page, Route, expect

from responsa.knowledge.v1.reader_pb2 import Reader
from responsa_client import Responsa
from responsa_client.errors import Unauthenticated
from tests.browser.accounts import OTHER_PASSWORD, account, button, enter, fill
from tests.browser.person import Person
from tests.browser.rules import flaws
from tests.browser.texts import BAKERY, RYE_BREAD
from tests.callers import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="session")


def problem_of(page: Page, label: str) -> str:
    """A script that returns the text next to a field, as its description names it."""
    return f"""() => {{
        const control = [...document.querySelectorAll("input, select")].find((one) => one.labels?.[0]?.textContent === {label!r});
        const described = control.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id));
        const [problem] = described.filter((one) => one?.classList.contains("problem"));
        return control.getAttribute("aria-invalid") === "true" ? problem.textContent : "";
    }}"""


async def session_of(context: BrowserContext) -> dict[str, str]:
    return {str(cookie.get("name")): str(cookie.get("value")) for cookie in await context.cookies()}


async def test_a_user_signs_in_with_a_password_and_the_page_never_sees_a_token(person: Person) -> None:
    ada = account(person.client, "Ada")
    context = await person.profile()
    tab = await person.open(context, f"{person.url}/{ada.query()}#/profile")
    page = tab.page
    await expect(page.get_by_label("Tenant")).to_have_value(ada.tenant)
    await expect(page.get_by_label("E-mail address")).to_be_focused()
    await button(tab, "Sign in").click()
    assert await page.evaluate(problem_of(page, "E-mail address")) == "E-mail address is required."
    await expect(page.get_by_label("E-mail address")).to_be_focused()
    await fill(tab, ada, OTHER_PASSWORD)
    await page.get_by_label("Password", exact=True).press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("e-mail address or the password is wrong")
    await expect(page.get_by_label("Password", exact=True)).to_be_focused()
    assert await context.cookies() == []

    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password", exact=True).press("Enter")
    await expect(page.get_by_role("heading", name="Profile")).to_be_visible()
    await expect(tab.account).to_have_text("Ada")
    await expect(page.get_by_text("This server sends no e-mail")).to_be_visible()
    await expect(page.get_by_label("New e-mail address")).to_be_hidden()
    (cookie,) = await context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    held = await page.evaluate(
        "JSON.stringify([document.documentElement.outerHTML, document.cookie, location.href, { ...localStorage }, { ...sessionStorage }])"
    )
    for secret in (str(cookie.get("value")), PASSWORD, "eyJ", "rst_"):
        assert secret not in held
    assert not any(PASSWORD in request.url or quote(PASSWORD) in request.url for request in person.requests)
    await page.reload()
    await expect(page.get_by_role("heading", name="Profile")).to_be_visible()

    stolen = await session_of(context)
    await tab.sign_out()
    await expect(page.get_by_role("alert")).to_have_text("You are signed out.")
    await expect(page.get_by_label("Tenant")).to_have_value(ada.tenant)
    assert "#/profile" not in page.url
    with httpx2.Client(base_url=person.url, cookies=stolen) as thief:
        assert thief.get("/v1/users/me").status_code == 401


async def test_a_link_of_another_user_asks_before_it_ends_the_present_session(person: Person) -> None:
    ada, bob = account(person.client, "Ada"), account(person.client, "Bob")
    person.add(BAKERY, "bakery.md")
    context = await person.profile()
    first = await enter(person, ada, context)
    await first.ask(RYE_BREAD)
    await first.question.fill("A question that Ada has not sent")
    other = await person.open(context, f"{person.url}/#/profile/sessions")
    await expect(other.page.get_by_text("this device")).to_be_visible()
    old = await session_of(context)
    with Responsa(person.url) as nobody:
        token = nobody.login(bob.user.email, PASSWORD, bob.tenant).tokens.access_token
    with Responsa(person.url, api_key=token) as bobs:
        code = bobs.create_session_code().code

    link = f"{person.url}/#code={code}"
    await first.page.evaluate("(link) => { location.href = link }", link)
    dialog = first.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("This browser is signed in as Ada")
    await expect(dialog.get_by_role("button", name="Stay signed in as Ada")).to_be_focused()
    await first.page.keyboard.press("Escape")
    await expect(first.question).to_have_value("A question that Ada has not sent")
    await expect(first.account).to_have_text("Ada")
    assert await session_of(context) == old

    # The refused code is still good.
    await first.page.evaluate("(link) => { location.href = link }", link)
    await dialog.get_by_role("button", name="Sign in as another user").click()
    await expect(first.account).to_have_text("Bob")
    await expect(first.question).to_have_value("")
    await expect(first.page.get_by_text(RYE_BREAD)).to_have_count(0)
    assert "code=" not in first.page.url
    await expect(other.page.get_by_role("alert")).to_have_text(
        "This browser is now signed in as another user."
    )
    await expect(other.page.get_by_text("this device")).to_have_count(0)
    with httpx2.Client(base_url=person.url, cookies=old) as thief:
        assert thief.get("/v1/users/me").status_code == 401
    await button(other, "Continue as the other user").click()
    await expect(other.account).to_have_text("Bob")
    await expect(other.page.get_by_text(RYE_BREAD)).to_have_count(0)


async def test_a_cookie_from_another_port_makes_no_tab_work_in_another_session(person: Person) -> None:
    ada, bob = account(person.client, "Ada"), account(person.client, "Bob")
    context = await person.profile()
    asking = await enter(person, ada, context)
    sending = await person.open(context, f"{person.url}/#/documents")
    await sending.page.get_by_role("heading", name="Documents", exact=True).wait_for()
    for tab in (asking, sending):
        await tab.page.wait_for_load_state("networkidle")
    with httpx2.Client(base_url=person.url) as browser:
        body = {"tenant": bob.tenant, "email": bob.user.email, "password": PASSWORD}
        cookie = browser.post("/v1/sessions", json=body).headers["set-cookie"]
        bobs = {"cookie": cookie.partition(";")[0]}

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 204 No Content\r\nSet-Cookie: {cookie}\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as other:
        port = other.sockets[0].getsockname()[1]
        host = urlsplit(person.url).hostname
        await context.request.get(f"http://{host}:{port}/")
    assert await session_of(context) == dict([bobs["cookie"].split("=", 1)])

    await asking.send(RYE_BREAD)
    await sending.upload(("bakery.md", BAKERY.encode()))
    for tab in (asking, sending):
        await expect(tab.page.get_by_role("alert")).to_have_text(
            "This browser is now signed in as another user."
        )
    with httpx2.Client(base_url=person.url, headers=bobs) as browser:
        assert browser.get("/v1/turns").json().get("turns", []) == []
        assert browser.get("/v1/documents").json().get("documents", []) == []
    # A reload asks again, and the question is still Ada's.
    await asking.page.reload()
    await button(asking, "Sign in again").click()
    await fill(asking, ada)
    await button(asking, "Sign in").click()
    await asking.page.get_by_role("dialog").get_by_role("button", name="Sign in as another user").click()
    await expect(asking.account).to_have_text("Ada")
    await expect(asking.questions).to_contain_text(RYE_BREAD)


async def test_a_session_that_another_device_ends_ends_the_open_page(asker: Person) -> None:
    ada = account(asker.client, "Ada")
    tab = await enter(asker, ada, place="&agent=testing")
    await tab.send("tokens=2000 pace_ms=250")
    await tab.grown()
    device = await enter(asker, ada, place="#/profile/sessions")
    await device.page.get_by_role("button", name="End the session on").click()
    await expect(tab.page.get_by_role("alert")).to_have_text("Your session has ended.")
    await expect(device.page.get_by_role("list", name="Sessions").get_by_role("listitem")).to_have_count(1)


async def test_a_user_changes_the_name_and_the_password(person: Person) -> None:
    ada = account(person.client, "Ada")
    tab = await enter(person, ada, place="#/profile")
    page = tab.page
    await tab.watch_live()
    await expect(page.get_by_text(ada.user.email)).to_be_visible()
    await page.get_by_label("Name").fill("é" * 101)
    await button(tab, "Save").click()
    await expect(page.locator(".problem", has_text="at most 200 bytes")).to_be_visible()
    await page.get_by_label("Name").fill("Ada <b>Lovelace</b>")
    await button(tab, "Save").click()
    await expect(tab.account).to_have_text("Ada <b>Lovelace</b>")
    assert person.client.user(ada.user.name).display_name == "Ada <b>Lovelace</b>"

    await page.get_by_role("tab", name="Password").click()
    assert page.url.endswith("#/profile/password")
    await page.get_by_label("Current password", exact=True).fill(OTHER_PASSWORD)
    await page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
    await button(tab, "Change the password").click()
    await expect(page.locator(".problem", has_text="The current password is wrong.")).to_be_visible()
    await expect(page.get_by_label("Current password", exact=True)).to_be_focused()
    await page.get_by_label("Current password", exact=True).fill(PASSWORD)
    await page.get_by_label("New password", exact=True).fill("Ada Lovelace")
    await button(tab, "Change the password").click()
    await expect(page.locator(".problem", has_text="too easy to guess")).to_be_visible()
    await expect(page.get_by_label("New password", exact=True)).to_be_focused()
    await page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
    await button(tab, "Change the password").click()
    await expect(page.get_by_text("Your password is changed")).to_be_visible()
    await expect(page.get_by_label("New password", exact=True)).to_have_value("")
    assert person.client.login(ada.user.email, OTHER_PASSWORD, ada.tenant).user.name == ada.user.name
    await page.reload()
    await expect(page.get_by_role("tab", name="Password")).to_have_attribute("aria-selected", "true")
    await page.go_back()
    await expect(page.get_by_role("tab", name="Account")).to_have_attribute("aria-selected", "true")


async def test_api_keys_are_made_shown_once_and_revoked(person: Person) -> None:
    ada = account(person.client, "Ada")
    context = await person.profile()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = await enter(person, ada, context, place="#/profile/keys")
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await expect(page.get_by_text("No API keys.")).to_be_visible()
    await button(tab, "New API key").click()
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await dialog.get_by_label("Name").fill("backup <i>job</i>")
    await dialog.get_by_label("Valid for").select_option(label="30 days")
    await dialog.get_by_label("Name").press("Enter")
    secret = await dialog.get_by_label("Secret", exact=True).input_value()
    await dialog.get_by_role("button", name="Copy the secret").click()
    await expect(dialog.get_by_role("button", name="Copy the secret")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == secret
    with Responsa(person.url, api_key=secret) as program:
        assert program.me().name == ada.user.name
        await dialog.get_by_role("button", name="Done").click()
        await expect(button(tab, "New API key")).to_be_focused()
        assert secret not in await page.content()
        row = page.get_by_role("list", name="API keys").get_by_role("listitem")
        await expect(row).to_contain_text("backup <i>job</i>")
        await expect(row).to_contain_text(secret[:8])
        await row.get_by_role("button", name="Revoke backup <i>job</i>").click()
        await dialog.get_by_role("button", name="Revoke").click()
        await expect(row).to_contain_text("revoked")
        await expect(row.get_by_role("button")).to_have_count(0)
        with pytest.raises(Unauthenticated):
            program.me()
    await page.reload()
    await expect(row).to_contain_text("revoked")


def once_sign_in_required() -> Callable[[Route], Awaitable[None]]:
    """Refuses the first call as the server does if the sign-in is not recent, and lets the further calls through."""
    info = AnyMessage()
    info.Pack(ErrorInfo(domain="responsa", reason="SIGN_IN_REQUIRED"))
    details = base64.b64encode(
        Status(code=7, message="Sign in again.", details=[info]).SerializeToString()
    ).decode()
    refused = asyncio.Event()

    async def once(route: Route) -> None:
        if refused.is_set():
            return await route.continue_()
        refused.set()
        headers = {
            "content-type": "application/grpc-web+proto",
            "grpc-status": "7",
            "grpc-message": "Sign in again.",
            "grpc-status-details-bin": details,
        }
        return await route.fulfill(status=200, headers=headers)

    return once


async def test_an_account_is_deleted_with_its_shared_collections_handed_over(person: Person) -> None:
    ada, bob = account(person.client, "Ada"), account(person.client, "Bob")
    token = person.client.login(ada.user.email, PASSWORD, ada.tenant).tokens.access_token
    with Responsa(person.url, api_key=token) as own:
        own.create_collection("papers", "Ada’s papers", readers=[Reader(user=bob.user.name)])
    context = await person.profile()
    tab = await enter(person, ada, context, place="#/profile")
    page, dialog = tab.page, tab.page.get_by_role("dialog", name="Delete your account?")
    await page.route("**/DeleteMe", once_sign_in_required())
    await button(tab, "Delete the account").click()
    await expect(dialog).to_contain_text("Collections that you share: “Ada’s papers”")
    assert await flaws(page) == []
    await dialog.get_by_label("I want to delete all of this for good").check()
    act = dialog.get_by_role("button", name="Delete the account")
    await act.click()  # nothing happens before the choice is made
    await dialog.get_by_label("What happens to them").select_option("hand")
    await dialog.get_by_label("The new owner").fill("nobody")
    await act.click()
    await expect(dialog.locator(".problem:not(:empty)")).to_contain_text("Enter an e-mail address")
    await dialog.get_by_label("The new owner").fill(bob.user.email)
    await act.click()
    again = page.get_by_role("dialog", name="Sign in again")
    await expect(again.get_by_label("Password", exact=True)).to_be_focused()
    await again.get_by_label("Password", exact=True).fill(OTHER_PASSWORD)
    await again.get_by_role("button", name="Sign in").click()
    await expect(again.locator(".problem", has_text="The password is wrong.")).to_be_visible()
    await again.get_by_label("Password", exact=True).fill(PASSWORD)
    await again.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Your account is deleted")).to_be_focused()
    await expect(page.get_by_role("list", name="What was deleted")).to_contain_text(
        "1 collection handed over"
    )
    assert await flaws(page) == []
    with pytest.raises(Unauthenticated):
        person.client.login(ada.user.email, PASSWORD, ada.tenant)
    assert [
        collection.owner
        for collection in person.client.collections()
        if collection.display_name == "Ada’s papers"
    ] == [bob.user.name]
    await button(tab, "Go to the sign-in page").click()
    await expect(page.get_by_label("E-mail address")).to_be_visible()
    assert await context.cookies() == []


async def test_a_user_allows_a_program_after_the_sign_in_and_ends_it(person: Person) -> None:
    ada = account(person.client, "Ada")
    program = person.client.create_program("Ferryman", ["http://127.0.0.1/callback"])
    authorization = {
        "client_id": program.name.removeprefix("programs/"),
        "redirect_uri": "http://127.0.0.1:9/callback",
        "response_type": "code",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "state": "a b+c&d",
    }
    context = await person.profile()
    back: list[str] = []

    async def take(route: Route) -> None:
        back.append(route.request.url)
        await route.fulfill(body="Back")

    await context.route("http://127.0.0.1:9/**", take)
    tab = await person.open(context, f"{person.url}/oauth/authorize?{urlencode(authorization)}")
    page = tab.page
    await button(tab, "Choose another tenant").click()
    await page.get_by_label("Tenant").fill(ada.tenant)
    await fill(tab, ada)
    await button(tab, "Sign in").click()
    await expect(page.get_by_role("heading", name="Connect a program")).to_be_focused()
    await expect(page.get_by_role("heading", name="Ferryman")).to_be_visible()
    await expect(page.get_by_text("you go back to 127.0.0.1:9")).to_be_visible()
    await expect(page.get_by_text("It runs on your own computer")).to_be_visible()
    assert await flaws(page) == []
    await button(tab, "Allow").click()
    await page.wait_for_url("http://127.0.0.1:9/**")
    (reply,) = [dict(parse_qsl(urlsplit(one).query)) for one in back]
    assert reply.keys() == {"code", "state", "iss"}
    assert (reply["state"], reply["iss"]) == ("a b+c&d", person.url)

    await page.goto(f"{person.url}/#/profile/sessions")
    await expect(page.get_by_text("connected program")).to_be_visible()
    await page.get_by_role("button", name="End the session on Ferryman").click()
    await expect(page.get_by_text("connected program")).to_have_count(0)
