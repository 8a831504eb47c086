"""The command `responsa mcp`."""

from __future__ import annotations

import typer

from responsa_server.cli.output import reporting
from responsa_server.cli.session import open_async_client


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(serve_mcp)


def serve_mcp() -> None:
    """Serve the Model Context Protocol on standard input and output, for hosts that start their servers as programs.
    The tools work on the server that the environment selects, which may be on another machine.
    """
    import asyncio

    # Imported late, because the SDK takes a second to import.
    from responsa_server.cli.local.mcp import serve

    with reporting():
        asyncio.run(serve(open_async_client))
