"""Makes Envoy's bootstrap file from the templates in `envoy/` and a typed description of one instance."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from responsa_local.envoy.replicas import GATEWAY
from responsa_local.envoy.templates import TemplateError, Templates, Tree
from responsa_local.envoy.tracing import EnvoyTracing, cluster, tracing
from responsa_server.app.envoy_hosts import SERVER
from responsa_server.domain.addresses import (
    LOOPBACK_HOSTS,
    MAX_SOCKET_PATH,
    Network,
    hosts_of,
    origins_of,
)
from responsa_server.domain.limits import NO_LIMIT
from responsa_server.system.instance import CHECKOUT, INSTALLED, locate_generated

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")

CORS_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
# Clients add headers of their own, such as OpenAI's x-stainless-…. An asterisk stands for all headers but
# authorization, where no credentials are allowed.
CORS_REQUEST_HEADERS = "authorization, *"
CORS_RESPONSE_HEADERS = "*"

_FILTER: Final = "connection_limit.wasm"
"""The filter that limits connections, compiled from envoy/connection_limit.ts."""

_STANDARD_SERVICES_CLOSED: Final[Tree] = {
    "match": {
        "prefix": "/grpc.",
        "headers": [{"name": "content-type", "string_match": {"prefix": "application/grpc"}}],
    },
    "direct_response": {"status": 404},
}


class EnvoyConfigError(Exception):
    """The configuration cannot be made. The message is for users."""


@dataclass(frozen=True, slots=True)
class NamedServers:
    """Servers that share a name in DNS. Envoy looks the name up every five seconds, and calls every address that it finds.

    host: the name, or an IP address. grpc, http: the ports of all these servers for gRPC and for the gateway's HTTP, from 1 to 65,535.
    """

    host: str
    grpc: int
    http: int

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host.lower()) or ":" in self.host.rpartition("]")[2]:
            raise EnvoyConfigError(f"{self.host!r} is not the name of a host, such as server.example.org")


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    """The values that differ between instances.

    port: the only port, from 1 to 65,535. endpoints: the folder that Envoy watches, with the endpoint files of both
    clusters (`Replicas`); or servers by name.
    admin_socket: the socket of Envoy's admin interface; None switches that interface off. listen_address: an IP
    address. also_loopback: whether this machine reaches the port at 127.0.0.1, too. allowed_hosts: the accepted hosts in
    Host headers. A host without a port stands for the host with `port`.
    Clients leave out :80 and :443, so a host with one of these ports also stands for the host without a port
    ("chat.example.org:443" behind a proxy that ends TLS). allowed_origins: other origins, such as
    "https://chat.example.org", whose pages may send requests (CORS); pages of the allowed hosts may always send
    requests.
    standard_services: whether outside callers may use gRPC's health and reflection services, which need no credential.
    connections_per_address: the number of connections that one network address may have open; `NO_LIMIT` (0): any number.
    trusted_proxies: the networks whose peers say in X-Forwarded-For for whom they call, and may open any number of connections.
    tracing: how Envoy traces requests; None not to trace them.
    """

    port: int
    endpoints: Path | NamedServers
    listen_address: str
    also_loopback: bool = False
    admin_socket: Path | None = None
    allowed_hosts: Sequence[str] = LOOPBACK_HOSTS
    allowed_origins: Sequence[str] = ()
    standard_services: bool = True
    connections_per_address: int = NO_LIMIT
    trusted_proxies: Sequence[Network] = ()
    tracing: EnvoyTracing | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise EnvoyConfigError(f"the port {self.port} is not between 1 and 65535")
        try:
            ipaddress.ip_address(self.listen_address)
        except ValueError as error:
            raise EnvoyConfigError(
                f"listen: {self.listen_address!r} is not an IP address such as 127.0.0.1"
            ) from error
        if not self.allowed_hosts:
            raise EnvoyConfigError("at least one host must be allowed, or nobody can call")
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host.lower()):
                raise EnvoyConfigError(
                    f"allowed_hosts: {host!r} is not a host name such as chat.example.org or 10.0.0.5:8080"
                )
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise EnvoyConfigError(
                    f"allowed_origins: {origin!r} is not an origin such as https://chat.example.org"
                )
        if isinstance(self.endpoints, Path) and not self.endpoints.is_absolute():
            raise EnvoyConfigError(f"{self.endpoints} is not an absolute path")
        if self.connections_per_address < NO_LIMIT:
            raise EnvoyConfigError(f"{self.connections_per_address} is not a number of connections")
        path = self.admin_socket
        if path is not None and not (path.is_absolute() and len(bytes(path)) <= MAX_SOCKET_PATH):
            raise EnvoyConfigError(f"{path} is not an absolute path of at most {MAX_SOCKET_PATH} bytes")

    @property
    def domains(self) -> Sequence[str]:
        """All accepted Host headers."""
        return hosts_of(self.port, self.allowed_hosts)

    @property
    def origins(self) -> Sequence[str]:
        """All accepted Origin headers: first this server's own origins, then the other allowed origins."""
        return (*origins_of(self.domains), *self.allowed_origins)


def templates_folder() -> Path:
    """The folder of the templates, in the checkout or in the installed package."""
    return Path(__file__).with_name("templates") if INSTALLED else CHECKOUT / "envoy"


def render(config: EnvoyConfig, templates: Path | None = None) -> str:
    """The bootstrap file as JSON. Envoy reads it from a file whose name ends in .json or .yaml.

    Raises:
        EnvoyConfigError: the filter of connections is missing, or the templates do not match this module.
    """
    # Imported late, because it writes errors as each transport does, and `up` checks its settings before it needs them.
    from responsa_local.envoy.local_replies import LOCAL_REPLIES, SMALL_BYTES, local_reply_config

    values: dict[str, Tree] = {
        "connection_limit": _connection_limit(config.connections_per_address),
        "trusted_proxies": _networks(config.trusted_proxies),
        "tracing": tracing(config.tracing),
        "collector": cluster(config.tracing),
        "admin": _admin(config.admin_socket),
        "port": config.port,
        "listen_address": config.listen_address,
        "own_address": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": config.port}}}
        if config.also_loopback
        else None,
        **_discovery(config.endpoints),
        "host_ids": [_host_id(exact=host) for host in (*config.domains, *LOOPBACK_HOSTS)]
        + [_host_id(prefix=f"{name}:") for name in LOOPBACK_HOSTS],
        "origin_ids": [
            {"header": {"name": "origin", "string_match": {"exact": origin}}} for origin in config.origins
        ],
        "cors": _cors(config.allowed_origins),
        "local_replies": local_reply_config(LOCAL_REPLIES),
        "small_bytes": SMALL_BYTES,
        "standard_services_closed": None if config.standard_services else _STANDARD_SERVICES_CLOSED,
    }
    try:
        tree = Templates(templates or templates_folder(), values).render("bootstrap.yaml")
    except TemplateError as error:
        raise EnvoyConfigError(f"Envoy's configuration cannot be made: {error}") from error
    return json.dumps(tree, indent=1) + "\n"


def _host_id(**match: str) -> Tree:
    return {"header": {"name": ":authority", "string_match": {**match, "ignore_case": True}}}


def _connection_limit(limit: int) -> Tree:
    """The filter that limits the connections of an address. The file contains its code, so that Envoy needs no other file."""
    if limit == NO_LIMIT:
        return None
    try:
        code = locate_generated(_FILTER).read_bytes()
    except OSError as error:
        raise EnvoyConfigError(f"{_FILTER} cannot be read; make it with: make generate") from error
    return {
        "name": "connection_limit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            "config": {
                "name": "connection_limit",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": str(limit),
                },
                # If an instance fails, Envoy closes the connections of its thread, and starts another instance within a second.
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": "connection_limit",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"inline_bytes": base64.b64encode(code).decode()}},
                },
            },
        },
    }


def _networks(networks: Sequence[Network]) -> Tree:
    """Envoy's list of networks. A proxy may write an IPv4 address in IPv6 (::ffff:10.0.0.1), so each network of IPv4 is
    also in the list in that form."""
    ranges: list[Tree] = []
    for network in networks:
        address, length = network.network_address, network.prefixlen
        ranges.append({"address_prefix": str(address), "prefix_len": length})
        if network.version == 4:
            ranges.append({"address_prefix": f"::ffff:{address}", "prefix_len": 96 + length})
    return ranges or None


def _discovery(endpoints: Path | NamedServers) -> dict[str, Tree]:
    """How Envoy finds the servers of both clusters."""
    if isinstance(endpoints, Path):
        files: dict[str, Tree] = {
            f"{cluster}_endpoints": _endpoints(endpoints, cluster) for cluster in (SERVER, GATEWAY)
        }
        return {"discovery": "EDS", "server_names": None, "gateway_names": None, **files}
    return {
        "discovery": "STRICT_DNS",
        "server_endpoints": None,
        "gateway_endpoints": None,
        "server_names": _assign_names(SERVER, endpoints.host, endpoints.grpc),
        "gateway_names": _assign_names(GATEWAY, endpoints.host, endpoints.http),
    }


def _assign_names(cluster: str, host: str, port: int) -> Tree:
    """The assignment of a cluster whose servers Envoy looks up by name."""
    address: Tree = {"socket_address": {"address": host.strip("[]"), "port_value": port}}
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _endpoints(folder: Path, cluster: str) -> Tree:
    """The source of a cluster's endpoints. Envoy reads the file again when a file is renamed into the folder."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(folder / f"{cluster}.json"),
            "watched_directory": {"path": str(folder)},
        },
    }


def _admin(socket: Path | None) -> Tree:
    if socket is None:
        return None
    return {"address": {"pipe": {"path": str(socket), "mode": 0o660}}}


def _cors(origins: Sequence[str]) -> Tree:
    """Envoy's CORS policy. It does not allow credentials, because the server reads its cookie only for its own pages."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": CORS_METHODS,
        "allow_headers": CORS_REQUEST_HEADERS,
        "expose_headers": CORS_RESPONSE_HEADERS,
        "max_age": "7200",
    }
