"""The administration of a tenant on the page: users, invitations, API keys and the audit log."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import pytest
from playwright.async_api import Locator, Route, expect

from responsa.admin.v1 import model_settings_pb2, tenant_pb2
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from tests.browser.accounts import OTHER_PASSWORD, account, button, enter, fill
from tests.browser.person import Person, Tab
from tests.browser.rules import flaws
from tests.callers import PASSWORD
from tests.wire.keyed import KeyedServer
from tests.wire.speaking import KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = '<img src=x onerror="globalThis.broken=1"> ‮ $& {}'
SHOWN = HOSTILE.replace("\u202e", "\ufffd")
"""The same without the character that would reorder the letters after it."""


async def administer(person: Person, part: str = "users", **options: Any) -> Tab:
    tab = await person.open(await person.profile(**options), person.link())
    await tab.account.wait_for()
    await tab.page.goto(f"{person.url}/#/administration/{part}")
    await expect(tab.page.get_by_role("heading", name="Administration")).to_be_visible()
    return tab


def rows(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("list", name=name, exact=True).get_by_role("listitem")


def row_of(tab: Tab, name: str) -> Locator:
    return rows(tab, "Users").filter(has=tab.page.get_by_text(name, exact=True))


async def test_users_are_made_found_and_changed(person: Person) -> None:
    taken = account(person.client, "Ada")
    tab = await administer(person)
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await tab.watch_live()
    await button(tab, "New user").click()
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await dialog.get_by_label("Name").fill(HOSTILE)
    await dialog.get_by_label("E-mail address").fill(taken.user.email)
    await dialog.get_by_role("button", name="Create").click()
    await expect(
        dialog.locator(".problem", has_text="Another user of the tenant has this e-mail address")
    ).to_be_visible()
    await expect(dialog.get_by_label("E-mail address")).to_be_focused()
    email = f"bob@{taken.tenant}.example"
    await dialog.get_by_label("E-mail address").fill(email)
    await dialog.get_by_role("button", name="Create").click()

    # The new user sets the first password with the code that the page shows once.
    await expect(dialog.get_by_role("heading", name="Reset code for")).to_be_visible()
    link = await dialog.get_by_label("Link", exact=True).input_value()
    code = await dialog.get_by_label("Code", exact=True).input_value()
    assert link == f"{person.url}/{taken.query()}#reset={code}"
    await dialog.get_by_role("button", name="Done").click()
    assert code not in await page.content()
    bob = person.client.lookup_user(email)
    assert (bob.display_name, bob.role) == (HOSTILE, user_pb2.USER_ROLE_USER)
    person.client.reset_password(code, PASSWORD)
    assert await page.evaluate("globalThis.broken") is None
    await expect(row_of(tab, SHOWN)).to_contain_text(email)

    await page.get_by_role("button", name=f"Edit {SHOWN}").click()
    await dialog.get_by_label("Name").fill("Bob")
    await dialog.get_by_label("Role").select_option(label="Administrator")
    await dialog.get_by_label("Subject").fill("users/x")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_label("Subject")).to_be_focused()
    await dialog.get_by_label("Subject").fill("staff-17")
    await dialog.get_by_role("button", name="Save").click()
    await expect(row_of(tab, "Bob")).to_contain_text("administrator")
    await expect(page.get_by_role("button", name="Edit Bob")).to_be_focused()
    changed = person.client.user(bob.name)
    assert (changed.role, changed.subject) == (user_pb2.USER_ROLE_ADMIN, "staff-17")
    assert await tab.said() == ["User created.", "User saved."]

    await page.get_by_label("Name or e-mail address").fill("BOB@")
    await page.keyboard.press("Enter")
    await expect(rows(tab, "Users")).to_have_count(1)
    assert page.url.endswith("#/administration/users?search=BOB%40")
    await page.reload()
    await expect(rows(tab, "Users")).to_have_count(1)
    await expect(page.get_by_label("Name or e-mail address")).to_have_value("BOB@")
    await page.get_by_label("Name or e-mail address").fill('*" OR role = ADMIN')
    await page.keyboard.press("Enter")
    await expect(rows(tab, "Users")).to_have_text(["No users match."])


async def test_a_disabled_user_is_cut_off_until_enabled(person: Person) -> None:
    ada = account(person.client, "Ada")
    theirs = await enter(person, ada)
    await theirs.page.wait_for_load_state("networkidle")
    tab = await administer(person)
    dialog = tab.page.get_by_role("dialog")
    await tab.page.get_by_role("button", name="Disable Ada").click()
    await expect(dialog).to_contain_text("No data is deleted.")
    await dialog.get_by_role("button", name="Disable").click()
    await expect(row_of(tab, "Ada")).to_contain_text("disabled")
    await expect(tab.page.get_by_role("button", name="Enable Ada")).to_be_focused()
    # What has happened is in view, wherever the list has scrolled, and hides no button for long.
    await expect(tab.live).to_have_text("Ada is disabled.")
    await expect(tab.live).to_be_in_viewport(ratio=1)
    assert await flaws(tab.page) == []
    await expect(tab.live).to_have_class("unseen")
    await theirs.page.get_by_role("link", name="Documents", exact=True).click()
    await expect(theirs.page.get_by_role("alert")).to_contain_text("This account is disabled.")
    await tab.page.get_by_role("button", name="Enable Ada").click()
    await expect(tab.page.get_by_role("button", name="Disable Ada")).to_be_focused()
    assert person.client.login(ada.user.email, PASSWORD, ada.tenant).user.name == ada.user.name


async def test_a_user_is_deleted_and_the_collections_are_handed_over(person: Person) -> None:
    ada, bob = account(person.client, "Ada"), account(person.client, "Bob")
    account(person.client, "Bobby")
    with Responsa(person.url) as nobody:
        token = nobody.login(ada.user.email, PASSWORD, ada.tenant).tokens.access_token
    with Responsa(person.url, api_key=token) as theirs:
        shared = theirs.create_collection("recipes", readers=[reader_pb2.Reader(everyone=True)])
        theirs.create_collection("diary")
    tab = await administer(person, f"users?user={ada.user.name}")
    dialog = tab.page.get_by_role("dialog")
    # A click on the tab that is shown leads back to its list.
    await tab.show_part("People", "Users")
    await row_of(tab, "Ada").get_by_role("link", name="Ada", exact=True).click()
    await tab.page.get_by_role("button", name="Delete Ada").click()
    # Only shared collections are handed over, and the others are named before they are lost.
    await expect(dialog).to_contain_text("Others can read “recipes (of Ada)”.")
    await expect(dialog).to_contain_text("Only this user can read “diary (of Ada)”, which will be deleted.")
    await dialog.get_by_label("New owner").fill("Bo")
    await dialog.get_by_role("button", name="Delete for good").click()
    await expect(dialog.locator(".problem", has_text="Several users match")).to_be_visible()
    await dialog.get_by_label("New owner").fill("Bob")
    await dialog.get_by_label("to confirm").fill("ada")
    await dialog.get_by_role("button", name="Delete for good").click()
    await expect(dialog.locator(".problem", has_text="Type the name exactly")).to_be_visible()
    await dialog.get_by_label("to confirm").fill("Ada")
    await dialog.get_by_role("button", name="Delete for good").click()
    await expect(dialog.get_by_role("heading", name="Ada is deleted")).to_be_visible()
    await expect(dialog).to_contain_text("1 collection")
    await dialog.get_by_role("button", name="Done").click()
    await expect(rows(tab, "Users")).to_have_count(3)
    assert person.client.get_collection(shared.name).owner == bob.user.name
    await tab.show_part("System", "Audit log")
    # The page forgets the name too.
    await expect(rows(tab, "Audit log").first).to_contain_text(
        re.compile(r"admin deleted user [0-9a-f]{8} \(deleted\)\.")
    )


async def test_an_owner_administers_the_tenants(owner: Person) -> None:
    tenant = f"acme-{uuid4().hex[:8]}"
    tab = await administer(owner, "tenants", color_scheme="dark", viewport={"width": 360, "height": 700})
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await button(tab, "New tenant").click()
    await dialog.get_by_label("Id").fill("Acme!")
    await dialog.get_by_role("button", name="Create").click()
    await expect(dialog.get_by_label("Id")).to_be_focused()
    await dialog.get_by_label("Id").fill(tenant)
    await dialog.get_by_label("Name", exact=True).fill(f"Acme {tenant}")
    await dialog.get_by_role("button", name="Create").click()
    link = await dialog.get_by_label("Link", exact=True).input_value()
    assert await flaws(page) == []
    await dialog.get_by_role("button", name="Done").click()
    guest = await owner.open(await owner.profile(), link)
    await guest.page.get_by_label("E-mail address").fill("carla@example.org")
    await guest.page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
    await button(guest, "Register").click()
    await guest.account.wait_for()
    await guest.page.goto(f"{owner.url}/?tenant={tenant}#/administration/tenants")
    await expect(guest.page.get_by_role("tab", name="Users")).to_have_attribute("aria-selected", "true")
    await expect(guest.page.get_by_role("tab", name="Tenants")).to_have_count(0)

    await page.get_by_label("Name, or the whole id").fill(tenant)
    await page.keyboard.press("Enter")
    await expect(rows(tab, "Tenants")).to_have_count(1)
    await page.get_by_role("button", name=f"Suspend Acme {tenant}").click()
    await dialog.get_by_role("button", name="Suspend").click()
    await expect(page.get_by_role("button", name=f"Resume Acme {tenant}")).to_be_focused()
    assert owner.client.tenant(tenant).state == tenant_pb2.TENANT_STATE_SUSPENDED
    # The page may have noticed it by itself, and has no links then.
    await guest.page.evaluate(
        "[...document.querySelectorAll('a')].find((link) => link.textContent === 'Search')?.click()"
    )
    await expect(guest.page.get_by_role("alert")).to_contain_text("Your tenant is suspended.")
    await expect(guest.page.get_by_label("Password", exact=True)).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name=f"Suspend Acme {tenant}")).to_be_focused()
    assert owner.client.tenant(tenant).state == tenant_pb2.TENANT_STATE_ACTIVE
    await page.get_by_role("button", name=f"Erase Acme {tenant}").click()
    await dialog.get_by_label("to confirm").fill("acme")
    await dialog.get_by_role("button", name="Erase for good").click()
    await expect(dialog.get_by_label("to confirm")).to_be_focused()
    await expect(dialog.locator(".problem:visible")).not_to_have_count(0)
    assert await flaws(page) == []
    await dialog.get_by_label("to confirm").fill(tenant)
    await dialog.get_by_role("button", name="Erase for good").click()
    await expect(rows(tab, "Tenants")).to_contain_text("erased")
    assert await flaws(page) == []
    # The installation's own tenant can be neither suspended nor erased, so the page does not offer it.
    await page.goto(f"{owner.url}/#/administration/tenants")
    await expect(page.get_by_text("this installation’s own")).to_be_visible()
    own = rows(tab, "Tenants").filter(has_text="this installation’s own")
    await expect(own.get_by_role("button")).to_have_text(["Invite administrator"])


async def test_an_owner_allows_the_address_of_a_program_that_asked(owner: Person) -> None:
    body = {"client_name": HOSTILE, "redirect_uris": ["https://ferry.example/back"]}
    async with httpx2.AsyncClient(base_url=owner.url) as http:
        assert (await http.post("/oauth/register", json=body)).status_code == 400
        tab = await administer(owner, "programs", viewport={"width": 360, "height": 700})
        page, dialog = tab.page, tab.page.get_by_role("dialog")
        row = rows(tab, "Programs that asked").filter(has_text="https://ferry.example/back")
        await expect(row).to_contain_text("<img src=x onerror")
        await row.get_by_role("button", name="Allow https://ferry.example/back").click()
        await expect(dialog).to_contain_text("under any name")
        await dialog.get_by_role("button", name="Allow").click()
        await expect(row.get_by_text("allowed", exact=True)).to_be_visible()
        assert await flaws(page) == []
        assert (await http.post("/oauth/register", json=body)).status_code == 201
        await row.get_by_role("button", name="Delete https://ferry.example/back").click()
        await dialog.get_by_role("button", name="Delete").click()
        await expect(row).to_have_count(0)
        assert (await http.post("/oauth/register", json=body)).status_code == 400


async def test_an_owner_sets_the_model(owner: Person) -> None:
    tab = await owner.sign_in(color_scheme="dark", viewport={"width": 390, "height": 800})
    page = tab.page
    await page.get_by_role("link", name="Set a model").click()
    await page.get_by_label("Provider").select_option(label="Scripted models, for tests")
    await page.get_by_role("combobox", name="Model", exact=True).select_option("broken-401")
    await button(tab, "Save").click()
    await expect(page.locator("form .problem:visible", has_text="needs a key")).to_be_visible()
    try:
        await page.get_by_role("combobox", name="Model", exact=True).select_option("strong")
        await button(tab, "Test").click()
        await expect(page.get_by_text("The model has answered.")).to_be_visible()
        await button(tab, "Save").click()
        await expect(page.get_by_text("strong writes the answers.")).to_be_visible()
        assert await flaws(page) == []
        await page.goto(f"{owner.url}/#/")
        await page.reload()
        await expect(page.get_by_label("Your question")).to_be_visible()
        await expect(page.get_by_text("No language model is set")).to_have_count(0)
    finally:
        owner.client.set_default_model(model_settings_pb2.DefaultModel())


async def test_an_owner_pastes_a_key_and_chooses_among_the_providers_models(owner: Person) -> None:
    tab = await owner.sign_in()
    page = tab.page
    async with KeyedServer() as url:
        owner.client.create_collection("ledger", display_name="Ledger")
        await page.get_by_role("link", name="Set a model").click()
        await page.get_by_label("Provider").select_option(label="OpenAI-compatible server")
        await page.get_by_label("Address").fill(url)
        await expect(
            page.get_by_text(f"Questions and passages are sent to {urlsplit(url).netloc}.")
        ).to_be_visible()
        await page.get_by_label("Key", exact=True).fill(KEY)
        await button(tab, "Test").click()
        await page.get_by_role("combobox", name="Model", exact=True).select_option("vendor/m-2:latest")
        await page.locator("summary", has_text="More").click()
        await page.get_by_label("Embedding model").fill("e-1")
        try:
            await button(tab, "Save").click()
            await expect(page.get_by_text("vendor/m-2:latest writes the answers.")).to_be_visible()
            await expect(page.get_by_text("Its key was entered here.")).to_be_visible()
            await expect(page.get_by_label("Key", exact=True)).to_have_value("")
            await page.get_by_role("textbox", name="Model", exact=True).fill("m-1")
            await button(tab, "Test").click()
            await expect(page.get_by_text("The model has answered.")).to_be_visible()
            await expect(page.get_by_text("searched with another embedding model: Ledger.")).to_be_visible()
            assert await flaws(page) == []
            await button(tab, "Index again").click()
            begun = "The collections are being indexed again."
            await expect(page.locator("p.note", has_text=begun)).to_be_visible()
        finally:
            owner.client.set_default_model(model_settings_pb2.DefaultModel())


async def test_a_group_is_kept_with_its_members(person: Person) -> None:
    bob, eve = account(person.client, "Bob"), account(person.client, "Eve")
    name = bob.user.display_name
    tab = await administer(person)
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await button(tab, "New group").click()
    await dialog.get_by_label("Name").fill("Sales")
    await dialog.get_by_role("button", name="Create").click()
    await expect(rows(tab, "Groups")).to_contain_text(["0 members"])
    await button(tab, "Members of Sales").click()
    await dialog.get_by_label("Add a person").fill(bob.user.email)
    await dialog.get_by_role("button", name="Add").click()
    await expect(dialog.get_by_role("listitem")).to_contain_text([name])
    assert await flaws(page) == []
    # A list of addresses is taken as it is pasted; those of nobody stay in the field.
    await dialog.get_by_label("Add a person").fill(f"{bob.user.email}; {eve.user.email}, nobody@example.org")
    await dialog.get_by_role("button", name="Add").click()
    await expect(dialog.locator(".problem", has_text="No matching user")).to_be_visible()
    await expect(dialog.get_by_label("Add a person")).to_have_value("nobody@example.org")
    await dialog.get_by_role("button", name=f"Remove {eve.user.display_name}").click()
    await expect(dialog.get_by_role("listitem")).to_contain_text([name])
    await dialog.get_by_role("button", name="Done").click()
    await expect(rows(tab, "Groups")).to_contain_text(["one member"])
    await button(tab, "Edit Sales").click()
    mapped = dialog.get_by_label("Groups of the sign-in provider")
    await mapped.fill("sales")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.locator(".problem", has_text="Each line needs an issuer")).to_be_visible()
    await mapped.fill("https://login.example.org sales team")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_be_hidden()
    [group] = person.client.groups('display_name = "Sales"')
    assert [(one.issuer, one.value) for one in group.provider_groups] == [
        ("https://login.example.org", "sales team")
    ]
    await button(tab, "Members of Sales").click()
    await dialog.get_by_role("button", name=f"Remove {name}").click()
    await expect(dialog.get_by_role("listitem")).to_have_count(0)
    await dialog.get_by_role("button", name="Done").click()
    await button(tab, "Delete Sales").click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("No groups yet.")).to_be_visible()
    await page.goto(f"{person.url}/#/administration/audit")
    await expect(page.get_by_text(re.compile(f"removed {name} from the group"))).to_be_visible()


async def test_the_link_of_an_invitation_lets_one_person_register(person: Person) -> None:
    tab = await administer(person)
    dialog = tab.page.get_by_role("dialog")
    await button(tab, "Invite").click()
    emails = dialog.get_by_label("E-mail addresses")
    await emails.fill("ben@example.org; nowhere,\nben@example.org  carla@example.org")
    await dialog.get_by_role("button", name="Create invitation").click()
    # The address that is none is said in place, and stays alone in the field.
    await expect(dialog.locator(".problem", has_text="nowhere must be an e-mail address")).to_be_visible()
    await expect(emails).to_have_value("nowhere")
    await emails.fill("")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog.get_by_role("textbox")).to_have_count(2)
    await expect(dialog.get_by_label("ben@example.org", exact=True)).to_have_value(re.compile("#invitation="))
    link = await dialog.get_by_label("carla@example.org", exact=True).input_value()
    await dialog.get_by_role("button", name="Done").click()

    guest = await person.open(await person.profile(), link)
    await expect(guest.page.get_by_label("E-mail address")).to_have_value("carla@example.org")
    await guest.page.get_by_label("E-mail address").fill("mallory@example.org")
    await guest.page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
    await button(guest, "Register").click()
    await expect(
        guest.page.locator(".problem", has_text="must be the address that was invited")
    ).to_be_visible()
    await guest.page.get_by_label("E-mail address").fill("carla@example.org")
    await button(guest, "Register").click()
    await expect(guest.account).to_have_text("carla@example.org")
    await button(tab, "Find").click()
    await expect(rows(tab, "Users").filter(has_text="carla@example.org")).to_be_visible()


async def test_the_audit_log_reads_as_sentences_and_is_filtered(person: Person) -> None:
    ada = account(person.client, "Ada")
    other = person.client.create_user(HOSTILE)
    person.client.disable_user(other.name)
    me = person.client.me()
    tab = await administer(person, "audit")
    with httpx2.Client(base_url=person.url) as http:
        body = {"tenant": ada.tenant, "email": ada.user.email, "password": PASSWORD}
        assert http.post("/v1/sessions", json=body).status_code == 200
    dialog = tab.page.get_by_role("dialog")
    await tab.show_part("People", "Users")
    await tab.page.get_by_role("button", name="Disable admin").click()
    await dialog.get_by_role("button", name="Disable").click()
    await expect(tab.alert).to_contain_text("only enabled administrator")
    await tab.show_part("System", "Audit log")
    events = rows(tab, "Audit log")
    await expect(events.nth(0)).to_contain_text(
        "admin tried to disable their own account, but the server refused."
    )
    await expect(events.nth(0)).to_contain_text("refused")
    await expect(events.nth(1)).to_contain_text("Ada and admin signed in or out.")
    await expect(events.filter(has_text=f"admin disabled {SHOWN}.")).to_have_count(1)
    assert await tab.page.evaluate("globalThis.broken") is None

    await events.nth(0).get_by_text("Details").click()
    for raw in ("user.disable", "LAST_ADMINISTRATOR", me.name):
        await expect(events.nth(0).locator("dd", has_text=raw).first).to_be_visible()

    await tab.page.get_by_label("Who").fill("ada")
    await tab.page.get_by_label("Action").select_option(label="Signed in")
    await expect(events).to_have_count(1)
    await tab.page.reload()
    await expect(events).to_have_text([re.compile("Ada signed in")])

    await tab.page.goto(f"{person.url}/#/administration/audit")
    day = datetime.now(UTC).date()
    await expect(events.nth(1)).to_be_visible()
    await tab.page.get_by_label("To", exact=True).fill((day - timedelta(days=2)).isoformat())
    await button(tab, "Find").click()
    await expect(events).to_have_text(["No events match."])
    await tab.page.get_by_label("From").fill((day - timedelta(days=1)).isoformat())
    await button(tab, "Find").click()
    await expect(events).to_have_text([re.compile("is later than the day in")])
    await tab.page.get_by_label("To", exact=True).fill((day + timedelta(days=1)).isoformat())
    await button(tab, "Find").click()
    await expect(events.nth(3)).to_be_visible()


async def test_other_users_see_no_administration(colleague: Person) -> None:
    tab = await colleague.open(await colleague.profile(), colleague.link())
    await tab.question.wait_for()
    await tab.account.click()
    await expect(tab.page.get_by_role("link", name="Profile")).to_be_visible()
    await expect(tab.page.get_by_role("link", name="Administration")).to_have_count(0)
    for part in ("", "/users", "/audit?who=x"):
        await tab.page.goto(f"{colleague.url}/#/administration{part}")
        await tab.question.wait_for()
        assert tab.page.url.endswith("#/")
        await expect(tab.page.locator(".problem.banner")).to_have_text(
            "Only administrators can open this address. This is the start page."
        )
    assert not any("AdminService" in request.url for request in colleague.requests)


async def test_errors_and_waiting_are_shown_where_the_list_belongs(person: Person) -> None:
    tab = await administer(person)
    await expect(row_of(tab, "admin")).to_be_visible()
    await tab.page.route("**/ListTenantApiKeys", lambda route: route.abort("connectionrefused"))
    await tab.show_part("System", "API keys")
    await expect(tab.alert).to_have_text("The connection was lost.")
    await tab.page.unroute_all()
    await button(tab, "Find").click()
    await expect(rows(tab, "API keys of all users")).to_have_count(1)
    await expect(tab.alert).to_have_count(0)
    # A list that is read again moves nothing.
    before = await rows(tab, "API keys of all users").bounding_box()
    await button(tab, "Find").click()
    await expect(tab.page.get_by_role("list", name="API keys of all users")).to_have_attribute(
        "aria-busy", "false"
    )
    assert await rows(tab, "API keys of all users").bounding_box() == before
    # Going back closes a dialog.
    await tab.show_part("People", "Users")
    await button(tab, "New user").click()
    await tab.page.get_by_role("dialog").get_by_label("Name").fill("Eve")
    await tab.page.go_back()
    await expect(tab.page.get_by_role("tab", name="API keys")).to_have_attribute("aria-selected", "true")
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    # The browser loads the code of a tab when the tab is first shown.
    await tab.page.route("**/assets/audit-*.js", lambda route: route.abort("connectionrefused"))
    await tab.show_part("System", "Audit log")
    await expect(tab.alert).to_contain_text("could not be loaded")
    await tab.page.unroute_all()
    await tab.show_part("System", "API keys")
    await tab.show_part("System", "Audit log")
    await expect(rows(tab, "Audit log").first).to_be_visible()
    await expect(tab.alert).to_have_count(0)


async def test_every_view_of_accounts_keeps_the_accessibility_rules(person: Person) -> None:
    ada = account(person.client, "Ada with a name that needs more than one line on a phone", admin=True)
    person.client.disable_user(person.client.create_user("Bob", "bob@example.org").name)
    context = await person.profile(
        color_scheme="dark", viewport={"width": 360, "height": 700}, has_touch=True
    )
    tab = await person.open(context, f"{person.url}/{ada.query()}")
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    flaws_by_state: dict[str, list[str]] = {}

    async def look(state: str) -> None:
        await page.wait_for_load_state("networkidle")
        # A list that loads is paler, and nothing in it can be used yet.
        await expect(page.locator("[aria-busy=true]:visible")).to_have_count(0)
        flaws_by_state[state] = await flaws(page)
        if not await page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            flaws_by_state[state].append("wider than the screen")

    async def closed(name: str) -> None:
        await dialog.get_by_role("button", name=name, exact=True).click()
        await expect(dialog).to_have_count(0)

    async def part(name: str) -> None:
        await page.get_by_role("tab", name=name).click()
        await look(name)

    await button(tab, "Sign in").click()
    await look("sign in")
    await button(tab, "Register with an invitation").click()
    await look("register")
    await button(tab, "Confirm with a code from an e-mail").click()
    await look("confirm")
    await button(tab, "Forgot your password?").click()
    await look("forgotten password")
    await button(tab, "Enter a reset code").click()
    await look("reset")
    await button(tab, "Sign in with a password").click()
    await fill(tab, ada)
    await button(tab, "Sign in").click()
    await tab.account.click()
    await look("menu")
    await page.get_by_role("link", name="Profile").click()
    await expect(page.get_by_role("heading", name="Profile")).to_be_focused()
    await look("profile")
    for name in ("Password", "Sessions", "API keys"):
        await part(name)
    await button(tab, "New API key").click()
    await dialog.get_by_label("Name").fill("backup")
    await look("new key")
    await dialog.get_by_role("button", name="Create").click()
    await expect(dialog.get_by_label("Secret", exact=True)).to_be_visible()
    await look("secret")
    await closed("Done")
    await page.goto(f"{person.url}/#/administration/users")
    await expect(page.get_by_role("button", name="Edit Bob")).to_be_visible()
    await look("users")
    await page.get_by_role("button", name="Edit Bob").click()
    await look("edit")
    await closed("Cancel")
    await page.get_by_role("button", name="Disable Ada").click()
    await look("disable")
    await closed("Cancel")
    await button(tab, "Invite").click()
    await look("invite")
    await closed("Cancel")
    await page.get_by_role("link", name="Bob", exact=True).click()
    await expect(page.get_by_role("heading", name="Quota")).to_be_visible()
    await look("user")
    await button(tab, "Change the quota").click()
    await look("quota")
    await closed("Cancel")
    await page.get_by_role("button", name="Delete Bob").click()
    await look("delete")
    await closed("Cancel")
    # The key of a widget comes with the line of the setting that lets it be used.
    site = person.client.create_user("Site", role=user_pb2.USER_ROLE_SERVICE)
    await page.goto(f"{person.url}/#/administration/users?user={site.name}")
    await page.get_by_role("button", name="New API key for Site").click()
    await dialog.get_by_label("Name").fill("site")
    await dialog.get_by_label("For", exact=True).select_option(label="The answer widget on another site")
    await dialog.get_by_label("Agent of the widget").select_option(value="agents/reader")
    await look("widget’s key")
    await dialog.get_by_role("button", name="Create").click()
    setting = await dialog.get_by_label("Setting", exact=True).input_value()
    await look("widget’s secret")
    await closed("Done")
    await part("System")
    await part("API keys")
    key = rows(tab, "API keys of all users").filter(has_text="answer widget")
    await expect(key).to_contain_text(setting.split("=")[1])
    await expect(key).to_contain_text("agents/reader")
    await part("Audit log")
    await part("People")
    await part("Sessions")
    await tab.show_part("System", "Audit log")
    await rows(tab, "Audit log").first.get_by_text("Details").click()
    await look("event")
    assert {state: ones for state, ones in flaws_by_state.items() if ones} == {}


async def test_the_administration_by_keyboard_alone(person: Person) -> None:
    account(person.client, "Ada")
    tab = await administer(person)
    page, keyboard = tab.page, tab.page.keyboard
    await page.get_by_role("tab", name="People").focus()
    await keyboard.press("End")
    await expect(page.get_by_role("tab", name="System")).to_be_focused()
    await keyboard.press("Tab")
    await expect(page.get_by_role("tab", name="Status")).to_be_focused()
    await keyboard.press("End")
    await expect(page.get_by_role("tab", name="Audit log")).to_be_focused()
    await expect(page.get_by_label("Who")).to_be_visible()
    await keyboard.press("Tab")
    await expect(page.get_by_label("Who")).to_be_focused()
    await keyboard.type("ada")
    await keyboard.press("Enter")
    await expect(rows(tab, "Audit log")).to_have_count(1)
    await keyboard.press("Shift+Tab")
    await keyboard.press("Shift+Tab")
    await expect(page.get_by_role("tab", name="System")).to_be_focused()
    # The list is read again while the keys are already in the rows that it showed before.
    users, arrived = page.get_by_role("list", name="Users", exact=True), asyncio.Event()

    async def late(route: Route) -> None:
        await arrived.wait()
        await route.continue_()

    await page.route("**/ListUsers", late, times=1)
    await keyboard.press("Home")
    await expect(users).to_have_attribute("aria-busy", "true")

    async def reached() -> str:
        return await page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''")

    for _ in range(12):
        await keyboard.press("Tab")
        if await reached() == "Edit Ada":
            break
    arrived.set()
    await expect(users).to_have_attribute("aria-busy", "false")
    assert await reached() == "Edit Ada"
    await keyboard.press("Enter")
    await keyboard.press("ControlOrMeta+a")
    await keyboard.type("Grace")
    await keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Edit Grace")).to_be_focused()
