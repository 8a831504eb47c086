"""The commands `responsa tools check` and `responsa tools trust`, which read declarations on this machine without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from responsa_local.commands.failures import USAGE, reporting
from responsa_server.agents.config.declarations import read_tools
from responsa_server.app.settings import load
from responsa_server.app.tools import check_tools, read_secret
from responsa_server.domain.tools import Declaration, ToolUnfit
from responsa_server.tools.kinds import ToolContext
from responsa_server.tools.mcp import ask_server
from responsa_server.tools.mcp_target import Pinned, read_pinned, write_pinned
from responsa_server.tools.table import KINDS


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Check declarations of tools, and accept those of MCP servers.",
        rich_markup_mode=None,
    )
    group.command("check")(check)
    group.command("trust")(trust)
    app.add_typer(group, name=name)


def check(
    folder: Annotated[str | None, typer.Argument(metavar="[FOLDER]")] = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Check declarations of tools, and print each problem with its file, line, key and a suggestion. This command needs
    no server. The command also checks whether the secrets that the declarations name exist on this machine.

    Exit codes: 0 no problems, 2 problems.

    Args:
        folder: A folder of declarations. Default: the tools of this machine.
        json: Print one problem per line, as a JSON object.
    """
    with reporting():
        settings = load()
        path = Path(folder) if folder else settings.tools_folder
        if folder and not path.is_dir():
            typer.echo(f"{path} is not a folder; name the folder with the declarations.", err=True)
            raise typer.Exit(USAGE)
        tools = check_tools(path)
        problems = tools.problems()
        for problem in problems:
            typer.echo(dumps(asdict(problem), ensure_ascii=False) if json else str(problem))
        if not json:
            broken = {problem.file for problem in problems}
            for entry in tools.entries():
                if not any(f"{name}.toml" in broken for name in entry.names):
                    typer.echo(f"{entry.card.id}: ok")
    raise typer.Exit(USAGE if problems else 0)


def trust(
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
    with reporting():
        path = Path(folder) if folder else load().tools_folder
        declaration = next((tool.item for tool in read_tools(path, KINDS) if tool.name == name), None)
        if declaration is None or declaration.kind != "mcp":
            typer.echo(f"{path / name}.toml is not a valid declaration of the kind mcp.", err=True)
            raise typer.Exit(USAGE)
        parts = ToolContext(secret=lambda secret: read_secret(secret, path))
        try:
            tools = asyncio.run(ask_server(declaration, parts))
        except ToolUnfit as error:
            typer.echo(f"{name}: {str(error).rstrip('.')}.", err=True)
            raise typer.Exit(USAGE) from error
        news = _news(declaration, tools)
        for change in news:
            typer.echo(change)
        if not news:
            typer.echo("Nothing has changed.")
        elif not yes and not typer.confirm("Accept these descriptions?", default=False):
            raise typer.Exit(1)
        typer.echo(f"Wrote {write_pinned(declaration, tools)}")
    raise typer.Exit(0)


def _news(declaration: Declaration, tools: Sequence[Pinned]) -> Sequence[str]:
    """The differences from the accepted descriptions, with everything that a model would see. Characters that a
    terminal would obey are escaped."""
    try:
        before = {tool.name: tool for tool in read_pinned(declaration)}
    except ToolUnfit:
        before = dict[str, Pinned]()
    news = list[str]()
    for tool in tools:
        old = before.pop(tool.name, None)
        if old is None or old.digest != tool.digest:
            text = dumps(asdict(tool), indent=2, ensure_ascii=True)
            news.append(f"{'new' if old is None else 'changed'}: {text}")
    return [*news, *(f"removed: {dumps(gone)}" for gone in before)]
