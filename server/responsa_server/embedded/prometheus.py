"""The machine's own Prometheus (Debian's package `prometheus`), which reads the servers' metrics and evaluates the
alerts. It listens on a loopback port."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from responsa_server.confinement import User
from responsa_server.embedded.envoy import check_port
from responsa_server.embedded.errors import EmbeddedError, file_errors
from responsa_server.embedded.files import hand_over
from responsa_server.embedded.layout import Account, Layout
from responsa_server.embedded.part import ManagedProcess, StopStep
from responsa_server.embedded.spawn import PLAIN_ENVIRONMENT, spawn
from responsa_server.unix_http import PROBE

RETENTION: Final = "30d"
_HOST: Final = "127.0.0.1"
_PLACES: Final = "/usr/local/bin:/usr/bin"
"""Where the program may be besides the PATH."""


class EmbeddedPrometheus(ManagedProcess):
    """Prometheus, which keeps its data for 30 days in the folder `prometheus` of the home. If it dies, the instance works on without it.

    targets: the folder of the files that name the servers. rules: the folder of the rules (`*.yml`). port: 0 for any
    free one. seconds: the time between two readings of the metrics. runbooks: `PrometheusSettings.runbooks`.
    """

    name = "Prometheus"
    log_name = "prometheus.log"
    needed = False
    start_timeout = 60.0
    stop_steps = (StopStep(signal.SIGTERM, 5.0), StopStep(signal.SIGKILL, 0.5))

    def __init__(
        self,
        layout: Layout,
        targets: Path,
        rules: Path,
        *,
        port: int = 0,
        seconds: int = 15,
        runbooks: str = "",
    ) -> None:
        super().__init__(layout)
        self._targets = targets
        self._rules = rules
        self._port = port
        self._seconds = seconds
        self._runbooks = runbooks

    @property
    def url(self) -> str:
        """The address of its page and its API, once the process has been spawned."""
        return f"http://{_HOST}:{self._port}"

    def preflight(self) -> None:
        """Checks the program, the rules and the port. See `ManagedProcess.preflight`."""
        prometheus_binary()
        if not any(self._rules.glob("*.yml")):
            raise EmbeddedError(
                f"{self._rules} has no rules for Prometheus",
                "set RESPONSA_TELEMETRY__PROMETHEUS__RULES to a folder with .yml files",
            )
        check_port(_HOST, self._port, "RESPONSA_TELEMETRY__PROMETHEUS__PORT")

    def spawn(self) -> None:
        """Writes the configuration, and chooses the port. See `ManagedProcess.spawn`."""
        self._port = self._port or _free_port()
        account = Account.of(User.PROMETHEUS)
        # Prometheus watches only a folder that exists when it starts.
        with file_errors(self._targets):
            self._targets.mkdir(mode=0o700, parents=True, exist_ok=True)
            if account is not None:
                # Its user may not be able to enter the folder of the rules.
                rules = self.layout.metrics / "rules"
                shutil.copytree(self._rules, rules, dirs_exist_ok=True)
                self._rules = rules
                self.layout.prometheus.mkdir(mode=0o700, exist_ok=True)
                hand_over(self.layout.prometheus, account.uid, account.gid)
            # Prometheus reads it more than once. It has no secret.
            self._file.write_text(json.dumps(self._configuration(), indent=1), encoding="utf-8")
            self._file.chmod(0o644)
        self.process = spawn(self._argv, PLAIN_ENVIRONMENT, self.log, account=account)

    @property
    def _file(self) -> Path:
        return self._targets / "prometheus.yml"

    def ready(self) -> bool:
        """Whether it has read its data and answers."""
        with contextlib.closing(HTTPConnection(_HOST, self._port, timeout=PROBE)) as connection:
            try:
                connection.request("GET", "/-/ready")
                return connection.getresponse().status == HTTPStatus.OK
            except (OSError, HTTPException):
                return False

    @property
    def _argv(self) -> Sequence[str]:
        return [
            str(prometheus_binary()),
            f"--config.file={self._file}",
            f"--storage.tsdb.path={self.layout.prometheus}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={_HOST}:{self._port}",
            # No page of another origin may read the metrics through a browser of this machine. By default, every page may.
            "--web.cors.origin=none",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]

    def _configuration(self) -> object:
        """The configuration, as JSON, which is YAML too."""
        interval = f"{self._seconds}s"
        servers = {"files": [f"{self._targets}/*.json"], "refresh_interval": interval}
        labels = {"external_labels": {"runbooks": self._runbooks}} if self._runbooks else {}
        return {
            "global": {"scrape_interval": interval, "evaluation_interval": interval, **labels},
            "rule_files": [f"{self._rules}/*.yml"],
            "scrape_configs": [{"job_name": "responsa", "file_sd_configs": [servers]}],
        }


def prometheus_binary() -> Path:
    """The installed program. Raises EmbeddedError if it is not installed."""
    program = shutil.which("prometheus") or shutil.which("prometheus", path=_PLACES)
    if program is None:
        raise EmbeddedError(
            "Prometheus is not installed",
            (
                "install it (Debian: apt-get install --no-install-recommends prometheus), or start "
                "without --observe and RESPONSA_TELEMETRY__OBSERVE"
            ),
        )
    return Path(program)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]
