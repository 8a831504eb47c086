"""The table of commands: what there is, without importing any of it.

A command's module has `register(app, name)`, which adds its command, or its group of commands, to `app`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A command, the module that holds it, and one line for the overview."""

    name: str
    module: str
    help: str


COMMANDS: tuple[Command, ...] = (
    Command(
        "up", "responsa_server.cli.local.up", "Start everything on this machine and print the page's URL."
    ),
    Command("ask", "responsa_server.cli.ask", "Ask a question and get a cited answer."),
    Command("resume", "responsa_server.cli.resume", "Follow a question that was asked before."),
    Command("cancel", "responsa_server.cli.cancel", "End a question that is being answered."),
    Command("ingest", "responsa_server.cli.ingest", "Take documents into a collection."),
    Command("search", "responsa_server.cli.search", "Find the passages that match."),
    Command("documents", "responsa_server.cli.documents", "List and delete documents."),
    Command("agents", "responsa_server.cli.agents", "Show agents, check their files, reload them."),
    Command(
        "teachers", "responsa_server.cli.teachers", "Show and change teachers, who lend agents a persona."
    ),
    Command(
        "samples", "responsa_server.cli.samples", "Load the documents and teachers that agents come with."
    ),
    Command("open", "responsa_server.cli.open_page", "Print a new URL that signs a browser in."),
    Command(
        "eval", "responsa_lab.evaluation.command", "Measure retrieval, answers and routing on a data set."
    ),
    Command("serve", "responsa_server.cli.local.serve", "Run one server process; several share a database."),
    Command("replicas", "responsa_server.cli.local.replicas", "Show and change the processes behind Envoy."),
    Command("migrate", "responsa_server.cli.local.migrate", "Bring the database's schema up to date."),
    Command("admin", "responsa_server.cli.local.admin", "Make tenants, users and keys."),
    Command("doctor", "responsa_server.cli.local.doctor", "Check this machine and its instance."),
    Command("purge", "responsa_server.cli.local.purge", "Remove all that an instance left."),
    Command("version", "responsa_server.cli.version", "Print the version."),
)
