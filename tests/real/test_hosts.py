"""Hosts of MCP and a provider of OpenID Connect, as their registries have them, with default settings."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from responsa_client import Responsa
from tests.gateway.wire import OWN
from tests.instance import START_PATIENCE, Instance, eventually, free_port
from tests.real import programs
from tests.real.conftest import ferry_instance
from tests.system.test_oauth import Person
from tests.tied import tied

pytestmark = pytest.mark.soak
AUTHORIZE = re.compile(r"http://127\.0\.0\.1:\d+/oauth/authorize\?[^\s\x1b\"']+")


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[Instance]:
    issuers = {"corp": f"http://127.0.0.1:{free_port()}", "zitadel": f"http://localhost:{free_port()}/"}
    clients = {"corp": ("responsa", "of responsa"), "zitadel": ("web", "secret")}
    settings = {
        f"RESPONSA_OIDC__PROVIDERS__{name.upper()}__{key}": value
        for name, issuer in issuers.items()
        for key, value in (
            ("ISSUER", issuer),
            ("CLIENT_ID", clients[name][0]),
            ("CLIENT_SECRET", clients[name][1]),
            ("ALLOWED_DOMAINS", "example.org"),
        )
    }
    with ferry_instance(folder, **settings) as made:
        yield made


@pytest.fixture
def person(backend: Instance) -> Iterator[Person]:
    with (
        Responsa(backend.url, backend.key) as responsa,
        httpx2.Client(base_url=backend.url, headers=OWN, timeout=60) as http,
    ):
        code = responsa.create_session_code().code
        assert http.post("/v1/sessions", json={"code": code}).status_code == 200
        yield Person(backend, http, responsa.me().name)


def connects(person: Person, folder: Path, said: str, *command: str) -> None:
    """Start a host, allow what its browser is asked for, and wait until it has said that it is connected."""
    opener = folder / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$@" >> {folder}/opened\n')
    opener.chmod(0o755)
    log, opened = folder / "log", folder / "opened"
    opened.touch()
    environment = {
        **os.environ,
        "PATH": f"{opener.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CODEX_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            tied(*command), env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=out, stderr=out
        )

    def find_request() -> re.Match[str] | None:
        return AUTHORIZE.search(opened.read_text() + log.read_text(errors="replace"))

    try:
        eventually(
            lambda: find_request() or process.poll() is not None, lambda: log.read_text(), START_PATIENCE
        )
        request = find_request()
        assert request, log.read_text()
        back = person.allows(request[0])
        assert httpx2.get(back, timeout=60).status_code < 400
        eventually(lambda: said in log.read_text(errors="replace"), lambda: log.read_text(), START_PATIENCE)
    finally:
        process.kill()
        process.wait()


def test_codex_signs_in_by_the_address_alone(person: Person, tmp_path: Path) -> None:
    codex, url = str(programs.hosts() / "codex"), f"{person.instance.url}/mcp"
    connects(person, tmp_path, "uccessfully logged in", codex, "mcp", "add", "responsa", "--url", url)


def test_opencode_signs_in_by_the_address_alone(person: Person, tmp_path: Path) -> None:
    server = {"type": "remote", "url": f"{person.instance.url}/mcp", "enabled": True}
    (tmp_path / "opencode.json").write_text(json.dumps({"mcp": {"responsa": server}}))
    opencode = str(programs.hosts() / "opencode")
    connects(person, tmp_path, "uccess", opencode, "mcp", "auth", "responsa")
    listed = subprocess.run(
        [opencode, "mcp", "list"],
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
            "XDG_DATA_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "connected" in listed.stdout + listed.stderr


def test_mcp_remote_signs_in_and_lists_the_tools(person: Person, tmp_path: Path) -> None:
    client = str(programs.hosts() / "mcp-remote-client")
    connects(person, tmp_path, '"documents"', client, f"{person.instance.url}/mcp/")


def test_claude_code_reaches_the_server_with_a_key(backend: Instance, tmp_path: Path) -> None:
    claude = [str(programs.hosts() / "claude"), "mcp"]
    add = ("add", "--transport", "http", "responsa", f"{backend.url}/mcp")
    header = ("--header", f"Authorization: Bearer {backend.key}")
    environment = {**os.environ, "HOME": str(tmp_path), "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1"}
    for command in ((*claude, *add, *header), (*claude, "list")):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Connected" in done.stdout, done.stdout


MCP_USE = """
import asyncio, sys
from mcp_use import MCPClient

async def main(url, key):
    client = MCPClient.from_dict({"mcpServers": {"responsa": {"url": url, "auth": key}}})
    session = await client.create_session("responsa")
    print(*(tool.name for tool in await session.list_tools()))
    await client.close_all_sessions()

asyncio.run(main(*sys.argv[1:]))
"""


def test_mcp_use_lists_the_tools_with_a_key(backend: Instance, tmp_path: Path) -> None:
    python = str(programs.python_environment("mcp-use", programs.MCP_USE) / "python")
    done = subprocess.run(
        [python, "-c", MCP_USE, f"{backend.url}/mcp", backend.key],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "MCP_USE_ANONYMIZED_TELEMETRY": "false"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "search documents ask cancel" in done.stdout, done.stdout + done.stderr


PROVIDER = """
import { Provider } from 'oidc-provider';
const [, , port, callback] = process.argv;
const account = (id) => ({ sub: id, email: `${id}@example.org`, email_verified: true, name: 'Ann Doe' });
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: 'responsa', client_secret: 'of responsa', redirect_uris: [callback] }],
  claims: { email: ['email', 'email_verified'], profile: ['name'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => account(id) }),
  cookies: { keys: ['of a test'] },
});
provider.listen(Number(port), '127.0.0.1');
"""
"""oidc-provider with its defaults, by which userinfo alone has the address."""


@pytest.mark.parametrize("name", ["corp", "zitadel"])
def test_a_provider_with_claims_in_userinfo_signs_in(backend: Instance, tmp_path: Path, name: str) -> None:
    issuer = backend.settings[f"RESPONSA_OIDC__PROVIDERS__{name.upper()}__ISSUER"]
    port, callback = str(urlsplit(issuer).port), f"{backend.url}/v1/oidc/{name}/callback"
    log, users = tmp_path / "log", tmp_path / "users.json"
    if name == "corp":
        person = ("ann", "Ann Doe")
        script = programs.hosts().parent.parent / "provider.mjs"
        script.write_text(PROVIDER)
        command = ["node", str(script), port, callback]
    else:
        person = ("ben", "Ben Doe")
        ben = {"ID": "1", "Username": "ben", "Password": "x", "FirstName": "Ben", "LastName": "Doe"}
        more = {"Email": "ben@example.org", "EmailVerified": True, "PreferredLanguage": "en"}
        users.write_text(json.dumps({"1": ben | more}))
        command = [str(programs.zitadel())]
    environment = {**os.environ, "PORT": port, "REDIRECT_URI": callback, "USERS_FILE": str(users)}
    with log.open("wb") as out:
        process = subprocess.Popen(tied(*command), env=environment, stdout=out, stderr=out)
    try:
        with httpx2.Client(follow_redirects=True, timeout=60) as http:

            def ready() -> bool:
                try:
                    return http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").is_success
                except httpx2.TransportError:
                    return False

            eventually(ready, lambda: log.read_text(), START_PATIENCE)
            begun = http.post(f"{backend.url}/v1/oidc/{name}:start", json={}, headers=OWN)
            page = http.get(begun.json()["authorizationUri"])
            while (form := re.search(r'action="([^"]+)"', page.text)) and str(page.url).startswith(issuer):
                hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
                fields = {**hidden, "login": person[0], "username": person[0], "password": "x"}
                page = http.post(httpx2.URL(str(page.url)).join(form[1]), data=fields)
            assert page.status_code == 200, page.text
            me = http.get(f"{backend.url}/v1/users/me", headers=OWN).json()
            assert (me["email"], me["displayName"]) == (f"{person[0]}@example.org", person[1])
    finally:
        process.kill()
        process.wait()
