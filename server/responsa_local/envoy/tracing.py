"""Envoy's own spans: one for each request, which Envoy sends to the collector itself."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from responsa_local.envoy.templates import Tree

_CLUSTER: Final = "collector"
_SEND_SECONDS: Final = "5s"
_SAMPLERS: Final = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3"


@dataclass(frozen=True, slots=True)
class EnvoyTracing:
    """How Envoy traces requests.

    endpoint: the URL of the collector, for HTTP with its path. grpc: whether spans are sent by gRPC; otherwise by HTTP
    with protobuf. share: the share of the requests, from 0 to 1, that are sampled. service: the name of the service in
    the spans. parent_based: whether the caller decides for a request with a `traceparent`. headers: those of every
    request to the collector; they may hold its key.
    """

    endpoint: str
    grpc: bool
    share: float
    service: str
    parent_based: bool = True
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


def tracing(config: EnvoyTracing | None) -> Tree:
    """The value of `tracing` of Envoy's connection manager."""
    if config is None:
        return None
    headers: list[Tree] = [{"key": key, "value": value} for key, value in config.headers.items()]
    receiver: dict[str, Tree] = {
        "grpc_service": {
            "envoy_grpc": {"cluster_name": _CLUSTER},
            "timeout": _SEND_SECONDS,
            "initial_metadata": headers,
        }
    }
    if not config.grpc:
        receiver = {
            "http_service": {
                "http_uri": {"uri": config.endpoint, "cluster": _CLUSTER, "timeout": _SEND_SECONDS},
                "request_headers_to_add": [{"header": header} for header in headers],
            }
        }
    return {
        # The sampler decides. Without one, Envoy would overrule its caller's decision.
        "random_sampling": {"value": 100},
        # A path may hold what a user searches for.
        "max_path_tag_length": 0,
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": config.service,
                "sampler": _sampler(config),
                **receiver,
            },
        },
    }


def _sampler(config: EnvoyTracing) -> Tree:
    ratio: Tree = {
        "name": "ratio",
        "typed_config": {
            "@type": f"{_SAMPLERS}.TraceIdRatioBasedSamplerConfig",
            "sampling_percentage": {"numerator": round(1e6 * config.share), "denominator": "MILLION"},
        },
    }
    if not config.parent_based:
        return ratio
    return {
        "name": "parent",
        "typed_config": {"@type": f"{_SAMPLERS}.ParentBasedSamplerConfig", "wrapped_sampler": ratio},
    }


def cluster(config: EnvoyTracing | None) -> Tree:
    """The cluster of the collector."""
    if config is None:
        return None
    url = urlsplit(config.endpoint)
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    collector: dict[str, Tree] = {
        "name": _CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {
                                    "socket_address": {"address": url.hostname or "", "port_value": port}
                                }
                            }
                        }
                    ]
                }
            ],
        },
    }
    if config.grpc:
        collector["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    if secure:
        trusted = ssl.get_default_verify_paths().cafile
        collector["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": url.hostname or "",
                "common_tls_context": {
                    "alpn_protocols": ["h2"] if config.grpc else ["http/1.1"],
                    "validation_context": {"trusted_ca": {"filename": trusted}} if trusted else {},
                },
            },
        }
    return collector
