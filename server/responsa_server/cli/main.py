"""The entry point `responsa` and the table of the commands that need only the client. This module imports only the
module of the chosen command.

A command's module has a function `register(app, name)`, which adds the command or the group of commands to `app`. The help
of an option is its own, or what the docstring of the command says of it below “Args:”.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from responsa_server import __version__
from responsa_server.cli.command import Command, Heading, need
from responsa_server.system import extras
from responsa_server.system.fixable import Fixable
from responsa_server.system.importing import pause_collection
from responsa_server.system.plugins import Group, entry_points

_COMPLETE = "_RESPONSA_COMPLETE"
"""The variable that shells set when they ask how to complete a command."""


def _row(
    name: str, text: str, section: Heading, module: str = "", waits: bool | tuple[str, ...] = True
) -> Command:
    return Command(name, f"responsa_server.cli.{module or name}", text, section, waits=waits)


COMMANDS: Final = (
    _row("ask", "Ask a question and get a cited answer.", Heading.ASK, "turns"),
    _row("chat", "Ask one question after the other in one conversation.", Heading.ASK),
    _row("resume", "Follow a question that was asked earlier.", Heading.ASK, "turns"),
    _row("ingest", "Load documents into a collection.", Heading.DOCUMENTS),
    _row("search", "Find the passages that match.", Heading.ASK, "documents"),
    _row("documents", "List, show and delete documents.", Heading.DOCUMENTS),
    _row("collections", "List, create, share and delete collections.", Heading.DOCUMENTS),
    _row(
        "operations",
        "List, follow and cancel operations, such as the reading of documents.",
        Heading.DOCUMENTS,
    ),
    _row(
        "agents",
        "Show and reload agents, and check their files.",
        Heading.AGENTS,
        waits=("list", "show", "reload"),
    ),
    _row("model", "Show and set the default language model.", Heading.AGENTS),
    _row(
        "sources",
        "Connect folders, and run and check sources.",
        Heading.DOCUMENTS,
        "source_files",
        waits=("list", "add", "run", "remove"),
    ),
    _row(
        "samples",
        "List and load the sample documents and teachers of agents.",
        Heading.DOCUMENTS,
        waits=("load",),
    ),
    _row("login", "Sign in with an e-mail address and a password.", Heading.PEOPLE),
    _row("logout", "End the session of `login`.", Heading.PEOPLE, "login"),
    _row("users", "List, invite and change users.", Heading.PEOPLE),
    _row("groups", "List and change groups of users.", Heading.PEOPLE),
    _row("call", "Call any method of the API.", Heading.SERVER),
    _row("mcp", "Serve the tools of MCP on standard input and output.", Heading.AGENTS),
    _row("open", "Print a new URL that signs a browser in.", Heading.PEOPLE, "open_page"),
)

_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": list[str]()}
"""Lets a command whose extra is not installed take any arguments."""

_OVERVIEW = """Answers with citations from your own documents. Start with `responsa up`.

Environment variables select the server (RESPONSA_PORT or RESPONSA_URL), the data folder (RESPONSA_HOME) and the key
(RESPONSA_API_KEY or RESPONSA_API_KEY_FILE). Without a key, commands use the session of `responsa login`. The \
defaults match the instance that `responsa up` starts.

Exit codes of commands that call a server: 0 success, 1 failure, 2 bad usage (including arguments that the server
refuses), 3 cannot connect or sign in, 5 the command needs an extra that is not installed.
"""


@cache
def commands_of_parts() -> Sequence[Command]:
    """Return the commands that the parts of this distribution, and others, add as entry points."""
    return [
        replace(command, extra=entry.name, distribution=entry.dist.name)
        for entry in entry_points(Group.COMMANDS)
        if entry.dist is not None
        for command in entry.load()
    ]


def all_commands() -> Iterator[Command]:
    """Yield the commands of the client, then those of parts."""
    yield from COMMANDS
    # Finding them takes 25 ms, so only after the others.
    yield from (command for command in commands_of_parts() if " " not in command.name)


def _command(name: str | None) -> Command | None:
    return next((command for command in all_commands() if command.name == name), None)


class _Overview(TyperGroup):
    """Lists the commands by sections; its own section begins with the command that a new user needs first."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = formatter.width - 6 - max(map(len, self.commands))
        for section in Heading:
            rows = [
                (command.name, self.commands[command.name].get_short_help_str(width))
                for command in sorted(all_commands(), key=lambda command: command.name != "up")
                if command.section is section and command.name in self.commands
            ]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)


def build(chosen: str | None, subcommand: str | None = None) -> typer.Typer:
    """Build the application. The chosen command is complete, but for subcommands that parts add and that are not the
    chosen one; these and all other commands have only their names and help texts."""
    app = typer.Typer(
        name="responsa",
        cls=_Overview,
        help=_OVERVIEW,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # With a callback, the application remains a group even if it has only one command.
    app.callback()(_options)
    row = _command(chosen)
    for command in COMMANDS if row in COMMANDS else all_commands():
        if command == row and not command.local:
            # gRPC reads this variable when it is imported. By default, gRPC reports closed connections on stderr.
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        _add(app, command, command.name, chosen=command == row)
    for group in app.registered_groups:
        # A subcommand of the client does not wait until those of parts are found.
        if group.typer_instance and subcommand not in (
            sub.name for sub in group.typer_instance.registered_commands
        ):
            for command in commands_of_parts():
                first, _, second = command.name.partition(" ")
                if second and first == chosen:
                    _add(group.typer_instance, command, second, chosen=second == subcommand)
    return app


def _add(app: typer.Typer, command: Command, name: str, *, chosen: bool) -> None:
    if not chosen:
        app.command(name, help=command.help)(_never_called)
    elif command.extra and not extras.installed(command.extra, command.distribution):
        app.command(name, context_settings=_ANYTHING)(
            lambda: need(command.name, command.extra, command.distribution)
        )
    else:
        importlib.import_module(command.module).register(app, name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. arguments: the arguments after the program's name; None means the process's
    arguments.
    """
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the terminal cannot show are replaced, so that output does not fail.
            stream.reconfigure(errors="replace")
    chosen, subcommand, *_ = *(word for word in _words(command_line) if not word.startswith("-")), None, None
    try:
        with pause_collection():
            app = _with_timeout(typer.main.get_command(build(chosen, subcommand)), chosen)
        _make_readable(app)
        if os.environ.get(_COMPLETE) == "complete_zsh":
            _without_quotes(app)
        app(args=command_line, prog_name="responsa")
    except BrokenPipeError:
        # The reader (e.g. `head`) has closed the pipe. Without this redirection, Python would report the closed pipe
        # again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Fixable as error:  # of a module's import; commands report those of their work themselves
        typer.echo(f"responsa: {error}", err=True)
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


def _with_timeout(app: Any, chosen: str | None) -> Any:
    """Give the chosen command, or those of its subcommands that wait, the option --timeout."""
    row = _command(chosen)
    if row is None or not row.waits or (row.extra and not extras.installed(row.extra, row.distribution)):
        return app
    from responsa_server.cli.waiting import timeout_option

    command = app.commands[row.name]
    for name, sub in getattr(command, "commands", {"": command}).items():
        if row.waits is True or name in row.waits:
            sub.params.append(timeout_option())
    return app


def _make_readable(command: Any) -> None:
    """Make a command's help readable: texts and numbers that options take have names instead of `<list[str]>` and
    `<int range>`, and each subcommand its first sentence."""
    for parameter in command.params:
        described = getattr(parameter, "type_descriptor", None)
        if described is not None and described.annotation in (int, float):
            parameter.metavar = parameter.metavar or "NUMBER"
        if described is None or described.annotation not in (str, list[str]):
            continue
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
        else:
            longest = max(parameter.opts, key=len).strip("-")
            parameter.metavar = parameter.metavar or longest.replace("-", "_").upper()
    _read_helps(command)
    for subcommand in getattr(command, "commands", {}).values():
        if _COMPLETE not in os.environ:
            # Otherwise the list of commands shows only the beginning of a long sentence. A shell has one line for each.
            first_paragraph = " ".join((subcommand.help or "").partition("\n\n")[0].split())
            subcommand.short_help = re.split(r"(?<=\.) ", first_paragraph)[0]
        _make_readable(subcommand)


def _read_helps(command: Any) -> None:
    """Move the help of each parameter that the docstring of a command names below “Args:” to the parameter."""
    command.help, _, helps = (command.help or "").partition("\n\nArgs:\n")
    parameters = {parameter.name: parameter for parameter in command.params}
    for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", helps, re.MULTILINE):
        parameters[name].help = " ".join(text.split())


def _no_type(ctx: typer.Context) -> None:
    del ctx


def _without_quotes(command: Any) -> None:
    """Replace the quotation marks in the help texts of a command, its options and its subcommands with apostrophes. The script for zsh
    evaluates the texts between such marks, so that the marks would be lost.
    """
    for part in (command, *command.params):
        part.help = (getattr(part, "help", None) or "").replace("'", "’")
    for sub in getattr(command, "commands", {}).values():
        _without_quotes(sub)


def _words(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments. If a shell asks how to complete a command, these are the words of that command."""
    if _COMPLETE not in os.environ:
        return arguments
    typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return typed.split()[1:]


def _may_have_called(name: str | None) -> bool:
    command = _command(name)
    return "grpc" in sys.modules and not (command is not None and command.local)


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
        typer.echo(f"responsa {__version__}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def _never_called() -> None:
    raise AssertionError("A command was not loaded.")
