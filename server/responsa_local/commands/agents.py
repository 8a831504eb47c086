"""The commands `responsa agents check` and `graph`, which read agents' files on this machine without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from responsa_local.commands.failures import USAGE, reporting
from responsa_server.agents.config.check import NamedModels, Surroundings
from responsa_server.agents.config.check.tables import missing_tools
from responsa_server.agents.config.files import AgentFolders, agents_in, examine
from responsa_server.agents.config.problems import AGENT_FILE, Problem
from responsa_server.agents.engine.config import DEFAULT_MODEL, PASSAGES
from responsa_server.agents.engine.edges import mermaid
from responsa_server.app.models import by_name, list_models
from responsa_server.app.settings import load
from responsa_server.app.tools import check_tools
from responsa_server.cli.output import Json, echo, print_json


def register(app: typer.Typer, name: str) -> None:
    """Add the command `name`: check or graph."""
    app.command(name)({"check": check, "graph": graph}[name])


def check(
    path: Annotated[str | None, typer.Argument(metavar="[AGENT|PATH]")] = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Check agents' files, and print each problem with its file, line, key and a suggestion. This command needs no
    server.

    Exit codes: 0 no problems, 2 problems or nothing to check.

    Args:
        path: An agent's id, its folder, its agent.toml, or a folder of agents. Default: all agents of this
            machine.
        json: Print one problem per line, as a JSON object.
    """
    wrong = False
    with reporting():
        surroundings = _surroundings()
        tools = check_tools(load().tools_folder).names
        for folder in _all() if path is None else _folders(path):
            examined = examine(folder, surroundings)
            wrong = wrong or bool(examined.problems)
            for problem in examined.problems:
                print_json(_plain(folder, problem)) if json else echo(_line(folder, problem))
            if not examined.problems and not json:
                echo(f"{folder.resolve().name}: ok")
            if examined.config is not None and not json:
                for note in missing_tools(examined.config, tools):
                    echo(f"note: {_line(folder, note)}")
    raise typer.Exit(USAGE if wrong else 0)


def graph(
    agent: Annotated[
        str, typer.Argument(metavar="AGENT|PATH", help="An agent's id, its folder, or its agent.toml.")
    ],
) -> None:
    """Print an agent's graph as a Mermaid diagram. This command needs no server.

    Exit codes: 0 success, 2 the agent does not exist or its files have problems.
    """
    with reporting():
        (folder, *others) = _folders(agent)
        if others:
            echo("Name exactly one agent.", err=True)
            raise typer.Exit(USAGE)
        examined = examine(folder, _surroundings())
        if examined.config is None:
            for problem in examined.problems:
                echo(_line(folder, problem), err=True)
            raise typer.Exit(USAGE)
        echo(mermaid(examined.config).removesuffix("\n"))


def _surroundings() -> Surroundings:
    """Return the names of all models, available or not, so that files can be checked without a server."""
    known = list_models(load().models)
    return Surroundings(
        models=NamedModels(known),
        suggested_models=(PASSAGES, DEFAULT_MODEL, *by_name(known)),
        providers=tuple(known),
    )


def _all() -> Sequence[Path]:
    """Return the folders of all agents of this machine: the user's own agents, and the shipped agents that no agent of
    the user replaces.
    """
    settings = load()
    places = AgentFolders(settings.agents.folder or settings.home / "agents").locations()
    return [location.folder for location in places.values()]


def _folders(named: str) -> Sequence[Path]:
    path = Path(named)
    if path.name == AGENT_FILE and path.is_file():
        return [path.parent]
    if (path / AGENT_FILE).is_file():
        return [path]
    folders = list(agents_in(path))
    if any((folder / AGENT_FILE).is_file() for folder in folders):
        return folders
    known = {folder.name: folder for folder in _all()}
    if named in known:
        return [known[named]]
    missing = f"{path} and its folders hold no {AGENT_FILE}" if path.exists() else f"{path} does not exist"
    echo(f"{missing}, and no agent has that name; the agents are {', '.join(known)}.", err=True)
    raise typer.Exit(USAGE)


def _line(folder: Path, problem: Problem) -> str:
    return f"{folder.resolve().name}/{problem}"


def _plain(folder: Path, problem: Problem) -> dict[str, Json]:
    return {
        "agent": folder.resolve().name,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.path,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }
