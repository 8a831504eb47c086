"""The commands of the server, of Envoy, and of an instance with all its parts on one machine."""

from __future__ import annotations

from functools import partial
from typing import Final

from responsa_server.cli.command import Command, Section

_Local: Final = partial(Command, local=True)
SERVER: Final = (
    _Local(
        "serve",
        "responsa_local.commands.serve",
        "Run one server process. Several processes can share a database.",
        Section.SERVER,
    ),
    _Local(
        "replicas",
        "responsa_local.commands.replicas",
        "Show and change the server processes behind Envoy.",
        Section.SERVER,
    ),
    _Local(
        "setup",
        "responsa_local.commands.setup",
        "Install the weights of the embedding model.",
        Section.SERVER,
    ),
    _Local(
        "migrate",
        "responsa_local.commands.admin",
        "Bring the database's schema up to date.",
        Section.SERVER,
    ),
    _Local(
        "admin",
        "responsa_local.commands.admin",
        "Create tenants, users and keys on the server's machine.",
        Section.PEOPLE,
        waits=True,
    ),
    _Local(
        "backup",
        "responsa_local.commands.backup",
        "Back up a running instance into one file.",
        Section.SERVER,
    ),
    _Local(
        "restore",
        "responsa_local.commands.backup",
        "Create an instance from a backup file.",
        Section.SERVER,
    ),
    _Local(
        "activate",
        "responsa_local.commands.activate",
        "Allow a restored instance to run its turns, jobs and sources again.",
        Section.SERVER,
        waits=True,
    ),
    _Local(
        "doctor", "responsa_local.commands.instance", "Check this machine and its instance.", Section.SERVER
    ),
    Command(
        "agents check",
        "responsa_local.commands.agents",
        "Check agents' files, and print each problem with its file, line, key and a suggestion.",
    ),
    Command("agents graph", "responsa_local.commands.agents", "Print an agent's graph as a Mermaid diagram."),
    _Local(
        "tools",
        "responsa_local.commands.tools",
        "Check declarations of tools, and accept those of MCP servers.",
        Section.AGENTS,
    ),
)
ENVOY: Final = (
    _Local(
        "envoy",
        "responsa_local.commands.envoy",
        "Run only Envoy, in front of servers that run elsewhere.",
        Section.SERVER,
    ),
)
LOCAL: Final = (
    _Local(
        "up",
        "responsa_local.commands.up",
        "Start everything on this machine and print the page's URL.",
        Section.SERVER,
    ),
    _Local(
        "restart",
        "responsa_local.commands.restart",
        "Replace the servers of a running `up`, one after the other.",
        Section.SERVER,
    ),
    _Local(
        "purge", "responsa_local.commands.instance", "Remove an instance with all its data.", Section.SERVER
    ),
)
