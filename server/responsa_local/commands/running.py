"""What the running instance of this machine says about itself, over HTTP and without the client, which is slow to import."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, cast

from responsa_local.embedded import LocalLayout
from responsa_local.embedded.doctor import Finding
from responsa_server.app.settings import Settings
from responsa_server.domain.parts import Health
from responsa_server.system.unix_http import answer_of

EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  only compared
_SECONDS: Final = 5.0
"""A server looks at its parts for at most two seconds, and then answers."""
_STATUS: Final = "/v1/systemStatus"
_CHOSEN: Final = ("agents", "tools", "sources", "models", "embedding", "reranker")
"""The parts that files and settings of the owner describe, so that a start says what is wrong with them."""


def host_of(settings: Settings) -> str:
    """The host at which this machine reaches the instance: loopback if it listens on all addresses."""
    return "127.0.0.1" if settings.listen in EVERYWHERE else settings.listen


def url_of(settings: Settings) -> str:
    """The URL for a browser on this machine."""
    host = host_of(settings)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def health_findings(settings: Settings, layout: LocalLayout, port: int) -> Sequence[Finding]:
    """The health of the parts of the running instance, as it says itself. port: that of its Envoy."""
    own = settings.database_url is None
    report = _read(settings, port, "/health")
    findings: list[Finding] = []
    if report is None:
        log = layout.logs / "envoy.log"
        findings.append(
            Finding(
                "Envoy",
                False,
                f"nothing answers on port {port}",
                f"`responsa up` starts it again; if not, see {log}",
            )
        )
        _, body = answer_of(layout.gateway_socket, "/health", _SECONDS)
        report = _object(body)
    if report is None:
        log = layout.logs / "server.log"
        return [*findings, Finding("server", False, "no server answers", f"see the end of {log}")]
    parts = cast(
        "Mapping[str, str]", report.get("parts") or dict.fromkeys(report.get("lacking", ()), Health.DOWN)
    )
    # `doctor` has a finding of its own about the pause after a restore.
    ill = [name for name, health in parts.items() if health != Health.OK and name != "restore"]
    findings += [
        Finding(
            name,
            parts[name] != Health.DOWN,
            f"is {parts[name]} in the running instance",
            _remedy(name, layout, own=own),
        )
        for name in ill
    ]
    if not ill:
        findings.append(Finding("health", True, f"all {len(parts)} parts of the running instance work"))
    return findings


def _remedy(part: str, layout: LocalLayout, *, own: bool) -> str:
    match part:
        case "postgresql" if own:
            return f"`responsa up` starts it again; if it stays down, see the end of {layout.logs / 'postgres.log'}"
        case "postgresql":
            return "start the PostgreSQL of DATABASE_URL, or make it reachable; Responsa reconnects by itself"
        case "redis":
            return (
                f"nothing is lost without it; see the end of {layout.logs / 'redis.log'}, or check REDIS_URL"
            )
        case "disk":
            return "free at least 200 MB on the disks of the data folder"
        case "server":
            return (
                f"it is starting or stopping; if this continues, see the end of {layout.logs / 'server.log'}"
            )
        case _:
            return "`responsa call AdminService.GetSystemStatus` says why"


def warnings(settings: Settings, key: str) -> Iterator[str]:
    """What is wrong with what the owner has configured, a line each: agents, tools, sources and models. key: that of an
    administrator. Empty if the server does not say."""
    report = _read(settings, settings.port, _STATUS, key)
    for part in cast("Sequence[Mapping[str, str]]", () if report is None else report.get("parts", ())):
        if part.get("part") in _CHOSEN and part.get("health") != "HEALTH_OK":
            yield from (f"Warning: {line}" for line in part.get("detail", "").splitlines() if line)


def _read(settings: Settings, port: int, path: str, key: str = "") -> Mapping[str, Any] | None:
    """The JSON at this path, whatever the status; None if there is none within `_SECONDS`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with contextlib.closing(HTTPConnection(host_of(settings), port, timeout=_SECONDS)) as connection:
        try:
            connection.request("GET", path, headers=headers)
            return _object(connection.getresponse().read())
        except (OSError, HTTPException):
            return None


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return cast("Mapping[str, Any]", content) if isinstance(content, dict) else None
