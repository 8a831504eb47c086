"""The commands of the server, of Envoy, and of an instance with all its parts on one machine."""

from __future__ import annotations

from typing import Final

from responsa_server.cli.command import Command, Section

SERVER: Final = (
    Command(
        "serve",
        "responsa_server.cli.local.serve",
        "Run one server process. Several processes can share a database.",
        Section.SERVER,
    ),
    Command(
        "replicas",
        "responsa_server.cli.local.replicas",
        "Show and change the server processes behind Envoy.",
        Section.SERVER,
    ),
    Command(
        "setup",
        "responsa_server.cli.local.setup",
        "Install the weights of the embedding model.",
        Section.SERVER,
    ),
    Command(
        "migrate",
        "responsa_server.cli.local.admin",
        "Bring the database's schema up to date.",
        Section.SERVER,
    ),
    Command(
        "admin",
        "responsa_server.cli.local.admin",
        "Create tenants, users and keys on the server's machine.",
        Section.PEOPLE,
        waits=True,
    ),
    Command(
        "backup",
        "responsa_server.cli.local.backup",
        "Back up a running instance into one file.",
        Section.SERVER,
    ),
    Command(
        "restore",
        "responsa_server.cli.local.backup",
        "Create an instance from a backup file.",
        Section.SERVER,
    ),
    Command(
        "activate",
        "responsa_server.cli.local.activate",
        "Allow a restored instance to run its turns, jobs and sources again.",
        Section.SERVER,
        waits=True,
    ),
    Command(
        "doctor", "responsa_server.cli.local.instance", "Check this machine and its instance.", Section.SERVER
    ),
)
ENVOY: Final = (
    Command(
        "envoy",
        "responsa_server.cli.local.envoy",
        "Run only Envoy, in front of servers that run elsewhere.",
        Section.SERVER,
    ),
)
LOCAL: Final = (
    Command(
        "up",
        "responsa_server.cli.local.up",
        "Start everything on this machine and print the page's URL.",
        Section.SERVER,
    ),
    Command(
        "restart",
        "responsa_server.cli.local.restart",
        "Replace the servers of a running `up`, one after the other.",
        Section.SERVER,
    ),
    Command(
        "purge", "responsa_server.cli.local.instance", "Remove an instance with all its data.", Section.SERVER
    ),
)
