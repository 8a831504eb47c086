"""Accounts for the tests of the page: users with passwords, and the sign-in view."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from urllib.parse import urlencode

from playwright.async_api import BrowserContext, Locator

from responsa.auth.v1 import user_pb2
from responsa_client import Responsa
from tests.browser.person import Person, Tab
from tests.callers import PASSWORD

OTHER_PASSWORD = "seven purple walruses hum"
_numbers = count(1)


@dataclass
class Account:
    """A user with a password."""

    user: user_pb2.User
    password: str = PASSWORD

    @property
    def tenant(self) -> str:
        return self.user.tenant.removeprefix("tenants/")

    def query(self) -> str:
        """The part of the page's address that names the tenant."""
        return f"?{urlencode({'tenant': self.tenant})}"


def account(client: Responsa, name: str, *, admin: bool = False) -> Account:
    """A new user of the client's tenant, with a password."""
    role = user_pb2.USER_ROLE_ADMIN if admin else user_pb2.USER_ROLE_USER
    user = client.create_user(name, f"{name.split()[0].lower()}{next(_numbers)}@example.org", role)
    client.reset_password(client.create_reset_code(user.name).code, PASSWORD)
    return Account(user)


def button(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("button", name=name, exact=True)


async def fill(tab: Tab, holder: Account, password: str = "") -> None:
    """Fill in the form of the sign-in view."""
    await tab.page.get_by_label("E-mail address", exact=True).fill(holder.user.email)
    await tab.page.get_by_label("Password", exact=True).fill(password or holder.password)


async def enter(
    person: Person, holder: Account, context: BrowserContext | None = None, place: str = ""
) -> Tab:
    """A tab in which a user has signed in with a password. place: a fragment of the page's address."""
    tab = await person.open(context or await person.profile(), f"{person.url}/{holder.query()}{place}")
    await fill(tab, holder)
    await button(tab, "Sign in").click()
    await tab.account.wait_for()
    return tab
