"""The commands of sources that need no server."""

from __future__ import annotations

from typing import Final

from responsa_server.cli.command import Command

COMMANDS: Final = (
    Command(
        "sources check",
        "responsa_etl.checking",
        "Check the declarations of connections on this machine, and mappings.",
    ),
)
