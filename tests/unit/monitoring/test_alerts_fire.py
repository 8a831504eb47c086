"""Each alert fires a fifth beyond its threshold, and is quiet a fifth before it. Promtool evaluates the rules over made-up series."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.instance import ROOT
from tools.monitoring.rules import SOURCE, Alert, source
from tools.programs import path_of

RULES = ROOT / "deploy" / "prometheus" / "rules"
READ = source()
Series = Mapping[str, str]
DAY = 24 * 60
"""In minutes."""


def level(value: float, minutes: int = 60) -> str:
    return f"{value:g}x{minutes}"


def growing(a_minute: float, minutes: int = 60) -> str:
    return f"0+{a_minute:g}x{minutes}"


def late(seconds: float, minutes: int = 60) -> Series:
    """Turns whose first words took this long."""
    name = "responsa_turn_first_text_duration_seconds_bucket"
    counts = {f"{seconds * 0.999:g}": 0, f"{seconds * 1.001:g}": 10, "+Inf": 10}
    return {f'{name}{{le="{bound}"}}': growing(count, minutes) for bound, count in counts.items()}


def failing(objective: str, share: float) -> Series:
    """Events of an objective, 1000 a minute, of which a share is bad."""
    bad, good = growing(1000 * share), growing(1000 * (1 - share))
    return {
        "calls": {'responsa_calls_total{code="INTERNAL"}': bad, 'responsa_calls_total{code="OK"}': good},
        "turns": {
            'responsa_turns_total{outcome="failed"}': bad,
            'responsa_turns_total{outcome="answered"}': good,
        },
        "first_text": {
            "responsa_turn_first_text_duration_seconds_count": growing(1000),
            'responsa_turn_first_text_duration_seconds_bucket{le="5.0"}': good,
        },
    }[objective]


SHAPES: Mapping[str, tuple[Callable[[float], Series], int]] = {
    "ResponsaDown": (lambda v: {'up{job="responsa",instance="a"}': level(v)}, 30),
    "ResponsaPartDown": (lambda v: {'responsa_part_health{part="redis"}': level(v)}, 30),
    "ResponsaPartDegraded": (lambda v: {'responsa_part_health{part="redis"}': level(v)}, 30),
    "ResponsaErrors": (lambda v: failing("calls", v), 30),
    "ResponsaSlowAnswers": (late, 30),
    "ResponsaQueue": (lambda v: {"responsa_turns_waiting_age_seconds": level(v)}, 30),
    "ResponsaCostHour": (
        lambda v: {'responsa_model_cost_total{model="m"}': growing(v * 1e6 / 60, 120)},
        100,
    ),
    "ResponsaDisk": (
        lambda v: {
            'responsa_disk_free_bytes{disk="home"}': level(v * 1e9),
            'responsa_disk_size_bytes{disk="home"}': level(1e9),
        },
        30,
    ),
    "ResponsaLeasesLost": (lambda v: {"responsa_turn_leases_lost_total": growing(v / 15)}, 30),
    # A day before with few refusals counts as one with 5 in ten minutes.
    "ResponsaRefusals": (lambda v: {'responsa_refusals_total{reason="r"}': growing(v * 5 / 10)}, 30),
    "ResponsaIngestionStuck": (lambda v: {"responsa_jobs_waiting_age_seconds": level(v)}, 30),
    "ResponsaBackupOld": (lambda v: {"responsa_backup_age_seconds": level(v * 3600)}, 30),
    "ResponsaSourcesFail": (lambda v: {"responsa_source_failures_total": growing(v / 60, 120)}, 100),
    "ResponsaMailsFail": (
        lambda v: {'responsa_mails_total{outcome="failed"}': growing(v / 60, 120)},
        100,
    ),
    "ResponsaDeliveriesFail": (
        lambda v: {'responsa_deliveries_total{outcome="failed"}': growing(v / 60, 120)},
        100,
    ),
}
"""For each alert that needs no day, the series that give its value, and the minute in which the alert is looked at."""


def group(
    name: str, series: Series, minute: int, firing: Mapping[str, bool], step: int = 1
) -> Mapping[str, Any]:
    """A test of promtool: which alerts fire in a minute. step: the number of minutes between samples."""
    expected = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
        }
        for alert, fires in firing.items()
    ]
    return {
        "name": name,
        "interval": f"{step}m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": expected,
    }


def beyond(alert: Alert, share: float) -> float:
    """A value that is beyond the threshold by a share of it, or before it if the share is negative."""
    return alert.threshold * (1 + share if alert.below is None else 1 - share)


def thresholds() -> Iterator[Mapping[str, Any]]:
    for name, (series, minute) in SHAPES.items():
        alert = READ.alerts[name]
        yield group(f"{name} fires", series(beyond(alert, 0.2)), minute, {name: True})
        yield group(f"{name} is quiet", series(beyond(alert, -0.2)), minute, {name: False})
        if alert.lasting != "0m":
            first = int(alert.lasting.removesuffix("m")) - 1
            yield group(f"{name} waits", series(beyond(alert, 0.2)), first, {name: False})
    yield group("no server is known", {"other": level(1)}, 10, {"ResponsaDown": True})
    yield from of_a_server()


def of_a_server() -> Iterator[Mapping[str, Any]]:
    """Alerts about a server name it. Their links begin with the external label `runbooks`, if there is one."""
    labels = {"job": "responsa", "instance": "127.0.0.1:9", "server": "up-1"}
    series = {
        "ResponsaDown": {f"up{written(labels)}": level(0)},
        "ResponsaPartDown": {f"responsa_part_health{written({**labels, 'part': 'redis'})}": level(0)},
        "ResponsaPartDegraded": {f"responsa_part_health{written({**labels, 'part': 'redis'})}": level(0.5)},
        "ResponsaDisk": {
            f"responsa_disk_free_bytes{written({**labels, 'disk': 'home'})}": level(0),
            f"responsa_disk_size_bytes{written({**labels, 'disk': 'home'})}": level(1),
        },
    }
    for alert, values in series.items():
        test = dict(group(f"{alert} names its server", values, 30, {}))
        test["promql_expr_test"] = [
            {
                "expr": f'count by (server) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": "30m",
                "exp_samples": [{"labels": '{server="up-1"}', "value": 1}],
            }
        ]
        yield test
    for runbooks in ("", "https://docs.example.org/runbooks"):
        test = dict(group(f"links begin with {runbooks!r}", series["ResponsaDown"], 30, {}))
        yield test | {
            "external_labels": {"runbooks": runbooks},
            "alert_rule_test": [
                {
                    "eval_time": "30m",
                    "alertname": "ResponsaDown",
                    "exp_alerts": [
                        {
                            "exp_labels": {"severity": "page", "instance": "127.0.0.1:9", "server": "up-1"},
                            "exp_annotations": {
                                "summary": READ.alerts["ResponsaDown"].summary,
                                "description": "The value is 0.",
                                "runbook_url": f"{runbooks or READ.runbooks}#responsadown",
                            },
                        }
                    ],
                }
            ],
        }


def written(labels: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{name}={json.dumps(value)}' for name, value in labels.items())}}}"


def days() -> Iterator[Mapping[str, Any]]:
    name = "ResponsaCostDay"
    for share in (0.2, -0.2):
        dollars = beyond(READ.alerts[name], share)
        series = {'responsa_model_cost_total{model="m"}': growing(dollars * 1e6 / DAY * 5, 400)}
        yield group(f"{name}, {share:+} beyond", series, DAY + 60, {name: share > 0}, step=5)
    usual = {'responsa_refusals_total{reason="r"}': growing(100, 400)}
    yield group("many refusals are usual", usual, DAY + 60, {"ResponsaRefusals": False}, step=5)


def burning() -> Iterator[Mapping[str, Any]]:
    fast, slowly = dict.fromkeys(burn.alert for burn in READ.burn_rates)
    rates = [burn.rate for burn in READ.burn_rates]
    least = {
        name: min(burn.rate for burn in READ.burn_rates if burn.alert == name) for name in (fast, slowly)
    }
    for name, one in READ.objectives.items():
        budget = 1 - one.objective
        yield group(f"{name} burn", failing(name, 1.2 * rates[0] * budget), 12, {fast: True, slowly: True})
        yield group(
            f"{name} smoulder", failing(name, 0.8 * least[fast] * budget), 12, {fast: False, slowly: True}
        )
        yield group(
            f"{name} are well", failing(name, 0.8 * least[slowly] * budget), 12, {fast: False, slowly: False}
        )
    bad, good = 'responsa_calls_total{code="INTERNAL"}', 'responsa_calls_total{code="OK"}'
    yield group(
        "a minute of failures in an hour",
        {bad: "0x57 500x20", good: growing(1000, 80)},
        60,
        {fast: False},
    )
    yield group(
        "failures that are over", {bad: "0+500x20 10000x60", good: growing(500, 80)}, 60, {fast: False}
    )
    yield group(
        "a few failures at night",
        {bad: "0x10 1x50", good: "0x10 1x50"},
        20,
        {fast: False, slowly: False},
    )


@pytest.mark.parametrize(
    ("groups", "rules", "evaluated"),
    [
        (thresholds, "responsa-alerts.yml", "1m"),
        (days, "responsa-alerts.yml", "30m"),
        (burning, "responsa-objectives.yml", "1m"),
    ],
)
def test_alerts_fire_beyond_their_thresholds(
    groups: Callable[[], Iterator[Mapping[str, Any]]], rules: str, evaluated: str, tmp_path: Path
) -> None:
    tests = {"rule_files": [str(RULES / rules)], "evaluation_interval": evaluated, "tests": list(groups())}
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(
        [path_of("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{SOURCE.name} or the tests are wrong:\n{done.stdout}{done.stderr}"


def test_every_alert_has_a_test() -> None:
    assert {*SHAPES, "ResponsaCostDay"} == set(READ.alerts)
