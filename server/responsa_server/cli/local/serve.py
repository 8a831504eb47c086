"""`responsa serve`: the server alone, in the foreground."""

from __future__ import annotations

import asyncio

import typer

from responsa_server.cli.local.settings import told
from responsa_server.settings import load
from responsa_server.wiring import serve


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def run() -> None:  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        """Run the gRPC server and the gateway's HTTP side, without Envoy; SIGTERM or Ctrl-C drains and ends it.

        The database is DATABASE_URL's, else the embedded one of a running `responsa up`.
        """
        with told():
            asyncio.run(serve(load()))
