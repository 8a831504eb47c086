"""Where Prometheus cannot start, the error names the remedy. tests/system/test_monitoring.py shows it running."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from responsa_server.app.settings import load
from responsa_server.cli.local import up
from responsa_server.embedded import EmbeddedError, EmbeddedPrometheus, Layout
from responsa_server.instance import alert_rules


def part(folder: Path, rules: Path | None = None, port: int = 0) -> EmbeddedPrometheus:
    return EmbeddedPrometheus(Layout.of(folder), folder, rules or alert_rules(), port=port)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("responsa_server.embedded.prometheus._PLACES", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match="apt-get install --no-install-recommends prometheus"):
        part(tmp_path).preflight()


def test_a_folder_without_rules_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="RESPONSA_TELEMETRY__PROMETHEUS__RULES"):
        part(tmp_path, tmp_path).preflight()


def test_a_busy_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(1)
        with pytest.raises(EmbeddedError, match="RESPONSA_TELEMETRY__PROMETHEUS__PORT"):
            part(tmp_path, port=busy.getsockname()[1]).preflight()


def test_the_links_of_alerts_begin_where_the_setting_says(tmp_path: Path) -> None:
    settings = load(telemetry={"prometheus": {"runbooks": "https://docs.example.org/runbooks"}})
    configuration: Any = up._prometheus(settings, Layout.of(tmp_path))._configuration()
    assert configuration["global"]["external_labels"] == {"runbooks": "https://docs.example.org/runbooks"}
