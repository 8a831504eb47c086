"""Where commands look for the local instance."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from responsa_server.cli.mcp import serve_mcp
from responsa_server.cli.session import client_settings


@pytest.mark.parametrize(
    ("recorded", "variables", "url"),
    [
        ("18437\n", {}, "http://127.0.0.1:18437"),
        ("18437\n", {"RESPONSA_PORT": "9000"}, "http://127.0.0.1:9000"),
        ("18437\n", {"RESPONSA_URL": "https://answers.example.org"}, "https://answers.example.org"),
        (None, {}, "http://127.0.0.1:8080"),
        ("not a port", {}, "http://127.0.0.1:8080"),
        ("99999999", {}, "http://127.0.0.1:8080"),
    ],
)
def test_commands_find_the_port_that_the_instance_has_used_last(
    recorded: str | None, variables: dict[str, str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RESPONSA_PORT", "RESPONSA_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if recorded is not None:
        (tmp_path / "port").write_text(recorded)
    assert client_settings().server_url == url


def test_mcp_without_a_key_says_the_remedy_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RESPONSA_API_KEY", "RESPONSA_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RESPONSA_HOME", "HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(typer.Exit):
        serve_mcp()
    (line,) = capsys.readouterr().err.splitlines()
    assert "`responsa login`" in line
