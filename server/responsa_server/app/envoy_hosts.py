"""What a running Envoy says of its endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from responsa_server.system.unix_http import http_get

SERVER: Final = "server"
"""The cluster of the servers, which answer RPCs."""


class HostState(StrEnum):
    """The health of an endpoint as Envoy sees it. FAILING: the endpoint's health checks fail. ASIDE: recent calls could
    not reach the endpoint."""

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
    body = http_get(admin_socket, "/clusters?format=json")
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
