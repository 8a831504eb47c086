"""A real Prometheus reads the shared instance. Every query of the dashboards and every rule is run there."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from urllib.request import Request, urlopen

import pytest
import yaml

from responsa_server.telemetry.instruments import TABLE, MetricKind
from tests.instance import ROOT, Instance, eventually
from tests.prometheus import RULES, Prometheus, watching

RARE = frozenset(
    {
        "ALERTS",
        "responsa_errors_total",
        "responsa_model_calls_total",
        "responsa_model_cost_total",
        "responsa_model_duration_seconds_bucket",
        "responsa_model_first_piece_duration_seconds_bucket",
        "responsa_model_tokens_total",
        "responsa_refusals_total",
        "responsa_searches_text_only_total",
        "responsa_source_sync_duration_seconds_bucket",
        "responsa_source_syncs_total",
        "responsa_telemetry_dropped_total",
        "responsa_tool_duration_seconds_bucket",
        "responsa_tool_duration_seconds_count",
        "responsa_turn_leases_lost_total",
        "responsa_turn_runs_left_total",
    }
)
"""The metrics that a few calls may not have made. Ratios of an objective need more events, too."""
NAME = re.compile(r"\b(?:responsa[a-z0-9_:]*|process_[a-z_]+|up|ALERTS)\b(?!\()")


def queries() -> Iterator[str]:
    """Every PromQL expression of the dashboards and the rules."""
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            yield from (target["expr"].replace("$__rate_interval", "1m") for target in panel["targets"])
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from (rule["expr"] for rule in group["rules"])


def names(query: str) -> Sequence[str]:
    """The metrics in a query."""
    return NAME.findall(re.sub(r'"[^"]*"', "", query))


def known() -> frozenset[str]:
    """The names of all series that the table of metrics can make."""
    ends = {MetricKind.HISTOGRAM: ("_bucket", "_count", "_sum")}
    return frozenset(one.exposed + end for one in TABLE for end in ends.get(one.kind, ("",)))


@pytest.fixture(scope="module")
def prometheus(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, when it has read the metrics after an answer from a document."""
    page = tmp_path_factory.mktemp("pages") / "ferry.md"
    page.write_text("# Ferries\n\nThe ferry to Skye leaves Mallaig at 14:10.\n", encoding="utf-8")
    instance.run("ingest", str(page), "--collection", "ferries")
    instance.run("ask", "When does the ferry to Skye leave Mallaig?", "--collection", "ferries")
    rules = tmp_path_factory.mktemp("rules")
    for path in RULES.glob("*.yml"):
        # Each group is evaluated at once, not within a minute.
        text = path.read_text(encoding="utf-8").replace("interval: 1m\n", "interval: 1s\n")
        (rules / path.name).write_text(text, encoding="utf-8")
    with watching(instance, rules) as found:
        eventually(lambda: bool(found.query("responsa_turn_first_text_duration_seconds_count")), "an answer")
        yield found


def test_every_query_finds_its_metrics(prometheus: Prometheus) -> None:
    there, expected = prometheus.names(), known()
    recorded = frozenset(
        name for query in queries() for name in names(query) if ":" in name or not name.startswith("responsa")
    )
    for query in queries():
        prometheus.query(query)
        wanted = {*names(query)}
        assert not wanted - expected - recorded, f"no part measures it: {query}"
        assert not {name for name in wanted if ":" not in name} - there - RARE, f"nothing was read: {query}"


def test_the_rules_are_evaluated_without_an_error(prometheus: Prometheus) -> None:
    assert len(prometheus.rules()) == sum(
        len(group["rules"])
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    )
    eventually(
        lambda: {rule["health"] for rule in prometheus.rules()} == {"ok"}, lambda: str(prometheus.rules())
    )
    assert not prometheus.firing() & {"ResponsaDown", "ResponsaPartDown", "ResponsaDisk"}


def test_an_exemplar_leads_from_the_first_words_to_the_trace(
    prometheus: Prometheus, instance: Instance
) -> None:
    trace, began = secrets.token_hex(16), time.time()
    headers = {
        "authorization": f"Bearer {instance.key}",
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
        "content-type": "application/json",
    }
    body = {
        "text": "When does the ferry to Skye leave Mallaig?",
        "options": {"scope": {"collections": ["collections/ferries"]}},
    }
    urlopen(Request(f"{instance.url}/v1/turns:answer", json.dumps(body).encode(), headers)).close()

    def exemplars() -> str:
        series = "responsa_turn_first_text_duration_seconds_bucket"
        times = f"start={began - 60:.0f}&end={time.time() + 60:.0f}"
        return json.dumps(prometheus.get(f"query_exemplars?query={series}&{times}"))

    eventually(lambda: trace in exemplars(), exemplars)


def test_the_health_the_status_and_the_metrics_have_the_same_parts(
    prometheus: Prometheus, instance: Instance
) -> None:
    status = json.loads(instance.run("call", "AdminService.GetSystemStatus", "--output", "json").stdout)
    with urlopen(f"{instance.url}/health") as answer:
        parts = json.load(answer)["parts"]
    assert [*parts] == [one["part"] for one in status["parts"]]
    measured = {one["metric"]["part"] for one in prometheus.query("responsa_part_health")}
    assert measured == {*parts}
