"""docs/cli.md contains every command."""

from __future__ import annotations

import importlib
import re
import sysconfig

import pytest
import typer
from typer.main import get_command

from responsa_server.cli.command import Command, Heading, need
from responsa_server.cli.exits import EXIT_EXTRA
from responsa_server.cli.main import all_commands, main
from responsa_server.system import extras
from tests.instance import ROOT

TEXT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [*all_commands()], ids=lambda command: command.name)
def test_every_command_is_described(command: Command) -> None:
    assert command.section is not Heading.OTHER
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


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def test_the_overview_lists_commands_by_kind_and_a_help_names_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    headings = re.findall(r"^(\w+):$", helped(capsys), re.MULTILINE)
    assert headings == ["Options", *(one for one in Heading if one is not Heading.OTHER)]
    shown = helped(capsys, "search")
    assert "--collection COLLECTION" in shown
    assert "--top-k NUMBER" in shown
    assert not re.search("str>|range>", shown)
    cut_off = r"\w\.\.\.$"
    assert not re.search(cut_off, helped(capsys, "eval"), re.MULTILINE)


def test_a_machine_with_musl_is_not_told_to_install_what_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(extra: str, distribution: str) -> bool:
        return (extra, distribution) != ("local", extras.OWN)

    monkeypatch.setattr(extras, "installed", lacks)
    monkeypatch.setattr(sysconfig, "get_config_var", {"SOABI": "cpython-312-x86_64-linux-musl"}.get)
    with pytest.raises(typer.Exit) as ended:
        need("up", "local")
    assert ended.value.exit_code == EXIT_EXTRA
    assert capsys.readouterr().err == (
        "responsa: `responsa up` needs the extra local, which has no packages for Linux with musl. "
        "Use one with glibc, or the image.\n"
    )
