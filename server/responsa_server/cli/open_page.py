"""The command `responsa open`."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from typing import Annotated

import typer

from responsa_client import Responsa
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, as_json
from responsa_server.cli.resources import Made, make_command, text_of


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(make_command(open_page, "Print one JSON object: url, expireTime.", text_of))


def open_page(
    client: Responsa,
    browser: Annotated[
        bool, typer.Option("--browser", help="Also open the URL in a browser on this machine.")
    ] = False,
) -> Iterator[Made]:
    """Print a URL of the page that signs a browser in. The URL works once and expires after ten minutes."""
    if not client.url.startswith("http"):
        raise CommandFailed(
            f"{client.url} is not a URL that a browser can open.",
            "Set RESPONSA_URL to an http or https URL.",
            EXIT_USAGE,
        )
    created = client.create_session_code()
    # Browsers do not send the part after "#" to servers, so the code does not appear in any log.
    url = f"{client.url}/#code={created.code}"
    yield {"url": url, "expireTime": as_json(created).get("expireTime")}, url
    if browser:
        webbrowser.open(url)
