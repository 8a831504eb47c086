"""Real faults make the alerts fire, and their end ends them: `make soak CAMPAIGN=alerts`. The rules are the shipped ones, with all times divided by SHORTENED."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.request import Request, urlopen

import psutil
import pytest

from responsa_server.instance import alert_rules
from tests.instance import Instance, eventually, instance_in
from tests.system.test_monitoring import Prometheus

SHORTENED = 20
MINUTES = 300.0
"""How many seconds an alert may take on a busy machine."""
UNITS = {"m": 60, "h": 3600, "d": 86400}

pytestmark = pytest.mark.soak


def shortened(rules: str) -> str:
    """The rules with shorter times; ranges stay long enough for some samples."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * UNITS[found[3]] // SHORTENED
        return f"{found[1]}{max(seconds, 15 if found[1] == '[' else 3)}s"

    return re.sub(r"(\[|for: |interval: |offset )(\d+)([mhd])", shorter, rules)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("rules")
    for path in alert_rules().glob("*.yml"):
        (folder / path.name).write_text(shortened(path.read_text(encoding="utf-8")), encoding="utf-8")
    settings = {
        "RESPONSA_TELEMETRY__OBSERVE": "true",
        "RESPONSA_TELEMETRY__PROMETHEUS__RULES": str(folder),
        "RESPONSA_TELEMETRY__PROMETHEUS__SCRAPE_SECONDS": "1",
        "RESPONSA_DOCS": "none",
    }
    with instance_in(tmp_path_factory.mktemp("observed"), **settings) as one:
        yield one


def suspended(instance: Instance, part: str) -> Sequence[psutil.Process]:
    """Stop a part with all its processes, as if it hung."""
    process = instance.processes()[part]
    family = [process, *process.children(recursive=True)]
    for each in family:
        each.suspend()
    return family


def call(instance: Instance) -> None:
    """Ask for something that is in the database, without waiting long for it."""
    request = Request(f"{instance.url}/v1/conversations", headers={"authorization": f"Bearer {instance.key}"})
    with suppress(OSError):
        urlopen(request, timeout=20).read()


@pytest.mark.parametrize(
    ("part", "alert"),
    [("redis", "ResponsaPartDegraded"), ("server", "ResponsaDown"), ("postgres", "ResponsaErrors")],
)
def test_a_part_that_hangs_is_told(observed: Instance, part: str, alert: str) -> None:
    prometheus = Prometheus(observed)
    eventually(lambda: bool(prometheus.query("responsa_part_health")), "the metrics")
    eventually(lambda: alert not in prometheus.firing(), f"{alert} is quiet at first")
    over = threading.Event()

    def calls() -> None:
        while not over.wait(0.2):
            call(observed)

    callers = [threading.Thread(target=calls) for _ in range(4)]
    for caller in callers:
        caller.start()
    family = suspended(observed, part)
    try:
        eventually(
            lambda: alert in prometheus.firing(), lambda: f"{alert}; {prometheus.firing()} fire", MINUTES
        )
        print(f"{part} hangs: {', '.join(sorted(prometheus.firing()))}")
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.resume()
        over.set()
        for caller in callers:
            caller.join()
    eventually(lambda: alert not in prometheus.firing(), f"the end of {alert}", MINUTES)
