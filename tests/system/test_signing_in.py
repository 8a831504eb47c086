"""Sign-in on a real instance, behind Envoy: over HTTP, with the Python client, and on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from responsa_client import Responsa
from responsa_client.errors import PermissionDenied, Unauthenticated
from responsa_server.cli.signed_in import SessionFile, StoredTokens
from tests.callers import PASSWORD, Credential, Registry, Tenant
from tests.clients.command_line import CommandLine
from tests.clients.terminal import Terminal
from tests.forked import responsa
from tests.gateway.wire import OWN
from tests.instance import Instance, eventually, plain_environment

OTHER = "seven purple walruses hum"


@pytest.fixture
def http(instance: Instance) -> Iterator[httpx2.Client]:
    """A browser in which the server's own page is open."""
    with httpx2.Client(base_url=instance.url, headers=OWN, timeout=30) as client:
        yield client


@pytest.fixture
def tenant(registry: Registry) -> Tenant:
    """A tenant whose user has a password."""
    made = registry.new_tenant()
    made.headers(Credential.TOKEN)
    return made


def email(tenant: Tenant) -> str:
    return f"user@{tenant.name}.example"


def problem(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["details"][0]["reason"]


def test_a_browser_signs_in_and_never_sees_a_token(http: httpx2.Client, tenant: Tenant) -> None:
    body = {"tenant": tenant.name, "email": email(tenant), "password": PASSWORD}
    assert problem(http.post("/v1/sessions", json=body | {"password": ""})) == (400, "INVALID_FIELD")
    forged = "203.0.113.9"
    reply = http.post("/v1/sessions", json=body, headers={"x-forwarded-for": forged})
    assert reply.status_code == 200
    assert reply.json().keys() == {"expireTime"}
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "rst_" not in cookie
    assert reply.headers["cache-control"] == "no-store"
    assert http.get("/v1/users/me").json()["email"] == email(tenant)
    (session,) = [one for one in http.get("/v1/users/me/sessions").json()["sessions"] if one.get("current")]
    # Envoy reports the address; a header of the client does not change it.
    assert ip_address(session["address"])
    assert session["address"] != forged
    assert "httpx" in session["userAgent"]
    assert http.delete("/v1/sessions").status_code == 200
    assert problem(http.get("/v1/users/me"))[0] == 401


def test_a_session_with_tokens_shows_where_it_began(http: httpx2.Client, tenant: Tenant) -> None:
    body = {"tenant": tenant.name, "email": email(tenant), "password": PASSWORD}
    access = http.post("/v1/auth:login", json=body).json()["tokens"]["accessToken"]
    found = http.get("/v1/users/me/sessions", headers={"authorization": f"Bearer {access}"}).json()[
        "sessions"
    ]
    (session,) = [one for one in found if one.get("current")]
    assert ip_address(session["address"])
    assert "httpx" in session["userAgent"]


def test_a_sign_in_replaces_another_users_session_only_if_it_may_and_ends_it(
    instance: Instance, http: httpx2.Client, tenant: Tenant
) -> None:
    http.post("/v1/sessions", json={"tenant": tenant.name, "email": email(tenant), "password": PASSWORD})
    first = dict(http.cookies)
    with Responsa(instance.url, api_key=tenant.key(Credential.COLLEAGUE)) as colleague:
        code = colleague.create_session_code().code
        reply = http.post("/v1/sessions", json={"code": code})
        assert problem(reply) == (409, "RESOURCE_ALREADY_EXISTS")
        metadata = reply.json()["details"][0]["metadata"]
        (mine,) = [one for one in http.get("/v1/users/me/sessions").json()["sessions"] if one.get("current")]
        assert metadata == {"resource_type": "session", "resource_name": mine["name"]}
        assert "set-cookie" not in reply.headers
        assert http.get("/v1/users/me").json()["email"] == email(tenant)
        # The refused code is still good.
        assert http.post("/v1/sessions", json={"code": code, "replace": True}).status_code == 200
        assert http.get("/v1/users/me").json()["name"] == colleague.me().name
    second = dict(http.cookies)
    # The other way round, with a password.
    body = {"tenant": tenant.name, "email": email(tenant), "password": PASSWORD}
    assert problem(http.post("/v1/sessions", json=body))[0] == 409
    assert http.post("/v1/sessions", json=body | {"password": OTHER}).status_code == 401
    assert http.post("/v1/sessions", json=body | {"replace": True}).status_code == 200
    with httpx2.Client(base_url=instance.url, timeout=30) as thief:
        for old in (first, second):
            thief.cookies.clear()
            thief.cookies.update(old)
            assert thief.get("/v1/users/me").status_code == 401


def test_a_user_who_signs_in_again_has_one_session_in_the_browser(
    http: httpx2.Client, tenant: Tenant
) -> None:
    body = {"tenant": tenant.name, "email": email(tenant), "password": PASSWORD}
    for _ in range(3):
        assert http.post("/v1/sessions", json=body).status_code == 200
    sessions = http.get("/v1/users/me/sessions").json()["sessions"]
    assert sum("httpx" in session.get("userAgent", "") for session in sessions) == 1


def test_the_keys_are_public_and_verify_tokens(http: httpx2.Client, tenant: Tenant) -> None:
    reply = http.get("/.well-known/jwks.json")
    assert reply.headers["content-type"].startswith("application/jwk-set+json")
    assert reply.headers["cache-control"] == "public, max-age=300"
    keys = reply.json()["keys"]
    assert keys == http.get("/v1/jwks").json()["keys"]
    assert all("d" not in key for key in keys)
    token = tenant.headers(Credential.TOKEN)["authorization"].partition(" ")[2]
    kid = jwt.get_unverified_header(token)["kid"]
    key = jwt.PyJWK(next(one for one in keys if one["kid"] == kid))
    assert jwt.decode(token, key, ["EdDSA"], audience="responsa", issuer="responsa")["tenant"] == tenant.name


def test_a_rotated_key_signs_nobody_out(instance: Instance, tenant: Tenant) -> None:
    assert oct((instance.home / "token-secret").stat().st_mode)[-3:] == "600"
    with Responsa(instance.url) as nobody:
        before = nobody.login(email(tenant), PASSWORD, tenant.name).tokens
        assert instance.run("admin", "rotate-signing-key").stderr == ""

        old = jwt.get_unverified_header(before.access_token)["kid"]
        header = {"typ": "at+jwt", "kid": "unknown"}
        unknown = jwt.encode({}, Ed25519PrivateKey.generate(), "EdDSA", header)

        def replaced() -> bool:
            # A token with an unknown key makes the server look for keys, at most once a second. Otherwise it looks twice a minute.
            with Responsa(instance.url, unknown) as stranger, pytest.raises(Unauthenticated):
                stranger.me()
            return nobody.public_keys()[0].kid != old

        eventually(replaced, "the server signs with the new key")
        with Responsa(instance.url, before.access_token) as still:
            assert still.me().email == email(tenant)
        assert {public_key.kid for public_key in nobody.public_keys()} >= {old}
        after = nobody.refresh_tokens(before.refresh_token)
        with Responsa(instance.url, after.access_token) as still:
            assert still.me().email == email(tenant)


def test_the_python_client_does_all_of_it(instance: Instance, tenant: Tenant) -> None:
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as admin, Responsa(instance.url) as nobody:
        invitation = admin.create_invitation(email="bob@example.org")
        nobody.register("", PASSWORD, "Bob", invitation=invitation.code)
        with pytest.raises(Unauthenticated):
            nobody.register("", PASSWORD, "Bob", invitation=invitation.code)
        with pytest.raises(PermissionDenied):
            nobody.register("eve@example.org", PASSWORD)
        reply = nobody.login("bob@example.org", PASSWORD, tenant.name)
        tokens = nobody.refresh_tokens(reply.tokens.refresh_token)
        assert nobody.public_keys()
        with Responsa(instance.url, lambda: tokens.access_token) as bob:
            assert bob.update_me("Bobby").display_name == "Bobby"
            other = nobody.login("bob@example.org", PASSWORD, tenant.name)
            assert [session.current for session in bob.sessions()] == [False, True]
            bob.change_password(PASSWORD, OTHER)
            assert len([*bob.sessions()]) == 1
            with pytest.raises(Unauthenticated):
                nobody.refresh_tokens(other.tokens.refresh_token)
            nobody.login("bob@example.org", OTHER, tenant.name)
            assert bob.revoke_sessions(all_others=True) == 1
            code = admin.create_reset_code(bob.me().name).code
            nobody.reset_password(code, PASSWORD)
            with pytest.raises(Unauthenticated):
                bob.me()
        again = nobody.login("bob@example.org", PASSWORD, tenant.name)
        nobody.logout(again.tokens.refresh_token)


def environment(instance: Instance, folder: Path) -> dict[str, str]:
    return plain_environment(RESPONSA_HOME="/nowhere", RESPONSA_URL=instance.url, XDG_STATE_HOME=str(folder))


def run(
    instance: Instance, folder: Path, *arguments: str, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*responsa(), *arguments],
        env=environment(instance, folder) | variables,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


WHOAMI = ("call", "AuthService.GetMe")


def sign_in(instance: Instance, tenant: Tenant, folder: Path) -> None:
    words = ("login", "--email", email(tenant), "--tenant", tenant.name)
    done = run(instance, folder, *words, stdin=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Signed in as {email(tenant)}")


def test_the_command_line_signs_in_and_out(instance: Instance, tenant: Tenant, tmp_path: Path) -> None:
    wrong = run(instance, tmp_path, "login", "--email", email(tenant), "--tenant", tenant.name, stdin=OTHER)
    assert (wrong.returncode, "reset code" in wrong.stderr) == (3, True)
    assert "RESPONSA_API_KEY" not in wrong.stderr
    sign_in(instance, tenant, tmp_path)
    (file,) = (tmp_path / "responsa" / "sessions").glob("*.json")
    assert oct(file.stat().st_mode)[-3:] == "600"
    assert PASSWORD not in file.read_text()
    who = json.loads(run(instance, tmp_path, *WHOAMI, "--output", "json").stdout)
    assert who["email"] == email(tenant)
    assert email(tenant) in run(instance, tmp_path, *WHOAMI).stdout
    assert run(instance, tmp_path, "collections", "list").returncode == 0
    assert json.loads(run(instance, tmp_path, "logout", "--json").stdout) == {"signedOut": True}
    assert not file.exists()
    assert run(instance, tmp_path, "logout").stdout == "You were not signed in.\n"
    assert "responsa login" in run(instance, tmp_path, *WHOAMI).stderr


def test_racing_commands_refresh_the_tokens_once(instance: Instance, tenant: Tenant, tmp_path: Path) -> None:
    sign_in(instance, tenant, tmp_path)
    (file,) = (tmp_path / "responsa" / "sessions").glob("*.json")
    expired(file)
    code = (
        "import sys; from pathlib import Path; from responsa_server.cli.signed_in import SessionFile; "
        "print(SessionFile(sys.argv[1], Path(sys.argv[2])).access_token())"
    )
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", code, instance.url, str(file.parent)],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(instance, tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(4)
    ]
    tokens = {one.communicate()[0] for one in racing}
    assert len(tokens) == 1
    with Responsa(instance.url, tokens.pop().strip()) as client:
        assert client.me().email == email(tenant)


def expired(file: Path, **changed: object) -> dict[str, Any]:
    content = json.loads(file.read_text()) | {"access_expires": time.time() - 1} | changed
    file.write_text(json.dumps(content))
    return content


def test_a_killed_refresh_is_repeated_and_an_ended_session_is_said(
    instance: Instance, tenant: Tenant, tmp_path: Path
) -> None:
    sign_in(instance, tenant, tmp_path)
    (file,) = (tmp_path / "responsa" / "sessions").glob("*.json")
    request_id = "6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11"
    content = expired(file, request_id=request_id)
    with Responsa(instance.url) as client:
        # The command was killed after the server had exchanged the token.
        lost = client.refresh_tokens(content["refresh_token"], request_id)
        session = SessionFile(instance.url, file.parent)
        assert session.access_token() == lost.access_token
        stored = StoredTokens(**json.loads(file.read_text()))
        assert (stored.refresh_token, stored.request_id) == (lost.refresh_token, "")
        client.logout(stored.refresh_token)
    expired(file)
    ended = run(instance, tmp_path, *WHOAMI)
    assert (ended.returncode, ended.stderr) == (
        3,
        "responsa: Your session has ended. Sign in with `responsa login`, or forget the session with `responsa logout`.\n",
    )
    # Later commands do not go on as somebody else, though this machine has a key.
    home = {"RESPONSA_HOME": str(tmp_path)}
    (tmp_path / "api-key").write_text("rsp_of_this_machine\n")
    assert run(instance, tmp_path, *WHOAMI, **home).stderr == ended.stderr
    notice = f"responsa: From now on, commands use the API key in {tmp_path / 'api-key'}.\n"
    assert run(instance, tmp_path, "logout", **home).stderr == notice
    assert not file.exists()


async def test_the_terminal_does_not_show_the_password(
    instance: Instance, tenant: Tenant, tmp_path: Path
) -> None:
    class Here(CommandLine):
        def environment(self, **more: str) -> dict[str, str]:
            return environment(instance, tmp_path) | {"PYTHONPATH": os.pathsep.join(sys.path)} | more

    terminal = Terminal(Here(None, tmp_path), "login", "--tenant", tenant.name, whole=True)  # type: ignore[arg-type]
    await terminal.then("E-mail address: ")
    terminal.types(email(tenant) + "\n")
    await terminal.then("Password: ")
    terminal.types(PASSWORD + "\n")
    await terminal.then("Signed in as")
    code, _ = await terminal.end()
    assert code == 0
    assert PASSWORD not in terminal.text
