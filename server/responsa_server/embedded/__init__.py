"""Starts, supervises and purges real PostgreSQL, Redis and Envoy from the package registry, without a
container engine."""

from __future__ import annotations

from responsa_server.embedded.envoy import EmbeddedEnvoy, check_port
from responsa_server.embedded.errors import EmbeddedError
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.part import ManagedProcess, ServerProcess, StartupTask
from responsa_server.embedded.postgres import EmbeddedPostgres
from responsa_server.embedded.purge import purge, throwaway_layout, throwaway_postgres
from responsa_server.embedded.redis import EmbeddedRedis
from responsa_server.embedded.supervise import Child, RestartPolicy, Supervisor

__all__ = [
    "Child",
    "EmbeddedEnvoy",
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "Layout",
    "ManagedProcess",
    "RestartPolicy",
    "ServerProcess",
    "StartupTask",
    "Supervisor",
    "check_port",
    "purge",
    "throwaway_layout",
    "throwaway_postgres",
]
