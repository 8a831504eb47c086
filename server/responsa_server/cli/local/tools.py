"""The command `responsa tools check`, which reads declarations on this machine without a server."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from pathlib import Path

import typer

from responsa_server.agents.config.tools import line
from responsa_server.app.settings import load
from responsa_server.app.tools import checked_tools
from responsa_server.cli.local.failures import USAGE, reporting


def check(folder: str | None, *, json: bool) -> None:
    """Print the problems of declarations, one per line.

    Args:
        folder: the folder with the declarations; None means the tools of this machine.
        json: whether each problem is printed as a JSON object.

    Raises:
        typer.Exit: always, with the code 2 if there are problems, and otherwise 0.
    """
    with reporting():
        settings = load()
        path = Path(folder) if folder else settings.tools_folder
        if folder and not path.is_dir():
            typer.echo(f"{path} is not a folder; name the folder with the declarations.", err=True)
            raise typer.Exit(USAGE)
        found = checked_tools(path)
        problems = found.problems()
        for one in problems:
            typer.echo(dumps(asdict(one), ensure_ascii=False) if json else line(one))
        if not json:
            broken = {one.file for one in problems}
            for entry in found.entries():
                if not any(f"{name}.toml" in broken for name in entry.names):
                    typer.echo(f"{entry.card.id}: ok")
    raise typer.Exit(USAGE if problems else 0)
