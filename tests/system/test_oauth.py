"""People connect programs to their accounts (OAuth), on a real instance: fastmcp in the three ways in which a program
can be known, and attacks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import ssl
import threading
import webbrowser
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.auth import OAuth

from responsa_client import Responsa
from responsa_client.errors import Conflict
from tests.gateway.wire import OWN
from tests.instance import Instance, eventually

REDIRECT: Final = "http://127.0.0.1:41234/callback"
CALLBACK: Final = "http://localhost/callback"
"""Where fastmcp lets people be sent back, at a port that it chooses each time."""
VERIFIER: Final = secrets.token_urlsafe(48)
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@dataclass
class Person:
    """The owner of an instance, at a browser in which the own page is open."""

    instance: Instance
    http: httpx2.Client
    user: str

    def begins(self, request: str) -> str:
        """Go to the address of a request for authorisation as from another site. Returns the request's id."""
        there = self.http.get(f"/oauth/authorize?{request}", headers={"sec-fetch-site": "cross-site"})
        assert there.status_code == 303
        page, _, identity = there.headers["location"].partition("?")
        assert (page, len(identity)) == ("/#/connect", 22)
        return identity

    def consent(self, request: str, **decision: bool) -> httpx2.Response:
        """What the server says to the page about a program's request."""
        return self.decide(self.begins(request), **decision)

    def decide(self, identity: str, **decision: bool) -> httpx2.Response:
        """What the server says to the page about the request with an id."""
        headers = {"responsa-user": self.user}
        return self.http.post(f"/oauth/consent/{identity}", json=decision, headers=headers)

    def allows(self, address: str) -> str:
        """Go to the address of a request for authorisation as from another site, and allow it. Returns the address to
        which the browser goes back."""
        return self._allowed(urlsplit(address).query)

    def reply(self, request: str) -> dict[str, str]:
        """The parameters of the reply to a request that the person allows."""
        return dict(parse_qsl(urlsplit(self._allowed(request)).query))

    def _allowed(self, request: str) -> str:
        said = self.consent(request, allow=True)
        assert said.status_code == 200, said.text
        return str(said.json()["redirectUri"])


@pytest.fixture
def person(second: Instance) -> Iterator[Person]:
    with (
        Responsa(second.url, second.key) as responsa,
        httpx2.Client(base_url=second.url, headers=OWN, timeout=30) as http,
    ):
        code = responsa.create_session_code().code
        assert http.post("/v1/sessions", json={"code": code}).status_code == 200
        yield Person(second, http, responsa.me().name)


@contextmanager
def published(instance: Instance, **document: Any) -> Generator[str]:
    """A document of a program at an https address of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"client_id": address, **document}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(instance.settings["RESPONSA_AUTHORITIES"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://localhost:{server.server_port}/client.json"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Browser:
    """What the operating system opens for programs: their user goes there, and allows them. consents: how often. issuer:
    what the reply says instead of the truth, "" for the truth."""

    person: Person
    consents: int = 0
    issuer: str = ""

    def open(self, address: str) -> bool:
        threading.Thread(target=self._go, args=(address,), daemon=True).start()
        return True

    def _go(self, address: str) -> None:
        self.consents += 1
        back = urlsplit(self.person.allows(address))
        query = dict(parse_qsl(back.query))
        if self.issuer:
            query["iss"] = self.issuer
        with httpx2.Client(timeout=30) as http:

            def arrived() -> bool:
                try:
                    return http.get(back._replace(query=urlencode(query)).geturl()).status_code < 500
                except httpx2.ConnectError:  # the program does not listen yet
                    return False

            eventually(arrived, "the browser is back at the program")


@pytest.fixture
def browser(person: Person, monkeypatch: pytest.MonkeyPatch) -> Browser:
    found = Browser(person)
    monkeypatch.setattr(webbrowser, "open", found.open)
    return found


def auth_of(person: Person, way: str, document: str) -> OAuth | Literal["oauth"]:
    """How fastmcp is told who it is."""
    if way == "dynamic":
        return "oauth"
    if way == "document":
        return OAuth(client_metadata_url=document)
    with Responsa(person.instance.url, person.instance.key) as responsa:
        made = responsa.create_program("Ferryman", [CALLBACK])
    return OAuth(client_id=made.name.removeprefix("programs/"))


async def searches(client: Client) -> str:
    """The first passage that a program finds."""
    async with client:
        found = await client.call_tool("search", {"query": "ferry"})
        return str(found.structured_content["passages"][0]["text"])


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.parametrize("way", ["registered", "document", "dynamic"])
def test_a_program_is_connected_searches_and_is_disconnected(
    person: Person, browser: Browser, way: str
) -> None:
    url = f"{person.instance.url}/mcp"
    with published(person.instance, client_name="Ferryman", redirect_uris=[CALLBACK]) as document:
        client = Client(url, auth=auth_of(person, way, document))
        assert "Mallaig" in asyncio.run(searches(client))
        assert "Mallaig" in asyncio.run(searches(client))
    assert browser.consents == 1
    tokens = client.transport.auth.context.current_tokens
    assert tokens.scope == "search ask"
    bearer = {"authorization": f"Bearer {tokens.access_token}"}
    with httpx2.Client(base_url=person.instance.url, headers=bearer, timeout=30) as http:
        # The token opens no other door.
        for path in ("/v1/users/me", "/v1/collections", "/kb/documents"):
            assert http.get(path).status_code == 401, path
        for path in ("/a2a", "/v1/chat/completions"):
            assert http.post(path, json={}).status_code == 401, path
        with Responsa(person.instance.url, person.instance.key) as responsa:
            (session,) = (one for one in responsa.sessions() if one.HasField("connection"))
            connection = session.connection
            name = "FastMCP Client" if way == "dynamic" else "Ferryman"
            assert (connection.display_name, [*connection.scopes], connection.resource) == (
                name,
                ["search", "ask"],
                url,
            )
            assert connection.redirect_uri.startswith("http://localhost:")
            if way == "registered":
                responsa.delete_program(f"programs/{connection.client_id}")
            else:
                responsa.revoke_sessions(session.name)
        assert all("connection" not in one for one in sessions(person))
        # A program that an administrator has deleted is forgotten within a second.
        eventually(lambda: http.post("/mcp", json={}).status_code == 401, "the token no longer counts")
        assert 'error="invalid_token"' in http.post("/mcp", json={}).headers["www-authenticate"]
    assert exchanged(person, refreshing(tokens.refresh_token or "", connection.client_id)) == "invalid_grant"


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
def test_a_program_takes_no_code_of_another_issuer(person: Person, browser: Browser) -> None:
    browser.issuer = "https://evil.example"
    with pytest.raises(RuntimeError, match="iss mismatch"):
        asyncio.run(searches(Client(f"{person.instance.url}/mcp", auth="oauth")))
    assert browser.consents == 1


def test_a_token_for_a2a_asks_there_alone(person: Person, client_id: str) -> None:
    url = f"{person.instance.url}/a2a"
    reply = person.reply(request(client_id, resource=f"{url}/"))
    tokens = exchanged(person, exchanging(reply["code"], client_id, resource=url))
    assert tokens["scope"] == "ask"
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "When does the ferry leave?"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    headers = {**bearer, "a2a-version": "1.0"}
    for path in ("/a2a", "/a2a/", "/a2a/default/"):
        asked = person.http.post(path, json=body, headers=headers)
        assert "TASK_STATE_COMPLETED" in asked.text
    listed = person.http.post("/a2a", json={**body, "method": "ListTasks", "params": {}}, headers=headers)
    assert "SCOPE_REQUIRED" in listed.text
    assert person.http.post("/mcp", json={}, headers=bearer).status_code == 401


def sessions(person: Person) -> list[dict[str, Any]]:
    return person.http.get("/v1/users/me/sessions").json()["sessions"]


def test_a_program_finds_out_how_to_get_a_token(person: Person) -> None:
    url = person.instance.url
    assert person.http.get("/mcp", headers={"cookie": ""}).status_code == 401
    refused = person.http.post("/mcp", json={}, headers={"cookie": ""})
    assert refused.status_code == 401
    said = refused.headers["www-authenticate"]
    assert f'resource_metadata="{url}/.well-known/oauth-protected-resource/mcp"' in said
    assert 'scope="search ask"' in said
    for path, resource in (("", "/mcp"), ("/mcp", "/mcp"), ("/mcp/", "/mcp/"), ("/a2a/", "/a2a/")):
        metadata = person.http.get(f"/.well-known/oauth-protected-resource{path}").json()
        assert metadata["resource"] == f"{url}{resource}"
        if path:
            refused = person.http.post(resource, json={}, headers={"cookie": ""})
            said = refused.headers["www-authenticate"]
            assert f'resource_metadata="{url}/.well-known/oauth-protected-resource{resource}"' in said
    for path in ("", "/mcp"):
        metadata = person.http.get(f"/.well-known/oauth-protected-resource{path}").json()
        assert metadata["authorization_servers"] == [url]
        assert metadata["scopes_supported"] == ["search", "ask"]
    server = person.http.get("/.well-known/oauth-authorization-server").json()
    assert server["issuer"] == url
    assert server["code_challenge_methods_supported"] == ["S256"]
    assert server["authorization_response_iss_parameter_supported"]
    card = person.http.get("/.well-known/agent-card.json").json()
    flow = card["securitySchemes"]["oauth2"]["oauth2SecurityScheme"]["flows"]["authorizationCode"]
    assert flow["tokenUrl"] == server["token_endpoint"]
    assert dict(parse_qsl(urlsplit(flow["authorizationUrl"]).query)) == {"resource": f"{url}/a2a"}


@pytest.fixture
def client_id(person: Person) -> str:
    """A program that has registered itself."""
    body = {"client_name": "Ferryman", "redirect_uris": [REDIRECT, "https://ferry.example/back"]}
    made = person.http.post("/oauth/register", json=body)
    assert made.status_code == 201
    return str(made.json()["client_id"])


def request(client_id: str, **changes: str) -> str:
    """A request for authorisation, as a query. An empty change leaves a parameter out."""
    whole = {
        "client_id": client_id,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "of the program",
        **changes,
    }
    return urlencode({name: value for name, value in whole.items() if value})


def exchanging(code: str, client_id: str, **changes: str) -> dict[str, str]:
    whole = {"grant_type": "authorization_code", "code": code, "client_id": client_id}
    return {**whole, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, **changes}


def refreshing(token: str, client_id: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}


def exchanged(person: Person, form: dict[str, str]) -> Any:
    """The tokens, or the error."""
    reply = person.http.post("/oauth/token", data=form)
    assert reply.headers["cache-control"] == "no-store"
    content = reply.json()
    return content.get("error", content)


def test_a_code_counts_once_and_only_with_what_it_was_given_for(person: Person, client_id: str) -> None:
    reply = person.reply(request(client_id))
    assert reply.keys() == {"code", "state", "iss"}
    assert (reply["state"], reply["iss"]) == ("of the program", person.instance.url)
    code = reply["code"]
    other = request_of_another(person)
    for changes in (
        {"code_verifier": VERIFIER[:-1] + "~"},
        {"redirect_uri": REDIRECT.replace("41234", "41235")},
        {"client_id": other},
        {"resource": f"{person.instance.url}/a2a"},
        {"code": code.replace("rsg_", "rso_")},
    ):
        assert exchanged(person, {**exchanging(code, client_id), **changes}) == "invalid_grant", changes
    wrong = exchanging(code, client_id, redirect_uri="https://ferry.example/back")
    said = person.http.post("/oauth/token", data=wrong).json()["error_description"]
    assert said == "redirect_uri differs from the request for authorisation; send the same value."
    assert exchanged(person, exchanging(code, client_id, code_verifier="")) == "invalid_request"
    tokens = exchanged(person, exchanging(code, client_id))
    assert tokens["token_type"] == "Bearer"
    # The code again: somebody has stolen it, so what it was exchanged for ends.
    assert exchanged(person, exchanging(code, client_id)) == "invalid_grant"
    assert exchanged(person, refreshing(tokens["refresh_token"], client_id)) == "invalid_grant"


def test_hosts_register_themselves_with_the_addresses_that_can_be_used(person: Person) -> None:
    cursor = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ]
    code = ["https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"]
    evil = ["https://evil.example/back", "com.evil.app:/back", "cursor://evil/oauth/callback"]
    for sent, kept in ((cursor, cursor), ([*evil, *code], code)):
        body = {"client_name": "Host", "redirect_uris": sent, "client_uri": None, "scope": None}
        made = person.http.post("/oauth/register", json=body | {"token_endpoint_auth_method": None})
        assert (made.status_code, made.json()["redirect_uris"]) == (201, kept)
        wanted = request(made.json()["client_id"], redirect_uri=kept[0])
        asked = person.consent(wanted).json()
        assert asked["redirectHost"] == ("cursor:" if sent == cursor else "vscode.dev")
        assert asked["loopback"] is (sent == cursor)
        assert person.consent(wanted, allow=True).json()["redirectUri"].startswith(f"{kept[0]}?code=")
    refused = person.http.post("/oauth/register", json={"redirect_uris": evil})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri")


def test_an_owner_allows_the_address_of_a_program_that_asked(person: Person) -> None:
    back, other = "https://ferry.example/oauth/back", "https://ferry.example/oauth/other"
    body = {"client_name": "Ferry\u202eman", "redirect_uris": [back, other, back, "ferry://back"]}
    refused = person.http.post("/oauth/register", json=body)
    assert refused.status_code == 400
    assert "an owner of the installation can allow it" in refused.json()["error_description"]
    with Responsa(person.instance.url, person.instance.key) as owner:
        listed = {one.redirect_uri: one for one in owner.asked_programs()}
        assert {back, other} <= set(listed)
        assert "ferry://back" not in listed, "nobody could allow it"
        assert (listed[back].display_name, listed[back].allowed) == ("Ferryman", False)
        person.http.post("/oauth/register", json=body | {"client_name": "Bank"})
        with pytest.raises(Conflict):  # the owner has not seen that name
            owner.update_asked_program(listed[back].name, allowed=True, etag=listed[back].etag)
        person.http.post("/oauth/register", json=body)
        owner.update_asked_program(listed[back].name, allowed=True)
        made = person.http.post("/oauth/register", json=body)
        assert (made.status_code, made.json()["redirect_uris"]) == (201, [back, back])
        wanted = request(made.json()["client_id"], redirect_uri=back)
        assert person.consent(wanted).json()["redirectHost"] == "ferry.example"
        assert person.consent(request(made.json()["client_id"], redirect_uri=other)).status_code == 400
        owner.delete_asked_program(listed[back].name)
        assert person.consent(wanted).status_code == 400
        assert person.http.post("/oauth/register", json=body).status_code == 400


def test_programs_that_asked_from_one_address_displace_only_their_own(person: Person) -> None:
    quiet = {"redirect_uris": ["https://quiet.example/back"]}
    with httpx2.Client(transport=httpx2.HTTPTransport(local_address="127.0.0.2")) as http:
        # One that asks for another's address first does not make it its own.
        assert http.post(f"{person.instance.url}/oauth/register", json=quiet).status_code == 400
    assert person.http.post("/oauth/register", json=quiet).status_code == 400
    for address in ("127.0.0.2", "127.0.0.3"):
        with httpx2.Client(transport=httpx2.HTTPTransport(local_address=address)) as http:
            for number in range(11):
                back = [f"https://flood.example/{address}/{number}/{each}" for each in range(10)]
                asked = http.post(f"{person.instance.url}/oauth/register", json={"redirect_uris": back})
                assert asked.status_code == 400
    with Responsa(person.instance.url, person.instance.key) as owner:
        listed = [program.redirect_uri for program in owner.asked_programs() if not program.allowed]
    assert "https://quiet.example/back" in listed
    assert len(listed) == 100
    assert sum("/127.0.0.3/" in uri for uri in listed) <= 50


def test_a_name_that_could_deceive_is_refused(person: Person) -> None:
    body = {"client_name": "Go\u0338ogle", "redirect_uris": [REDIRECT]}
    refused = person.http.post("/oauth/register", json=body)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert refused.json()["error_description"].startswith("client_name has combining marks")
    turned = person.http.post("/oauth/register", json={**body, "client_name": "Ferry\u202eman\u3164"})
    assert turned.json()["client_name"] == "Ferryman"


def request_of_another(person: Person) -> str:
    made = person.http.post("/oauth/register", json={"client_name": "Thief", "redirect_uris": [REDIRECT]})
    return str(made.json()["client_id"])


def test_a_refresh_token_that_is_used_twice_ends_the_connection(person: Person, client_id: str) -> None:
    first = exchanged(person, exchanging(person.reply(request(client_id))["code"], client_id))
    assert (
        exchanged(person, refreshing(first["refresh_token"], request_of_another(person))) == "invalid_grant"
    )
    # It is no token of a person's own session.
    own = person.http.post("/v1/auth:refresh", json={"refreshToken": first["refresh_token"]})
    assert own.status_code == 401
    second = exchanged(person, refreshing(first["refresh_token"], client_id))
    third = exchanged(person, refreshing(second["refresh_token"], client_id))
    assert exchanged(person, refreshing(first["refresh_token"], client_id)) == "invalid_grant"
    assert exchanged(person, refreshing(third["refresh_token"], client_id)) == "invalid_grant"


def test_a_program_without_the_scope_is_told_what_to_ask_for(person: Person, client_id: str) -> None:
    # Scopes that the server does not know are left out, and the tokens say so.
    scope = "openid search offline_access"
    reply = person.reply(request(client_id, scope=scope, resource=f"{person.instance.url}/mcp"))
    tokens = exchanged(person, exchanging(reply["code"], client_id))
    assert tokens["scope"] == "search"
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    headers = {
        "authorization": f"Bearer {tokens['access_token']}",
        "accept": "application/json, text/event-stream",
    }
    body = {**call, "params": {"name": "ask", "arguments": {"question": "When?"}}}
    refused = person.http.post("/mcp", json=body, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["data"]["reason"] == "SCOPE_REQUIRED"
    said = refused.headers["www-authenticate"]
    assert 'error="insufficient_scope", scope="ask search"' in said
    body = {**call, "params": {"name": "search", "arguments": {"query": "ferry"}}}
    for path in ("/mcp", "/mcp/"):
        assert "Mallaig" in person.http.post(path, json=body, headers=headers).text


def test_only_the_page_of_a_person_who_is_signed_in_asks(person: Person, client_id: str) -> None:
    path, wanted = f"/oauth/consent/{person.begins(request(client_id))}", {"allow": True}
    user = {"responsa-user": person.user}
    key = {"authorization": f"Bearer {person.instance.key}", **user}
    with httpx2.Client(base_url=person.instance.url, timeout=30) as other:
        assert other.post(path, json=wanted, headers={**key, **OWN}).status_code == 401
    cookies = httpx2.Cookies(person.http.cookies)
    with httpx2.Client(base_url=person.instance.url, cookies=cookies, timeout=30) as foreign:
        for headers in ({}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}):
            assert foreign.post(path, json=wanted, headers={**user, **headers}).status_code == 403
        own = {**OWN, **user}
        form = {**own, "content-type": "text/plain"}
        assert foreign.post(path, content=json.dumps(wanted), headers=form).status_code == 400
        stranger = {**OWN, "responsa-user": "users/0192f3c8-7c1d-7b3e-9f6e-0d4f6a1b2c3d"}
        assert foreign.post(path, json=wanted, headers=stranger).status_code == 401
        assert foreign.post(path, json=wanted, headers={**key, **own}).status_code == 401
        assert foreign.post(path, json=wanted, headers=own).status_code == 200
        # Once decided, the request is used up.
        assert foreign.post(path, json=wanted, headers=own).status_code == 400
    page = person.http.get("/")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_a_request_waits_in_its_browser(person: Person, client_id: str) -> None:
    state = "s" * 1024
    back = person.consent(request(client_id, state=state), allow=True).json()["redirectUri"]
    assert dict(parse_qsl(urlsplit(back).query))["state"] == state
    first = person.begins(request(client_id, state=state))
    assert person.decide(first).json()["displayName"] == "Ferryman"
    second = person.begins(request(client_id))
    refused = person.decide(second[:-1] + "~")
    assert (refused.status_code, "begin again in the program" in refused.text) == (400, True)
    # The browser keeps both requests, and another browser none.
    assert person.decide(second).status_code == 200
    assert person.decide(first, allow=True).status_code == 200
    assert person.decide(second, allow=True).status_code == 200
    third = person.begins(request(client_id))
    person.http.cookies.delete(f"responsa_connect_{person.instance.port}", path=f"/oauth/consent/{third}")
    assert person.decide(third).status_code == 400


def test_the_browser_goes_only_where_the_program_may_send_it(person: Person, client_id: str) -> None:
    said = person.consent(request(client_id)).json()
    assert said["displayName"] == "Ferryman"
    assert (said["redirectHost"], said["loopback"], said["vouched"]) == ("127.0.0.1:41234", True, False)
    assert said["unusedDays"] == 30
    other_port = request(client_id, redirect_uri=REDIRECT.replace("41234", "5"))
    assert person.consent(other_port).json()["redirectHost"] == "127.0.0.1:5"
    for uri in ("https://evil.example/back", "https://ferry.example/back/", ""):
        refused = person.consent(request(client_id, redirect_uri=uri))
        assert refused.status_code == 400, uri
        assert refused.json()["details"][0]["reason"] == "INVALID_FIELD"
    for changes, error in (
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "admin offline_access"}, "invalid_scope"),
        ({"resource": "https://evil.example/mcp"}, "invalid_target"),
        ({"resource": f"{person.instance.url}/v1"}, "invalid_target"),
    ):
        told = person.consent(request(client_id, **changes), allow=True).json()
        found = parse_qs(urlsplit(told["redirectUri"]).query)
        assert (found["error"], found["iss"]) == ([error], [person.instance.url]), changes
    denied = parse_qs(urlsplit(person.consent(request(client_id), allow=False).json()["redirectUri"]).query)
    assert denied == {
        "error": ["access_denied"],
        "state": ["of the program"],
        "iss": [person.instance.url],
    }


def test_an_administrator_registers_a_program_by_its_document(person: Person) -> None:
    """Nothing is fetched: nobody answers at the document's address."""
    document, back = "https://127.0.0.1:9/client.json", "https://ferry.example/back"
    wanted = request(document, redirect_uri=back)
    assert person.consent(wanted).status_code == 400
    with Responsa(person.instance.url, person.instance.key) as responsa:
        made = responsa.create_program("Ferryman", [back], document_uri=document)
        said = person.consent(wanted).json()
        assert (said["displayName"], said["vouched"], said["clientHost"]) == ("Ferryman", True, "127.0.0.1:9")
        assert person.consent(request(document, redirect_uri=f"{back}/")).status_code == 400
        code = person.reply(wanted)["code"]
        tokens = exchanged(person, exchanging(code, document, redirect_uri=back))
        responsa.delete_program(made.name)
    assert exchanged(person, refreshing(tokens["refresh_token"], document)) == "invalid_grant"
    assert person.consent(wanted).status_code == 400


def test_a_document_is_its_own_and_public(person: Person) -> None:
    uris = ["https://ferry.example/back"]
    back = {"redirect_uri": uris[0]}
    with published(person.instance, redirect_uris=uris, client_id="https://ferry.example/c") as address:
        assert person.consent(request(address, **back)).status_code == 400
        private = address.replace("localhost", "127.0.0.1")
        refused = person.consent(request(private, **back))
        assert "cannot be fetched" in refused.json()["message"]
    with published(person.instance, redirect_uris=uris, client_name="x" * 17_000) as address:
        assert person.consent(request(address, **back)).status_code == 400
    for wrong in (
        "https://169.254.169.254/latest/meta-data",
        "http://localhost/c",
        "https://localhost/",
        "rsd_no",
    ):
        assert person.consent(request(wrong, **back)).status_code == 400, wrong
