"""The entry point `responsa` and the table of commands. This module imports only the module of the chosen command.

A command's module has a function `register(app, name)`, which adds the command or the group of commands to `app`.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from responsa_server import __version__
from responsa_server.importing import uncollected


@dataclass(frozen=True, slots=True)
class Command:
    """A command. module: the module that contains the command. help: one line for the overview."""

    name: str
    module: str
    help: str


_COMPLETE = "_RESPONSA_COMPLETE"
"""The variable that shells set when they ask how to complete a command."""

COMMANDS: tuple[Command, ...] = (
    Command(
        "up", "responsa_server.cli.local.up", "Start everything on this machine and print the page's URL."
    ),
    Command("ask", "responsa_server.cli.turns", "Ask a question and get a cited answer."),
    Command("chat", "responsa_server.cli.chat", "Ask one question after the other in one conversation."),
    Command("resume", "responsa_server.cli.turns", "Follow a question that was asked earlier."),
    Command("cancel", "responsa_server.cli.turns", "Cancel a question that is being answered."),
    Command("ingest", "responsa_server.cli.ingest", "Load documents into a collection."),
    Command("search", "responsa_server.cli.documents", "Find the passages that match."),
    Command(
        "documents",
        "responsa_server.cli.documents",
        "List, show and delete documents.",
    ),
    Command(
        "collections",
        "responsa_server.cli.collections",
        "List, make, share and delete collections.",
    ),
    Command(
        "operations",
        "responsa_server.cli.operations",
        "List, follow and cancel operations, such as the reading of documents.",
    ),
    Command(
        "replay",
        "responsa_server.cli.replay",
        "Ask a version of an agent old questions, and compare.",
    ),
    Command("agents", "responsa_server.cli.agents", "Show and reload agents, and check their files."),
    Command(
        "tools", "responsa_server.cli.tools", "Check declarations of tools, and accept those of MCP servers."
    ),
    Command("sources", "responsa_server.cli.source_files", "Check the declarations of sources."),
    Command("samples", "responsa_server.cli.samples", "Load the sample documents and teachers of agents."),
    Command("login", "responsa_server.cli.login", "Sign in with an e-mail address and a password."),
    Command("logout", "responsa_server.cli.login", "End the session of `login`."),
    Command("call", "responsa_server.cli.call", "Call any method of the API."),
    Command("mcp", "responsa_server.cli.mcp", "Serve the tools of MCP on standard input and output."),
    Command("usage", "responsa_server.cli.usage", "Show what your questions have used of your quota."),
    Command("open", "responsa_server.cli.open_page", "Print a new URL that signs a browser in."),
    Command(
        "eval", "responsa_lab.evaluation.command", "Measure retrieval, answers and routing on a data set."
    ),
    Command(
        "optimise",
        "responsa_lab.optimising.command",
        "Improve an agent's prompt and examples on labelled messages.",
    ),
    Command(
        "serve",
        "responsa_server.cli.local.serve",
        "Run one server process. Several processes can share a database.",
    ),
    Command(
        "restart",
        "responsa_server.cli.local.restart",
        "Replace the servers of a running `up`, one after the other.",
    ),
    Command(
        "replicas", "responsa_server.cli.local.replicas", "Show and change the server processes behind Envoy."
    ),
    Command(
        "envoy", "responsa_server.cli.local.envoy", "Run Envoy alone, in front of servers that run elsewhere."
    ),
    Command("setup", "responsa_server.cli.local.setup", "Install the weights of the embedding model."),
    Command("migrate", "responsa_server.cli.local.admin", "Bring the database's schema up to date."),
    Command(
        "admin", "responsa_server.cli.local.admin", "Make tenants, users and keys on the server's machine."
    ),
    Command(
        "backup", "responsa_server.cli.local.backup", "Write a running instance into one file, to restore it."
    ),
    Command("restore", "responsa_server.cli.local.backup", "Make an instance from the file of a backup."),
    Command(
        "activate",
        "responsa_server.cli.local.activate",
        "Let a restored instance act outside again: run its turns, jobs and sources.",
    ),
    Command("doctor", "responsa_server.cli.local.instance", "Check this machine and its instance."),
    Command("purge", "responsa_server.cli.local.instance", "Remove an instance with all its data."),
    Command("version", "responsa_server.cli.main", "Print the version."),
)

_OVERVIEW = """Answers with citations from your own documents.

Environment variables select the server (RESPONSA_PORT or RESPONSA_URL), the data folder (RESPONSA_HOME) and the key
(RESPONSA_API_KEY or RESPONSA_API_KEY_FILE). Without a key, commands use the session of `responsa login`. The defaults match the instance that `responsa up` starts.

Exit codes of commands that call a server: 0 success, 1 failure, 2 bad usage (including arguments that the server
refuses), 3 cannot connect or sign in.
"""


def build(chosen: str | None) -> typer.Typer:
    """Build the application. The chosen command is complete; all other commands have only their names and help texts."""
    app = typer.Typer(
        name="responsa",
        help=_OVERVIEW,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # With a callback, the application remains a group even if it has only one command.
    app.callback()(_options)
    for command in COMMANDS:
        if command.name == chosen:
            if not _local(chosen):
                # gRPC reads this variable when it is imported. By default, gRPC reports closed connections on stderr.
                os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            importlib.import_module(command.module).register(app, command.name)
        else:
            app.command(command.name, help=command.help)(_not_loaded(command))
    return app


def register(app: typer.Typer, name: str) -> None:
    """Add the command `version`."""
    app.command(name)(version)


def version(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Print the version of this command line, without calling a server."""
    typer.echo(f'{{"version": "{__version__}"}}' if json else f"responsa {__version__}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. arguments: the arguments after the program's name; None means the process's
    arguments.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the terminal cannot show are replaced, so that output does not fail.
            stream.reconfigure(errors="replace")
    chosen = next((word for word in _words(given) if not word.startswith("-")), None)
    try:
        with uncollected():
            app = typer.main.get_command(build(chosen))
        if os.environ.get(_COMPLETE) == "complete_zsh":
            _without_quotes(app)
        app(args=given, prog_name="responsa")
    except BrokenPipeError:
        # The reader (e.g. `head`) has closed the pipe. Without this redirection, Python would report the closed pipe
        # again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except SystemExit as ended:
        if arguments is None and isinstance(ended.code, int) and _may_have_called(chosen):
            _end(ended.code)
        raise
    except Exception as error:
        if arguments is None and _may_have_called(chosen):
            sys.excepthook(type(error), error, error.__traceback__)
            _end(1)
        raise


def _without_quotes(command: Any) -> None:
    """Replace the quotation marks in the help texts of a command, its options and its subcommands with apostrophes. The script for zsh
    evaluates the texts between such marks, so that the marks would be lost.
    """
    for one in (command, *command.params):
        one.help = (getattr(one, "help", None) or "").replace("'", "’")
    for one in getattr(command, "commands", {}).values():
        _without_quotes(one)


def _words(given: Sequence[str]) -> Sequence[str]:
    """Return the arguments. If a shell asks how to complete a command, these are the words of that command."""
    if _COMPLETE not in os.environ:
        return given
    typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return typed.split()[1:]


def _local(name: str | None) -> bool:
    return any(command.name == name and ".local." in command.module for command in COMMANDS)


def _may_have_called(name: str | None) -> bool:
    return "grpc" in sys.modules and not _local(name)


def _end(code: int) -> None:
    """End the process without the interpreter's own clean-up.

    The clean-up stops gRPC's threads wherever they are. If such a thread holds the lock of a call that is freed after that, the
    clean-up waits for this lock forever.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            # If the caller closed the descriptor, there is no stream.
            if isinstance(stream, io.TextIOWrapper):
                stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


def _options(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def _not_loaded(command: Command):
    def never_called() -> None:
        raise AssertionError(f"{command.name} was not loaded")

    return never_called
