"""Prometheus' rules, made from deploy/prometheus/alerts.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, Field, model_validator

SOURCE: Final = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "alerts.yaml"
HEAD: Final = "# `make generate` makes this file from deploy/prometheus/alerts.yaml.\n"
BURN_SUMMARY: Final = "The error budget of an objective is used up too quickly."
Rule = Mapping[str, Any]
"""A rule, or a group of rules."""


class Objective(BaseModel, extra="forbid"):
    """A service level objective. bad, all: PromQL with WINDOW for a range."""

    objective: float = Field(gt=0, lt=1)
    bad: str
    all: str


class BurnRate(BaseModel, extra="forbid"):
    """A burn rate that two windows must exceed."""

    alert: str
    severity: str
    rate: float
    long: str
    short: str


class Alert(BaseModel, extra="forbid"):
    """An alert. value: the PromQL that is compared with the threshold, which is `above` or `below`."""

    summary: str
    value: str
    above: float | None = None
    below: float | None = None
    lasting: str = Field(alias="for")
    severity: str

    @model_validator(mode="after")
    def _one_threshold(self) -> Alert:
        if (self.above is None) == (self.below is None):
            raise ValueError("an alert has one of above and below")
        return self

    @property
    def threshold(self) -> float:
        """The threshold, in the unit of the value."""
        return (self.above if self.below is None else self.below) or 0.0

    @property
    def expression(self) -> str:
        """The PromQL that has a result while the threshold is passed."""
        return f"({self.value}) {'>' if self.below is None else '<'} {self.threshold:g}"


class Source(BaseModel, extra="forbid"):
    """The whole file alerts.yaml."""

    runbooks: str
    objectives: Mapping[str, Objective]
    least_events: int
    burn_rates: Sequence[BurnRate]
    alerts: Mapping[str, Alert]


def source() -> Source:
    """The content of alerts.yaml."""
    return Source.model_validate(yaml.safe_load(SOURCE.read_text(encoding="utf-8")))


def ratio(window: str) -> str:
    """The name of the recorded share of bad events, with the label `slo`."""
    return f"responsa:slo_bad:ratio_{window}"


def rules() -> Mapping[str, str]:
    """The texts of the files in deploy/prometheus/rules, by their names."""
    read = source()
    return {f"{group['name']}.yml": _text(group) for group in (_objectives(read), _alerts(read))}


def _text(group: Rule) -> str:
    return HEAD + yaml.safe_dump({"groups": [group]}, sort_keys=False, allow_unicode=True, width=500)


def _objectives(read: Source) -> Rule:
    windows = dict.fromkeys(window for burn in read.burn_rates for window in (burn.long, burn.short))
    recorded = [
        _recorded(name, objective, window, read.least_events)
        for name, objective in read.objectives.items()
        for window in windows
    ]
    budgets = [
        {"record": "responsa:slo_budget:ratio", "labels": {"slo": name}, "expr": f"vector({_budget(one):g})"}
        for name, one in read.objectives.items()
    ]
    # Each evaluation reads three days of samples.
    return {
        "name": "responsa-objectives",
        "interval": "1m",
        "rules": [*budgets, *recorded, *_burning(read)],
    }


def _alerts(read: Source) -> Rule:
    return {
        "name": "responsa-alerts",
        "rules": [
            _rule(name, one.expression, one.lasting, one.severity, one.summary, read.runbooks)
            for name, one in read.alerts.items()
        ],
    }


def _budget(objective: Objective) -> float:
    return round(1 - objective.objective, 6)


def _recorded(name: str, objective: Objective, window: str, least: int) -> Rule:
    bad, every = (text.replace("WINDOW", window) for text in (objective.bad, objective.all))
    expression = f"(({bad}) or vector(0)) / ({every} >= {least})"
    return {"record": ratio(window), "labels": {"slo": name}, "expr": expression}


def _burning(read: Source) -> Sequence[Rule]:
    rules: list[Rule] = []
    for alert in dict.fromkeys(burn.alert for burn in read.burn_rates):
        burns = [burn for burn in read.burn_rates if burn.alert == alert]
        expression = " or ".join(
            f"({_above(burn.long, burn.rate)} and {_above(burn.short, burn.rate)})" for burn in burns
        )
        rules.append(_rule(alert, expression, "0m", burns[0].severity, BURN_SUMMARY, read.runbooks))
    return rules


def _above(window: str, rate: float) -> str:
    return f"{ratio(window)} > on (slo) {rate:g} * responsa:slo_budget:ratio"


def _rule(name: str, expression: str, lasting: str, severity: str, summary: str, runbooks: str) -> Rule:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {
            "summary": summary,
            "description": "The value is {{ $value | humanize }}.",
            "runbook_url": f'{{{{ or $externalLabels.runbooks "{runbooks}" }}}}#{name.lower()}',
        },
    }
