"""The rows of tables of commands, and what a command needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from responsa_server.cli.exits import EXIT_EXTRA
from responsa_server.cli.output import CommandFailed, reporting
from responsa_server.system import extras


class Heading(StrEnum):
    """The headings of the overview, in their order."""

    ASK = "Ask"
    DOCUMENTS = "Documents"
    PEOPLE = "People"
    AGENTS = "Agents"
    SERVER = "Server"
    OTHER = "Other commands"


@dataclass(frozen=True, slots=True)
class Command:
    """A command. name: its word, or with a space between them a group's and a subcommand that a part adds to it. module:
    the module that contains the command. help: one line for the overview. section: where the overview lists it. extra,
    distribution: what its entry point says; "" for a command that needs only the client. waits: whether it waits for a
    server or a database, so that it has the option --timeout; or which of its subcommands do. local: whether it works
    on this machine instead of calling a server."""

    name: str
    module: str
    help: str
    section: Heading = Heading.OTHER
    extra: str = ""
    distribution: str = ""
    waits: bool | Collection[str] = False
    local: bool = False


def need(command: str, extra: str, distribution: str = extras.OWN) -> None:
    """End a command whose extra is not installed, with EXIT_EXTRA. command: its words after `responsa`."""
    if not extras.installed(extra, distribution):
        why, remedy = "is not installed", f"Run {extras.remedy(extra, distribution)}."
        if extras.has_musl():
            why, remedy = "has no packages for Linux with musl", "Use one with glibc, or the image."
        with reporting():
            sentence = f"`responsa {command}` needs the extra {extra}, which {why}."
            raise CommandFailed(sentence, remedy, EXIT_EXTRA)
