"""The commands `responsa login` and `responsa logout`."""

from __future__ import annotations

import contextlib
import getpass
import json
import sys
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Annotated, Any, Final, cast
from urllib.parse import urlsplit

import httpx2
import typer
from google.protobuf import json_format

from responsa.auth.v1 import auth_service_pb2
from responsa_client import Responsa
from responsa_client.errors import ResponsaError
from responsa_server.cli.connecting import connect
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    print_error,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import client_settings
from responsa_server.cli.signed_in import SessionFile


def register(app: typer.Typer, name: str) -> None:
    """Add one of the commands."""
    app.command(name)({"login": login, "logout": logout}[name])


def login(
    email: Annotated[str, typer.Option(help="The e-mail address. Default: the command asks for it.")] = "",
    tenant: Annotated[str, typer.Option(help="The tenant. Default: the server's default tenant.")] = "",
    provider: Annotated[
        str,
        typer.Option(
            help="Sign in with this OpenID Connect provider instead of a password. The sign-in takes place in a browser on this machine."
        ),
    ] = "",
    browser: Annotated[
        bool, typer.Option("--browser", help="With --provider, also open the address in a browser.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the user as one JSON object.")] = False,
) -> None:
    """Sign in with an e-mail address and a password, or with an OpenID Connect provider. Later commands use this
    session, and refresh it, until `responsa logout`.

    The command asks for the password without showing it. Without a terminal, it reads the password from the first line
    of standard input. With --provider, it prints an address to open in a browser.
    """
    with reporting(json=json):
        url = client_settings().server_url
        with connect(Responsa, url) as client:
            if provider:
                reply = _by_provider(url, provider, email or tenant, browser=browser)
            else:
                reply = _by_password(client, email, tenant)
            try:
                earlier = SessionFile(url).put(reply.tokens)
            except OSError as error:
                client.logout(reply.tokens.refresh_token)
                raise CommandFailed(
                    f"The session cannot be stored ({error.strerror}).",
                    "Set XDG_STATE_HOME to a folder of your own.",
                ) from None
            if earlier:
                # The earlier session may have ended.
                with contextlib.suppress(ResponsaError):
                    client.logout(earlier)
        if json:
            print_json(as_json(reply.user))
        else:
            print_text(f"Signed in as {reply.user.email} ({reply.user.name}, {reply.user.tenant}).")
        if name := client_settings().key_variable:
            print_error(f"Other commands do not use this session while {name} is set. Unset {name}.")


def _by_password(client: Responsa, email: str, tenant: str) -> auth_service_pb2.LoginResponse:
    address = email or ask_text("E-mail address: ", "There is no e-mail address.", "Give it with --email.")
    return client.login(
        valid_text(address, "The e-mail address"),
        valid_text(ask_secret("Password", "password"), "The password"),
        tenant,
    )


def _by_provider(url: str, provider: str, surplus: str, *, browser: bool) -> auth_service_pb2.LoginResponse:
    """Sign in with a provider. surplus: an option that only a sign-in with a password has, or ""."""
    if surplus:
        raise CommandFailed(
            "The provider determines the e-mail address and the tenant.",
            "Leave --email and --tenant out.",
            EXIT_USAGE,
        )
    return sign_in(url, valid_text(provider, "The provider"), browser=browser)


def logout(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: signedOut.")] = False,
) -> None:
    """End the session of `responsa login`, and remove its tokens from this machine. If later commands will use an API
    key, the command says which one."""
    with reporting(json=json):
        url = client_settings().server_url
        try:
            token = SessionFile(url).take()
        except OSError as error:
            raise CommandFailed(f"The session cannot be removed ({error.strerror}).") from None
        if token:
            with connect(Responsa, url) as client:
                client.logout(token)
        if json:
            print_json({"signedOut": bool(token)})
        else:
            print_text("Signed out." if token else "You were not signed in.")
            if notice := client_settings().next_credential():
                print_error(notice)


def ask_text(prompt: str, missing: str, remedy: str) -> str:
    """Ask for a text. Without a terminal or an answer, fail: `missing`, with its remedy."""
    answer = ""
    if sys.stdin.isatty():
        sys.stderr.write(prompt)
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
    if not answer:
        raise CommandFailed(missing, remedy, EXIT_USAGE)
    return answer


def ask_secret(prompt: str, what: str, *, optional: bool = False) -> str:
    """Ask for a secret without showing it. Without a terminal, read the next line of standard input. what: for
    messages, e.g. "password". optional: whether it may be empty."""
    try:
        if sys.stdin.isatty():
            return getpass.getpass(f"{prompt}: ", sys.stderr)
        secret = sys.stdin.readline().removesuffix("\n")
    except EOFError:  # Ctrl-D gives up, also where nothing is an answer
        secret, optional = "", False
    if not secret and not optional:
        raise CommandFailed(f"There is no {what}.", f"Write the {what} to standard input.", EXIT_USAGE)
    return secret


_WAIT_SECONDS: Final = 600.0
_PAGE: Final = b"<!doctype html><meta charset=utf-8><title>Responsa</title><p>Go back to the terminal. You can close this page.</p>"


class _Listener(HTTPServer):
    """Waits on a free port of this machine. query: the reply of the provider with this name, once it has arrived. The
    reply of another one, in the same browser, is none."""

    query = ""

    def __init__(self, provider: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.path = f"/callback/{provider}"
        self.timeout = 1.0


class _Handler(BaseHTTPRequestHandler):
    # A program that opens a connection and sends nothing must not keep the reply out.
    timeout = 5.0

    def do_GET(self) -> None:
        """Take the provider's reply. Browsers also ask for other paths, such as /favicon.ico."""
        url = urlsplit(self.path)
        listener = cast("_Listener", self.server)
        good = url.path == listener.path and bool(url.query)
        if good:
            listener.query = url.query
        self.send_response(200 if good else 404)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("referrer-policy", "no-referrer")
        self.end_headers()
        self.wfile.write(_PAGE if good else b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the base class
        """Log nothing: the address has the code."""


def sign_in(url: str, provider: str, *, browser: bool) -> auth_service_pb2.LoginResponse:
    """Sign in with a provider. url: of the server. browser: whether to open the provider's address in a browser, in
    addition to printing it.

    Raises CommandFailed: the server refuses the sign-in or cannot be reached, or nobody has signed in within ten minutes.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise CommandFailed(
            f"{url} is not a URL that a browser can open.",
            "Set RESPONSA_URL to an http or https URL.",
            EXIT_USAGE,
        )
    with _Listener(provider) as listener, httpx2.Client(base_url=url, timeout=60) as http:
        begun = _reply(http, "POST", f"/v1/oidc/{provider}:start", json={"port": listener.server_port})
        # The cookie may be for TLS alone, but this machine reaches its own server without it.
        cookie = begun.headers.get("set-cookie", "").partition(";")[0]
        address = str(begun.json()["authorizationUri"])
        print_text(f"Open this address in a browser on this machine, and sign in there:\n{address}")
        if browser:
            webbrowser.open(address)
        end = time.monotonic() + _WAIT_SECONDS
        while not listener.query and time.monotonic() < end:
            listener.handle_request()
        if not listener.query:
            raise CommandFailed("Nobody has signed in within ten minutes.", "Run the command again.")
        path = f"/v1/oidc/{provider}/callback?{listener.query}"
        return json_format.ParseDict(
            _reply(http, "GET", path, headers={"cookie": cookie}).json(), auth_service_pb2.LoginResponse()
        )


def _reply(http: httpx2.Client, method: str, path: str, **more: Any) -> httpx2.Response:
    try:
        reply = http.request(method, path, **more)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise CommandFailed(
            f"The server cannot be reached ({type(error).__name__}).", "Check RESPONSA_URL."
        ) from None
    if reply.status_code != 200:
        try:
            message = str(json.loads(reply.content)["message"])
        except (ValueError, KeyError, TypeError):
            message = f"The server answered with the HTTP status {reply.status_code}."
        raise CommandFailed(message)
    return reply
