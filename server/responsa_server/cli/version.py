"""`responsa version`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa_server import __version__


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(version)


def version(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Print the version of this command line. It asks no server."""
    typer.echo(f'{{"version": "{__version__}"}}' if json else f"responsa {__version__}")
