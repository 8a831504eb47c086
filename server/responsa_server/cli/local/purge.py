"""`responsa purge`: remove all that an instance left on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa_server.app.settings import load
from responsa_server.cli.local.failures import reporting
from responsa_server.embedded import Layout, purge
from responsa_server.embedded.purge import places


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def run(
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    ) -> None:  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        """Remove the data folder and everything outside it that belongs to it: database, documents, keys, logs. It cannot be undone."""
        with reporting():
            layout = Layout.to_remove(load().home)
            found = places(layout)
            if found and not yes:
                typer.echo("This removes, for ever:\n" + "\n".join(f"  {place}" for place in found))
                typer.confirm("Go on?", abort=True)
            gone = purge(layout)
            typer.echo(
                "\n".join(f"removed {place}" for place in gone)
                or f"Nothing to remove: there is no {layout.home}."
            )
