"""A real Prometheus that reads the servers of an instance and evaluates rules."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from responsa_local.embedded import LocalLayout
from tests.instance import ROOT, Instance, eventually, free_port
from tests.tied import tied

RULES = ROOT / "deploy" / "prometheus" / "rules"


class Prometheus:
    """Its API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ready(self) -> bool:
        """Whether it answers."""
        with suppress(OSError), urlopen(f"{self._url}/-/ready") as answer:
            return answer.status == 200
        return False

    def get(self, path: str) -> Any:
        """The data of an answer. Raises HTTPError, for example for a query that cannot be parsed."""
        with urlopen(Request(f"{self._url}/api/v1/{path}")) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> Sequence[Mapping[str, Any]]:
        return self.get(f"query?query={quote(expression)}")["result"]

    def names(self) -> frozenset[str]:
        return frozenset(self.get("label/__name__/values"))

    def rules(self) -> Sequence[Mapping[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> frozenset[str]:
        """The names of the firing alerts."""
        return frozenset(
            alert["labels"]["alertname"]
            for alert in self.get("alerts")["alerts"]
            if alert["state"] == "firing"
        )


@contextmanager
def watching(instance: Instance, rules: Path = RULES) -> Generator[Prometheus]:
    """A Prometheus that reads the metrics each second, from the files in which servers with `telemetry.metrics` write
    their addresses. rules: the folder of its rules (`*.yml`)."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        servers = {"files": [f"{LocalLayout.of(instance.home).metrics}/*.json"], "refresh_interval": "1s"}
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{rules}/*.yml"],
            "scrape_configs": [{"job_name": "responsa", "file_sd_configs": [servers]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration), encoding="utf-8")
        command = tied(
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        )
        with subprocess.Popen(command) as process:
            try:
                eventually(prometheus.ready, "Prometheus")
                yield prometheus
            finally:
                process.terminate()
