"""A whole instance whose searches ask a standby, which is behind and then gone: `pytest -m soak tests/system/test_standby.py`."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import psycopg
import pytest

from responsa_server.embedded import Layout
from tests.instance import Instance, eventually, instance_in
from tests.standby import standby_of

pytestmark = pytest.mark.soak
TEXT = "# Harbour\n\nShips enter the harbour two hours before high water.\n"
SETTINGS = {
    "RESPONSA_DOCS": "none",
    "RESPONSA_TELEMETRY__METRICS": "true",
    "RESPONSA_TELEMETRY__METRICS_ON_GATEWAY": "true",
}


def test_searches_go_on_while_the_standby_is_behind_and_gone(tmp_path: Path) -> None:
    file = tmp_path / "harbour.md"
    file.write_text(TEXT, encoding="utf-8")
    with instance_in(tmp_path, **SETTINGS) as instance:
        instance.run("ingest", str(file), "--collection", "harbour")
        with standby_of(Layout.of(instance.home), tmp_path / "standby") as standby:
            instance.settings = {**SETTINGS, "DATABASE_STANDBY_URL": standby.dsn("app")}
            assert instance.interrupt() == 0
            instance.start().until_ready()
            eventually(
                lambda: "high water" in searched(instance) and counted(instance, "answered"), "its answer"
            )
            assert health(instance) == "ok"
            with psycopg.connect(standby.dsn("superuser"), autocommit=True) as copy:
                copy.execute("SELECT pg_wal_replay_pause()")
                paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
                eventually(lambda: copy.execute(paused).fetchone() == (True,), "a pause")
            instance.run("documents", "delete", f"{tmp_path.name}/harbour.md", "--collection", "harbour")
            assert "high water" not in searched(instance)
            assert counted(instance, "behind")
        eventually(lambda: health(instance) == "degraded", "a degraded standby")
        instance.run("ingest", str(file), "--collection", "harbour")
        assert "high water" in searched(instance)
        assert counted(instance, "away")


def searched(instance: Instance) -> str:
    return instance.run("search", "When may ships enter the harbour?", "--collection", "harbour").stdout


def health(instance: Instance) -> str:
    return str(httpx2.get(f"{instance.url}/health", timeout=60).json()["parts"]["standby"])


def counted(instance: Instance, outcome: str) -> bool:
    """Whether a search had this outcome."""
    text = httpx2.get(f"{instance.url}/metrics", timeout=60).text
    return bool(
        re.search(rf'^responsa_searches_standby_total{{[^}}]*outcome="{outcome}"', text, re.MULTILINE)
    )
