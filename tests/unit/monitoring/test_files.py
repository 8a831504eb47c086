"""The files for Prometheus, Alertmanager and Grafana are what their programs accept and what `make generate` makes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.instance import ROOT
from tools.monitoring.__main__ import main
from tools.monitoring.rules import source
from tools.programs import path_of

READ = source()


def test_rules_and_dashboards_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tools.monitoring", "--check"])
    main()


@pytest.mark.parametrize(
    ("severity", "receiver"),
    dict.fromkeys(
        (one.severity, "webhook and mail" if one.severity == "page" else "mail")
        for one in (*READ.alerts.values(), *READ.burn_rates)
    ),
)
def test_alertmanager_sends_each_severity_to_its_receiver(severity: str, receiver: str) -> None:
    configuration = ROOT / "deploy" / "prometheus" / "alertmanager.yml"
    command = [path_of("amtool"), "config", "routes", "test", f"--config.file={configuration}"]
    done = subprocess.run([*command, f"severity={severity}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


def test_the_configurations_for_containers_are_accepted() -> None:
    folder = ROOT / "deploy" / "prometheus"
    for command in (
        [path_of("promtool"), "check", "config", "--syntax-only", folder / "prometheus.yml"],
        [path_of("amtool"), "check-config", folder / "alertmanager.yml"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_alert_has_a_runbook() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    alerts = dict.fromkeys([*READ.alerts, *(burn.alert for burn in READ.burn_rates)])
    assert re.findall(r"^### (Responsa\w+)$", page, re.MULTILINE) == list(alerts)
