"""Sign-in with a real Keycloak: its configuration, its form, its keys and its tokens, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from responsa_client import Responsa
from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.person import PATIENCE
from tests.instance import START_PATIENCE, Instance, eventually, free_port, running
from tests.real import programs
from tests.tied import tied

pytestmark = pytest.mark.soak
SECRET: Final = "a secret: of+the client"
PASSWORD: Final = "a password at Keycloak"
ADMIN: Final = "administrator"
CORP: Final = "RESPONSA_OIDC__PROVIDERS__CORP__"
ROLES_IN_ID_TOKEN: Final = {
    "name": "roles in the id token",
    "protocol": "openid-connect",
    "protocolMapper": "oidc-usermodel-realm-role-mapper",
    "config": {
        "claim.name": "realm_access.roles",
        "jsonType.label": "String",
        "multivalued": "true",
        "id.token.claim": "true",
    },
}
"""By default, Keycloak writes the roles into the access token alone. docs/accounts.md says what to switch on."""


def person(name: str, *roles: str, verified: bool = True) -> Mapping[str, Any]:
    return {
        "username": name,
        "email": f"{name}@example.org",
        "emailVerified": verified,
        "firstName": name.title(),
        "lastName": "Doe",
        "enabled": True,
        "credentials": [{"type": "password", "value": PASSWORD}],
        "realmRoles": list(roles),
    }


def realm(responsa: str) -> Mapping[str, Any]:
    """A realm with one client, as docs/accounts.md describes it. responsa: the URL of the instance."""
    return {
        "realm": "acme",
        "enabled": True,
        "roles": {"realm": [{"name": "responsa-admins"}]},
        "users": [
            person("ann", "responsa-admins"),
            person("bob"),
            person("eve", verified=False),
        ],
        "clients": [
            {
                "clientId": "responsa",
                "secret": SECRET,
                "redirectUris": [f"{responsa}/v1/oidc/corp/callback", "http://127.0.0.1/callback/corp"],
                "attributes": {"pkce.code.challenge.method": "S256"},
                "protocolMappers": [ROLES_IN_ID_TOKEN],
            },
            {"clientId": "plain"},
        ],
    }


@dataclass
class Keycloak:
    url: str

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/acme"

    def administer(self, method: str, path: str, body: object = None) -> Any:
        """One call of its API for administrators."""
        with httpx2.Client(base_url=self.url, timeout=PATIENCE / 1000) as http:
            form = {
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": ADMIN,
                "password": PASSWORD,
            }
            token = http.post("/realms/master/protocol/openid-connect/token", data=form).json()[
                "access_token"
            ]
            reply = http.request(
                method, f"/admin/realms/acme/{path}", json=body, headers={"authorization": f"Bearer {token}"}
            )
            assert reply.is_success, reply.text
            return reply.json() if reply.content else None

    def rotate(self) -> str:
        """Sign with a new key from now on. Returns its id."""
        before = self.signing_key()
        config = {"priority": ["1000"], "algorithm": ["RS256"], "keySize": ["2048"]}
        key = {
            "name": "rotated",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
        }
        self.administer("POST", "components", key)
        after = self.signing_key()
        assert after != before
        return after

    def signing_key(self) -> str:
        return self.administer("GET", "keys")["active"]["RS256"]


@contextmanager
def keycloak_for(responsa: str, folder: Path) -> Iterator[Keycloak]:
    """Keycloak on loopback, with the realm `acme`."""
    home = shutil.copytree(programs.keycloak(), folder / "keycloak")
    (home / "data" / "import").mkdir(parents=True)
    (home / "data" / "import" / "acme-realm.json").write_text(json.dumps(realm(responsa)))
    port = free_port()
    command = (
        "start-dev",
        "--import-realm",
        "--http-host=127.0.0.1",
        f"--http-port={port}",
        "--db=dev-mem",
        "--cache=local",
    )
    environment = {
        **os.environ,
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
        "JAVA_OPTS_KC_HEAP": "-Xms128m -Xmx768m",
    }
    log = folder / "keycloak.log"
    keycloak = Keycloak(f"http://127.0.0.1:{port}")
    with log.open("wb") as out:
        process = subprocess.Popen(
            tied(str(home / "bin" / "kc.sh"), *command), env=environment, stdout=out, stderr=out
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return httpx2.get(f"{keycloak.issuer}/.well-known/openid-configuration").is_success
        except httpx2.TransportError:
            return False

    try:
        eventually(ready, lambda: log.read_text()[-3000:], START_PATIENCE)
        yield keycloak
    finally:
        process.terminate()
        process.wait(60)


@dataclass
class Harness:
    instance: Instance
    keycloak: Keycloak

    @property
    def url(self) -> str:
        return f"http://localhost:{self.instance.port}"


@pytest.fixture(scope="module")
def harness(folder: Path) -> Iterator[Harness]:
    port = free_port()
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / f"{CORP}CLIENT_SECRET").write_text(SECRET)
    with keycloak_for(f"http://localhost:{port}", folder) as keycloak:
        settings = {
            f"{CORP}ISSUER": keycloak.issuer,
            f"{CORP}CLIENT_ID": "responsa",
            f"{CORP}DISPLAY_NAME": "Acme's login",
            f"{CORP}ALLOWED_DOMAINS": "example.org",
            f"{CORP}COMMAND_LINE": "true",
            f"{CORP}ROLE_CLAIM": "realm_access.roles",
            f"{CORP}ROLES": '{"responsa-admins": "admin"}',
            "RESPONSA_SECRETS_DIR": str(secrets),
            "RESPONSA_DOCS": "none",
            "RESPONSA_MODELS__SCRIPTED": "true",
        }
        with running(Instance(folder / "home", port, settings)) as instance:
            yield Harness(instance, keycloak)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(service_workers="block")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def fill(page: Page, name: str) -> None:
    """Keycloak's own form."""
    page.locator("#username").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.locator("#kc-login").click()


def sign_in(harness: Harness, page: Page) -> None:
    page.goto(harness.url)
    page.get_by_role("button", name="Sign in with Acme's login").click()


def me(page: Page) -> dict[str, Any]:
    return page.evaluate("async () => (await fetch('/v1/users/me')).json()")


def test_a_person_signs_in_and_out_and_in_again(harness: Harness, page: Page) -> None:
    sign_in(harness, page)
    page.locator("#username").wait_for()
    asked = parse_qs(urlsplit(page.url).query)
    assert (asked["response_type"], asked["code_challenge_method"]) == (["code"], ["S256"])
    fill(page, "ann")
    page.get_by_label("Your question").wait_for()
    user = me(page)
    assert (user["email"], user["displayName"], user["role"]) == (
        "ann@example.org",
        "Ann Doe",
        "USER_ROLE_ADMIN",
    )
    # The address of the callback has Keycloak's session and issuer (RFC 9207) too, and none of it stays.
    assert page.url.removesuffix("#/") == f"{harness.url}/"
    assert page.evaluate("async () => (await fetch('/v1/sessions', {method: 'DELETE'})).status") == 200
    assert me(page)["details"][0]["reason"] == "CREDENTIAL_MISSING"
    # The person is still signed in at Keycloak, which shows no form.
    sign_in(harness, page)
    page.get_by_label("Your question").wait_for()
    assert me(page)["name"] == user["name"]


def test_the_role_follows_keycloak(harness: Harness, page: Page) -> None:
    sign_in(harness, page)
    fill(page, "bob")
    page.get_by_label("Your question").wait_for()
    assert me(page)["role"] == "USER_ROLE_USER"
    (bob,) = harness.keycloak.administer("GET", "users?username=bob&exact=true")
    role = harness.keycloak.administer("GET", "roles/responsa-admins")
    harness.keycloak.administer("POST", f"users/{bob['id']}/role-mappings/realm", [role])
    page.evaluate("async () => (await fetch('/v1/sessions', {method: 'DELETE'})).status")
    sign_in(harness, page)
    page.get_by_label("Your question").wait_for()
    assert me(page)["role"] == "USER_ROLE_ADMIN"


def test_only_a_client_with_the_mapper_has_roles_in_its_id_tokens(harness: Harness) -> None:
    (ann,) = harness.keycloak.administer("GET", "users?username=ann&exact=true")
    roles: dict[str, object] = {}
    for name in ("responsa", "plain"):
        (client,) = harness.keycloak.administer("GET", f"clients?clientId={name}")
        example = f"clients/{client['id']}/evaluate-scopes/generate-example-id-token"
        token = harness.keycloak.administer("GET", f"{example}?scope=openid&userId={ann['id']}")
        roles[name] = "responsa-admins" in token.get("realm_access", {}).get("roles", ())
    assert roles == {"responsa": True, "plain": False}


def test_an_address_that_keycloak_has_not_verified_admits_nobody(harness: Harness, page: Page) -> None:
    sign_in(harness, page)
    fill(page, "eve")
    page.wait_for_url(f"{harness.url}/**")
    with Responsa(harness.instance.url, harness.instance.key) as admin:
        events = admin.audit_events(filter_by='action = "session.create"')
        assert next(iter(events)).outcome == "OIDC_NOT_ADMITTED"
        assert "eve@example.org" not in {user.email for user in admin.users()}


def test_a_new_key_of_keycloak_is_read(harness: Harness, page: Page) -> None:
    sign_in(harness, page)
    fill(page, "ann")
    page.get_by_label("Your question").wait_for()
    key = harness.keycloak.rotate()
    page.evaluate("async () => (await fetch('/v1/sessions', {method: 'DELETE'})).status")
    sign_in(harness, page)
    page.get_by_label("Your question").wait_for()
    assert key == harness.keycloak.signing_key()


def test_a_command_signs_in(harness: Harness, page: Page, tmp_path: Path) -> None:
    environment = {
        **harness.instance.environment,
        "RESPONSA_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
    }
    process = subprocess.Popen(
        tied(sys.executable, "-m", "responsa_server", "login", "--provider", "corp"),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    page.goto(process.stdout.readline().strip())
    fill(page, "ann")
    expect(page.get_by_text("Go back to the terminal")).to_be_visible(timeout=PATIENCE)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, "Signed in as ann@example.org" in out) == (0, True)
