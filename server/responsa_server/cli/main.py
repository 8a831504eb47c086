"""The entry point `responsa`: imports the module of the chosen command and no other."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

import typer

from responsa_server.cli.commands import COMMANDS, Command

_OVERVIEW = """Cited answers over your own documents.

RESPONSA_HOME (data folder), RESPONSA_PORT or RESPONSA_URL (the server), RESPONSA_API_KEY or RESPONSA_API_KEY_FILE
(the key) say whom to talk to; the defaults fit what `responsa up` starts.

Commands that ask a server exit with 0 when done, 1 when it failed, 2 on bad usage (arguments that the server refuses
included), 3 when they cannot connect or sign in.
"""


def build(chosen: str | None) -> typer.Typer:
    """The application, with the chosen command in full and all others by name and help only."""
    app = typer.Typer(
        name="responsa",
        help=_OVERVIEW,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # A callback keeps the application a group even with one command.
    app.callback()(_no_options)
    for command in COMMANDS:
        if command.name == chosen:
            if ".local." not in command.module:
                # gRPC reads this when it is imported; by default it reports connections that ended on stderr.
                os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            importlib.import_module(command.module).register(app, command.name)
        else:
            app.command(command.name, help=command.help)(_not_loaded(command))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. `arguments` are those after the program's name; None takes the process's own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Output does not fail when the terminal cannot show a character.
            stream.reconfigure(errors="replace")
    chosen = next((argument for argument in given if not argument.startswith("-")), None)
    try:
        build(chosen)(args=given, prog_name="responsa")
    except BrokenPipeError:
        # The reader (e.g. `head`) has closed the pipe. Without this Python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _no_options() -> None:
    """Take no options before the command."""


def _not_loaded(command: Command):
    def never_called() -> None:
        raise AssertionError(f"{command.name} was not loaded")

    return never_called
