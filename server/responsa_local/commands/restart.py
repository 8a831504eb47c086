"""The command `responsa restart`, which replaces the servers of a running `responsa up`."""

from __future__ import annotations

import typer

from responsa_local.commands.failures import reporting
from responsa_local.embedded import LocalLayout
from responsa_local.embedded.restarting import request_restart
from responsa_server.app.settings import load


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def restart() -> None:  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        """Replace the server processes of a running `responsa up`, one after the other, without a failed call.

        Each new process takes calls before its predecessor is stopped. It reads the settings file, the secret files and the
        installed code again. If a new process does not start, its predecessor continues.
        """
        with reporting():
            for line in request_restart(LocalLayout.of(load().home).restart_socket):
                typer.echo(line)
