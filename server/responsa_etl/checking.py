"""The command `responsa sources check`, which reads declarations and mappings on this machine without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from responsa_etl.domain import DatabaseConnection, SourceConnection
from responsa_etl.sources.declarations import read_connections
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.webhooks import key_of, read_webhooks
from responsa_local.commands.failures import USAGE, reporting
from responsa_server.agents.config.declarations import Declared
from responsa_server.agents.config.files import file_text
from responsa_server.agents.config.problems import Problem, closest, quote
from responsa_server.app.settings import load
from responsa_server.app.tools import read_secret
from responsa_server.cli.output import echo, print_json
from responsa_server.domain.notifications import Webhook
from responsa_server.domain.tools import ToolUnfit


def register(app: typer.Typer, name: str) -> None:
    """Add the command `check`."""
    app.command(name)(check)


def check(
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
    with reporting():
        folder = load().connections_folder
        declared = read_connections(folder)
        by_file: dict[str, Sequence[Problem]] = {
            f"{entry.name}.toml": [*entry.problems, *_secret(entry, folder)] for entry in declared
        }
        webhooks = load().webhooks_folder
        for webhook in read_webhooks(webhooks):
            by_file[f"webhooks/{webhook.name}.toml"] = [*webhook.problems, *_key(webhook, webhooks)]
        known = {entry.name: entry.item for entry in declared}
        for file in files or ():
            by_file[str(file)] = _mapping(file, known)
        for name, problems in by_file.items():
            for problem in problems:
                print_json(asdict(problem.file_problem)) if json else echo(str(problem))
            if not problems and not json:
                echo(f"{name}: ok")
        if not by_file and not json:
            echo(f"There are no declarations of connections in {folder}.")
    raise typer.Exit(USAGE if any(by_file.values()) else 0)


def _secret(declaration: Declared[SourceConnection], folder: Path) -> Sequence[Problem]:
    if not isinstance(declaration.item, DatabaseConnection) or declaration.item.password is None:
        return []
    try:
        read_secret(declaration.item.password, folder)
    except ToolUnfit as error:
        return [Problem(f"{declaration.name}.toml", str(error).rstrip("."), ("password",))]
    return []


def _key(declaration: Declared[Webhook], folder: Path) -> Sequence[Problem]:
    if declaration.item is None:
        return []
    try:
        key_of(read_secret(declaration.item.secret, folder))
    except (ToolUnfit, ValueError) as error:
        return [Problem(f"{declaration.name}.toml", str(error).rstrip("."), ("secret",))]
    return []


def _mapping(file: Path, known: Mapping[str, SourceConnection | None]) -> Sequence[Problem]:
    problems = list[Problem]()
    try:
        text = file_text(file, str(file), problems)
    except OSError as error:
        return [Problem(str(file), f"cannot be read ({error.strerror})")]
    if text is None:
        return problems
    mapping, mapping_problems = read_mapping(text)
    if mapping is not None and known and mapping.connection not in known:
        message = f"there is no connection “{mapping.connection}” on this machine; there are {quote(known)}"
        mapping_problems = [mapping.problem(message, ("connection",), closest(mapping.connection, known))]
    elif mapping is not None and (connection := known.get(mapping.connection)) is not None:
        mapping_problems = [misfit] if (misfit := mapping.find_misfit(connection)) is not None else []
    return [replace(problem, file=str(file)) for problem in mapping_problems]
