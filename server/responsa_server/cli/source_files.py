"""The command `responsa sources check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responsa_server.cli.command import need


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, help="Check the declarations of sources.", rich_markup_mode=None
    )
    group.callback()(lambda: None)
    group.command("check")(check_sources)
    app.add_typer(group, name=name)


def check_sources(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]…", help="Files with mappings, in TOML.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one problem per line, as a JSON object.")
    ] = False,
) -> None:
    """Check the declarations of connections on this machine, and mappings. Print each problem with its file, line, key
    and a suggestion. This command needs no server and connects to no database.

    Exit codes: 0 no problems, 2 problems.
    """
    need("sources check", "etl")
    # Imported late, because this module loads what the other commands do not need.
    from responsa_server.cli.local.sources import check

    check(files or [], json=json)
