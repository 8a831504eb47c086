"""Real PostgreSQL, Redis and Envoy from the package registry: started, supervised and purged without a container engine."""

from __future__ import annotations

from responsa_server.embedded.check import Finding, check_disk, check_port, diagnose, preflight
from responsa_server.embedded.envoy import EmbeddedEnvoy, Host, HostState, host_states, validate
from responsa_server.embedded.errors import EmbeddedError
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.part import Part, ServerProcess
from responsa_server.embedded.postgres import EmbeddedPostgres
from responsa_server.embedded.purge import purge
from responsa_server.embedded.redis import EmbeddedRedis
from responsa_server.embedded.supervise import Child, RestartPolicy, Supervisor
from responsa_server.embedded.throwaway import throwaway_layout, throwaway_postgres, throwaway_redis

__all__ = [
    "Child",
    "EmbeddedEnvoy",
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "Finding",
    "Host",
    "HostState",
    "Layout",
    "Part",
    "RestartPolicy",
    "ServerProcess",
    "Supervisor",
    "check_disk",
    "check_port",
    "diagnose",
    "host_states",
    "preflight",
    "purge",
    "throwaway_layout",
    "throwaway_postgres",
    "throwaway_redis",
    "validate",
]
