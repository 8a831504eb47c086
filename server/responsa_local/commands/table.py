"""The commands of the server, of Envoy, and of an instance with all its parts on one machine."""

from __future__ import annotations

from functools import partial
from typing import Final

from responsa_server.cli.command import Command, Heading

_Local: Final = partial(Command, local=True)
SERVER: Final = (
    _Local(
        "serve",
        "responsa_local.commands.serve",
        "Run one server process. Several processes can share a database.",
        Heading.SERVER,
    ),
    _Local(
        "replicas",
        "responsa_local.commands.replicas",
        "Show and change the server processes behind Envoy.",
        Heading.SERVER,
    ),
    _Local(
        "setup",
        "responsa_local.commands.setup",
        "Install the weights of the embedding model.",
        Heading.SERVER,
    ),
    _Local(
        "migrate", "responsa_local.commands.admin", "Bring the database's schema up to date.", Heading.SERVER
    ),
    _Local(
        "admin",
        "responsa_local.commands.admin",
        "Create tenants, users and keys on the server's machine.",
        Heading.PEOPLE,
        waits=True,
    ),
    _Local(
        "backup",
        "responsa_local.commands.backup",
        "Back up a running instance into one file.",
        Heading.SERVER,
    ),
    _Local(
        "restore", "responsa_local.commands.backup", "Create an instance from a backup file.", Heading.SERVER
    ),
    _Local(
        "activate",
        "responsa_local.commands.activate",
        "Allow a restored instance to run its turns, jobs and sources again.",
        Heading.SERVER,
        waits=True,
    ),
    _Local(
        "doctor", "responsa_local.commands.instance", "Check this machine and its instance.", Heading.SERVER
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
        Heading.AGENTS,
    ),
)
ENVOY: Final = (
    _Local(
        "envoy",
        "responsa_local.commands.envoy",
        "Run only Envoy, in front of servers that run elsewhere.",
        Heading.SERVER,
    ),
)
LOCAL: Final = (
    _Local(
        "up",
        "responsa_local.commands.up",
        "Start everything on this machine and print the page's URL.",
        Heading.SERVER,
    ),
    _Local(
        "restart",
        "responsa_local.commands.restart",
        "Replace the servers of a running `up`, one after the other.",
        Heading.SERVER,
    ),
    _Local(
        "purge", "responsa_local.commands.instance", "Remove an instance with all its data.", Heading.SERVER
    ),
)
