"""The sign-in of `responsa login --provider`: a browser of this machine goes to the provider, which sends it back to this command (RFC 8252, section 7.3)."""

from __future__ import annotations

import json
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx2
from google.protobuf import json_format

from responsa.auth.v1 import auth_service_pb2
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, print_text

_WAIT_SECONDS: Final = 600.0
_PAGE: Final = b"<!doctype html><meta charset=utf-8><title>Responsa</title><p>Go back to the terminal. You can close this page.</p>"


class _Listener(HTTPServer):
    """Waits on a free port of this machine. query: the provider's reply, once it has arrived."""

    query = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.timeout = 1.0


class _Handler(BaseHTTPRequestHandler):
    # A program that opens a connection and sends nothing must not keep the reply out.
    timeout = 5.0

    def do_GET(self) -> None:
        """Take the provider's reply. Browsers also ask for other paths, such as /favicon.ico."""
        found = urlsplit(self.path)
        listener = cast("_Listener", self.server)
        good = found.path == "/callback" and bool(found.query)
        if good:
            listener.query = found.query
        self.send_response(200 if good else 404)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("referrer-policy", "no-referrer")
        self.end_headers()
        self.wfile.write(_PAGE if good else b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the base class
        """Log nothing: the address has the code."""


def sign_in(url: str, provider: str, *, browser: bool) -> auth_service_pb2.LoginResponse:
    """Sign in with a provider. url: of the server. browser: whether to open the provider's address in a browser, in addition to printing it.

    Raises CommandFailed: the server refuses the sign-in or cannot be reached, or nobody has signed in within ten minutes.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise CommandFailed(
            f"{url} is not a URL that a browser can open.",
            "Set RESPONSA_URL to an http or https URL.",
            EXIT_USAGE,
        )
    with _Listener() as listener, httpx2.Client(base_url=url, timeout=60) as http:
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
