"""The command `responsa open`."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from responsa_server.cli.output import EXIT_USAGE, CommandFailed, as_json, print_json, print_text, reporting
from responsa_server.cli.session import open_client


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(open_page)


def open_page(
    browser: Annotated[
        bool, typer.Option("--browser", help="Also open the URL in a browser on this machine.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: url, expireTime.")] = False,
) -> None:
    """Print a URL of the page that signs a browser in. The URL works once and expires after ten minutes."""
    with reporting(json=json), open_client() as client:
        if not client.url.startswith("http"):
            raise CommandFailed(
                f"{client.url} is not a URL that a browser can open.",
                "Set RESPONSA_URL to an http or https URL.",
                EXIT_USAGE,
            )
        created = client.create_session_code()
        # Browsers do not send the part after "#" to servers, so the code does not appear in any log.
        url = f"{client.url}/#code={created.code}"
        if json:
            print_json({"url": url, "expireTime": as_json(created).get("expireTime")})
        else:
            print_text(url)
        if browser:
            webbrowser.open(url)
