"""docs/cli.md contains every command."""

from __future__ import annotations

import importlib
import re

import pytest
import typer
from typer.main import get_command

from responsa_server.cli.command import Command
from responsa_server.cli.main import all_commands
from tests.instance import ROOT

TEXT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [*all_commands()], ids=lambda command: command.name)
def test_every_command_is_described(command: Command) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    importlib.import_module(command.module).register(app, command.name)
    (row,) = [
        line
        for line in TEXT.splitlines()
        if line.startswith("| `") and re.search(rf"`(?:responsa )?{command.name}[ `]", line)
    ][:1] or [""]
    assert row, command.name
    group = getattr(get_command(app), "commands", {})[command.name]
    if command.name in ("admin", "replicas"):
        # docs/cli.md describes these commands as operations on the server.
        return
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("| "))
    for name in getattr(group, "commands", {}):
        assert re.search(rf"\b{name}\b", rows), f"{command.name} {name}"
