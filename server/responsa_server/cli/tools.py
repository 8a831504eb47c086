"""The commands `responsa tools check | trust`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.chat.v1 import tool_pb2
from responsa_server.cli.command import need


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Check declarations of tools, and accept those of MCP servers.",
        rich_markup_mode=None,
    )
    group.command("check")(check_tools)
    group.command("trust")(trust_tools)
    app.add_typer(group, name=name)


def check_tools(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER]", help="A folder of declarations. Default: the tools of this machine."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one problem per line, as a JSON object.")
    ] = False,
) -> None:
    """Check declarations of tools, and print each problem with its file, line, key and a suggestion. This command needs
    no server. The command also checks whether the secrets that the declarations name exist on this machine.

    Exit codes: 0 no problems, 2 problems.
    """
    need("tools check", "server")
    # Imported late, because this module loads the tools, which the other commands do not need.
    from responsa_server.cli.local.tools import check

    check(folder, json=json)


def trust_tools(
    name: Annotated[str, typer.Argument(help="The declaration's name: its file without .toml.")],
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER]", help="A folder of declarations. Default: the tools of this machine."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept all descriptions without asking.")] = False,
) -> None:
    """Accept the descriptions that an MCP server gives of its tools. This command asks the server of a declaration for
    its tools, shows what is new, and writes the descriptions next to the declaration. Models see these descriptions and
    no others.

    Exit codes: 0 accepted, or nothing is new; 1 not accepted; 2 the declaration cannot be used, or its server does not answer.
    """
    need("tools trust", "server")
    from responsa_server.cli.local.tools import trust

    trust(name, folder, yes=yes)


def problem_line(problem: tool_pb2.ToolProblem) -> str:
    """A problem as one line: file, line, key, message and suggestion."""
    place = f"{problem.file}{f':{problem.line}' if problem.line else ''}:"
    key = f" {problem.key}:" if problem.key else ""
    meant = f" Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
    return f"{place}{key} {problem.message.rstrip('.')}.{meant}"
