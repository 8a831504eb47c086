"""Grafana's dashboards, made with Grafana's own library. A table has a row for each panel; its PromQL is run against a
real Prometheus by the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef

from tools.monitoring.rules import ratio

SOURCE: Final = DataSourceRef("prometheus", "prometheus")
"""The data source's type and uid, as in deploy/grafana/provisioning."""
RATE: Final = "$__rate_interval"
COLUMNS: Final = 24
# Units of Grafana.
SECONDS, BYTES, SHARE, A_SECOND, NUMBER, DOLLARS = "s", "bytes", "percentunit", "ops", "short", "currencyUSD"


@dataclass(frozen=True, slots=True)
class Graph:
    """A panel. queries: pairs of PromQL and the legend of its series. value: whether the panel shows only the newest
    value, as a number. exemplars: whether it shows single measurements, which lead to their traces."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    meaning: str = ""
    value: bool = False
    exemplars: bool = False


def _rate(metric: str, by: str, unit: str = A_SECOND, title: str = "", labels: str = "") -> Graph:
    return Graph(title, unit, [(f"sum by ({by}) (rate({metric}{labels}[{RATE}]))", f"{{{{{by}}}}}")])


def _quantiles(title: str, metric: str, by: str = "", labels: str = "", unit: str = SECONDS) -> Graph:
    """The median and the 95th percentile of a histogram, or the latter alone for each value of a label."""
    group, legend = (f"le, {by}", f"{{{{{by}}}}}") if by else ("le", "")
    return Graph(
        title,
        unit,
        [
            (
                f"histogram_quantile({share}, sum by ({group}) (rate({metric}_bucket{labels}[{RATE}])))",
                legend or f"{share:.0%}",
            )
            for share in ((0.95,) if by else (0.5, 0.95))
        ],
        "95 % take at most this long." if by else "",
        exemplars=True,
    )


_ERRORS: Final = (
    f'(sum(rate(responsa_calls_total{{code=~"INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS"}}[{RATE}])) or vector(0))'
    f" / sum(rate(responsa_calls_total[{RATE}]))"
)
_FIRST_TEXT: Final = _quantiles("First words of answers", "responsa_turn_first_text_duration_seconds")
_PARTS: Final = Graph(
    "Health of parts",
    NUMBER,
    [("min by (part) (responsa_part_health)", "{{part}}")],
    "1 is well, 0.5 degraded, 0 down.",
)
_DISK: Final = Graph(
    "Free space of disks",
    SHARE,
    [("min by (disk) (responsa_disk_free_bytes / responsa_disk_size_bytes)", "{{disk}}")],
)

TABLES: Final[Mapping[str, tuple[str, Sequence[Graph]]]] = {
    "overview": (
        "Overview",
        [
            Graph("Servers", NUMBER, [('sum(up{job="responsa"})', "")], value=True),
            Graph(
                "Firing alerts", NUMBER, [('count(ALERTS{alertstate="firing"}) or vector(0)', "")], value=True
            ),
            Graph("Failed calls", SHARE, [(_ERRORS, "")], value=True),
            Graph(
                "Cost of a day",
                DOLLARS,
                [("sum(increase(responsa_model_cost_total[1d])) / 1e6", "")],
                value=True,
            ),
            _rate("responsa_calls_total", "code", title="Calls"),
            _rate("responsa_turns_total", "outcome", title="Turns"),
            Graph(
                "Active users",
                NUMBER,
                [("max(responsa_users_active)", "users")],
                "Who has asked a question in the last 15 minutes.",
            ),
            _FIRST_TEXT,
            Graph(
                "Error budgets",
                NUMBER,
                [(f"{ratio('1h')} / on (slo) responsa:slo_budget:ratio", "{{slo}}")],
                "The burn rate in the last hour. At 1, the budget lasts 30 days.",
            ),
            Graph(
                "Waiting",
                SECONDS,
                [
                    ("max(responsa_turns_waiting_age_seconds)", "oldest turn"),
                    ("max(responsa_jobs_waiting_age_seconds)", "oldest job"),
                ],
            ),
            _PARTS,
        ],
    ),
    "api": (
        "API",
        [
            _rate("responsa_calls_total", "method", title="Calls of methods"),
            _rate("responsa_calls_total", "code", title="Codes other than OK", labels='{code!="OK"}'),
            _quantiles("Duration of methods", "responsa_call_duration_seconds", "method"),
            Graph("Failed calls", SHARE, [(_ERRORS, "failed")], "Calls that failed because of the server."),
            _rate("responsa_refusals_total", "reason", title="Refused calls"),
            _rate("responsa_errors_total", "error", title="Unexpected errors"),
            Graph(
                "Calls and readers at this moment",
                NUMBER,
                [
                    ("sum(responsa_calls_running)", "calls"),
                    ("sum(responsa_streams)", "readers of turns"),
                    ("sum(responsa_sockets)", "WebSockets"),
                ],
            ),
            Graph(
                "Hits of caches",
                SHARE,
                [
                    (
                        (
                            f'sum by (cache) (rate(responsa_cache_lookups_total{{result="hit"}}[{RATE}])) / sum by '
                            f"(cache) (rate(responsa_cache_lookups_total[{RATE}]))"
                        ),
                        "{{cache}}",
                    )
                ],
            ),
        ],
    ),
    "agents": (
        "Agents",
        [
            _rate("responsa_turns_total", "agent", title="Turns of agents"),
            _rate("responsa_turns_total", "outcome", title="Outcomes"),
            _FIRST_TEXT,
            _quantiles("Duration of turns", "responsa_turn_duration_seconds", "agent"),
            _quantiles("First events", "responsa_turn_first_event_duration_seconds"),
            _quantiles("Duration of steps", "responsa_step_duration_seconds", "kind"),
            _quantiles("Duration of tools", "responsa_tool_duration_seconds", "tool"),
            Graph(
                "Failed calls of tools",
                A_SECOND,
                [
                    (
                        f'sum by (tool, outcome) (rate(responsa_tool_duration_seconds_count{{outcome!="ok"}}[{RATE}]))',
                        "{{tool}}: {{outcome}}",
                    )
                ],
            ),
            Graph(
                "Turns at this moment",
                NUMBER,
                [("sum(responsa_turns_running)", "running"), ("max(responsa_turns_waiting)", "waiting")],
            ),
            _rate("responsa_turn_claims_total", "from", title="Where begun turns came from"),
            _rate("responsa_turn_runs_left_total", "cause", title="Runs that ended before their turn"),
            Graph("Lost leases", A_SECOND, [(f"sum(rate(responsa_turn_leases_lost_total[{RATE}]))", "lost")]),
        ],
    ),
    "retrieval": (
        "Retrieval and ingestion",
        [
            _quantiles("Searches", "responsa_search_duration_seconds", "part"),
            Graph(
                "Number of searches",
                A_SECOND,
                [
                    (f'sum(rate(responsa_search_duration_seconds_count{{part="whole"}}[{RATE}]))', "all"),
                    (f"sum(rate(responsa_searches_text_only_total[{RATE}]))", "by words alone"),
                ],
            ),
            _rate("responsa_ingestion_documents_total", "outcome", title="Documents"),
            Graph(
                "Size of documents",
                "Bps",
                [(f"sum(rate(responsa_ingestion_read_bytes_total[{RATE}]))", "read")],
            ),
            _quantiles("Ingestion of a document", "responsa_ingestion_duration_seconds"),
            Graph("Waiting jobs", NUMBER, [("max(responsa_jobs_waiting)", "jobs")]),
            Graph("Oldest waiting job", SECONDS, [("max(responsa_jobs_waiting_age_seconds)", "job")]),
            _rate("responsa_source_syncs_total", "outcome", title="Runs of sources"),
            _quantiles("Duration of runs of sources", "responsa_source_sync_duration_seconds"),
        ],
    ),
    "infrastructure": (
        "Infrastructure",
        [
            Graph("Servers that answer", NUMBER, [('up{job="responsa"}', "{{server}} {{instance}}")]),
            _PARTS,
            _DISK,
            Graph("Age of the newest backup", SECONDS, [("max(responsa_backup_age_seconds)", "backup")]),
            Graph(
                "Processors",
                NUMBER,
                [(f'rate(process_cpu_seconds_total{{job="responsa"}}[{RATE}])', "{{server}} {{instance}}")],
                "1 is one core.",
            ),
            Graph(
                "Memory",
                BYTES,
                [('process_resident_memory_bytes{job="responsa"}', "{{server}} {{instance}}")],
            ),
            _quantiles("Lag of the event loop", "responsa_loop_lag_seconds", "instance"),
            Graph("Open files", NUMBER, [('process_open_fds{job="responsa"}', "{{server}} {{instance}}")]),
            Graph(
                "Used connections",
                SHARE,
                [
                    (
                        'sum by (pool) (responsa_pool_connections{state="used"}) / sum by (pool) (responsa_pool_connections{state="most"})',
                        "{{pool}}",
                    )
                ],
            ),
            Graph(
                "Calls that wait for a connection",
                NUMBER,
                [("sum by (pool) (responsa_pool_waiting)", "{{pool}}")],
            ),
            _quantiles("Commits", "responsa_commit_duration_seconds"),
            _quantiles("Turns in a commit", "responsa_commit_turns", unit=NUMBER),
            Graph("Open circuit breakers", NUMBER, [("sum by (part) (responsa_circuits_open)", "{{part}}")]),
            Graph(
                "Mails and deliveries to webhooks",
                A_SECOND,
                [
                    (f"sum by (outcome) (rate(responsa_mails_total[{RATE}]))", "mails {{outcome}}"),
                    (f"sum by (outcome) (rate(responsa_deliveries_total[{RATE}]))", "deliveries {{outcome}}"),
                ],
            ),
            Graph(
                "Lost telemetry",
                A_SECOND,
                [
                    (f"sum by (signal) (rate(responsa_telemetry_dropped_total[{RATE}]))", "{{signal}}"),
                    (f"sum(rate(responsa_log_lines_dropped_total[{RATE}]))", "lines of the log"),
                ],
            ),
        ],
    ),
    "cost": (
        "Cost",
        [
            Graph(
                "Cost of an hour",
                DOLLARS,
                [("sum(increase(responsa_model_cost_total[1h])) / 1e6", "")],
                value=True,
            ),
            Graph(
                "Cost of a day",
                DOLLARS,
                [("sum(increase(responsa_model_cost_total[1d])) / 1e6", "")],
                value=True,
            ),
            Graph(
                "Cost of 30 days",
                DOLLARS,
                [("sum(increase(responsa_model_cost_total[30d])) / 1e6", "")],
                value=True,
            ),
            Graph(
                "Cost of a turn",
                DOLLARS,
                [
                    (
                        "sum(increase(responsa_model_cost_total[1d])) / sum(increase(responsa_turns_total[1d])) / 1e6",
                        "",
                    )
                ],
                "The average of a day.",
                value=True,
            ),
            Graph(
                "Cost of models in an hour",
                DOLLARS,
                [("sum by (model) (increase(responsa_model_cost_total[1h])) / 1e6", "{{model}}")],
            ),
            Graph(
                "Tokens",
                A_SECOND,
                [
                    (
                        f"sum by (model, direction) (rate(responsa_model_tokens_total[{RATE}]))",
                        "{{model}}: {{direction}}",
                    )
                ],
            ),
            Graph(
                "Calls of models",
                A_SECOND,
                [
                    (
                        f"sum by (model, outcome) (rate(responsa_model_calls_total[{RATE}]))",
                        "{{model}}: {{outcome}}",
                    )
                ],
            ),
            _quantiles("Duration of models' answers", "responsa_model_duration_seconds", "model"),
            _quantiles(
                "First pieces of models' answers", "responsa_model_first_piece_duration_seconds", "model"
            ),
        ],
    ),
}
"""The dashboards by name: the title and the panels."""


def dashboards() -> Mapping[str, str]:
    """The JSON files, by their names."""
    return {f"{name}.json": _text(name, title, graphs) for name, (title, graphs) in TABLES.items()}


def _text(name: str, title: str, graphs: Sequence[Graph]) -> str:
    board = (
        Dashboard(f"Responsa: {title}")
        .uid(f"responsa-{name}")
        .tags(["responsa"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .readonly()
        .link(
            DashboardLink("Responsa").type(DashboardLinkType.DASHBOARDS).tags(["responsa"]).as_dropdown(True)
        )
    )
    for number, graph in enumerate(graphs, 1):
        panel = Stat().span(COLUMNS // 4).height(4) if graph.value else _timeseries()
        panel.id(number).title(graph.title).unit(graph.unit).datasource(SOURCE)
        if graph.meaning:
            panel.description(graph.meaning)
        for place, (expression, legend) in enumerate(graph.queries):
            query = Dataquery().expr(expression).ref_id("ABC"[place]).datasource(SOURCE)
            if graph.exemplars:
                query = query.exemplar(True)
            panel.with_target(query.legend_format(legend) if legend else query)
        board.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def _timeseries() -> Timeseries:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return Timeseries().span(COLUMNS // 2).height(8).min(0).legend(legend.show_legend(True))
