"""Writes deploy/prometheus/rules/*.yml and deploy/grafana/dashboards/*.json.

Usage: python -m tools.monitoring [--check]   (--check only compares, and fails if a file is out of date)
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.monitoring.dashboards import dashboards
from tools.monitoring.rules import rules

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def main() -> None:
    """Write the files, or compare them."""
    files = {DEPLOY / "prometheus" / "rules" / name: text for name, text in rules().items()}
    files |= {DEPLOY / "grafana" / "dashboards" / name: text for name, text in dashboards().items()}
    if "--check" not in sys.argv[1:]:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    elif old := [
        path.name for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text
    ]:
        sys.exit(f"Out of date: {', '.join(old)}. Run `make generate`.")


if __name__ == "__main__":
    main()
