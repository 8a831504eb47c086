"""Writes docs/metrics.md from the table of metrics. With `--check`, it only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from responsa_server.telemetry.instruments import TABLE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
HEAD = """# Metrics

`make generate` writes this page from `telemetry/instruments.py`. [How do I see whether it is well?](monitoring.md) \
says how Prometheus gets the metrics.

A name here is that in Prometheus. By OTLP, a metric has dots in place of `_`, and neither the unit nor `_total` at \
its end. A histogram has three series: `_bucket`, `_sum` and `_count`. Labels never hold texts, or ids of users, \
tenants or questions. An instrument has at most 500 combinations of them, and further ones are counted as `other`. \
The label `server` names the process. Besides these metrics there are those of every process \
(`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and others of Prometheus' client), \
and on the gateway `responsa_server_up`, which is 0 for a server that has not answered.

"""


def page() -> str:
    """The whole page."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for one in TABLE:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.exposed}` | {one.kind} | {labels} | {one.meaning} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Writes the page; with `--check`, only compares it."""
    if "--check" in sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") != page():
            sys.exit("docs/metrics.md is out of date; run `make generate`")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
